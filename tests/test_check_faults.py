"""xent check on losses with one fault each: each is found, and its twin within what is allowed is not."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from losses.faults import FAULTS, TWINS, Entry

from xentcli.check.report import Report
from xentcli.check.run import BUDGET, Options, check, deadline
from xentcli.frameworks.conventions import find_convention
from xentcli.frameworks.function import LossFunction

FAMILIES = (
    "accumulation",
    "boundaries",
    "chunks",
    "gradients",
    "handed",
    "invariances",
    "labels",
    "layouts",
    "many",
    "options",
    "rows",
    "state",
    "unlike",
    "values",
)
for _family in FAMILIES:
    importlib.import_module(f"losses.faults_{_family}")

# Of the libraries, by name: each is imported where it is installed.
TORCH = (
    "torch_FirstClassesAlone",
    "torch_FirstRowsAlone",
    "torch_FirstUpstream",
    "torch_GradientLiesAsLogitsDo",
    "torch_IgnoresUpstream",
    "torch_LabelEntryInItsDtype",
    "torch_MeanUpstream",
    "torch_NextUpstream",
    "torch_ReadsLabelsAgain",
    "torch_ReversedRows",
    "torch_ScaledInFloat16",
    "torch_ScalesInPlace",
    "torch_SecondBlockAlone",
    "torch_ThreePercent",
    "torch_UnusedRowsAreNan",
    "torch_UpstreamInSteps",
    "torch_UpstreamIsContiguous",
    "torch_UpstreamWithoutSign",
    "torch_UpstreamWrittenInto",
    "torch_WritesOverTheLogits",
    "torch_composed_in_its_dtype",
    "torch_forgets_smoothing_in_evaluation",
    "torch_frozen_hidden_freezes_weight",
    "torch_gradient_accumulates",
    "torch_gradient_workspace",
    "torch_ignored_rows_learn",
    "torch_ignored_rows_move_the_weight",
    "torch_in_place_in_inference",
    "torch_keeps_labels_by_reference",
    "torch_keeps_one_gradient",
    "torch_large_gradients_share_a_buffer",
    "torch_margins_by_logsumexp",
    "torch_mean_comes_back_as_1",
    "torch_mean_of_all_in_evaluation",
    "torch_mean_of_nothing_has_a_nan",
    "torch_mean_of_sum",
    "torch_rescales_by_the_first_tile",
    "torch_row_stride_alone",
    "torch_slope_of_the_mean",
    "torch_smooths_the_first_tile",
    "torch_softplus_by_clamp",
    "torch_unshifted_in_training",
    "torch_view_as_rows",
    "torch_weight_not_in_the_gradient",
)
JAX = (
    "jax_divides_by_the_batch",
    "jax_first_upstream",
    "jax_ignores_upstream",
    "jax_last_tile",
    "jax_mean_upstream",
    "jax_nan_beside_a_mask",
    "jax_narrow_labels",
    "jax_other_sign",
    "jax_sum_upstream",
    "jax_takes_the_last_class",
    "jax_unshifted_in_training",
)
LIBRARIES = {"torch": TORCH, "jax": JAX}
MODULES = {"torch": ("torch", "modes_torch", "ways_torch"), "jax": ("jax",)}
# The first check that finds each at the default options: make faults writes it.
FOUND_BY = Path(__file__).parent / "losses" / "found_by.json"
MOST_MISSED = 1 / 40  # of all faults


def report(entry: Entry, budget: float = BUDGET, **options: Any) -> Report:
    """Check a loss in this process."""
    convention = find_convention(entry.convention, "", entry.reduction)
    gradient = None if entry.make_gradient is None else entry.make_gradient()
    subject = LossFunction.build(entry.make(), gradient, convention)
    return check(subject, Options(**options), entry.name, deadline(budget))


def findings(report: Report) -> dict[str, list[str]]:
    """Return what is said, by the check that says it."""
    return {each.name: [found.message for found in each.findings] for each in report.checks if each.findings}


def found_by() -> dict[str, str | None]:
    """Return the check that finds each fault, by name; None where no check does."""
    table: dict[str, str | None] = json.loads(FOUND_BY.read_text(encoding="utf-8"))
    return table


def import_faults(library: str) -> None:
    """Enter the faults of a library, which is installed."""
    for module in MODULES[library]:
        importlib.import_module(f"losses.faults_{module}")


def find(name: str) -> Entry:
    """Return the loss of a name, after its library is imported."""
    for library, names in LIBRARIES.items():
        if name in names:
            import_faults(library)
    return next(each for each in FAULTS if each.name == name)


OURS = [each for each in FAULTS if each.family in FAMILIES]


def test_there_are_many_faults_in_every_family() -> None:
    counts = {family: len([each for each in OURS if each.family == family]) for family in FAMILIES}

    assert min(counts.values()) >= 9
    assert sum(counts.values()) + len(TORCH) + len(JAX) >= 200
    assert sum("nearly" in each.name for each in OURS) >= 14
    assert len(TWINS) >= 9


def test_it_is_on_record_which_check_finds_each() -> None:
    table = found_by()

    assert table.keys() == {each.name for each in OURS} | {*TORCH, *JAX}
    assert list(table.values()).count(None) <= MOST_MISSED * len(table)


@pytest.mark.slow
@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_a_fault_is_found(entry: Entry) -> None:
    check = found_by()[entry.name]

    assert check is not None
    # One that remembers, or fails at a call's number, needs the calls before.
    assert check in findings(report(entry, only=[check])) or check in findings(report(entry))


@pytest.mark.slow
@pytest.mark.parametrize("entry", TWINS, ids=lambda entry: entry.name)
def test_what_is_within_the_allowance_is_no_fault(entry: Entry) -> None:
    assert not findings(report(entry))


@pytest.mark.frameworks
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_fault_of_a_library_is_named_here(library: str) -> None:
    pytest.importorskip(library, reason="is not installed; .ci/run tests with it")
    import_faults(library)

    assert sorted(each.name for each in FAULTS if each.family == library) == sorted(LIBRARIES[library])


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("library", "name"), [(library, name) for library, names in LIBRARIES.items() for name in names]
)
def test_a_fault_in_a_library_is_found(library: str, name: str) -> None:
    pytest.importorskip(library, reason="is not installed; .ci/run tests with it")
    if (check := found_by()[name]) is None:
        pytest.xfail("no check finds it")

    entry = find(name)
    assert check in findings(report(entry, only=[check])) or check in findings(report(entry))

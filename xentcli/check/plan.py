"""Which checks suit a loss: every case of the atlas that it supports, every property, its contract."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from xentcli import atlas
from xentcli.check.probes import Probe
from xentcli.check.properties import PROPERTIES
from xentcli.check.properties.setting import Rule
from xentcli.check.report import SEARCH
from xentcli.frameworks.conventions import Convention
from xentcli.frameworks.shard import fill
from xentcli.frameworks.subject import why_unsupported

if TYPE_CHECKING:
    from xentcli.frameworks.subject import Subject
    from xentcli.model import Case

PROPERTY: Final = "properties"
CONTRACT_CATEGORY: Final = "contract"
CASES_CATEGORY: Final = "cases"  # those that are named
# Cases that no loss is called with, and a folder of them.
NO_CALLS: Final = frozenset({"denominators", "padding-in-the-sum", "softcap-of-a-mask"})
# Bundled cases that the first version of the suite does not have.
CASES_SINCE: Final = {
    **dict.fromkeys(("smoothing-logs-softmax", "smoothing-over-others", "smoothing-mass-times-c"), 2),
    "softcap-before-scale": 3,
    "softcap-forgotten": 3,
    "softcap-multiplies-itself": 3,
    "temperature-on-logprobs": 3,
    "temperature-overflows-half": 3,
    "z-loss-square-of-mean": 3,
    "z-loss-uninvited": 3,
}

# What every call must keep to, by name; seen in all responses together.
CONTRACT: Final = {
    "shape": "as many losses as examples, in shape (N,)",
    "dtype": "losses and gradient have the dtype of the logits (a Python float will do for a mean)",
    "untouched": "logits and labels are the same after the call",
    "quiet": "nothing is written to sys.stdout or sys.stderr",
    "differentiable": "the losses have a gradient, and it can be computed",
}


@dataclass(frozen=True, slots=True, eq=False)
class CheckSpec:
    """One check: its batches, which kinds of findings against the truth count, a rule for others.

    ``unsupported`` says why the loss does not support it, where it is asked for all the same. ``since`` is
    the first version of the suite that has it.
    """

    category: str
    name: str
    asserts: str
    probes: tuple[Probe, ...] = ()
    kinds: frozenset[str] | None = None
    rule: Rule | None = None
    unsupported: str | None = None
    since: int = 1


def in_dtypes(spec: CheckSpec, dtypes: Collection[str]) -> CheckSpec:
    """Return a check with its batches in these dtypes alone, in all where none is named."""
    if not dtypes or not spec.probes:
        return spec
    probes = tuple(probe for probe in spec.probes if probe.dtype in dtypes)
    reason = spec.unsupported or (None if probes else f"has no batch in {' or '.join(dtypes)}")
    return replace(spec, probes=probes, unsupported=reason)


@lru_cache(maxsize=8)  # a test suite calls for one check at a time
def plan(
    convention: Convention, parameters: tuple[str, ...], *, gradient: bool, autodiff: bool
) -> tuple[CheckSpec, ...]:
    """Return the checks that suit a loss of the convention with these parameters, in order.

    ``gradient``: it has one, by a function of its own or by ``autodiff``.
    """
    specs = []
    for entry in atlas.entries():
        spec = case_spec(entry.case, convention, parameters, entry.folder or "blog")
        specs += [] if spec.unsupported else [spec]
    specs += [
        CheckSpec(each.category, each.name, each.asserts, probes, each.kinds, each.rule, since=each.since)
        for each in PROPERTIES
        if (probes := each.probes(convention, parameters, autodiff=autodiff))
    ]
    names = [name for name in CONTRACT if name != "differentiable" or gradient]
    specs += [CheckSpec(CONTRACT_CATEGORY, name, CONTRACT[name]) for name in names]
    searched = "no failure among seeded rows of many scales, offsets, gaps and dtypes"
    return (*specs, CheckSpec(SEARCH, SEARCH, searched))


def case_spec(
    case: "Case", convention: Convention, parameters: tuple[str, ...], category: str = CASES_CATEGORY
) -> CheckSpec:
    """Return the check that a case is."""
    reduction = case.reduction if "reduction" in parameters else convention.reduction
    # A loss that is given rows knows no class to weigh a mean by: it divides by N.
    is_row = convention.labels == "rows" and not case.batch.binary
    batch = replace(case.batch, label_rows=True) if is_row else fill(case.batch, convention.ranks)
    probe = Probe(convention, batch, case.dtype, reduction)
    reason = convention.why_unsupported(case.batch, parameters)
    if not case.batch.is_one_call:
        reason = reason or "what it shows lies outside the call of a loss"
    if reason is None and not probe.is_supported(parameters):
        reason = f"convention {convention.name} has no such numbers"
    return CheckSpec(
        category, case.name, case.title, (probe,), unsupported=reason, since=CASES_SINCE.get(case.name, 1)
    )


def suited(spec: CheckSpec, subject: "Subject") -> CheckSpec:
    """Return a check with those of its batches that a loss is called with; ``unsupported`` where none is."""
    reasons = [why_unsupported(subject, probe.request()) for probe in spec.probes]
    kept = tuple(probe for probe, why in zip(spec.probes, reasons, strict=True) if why is None)
    if spec.unsupported or len(kept) == len(spec.probes):
        return spec
    return replace(spec, probes=kept, unsupported=None if kept else reasons[0])

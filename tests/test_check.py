"""xent check: wrong losses kept aside are all caught, right ones of several styles all pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from conftest import first
from losses import right, rude, wrong

from xentcli.check.plan import plan
from xentcli.check.probes import Probe
from xentcli.check.properties import PROPERTIES
from xentcli.check.report import CheckFinding, Report
from xentcli.check.run import Options, check, deadline
from xentcli.frameworks.conventions import CONVENTIONS, find_convention
from xentcli.frameworks.function import LossFunction

Loss = Callable[..., Any]


def report(
    loss: Loss,
    convention: str = "numpy",
    gradient: Loss | None = None,
    reduction: str | None = None,
    ordinary: Sequence[CheckFinding] = (),
    **options: Any,
) -> Report:
    subject = LossFunction.build(loss, gradient, find_convention(convention, "", reduction))
    return check(subject, Options(**options), loss.__name__, deadline(60), ordinary)


def failing(report: Report) -> dict[str, set[str]]:
    # What is skipped would take too long, on a machine that is busy.
    checks = (check for check in report.checks if check.status not in {"passed", "skipped"})
    return {check.name: {finding.name for finding in check.findings} for check in checks}


@pytest.mark.slow
@pytest.mark.parametrize("convention", ["numpy", "numpy.rows", "numpy.binary", "torch", "linear.numpy"])
def test_every_row_of_every_batch_is_judged(convention: str) -> None:
    """Of large batches whose truth is hard compute_exact evaluates a sample."""
    options = ("class_weights", "label_smoothing", "ignore_index", "reduction", "bias")
    found = CONVENTIONS[convention]
    specs = plan(found, options[: None if found.linear else -1], gradient=True, autodiff=True)
    probes = [(spec.name, probe) for spec in specs for probe in spec.probes]

    assert len(probes) > 100
    assert [name for name, probe in probes if len(probe.truth.rows) < len(probe.batch.logits)] == []


@pytest.mark.parametrize(
    ("loss", "convention", "gradient", "reduction"),
    first(
        1,
        [
            (right.log1p, "numpy", right.gradient, None),
            (right.in_its_own_dtype, "numpy", None, None),
            (right.in_plain_python, "numpy", None, None),
            (right.sorted_and_summed, "numpy", None, None),
            (right.by_logaddexp, "numpy", None, None),
            (right.with_nan_for_bad_labels, "numpy", None, None),
            (right.with_options, "numpy", None, None),
            (right.rows, "numpy.rows", right.gradient_of_rows, None),
            (right.binary, "numpy.binary", None, None),
            pytest.param(right.mean, "numpy", None, "mean", marks=pytest.mark.slow),
            (right.mean_with_options, "numpy", None, "mean"),
            pytest.param(right.of_probabilities, "sklearn", None, None, marks=pytest.mark.slow),
        ],
    ),
)
def test_a_right_loss_passes_every_check(
    loss: Loss, convention: str, gradient: Loss | None, reduction: str | None
) -> None:
    result = report(loss, convention, gradient, reduction)

    assert failing(result) == {}
    assert result.passed
    assert len(result.checks) > 15


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("loss", [right.log1p, right.in_its_own_dtype, right.by_logaddexp])
def test_a_right_loss_passes_other_searches_too(loss: Loss, seed: int) -> None:
    assert failing(report(loss, only=["search"], seed=seed)) == {}


@pytest.mark.parametrize(
    ("loss", "convention", "name", "kind"),
    first(
        1,
        [
            (wrong.unshifted, "numpy", "search", "overflow"),
            (wrong.offset_cancels, "numpy", "translation", "differs"),
            (wrong.offset_cancels, "numpy", "common-offset", "collapsed"),
            (wrong.maximum_in_the_sum, "numpy", "no-collapse", "collapsed"),
            (wrong.epsilon_in_the_denominator, "numpy", "tail-collapse", "off"),
            (wrong.other_classes_only, "numpy", "normal-3x3", "negative"),
            (wrong.summed_in_float16, "numpy", "normal-3x3", "off"),
            (wrong.all_maxima_left_out, "numpy", "common-offset", "collapsed"),
            (wrong.short_series, "numpy", "search", "off"),
            (wrong.in_float32, "numpy", "tail-collapse-in-float64", "off"),
            (wrong.clipped, "numpy", "naive-ends-at-103", "off"),
            (wrong.shift_of_the_batch, "numpy", "no-collapse", "collapsed"),
            (wrong.shift_of_the_first_class, "numpy", "search", "overflow"),
            (wrong.labels_wrap, "numpy", "invalid-labels", "plausible"),
            (wrong.labels_wrap, "numpy", "negative-label-wraps", "plausible"),
            (wrong.labels_are_clipped, "numpy", "invalid-labels", "plausible"),
            (wrong.masks_are_nan, "numpy.rows", "one-hot", "nan"),
            (wrong.labels_are_normalised, "numpy.rows", "unnormalised-labels", "off"),
            (wrong.wide_soft_rows_sum_to_one, "numpy.rows", "unnormalised-labels", "off"),
            (wrong.ignores_below, "numpy", "ignored-rows", "collapsed"),
            (wrong.ignored_rows_are_multiplied, "numpy", "ignored-rows", "nan"),
            (wrong.mean_counts_ignored, "numpy", "ignored-rows", "mean"),
            (wrong.mean_ignores_weights, "numpy", "weighted-mean", "mean"),
            (wrong.smoothing_spares_the_label, "numpy", "weights-and-smoothing", "off"),
            (wrong.binary_epsilon, "numpy.binary", "no-collapse", "negative"),
            (wrong.binary_without_a_check, "numpy.binary", "invalid-labels", "plausible"),
            (wrong.binary_labels_are_rounded, "numpy.binary", "soft-labels", "off"),
            (wrong.soft_rows_cancel, "numpy.rows", "soft-labels", "off"),
            (wrong.narrow_labels, "numpy", "invalid-labels", "plausible"),
            (wrong.far_tails_are_off, "numpy", "no-collapse", "off"),
            (wrong.rest_of_a_block, "numpy", "sizes", "off"),
            (rude.writes_and_raises, "numpy", "untouched", "untouched"),
            (wrong.negative_zero, "numpy", "one-class", "one class"),
            (rude.writes_logits, "numpy", "untouched", "untouched"),
            (rude.writes_labels, "numpy", "untouched", "untouched"),
            (rude.wider, "numpy", "dtype", "dtype"),
            (rude.column, "numpy", "shape", "shape"),
            (rude.reduced, "numpy", "shape", "shape"),
            (rude.a_list, "numpy", "normal-3x3", "returned"),
            (rude.prints, "numpy", "quiet", "quiet"),
            (rude.raises_on_one_class, "numpy", "one-class", "raised"),
            (rude.exits, "numpy", "one-hot", "raised"),
        ],
    ),
)
def test_a_wrong_loss_is_caught(loss: Loss, convention: str, name: str, kind: str) -> None:
    result = report(loss, convention, only=[name])

    assert not result.passed
    assert kind in failing(result).get(name, {f"nothing, but of {failing(result)}"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "convention", "gradient", "name", "kind"),
    [
        (right.rows, "numpy.rows", wrong.gradient_without_the_sum, "unnormalised-labels", "gradient wrong"),
        (right.log1p, "numpy", wrong.gradient_of_a_lost_tail, "gradient-sum", "gradient sum"),
        (right.log1p, "numpy", wrong.gradient_of_the_other_sign, "normal-3x3", "gradient wrong"),
        (right.log1p, "numpy", right.log1p, "differentiable", "differentiable"),  # of shape (N,)
    ],
)
def test_a_wrong_gradient_is_caught(
    loss: Loss, convention: str, gradient: Loss, name: str, kind: str
) -> None:
    assert kind in failing(report(loss, convention, gradient, only=[name]))[name]


def test_a_loss_with_a_parameter_reduction_returns_losses_whatever_the_convention_says() -> None:
    convention = find_convention("numpy", "", "mean")

    assert LossFunction.build(right.mean, None, convention).convention.reduction == "mean"
    assert LossFunction.build(right.with_options, None, convention).convention.reduction == "none"


@pytest.mark.slow
def test_properties_of_logits_are_no_checks_of_probabilities() -> None:
    of_logits = {each.name for each in PROPERTIES if each.logits_only}
    names = {check.name for check in report(right.of_probabilities, "sklearn", only=["properties"]).checks}

    assert {"translation", "one-class"} <= of_logits
    assert names == {"no-collapse", "invalid-labels", "permutation", "batching", "sizes"}


@pytest.mark.parametrize(
    ("gap", "flushes", "supported"), [(1e-38, True, False), (1e-38, False, True), (2e-38, True, True)]
)
def test_subnormal_logits_are_for_libraries_that_have_them(
    gap: float, flushes: bool, supported: bool
) -> None:
    convention = replace(find_convention("numpy", ""), flushes=flushes)

    assert Probe.build(convention, [[gap, 0]], [0], "float32").is_supported(()) is supported

"""Why a loss fails: a cause is found by what behaves alike, and ranked by severity."""

import time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Xent, first
from losses import faults_unlike, right, wrong
from test_check import Loss, report

from xentcli.check.probes import Probe
from xentcli.check.report import SEVERITIES, CheckFinding, Place, worst_severity
from xentcli.check.run import Options, check
from xentcli.check.symptoms import GRADIENT_MISTAKES, MISTAKES, gradient_mistakes, mistakes
from xentcli.check.tolerance import MaxUlps
from xentcli.check.trial import try_loss
from xentcli.explain import explain
from xentcli.frameworks.conventions import CONVENTIONS
from xentcli.frameworks.function import LossFunction
from xentcli.frameworks.subject import InSubprocess
from xentcli.load import load_all
from xentcli.load.sources import read_all
from xentcli.methods.table import select
from xentcli.process import Fields
from xentcli.run import evaluate
from xentcli.show.checked import verdict

NUMPY = CONVENTIONS["numpy"]
PROBE = Probe.build(NUMPY, [[0.0, 0.0]], [0], "float32")  # the loss is ln 2
ORDINARY = {
    "none": (),
    "wrong": (CheckFinding("raised", ""),),
    "inaccurate": (CheckFinding("off", "", place=Place(PROBE, 0, 0.6938, PROBE.truth.losses[0])),),
}
ATLAS = ("blog", "cancellation", "clipping", "overflow", "underflow", "invalid-labels")


def _log_p(x: right.Floats) -> right.Floats:
    """Return log softmax, in float64."""
    x = x.astype(np.float64)
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _picked(losses: right.Floats, labels: right.Ints, like: right.Floats) -> right.Floats:
    right.checked(labels, like.shape[1])
    return losses[np.arange(len(like)), labels].astype(like.dtype)


MISTAKEN: dict[str, Loss] = {
    "wrong-sign": lambda x, k: -right.log1p(x, k),
    "next-class": lambda x, k: right.log1p(x, np.where(k < x.shape[1], (k + 1) % x.shape[1], k)),
    "previous-class": lambda x, k: right.log1p(x, np.where(k > 0, k - 1, np.where(k < 0, k, x.shape[1] - 1))),
    "label-left-out": lambda x, _: np.logaddexp.reduce(x.astype(np.float64), axis=1).astype(x.dtype),
    "likeliest-class": lambda x, _: right.log1p(x, x.argmax(axis=1)),
    "softmax-twice": lambda x, k: right.log1p(np.exp(_log_p(x)), k).astype(x.dtype),
    "softmax-left-out": lambda x, k: _picked(-x.astype(np.float64), k, x),
    "log-left-out": lambda x, k: _picked(-np.exp(_log_p(x)), k, x),
    "other-base-2": lambda x, k: (right.log1p(x.astype(np.float64), k) / np.log(2)).astype(x.dtype),
    "other-base-10": lambda x, k: (right.log1p(x.astype(np.float64), k) / np.log(10)).astype(x.dtype),
    "mean-of-classes": lambda x, k: right.log1p(x, k) / x.dtype.type(x.shape[1]),
    "mean-of-batch": lambda x, k: right.log1p(x, k) / x.dtype.type(max(1, len(x))),
}


def _entries(x: right.Floats, k: right.Ints) -> right.Floats:
    return (np.arange(x.shape[1]) == k[:, None]).astype(x.dtype)


GRADIENTS: dict[str, Loss] = {
    "gradient-negated": lambda x, k: -right.gradient(x, k),
    "gradient-doubled": lambda x, k: 2 * right.gradient(x, k),
    "gradient-halved": lambda x, k: right.gradient(x, k) / 2,
    "label-not-subtracted": lambda x, k: right.gradient(x, k) + _entries(x, k),
    "label-added": lambda x, k: right.gradient(x, k) + 2 * _entries(x, k),
    "gradient-next-class": lambda x, k: (
        right.gradient(x, k) + _entries(x, k) - np.roll(_entries(x, k), 1, axis=1)
    ),
    "gradient-previous-class": lambda x, k: (
        right.gradient(x, k) + _entries(x, k) - np.roll(_entries(x, k), -1, axis=1)
    ),
}
AUTODIFF = {"upstream-ignored", "gradient-of-sum"}  # of a backward pass: tests/test_check_frameworks.py


def test_every_mistake_has_a_loss_here_and_a_formula() -> None:
    losses = MISTAKES.keys() - GRADIENT_MISTAKES.keys()
    assert MISTAKEN.keys() == losses == mistakes(np.array([1.0, 2.0]), 0, Decimal(1), 2).keys()
    made = gradient_mistakes(np.array([0.5, -0.5]), 1, 2, 2.0)
    assert GRADIENTS.keys() | AUTODIFF == GRADIENT_MISTAKES.keys() == made.keys()


@pytest.mark.parametrize("name", first(1, GRADIENTS))
def test_a_common_mistake_of_a_gradient_is_named(name: str) -> None:
    causes = report(
        right.log1p,
        gradient=GRADIENTS[name],
        only=["blog", "batch-sizes", "clipping"],
        ordinary=ORDINARY["wrong"],
    ).causes

    assert (causes[0].name, causes[0].severity) == (name, "wrong")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "reduction", "name"),
    [(np.sum, "mean", "sum-for-mean"), (np.mean, "sum", "mean-for-sum")],
)
def test_a_sum_for_a_mean_is_named(loss: Loss, reduction: str, name: str) -> None:
    def reduced(x: right.Floats, k: right.Ints) -> Any:
        return x.dtype.type(loss(right.log1p(x.astype(np.float64), k)))

    causes = report(reduced, reduction=reduction, only=["blog", "batch-sizes"]).causes

    assert causes[0].name == name


@pytest.mark.parametrize(
    ("loss", "only", "name"),
    [
        (wrong.mean_counts_ignored, "ignored-rows", "ignored-in-denominator"),
        (wrong.mean_ignores_weights, "weights-and-smoothing", "ignored-in-denominator"),
    ],
)
def test_a_wrong_denominator_is_named(loss: Loss, only: str, name: str) -> None:
    assert report(loss, only=[only]).causes[0].name == name


@pytest.mark.parametrize(
    ("loss", "only", "name"),
    [
        (faults_unlike.short_labels_in_a_row, "memory-layouts", "layout"),
        (faults_unlike.losses_by_address(), "reused-arrays", "stale"),
        (faults_unlike.masks_of_many_rows, "unlike-rows-of-many", "masked-infinity"),
    ],
)
def test_how_it_is_called_is_the_cause_where_nothing_else_fails(loss: Loss, only: str, name: str) -> None:
    assert [cause.name for cause in report(loss, only=[only, "blog"]).causes] == [name]


@pytest.mark.parametrize(
    ("of_ignored", "name"), [(0.25, "ignored-row-counts"), (np.nan, "ignored-row-leaks")]
)
def test_an_ignored_row_that_counts_is_no_0_times_infinity(of_ignored: float, name: str) -> None:
    def loss(x: right.Floats, k: right.Ints, ignore_index: int = -100) -> right.Floats:
        losses = right.with_options(x, k, ignore_index=ignore_index, reduction="none")
        return np.where(k == ignore_index, x.dtype.type(of_ignored), losses)

    assert report(loss, only=["ignored-rows"]).causes[0].name == name


@pytest.mark.parametrize("name", first(3, MISTAKEN))
def test_a_common_mistake_is_named(name: str) -> None:
    causes = report(
        MISTAKEN[name], only=["blog", "batch-sizes", "permutation"], ordinary=ORDINARY["wrong"]
    ).causes

    assert (causes[0].name, causes[0].severity, causes[0].method) == (name, "wrong", None)


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        (wrong.offset_cancels, {"offset-cancellation": "unshifted", "tail-collapse": "unshifted"}),
        (wrong.maximum_in_the_sum, {"tail-collapse": "sparse"}),
        (wrong.clipped, {"clip-active": "clipped"}),
        (wrong.labels_wrap, {"label-out-of-range": None}),
        (wrong.all_maxima_left_out, {"collapsed": None}),
    ],
)
def test_a_loss_fails_as_a_method_does(loss: Loss, names: dict[str, str | None]) -> None:
    causes = report(loss, only=ATLAS).causes

    assert {cause.name: cause.method for cause in causes} == names


@pytest.mark.parametrize("loss", [wrong.offset_cancels, wrong.maximum_in_the_sum, wrong.clipped])
def test_what_is_said_to_fail_alike_fails(loss: Loss) -> None:
    for cause in report(loss, only=ATLAS).causes:
        assert cause.case is not None
        assert cause.method is not None
        (case,) = load_all(*read_all([cause.case]))
        shown = explain(evaluate(case, select(cause.method)), cause.method, None)

        assert shown.verdict != "accurate"
        assert cause.name in {finding.name for finding in shown.findings}


def test_a_method_that_is_wrong_where_the_loss_is_right_is_no_cause() -> None:
    # Both lose the tail; naive is nan in the case abnormal, where this loss is right.
    assert "naive" not in {cause.method for cause in report(wrong.maximum_in_the_sum, only=ATLAS).causes}


def test_a_loss_that_is_wrong_of_ordinary_logits_is_no_method_of_xents() -> None:
    result = report(wrong.other_classes_only, only=ATLAS, ordinary=ORDINARY["wrong"])

    assert {cause.method for cause in result.causes} == {None}
    assert result.causes[0].name == "negative"


@pytest.mark.parametrize(
    ("kind", "share", "severity"),
    [
        ("off", 0.0099, "inaccurate"),
        ("off", -0.0099, "inaccurate"),
        ("off", 0.0101, "wrong"),
        ("off", -0.0101, "wrong"),
        ("differs", 0.0099, "inaccurate"),
        ("mean", 0.0101, "wrong"),
        ("off", float("nan"), "wrong"),
        ("negative", 0.0, "wrong"),
        ("gradient wrong", 0.0, "wrong"),
        ("plausible", 0.0, "contract"),
    ],
)
def test_an_error_of_1_percent_is_where_inaccurate_ends(kind: str, share: float, severity: str) -> None:
    probe = Probe.build(NUMPY, [[1, 2]], [0], "float64")
    place = Place(probe, 0, 2.0 * (1 + share), Decimal(2))

    assert CheckFinding(kind, "", place=place).severity == severity
    assert severity in SEVERITIES


def test_causes_stand_the_worst_first() -> None:
    severities = [cause.severity for cause in report(wrong.unshifted, only=[*ATLAS, "no-collapse"]).causes]

    assert severities == sorted(severities, key=SEVERITIES.index)
    assert len(set(severities)) > 1


@pytest.mark.parametrize(
    ("ordinary", "sentence"),
    [
        ("none", "offset_cancels is right on ordinary logits, but fails 7 of 10 checks: "),
        ("wrong", "offset_cancels is wrong on ordinary logits too (7 of 10 checks): "),
        ("inaccurate", "offset_cancels is inaccurate on ordinary logits too (7 of 10 checks): "),
    ],
)
def test_the_verdict_says_whether_ordinary_logits_are_safe(ordinary: str, sentence: str) -> None:
    result = report(wrong.offset_cancels, only=["blog", "cancellation"], ordinary=ORDINARY[ordinary])

    assert verdict(result).startswith(sentence)


@pytest.mark.parametrize(
    ("loss", "ordinary"),
    [(right.log1p, None), (wrong.summed_in_float16, "inaccurate"), (wrong.other_classes_only, "wrong")],
)
def test_the_first_call_says_how_ordinary_logits_fare(loss: Loss, ordinary: str | None) -> None:
    trial = try_loss(LossFunction.build(loss, None, NUMPY), MaxUlps())

    assert worst_severity(trial.findings) == ordinary


def test_little_time_is_shared_by_all_categories_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    subject = InSubprocess.__new__(InSubprocess)
    subject.convention, subject.parameters = NUMPY, ()
    subject.has_gradient = subject.has_autodiff = False
    function = LossFunction.build(right.log1p, None, NUMPY)

    def respond(request: Fields) -> Fields:
        clock[0] += 1.5
        return function.respond(request)

    monkeypatch.setattr(subject, "respond", respond)
    result = check(subject, Options(), "loss", 1000.0 + 20 * 1.5)

    begun = {each.category for each in result.checks if each.batches}
    assert begun == {each.category for each in result.checks} - {"contract"}
    assert {each.status for each in result.checks} == {"passed", "not reached"}


def test_a_loss_of_a_file_runs_as_a_method(xent: Xent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    methods = ["tests/losses/wrong.py:offset_cancels", "tests/losses/right.py:mean", "losses.rude:a_list"]

    run = xent("run", "cases/cancellation/common-offset.yaml", "--methods", ",".join(["sparse", *methods]))

    assert run.code == 0
    sentence = " ".join(run.out.partition("\n\n")[0].split())
    assert "tests/losses/wrong.py:offset_cancels is 0, where the loss is 0.6931472; sparse" in sentence
    assert "sparse and tests/losses/right.py:mean are right; losses.rude:a_list returned list" in sentence


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "abnormal", "--methods", "no.py:loss"], "no.py: no such file"),
        (["compare", "abnormal", "--methods", "math:pi"], "math:pi: is float, not a function"),
        (["explain", "abnormal", "--method", "mine.py:loss"], "mine.py:loss shows its result only"),
    ],
)
def test_a_loss_that_is_no_method_is_refused(xent: Xent, arguments: list[str], message: str) -> None:
    run = xent(*arguments)

    assert (run.code, run.out) == (2, "")
    assert message in run.err

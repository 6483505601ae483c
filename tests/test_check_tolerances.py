"""Every tolerance of xent check has twins: a loss just inside, and one just outside.

What is allowed was computed by hand from docs/check-allowance.md, with the numbers beside each row.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from losses import near, right, rude

from xentcli.check.findings import compare_rows, judge_response
from xentcli.check.plan import case_spec
from xentcli.check.probes import Probe
from xentcli.check.report import CheckFinding, CheckResult
from xentcli.check.run import Options, check, deadline
from xentcli.check.tolerance import MaxUlps
from xentcli.frameworks.conventions import CONVENTIONS, Convention
from xentcli.frameworks.function import LossFunction
from xentcli.frameworks.program import TAKES
from xentcli.frameworks.subject import InSubprocess
from xentcli.load import load_all
from xentcli.load.sources import read_all
from xentcli.process import Fields, Process

inf, nan = math.inf, math.nan
NUMPY = CONVENTIONS["numpy"]
Loss = Callable[..., Any]


def judged(
    loss: Loss,
    logits: Any,
    labels: Any,
    dtype: str = "float32",
    convention: Convention = NUMPY,
    **options: Any,
) -> tuple[list[str], float | None]:
    """Judge what a loss makes of one batch: the names of the findings, and the largest error in ulps."""
    max_ulps = MaxUlps.from_value(options.pop("max_ulps", 4))
    probe = Probe.build(convention, logits, labels, dtype, **options)
    response = LossFunction.build(loss, None, convention).respond(probe.request())
    findings, error = judge_response(probe, response, max_ulps)
    return [finding.name for finding in findings], None if error is None else float(error)


def result(name: str, loss: Loss, gradient: Loss | None = None) -> CheckResult:
    """Return the result of one check."""
    subject = LossFunction.build(loss, gradient, NUMPY)
    (one,) = check(subject, Options(only=[name]), "loss", deadline(60)).checks
    return one


# The allowance of a loss: 4 + log2 C + 2 (Σ p_i |x_i - m| + m - x_y) / loss


@pytest.mark.parametrize(
    ("logits", "label", "dtype", "inside", "outside"),
    [
        ([2, 2], 0, "float32", 4, 6),  # 4 + 1
        ([2, 2], 0, "float64", 4, 6),
        ([2, 2], 0, "float16", 4, 6),
        ([1] * 8, 0, "float32", 6, 8),  # 4 + 3
        ([0, 3], 0, "float32", 6, 8),  # 4 + 1 + 2 (3 / (1 + e^3) + 3) / 3.04859 = 7.06
        ([80, 0], 0, "float64", 163, 167),  # 4 + 1 + 2 · 80 e^-80 / e^-80 = 165
        ([40, 0], 0, "float32", 83, 87),  # 4 + 1 + 2 · 40 = 85
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_may_be_off_by_its_allowance(  # noqa: PLR0913, PLR0917 - the twins of a row
    logits: list[float], label: int, dtype: str, inside: int, outside: int, sign: int
) -> None:
    assert judged(near.moved(right.log1p, sign * inside), [logits], [label], dtype)[0] == []
    assert judged(near.moved(right.log1p, sign * outside), [logits], [label], dtype)[0] == ["off"]


def test_soft_labels_and_weights_count_in_the_allowance() -> None:
    # 4 + 1 + 2 · 3 · (0.5 (3 / (1 + e^3) + 3) + 0.5 · 3 / (1 + e^3)) / (3 · 1.54859) = 7.12
    rows = CONVENTIONS["numpy.rows"]
    arguments: tuple[Any, ...] = ([[0, 3]], [[1.5, 1.5]], "float32", rows)

    assert judged(near.moved(right.rows, 6), *arguments)[0] == []
    assert judged(near.moved(right.rows, 8), *arguments)[0] == ["off"]


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_binary_loss_may_be_off_by_the_bar_and_one(label: float) -> None:
    binary = CONVENTIONS["numpy.binary"]

    assert judged(near.moved(right.binary, 4), [20.0], [label], "float32", binary)[0] == []
    assert judged(near.moved(right.binary, 6), [20.0], [label], "float32", binary)[0] == ["off"]


def test_a_loss_of_probabilities_may_be_off_by_the_bar_and_log2_c() -> None:
    convention = replace(NUMPY, probabilities=True)

    def loss(p: Any, labels: Any) -> Any:
        return -np.log(p[np.arange(len(p)), labels].astype(np.float64)).astype(p.dtype)

    arguments = ([[0, 30]], [0], "float32", convention)

    assert judged(near.moved(loss, 4), *arguments)[0] == []
    assert judged(near.moved(loss, 6), *arguments)[0] == ["off"]


def test_a_lower_bar_makes_a_loss_off_that_is_within_4_ulps() -> None:
    assert judged(near.moved(right.log1p, 1), [[2, 2]], [0], max_ulps=1)[0] == []
    assert judged(near.moved(right.log1p, 3), [[2, 2]], [0], max_ulps=1)[0] == ["off"]


@pytest.mark.parametrize("steps", [0, 3, 20])
def test_the_error_shown_is_the_distance_to_the_truth_in_ulps(steps: int) -> None:
    with mpmath.workprec(200):
        loss = float(np.float32(math.log(2))) + steps * 2.0**-24
        expected = float(abs(mpmath.mpf(loss) - mpmath.log(2)) * 2**24)

    _, error = judged(near.moved(right.log1p, steps), [[2, 2]], [0])

    assert error == pytest.approx(expected, rel=1e-15)


# 0, negative losses, nan and infinity


@pytest.mark.parametrize(
    ("logits", "names"),
    [
        # The smallest number of float32 is 2^-149 = e^-103.279. C/2 of those may be lost.
        ([103.384, 0], []),  # 0.9 of it
        ([102.873, 0], ["collapsed"]),  # 1.5
        ([103.636, 0, 0], []),  # 1.4 of 1.5
        ([103.502, 0, 0], ["collapsed"]),  # 1.6
    ],
)
def test_a_loss_may_be_0_where_every_term_rounds_to_0(logits: list[float], names: list[str]) -> None:
    assert judged(near.zero, [logits], [0])[0] == names


@pytest.mark.parametrize(("gap", "flushed"), [(87.3, ["collapsed"]), (87.4, [])])
def test_a_loss_may_be_0_below_the_normal_numbers_of_a_library_without_others(
    gap: float, flushed: list[str]
) -> None:
    # The smallest normal number of float32 is 2^-126 = e^-87.337.
    probe = Probe.build(replace(NUMPY, flushes=True), [[gap, 0]], [0], "float32")
    findings, _ = judge_response(probe, {"losses": [0.0]}, MaxUlps())

    assert [finding.name for finding in findings] == flushed
    assert judged(near.zero, [[gap, 0]], [0])[0] == ["collapsed"]


@pytest.mark.parametrize(("loss", "names"), [(2.0**-148, []), (-(2.0**-149), ["negative"])])
def test_a_negative_loss_is_never_right(loss: float, names: list[str]) -> None:
    assert judged(near.constant(loss), [[103.384, 0]], [0])[0] == names


@pytest.mark.parametrize(
    ("logits", "label", "loss", "names"),
    [
        ([1, 2], 7, 1.5, ["plausible"]),
        ([1, 2], 7, inf, []),
        ([1, 2], 7, nan, []),
        ([1, 2], 1, nan, ["nan"]),
        ([1, 2], 1, inf, ["overflow"]),
        ([1, inf], 0, nan, []),  # the limit is inf
        ([1, inf], 0, inf, []),
        ([1, inf], 0, 5.0, ["off"]),
        ([1, -inf], 0, nan, ["nan"]),
        ([-inf, -inf], 0, nan, []),
        ([-inf, -inf], 0, 0.0, ["plausible"]),
    ],
)
def test_nan_is_right_where_something_went_wrong_before(
    logits: list[float], label: int, loss: float, names: list[str]
) -> None:
    assert judged(near.constant(loss), [logits], [label])[0] == names


# Raising


def test_a_loss_may_refuse_nan_infinity_and_rows_of_masks() -> None:
    assert result("all-classes-masked", near.refuses_what_is_no_number).status == "passed"
    for logits in ([nan, 0], [inf, 0], [-inf, -inf]):
        assert judged(near.refuses_what_is_no_number, [[1, 2], logits], [0, 0])[0] == []


def test_a_loss_may_not_refuse_a_mask() -> None:
    assert judged(rude.exits, [[1, 2], [-inf, 0]], [0, 1])[0] == ["raised"]
    assert judged(right.log1p, [[1, 2]], [2])[0] == []  # an invalid label


# Losses that should be the same number


def test_shifted_logits_may_change_a_loss_by_twice_its_allowance() -> None:
    # Rows of three equal logits: 2 (4 + log2 3) = 11.17
    assert result("translation", near.moved_where_shifted(11)).findings == ()
    assert {f.name for f in result("translation", near.moved_where_shifted(12)).findings} == {"differs"}


@pytest.mark.parametrize(
    ("losses", "names"),
    [
        ((nan, nan), []),
        ((inf, inf), []),
        ((nan, 0.5), ["differs"]),
        ((inf, 0.5), ["differs"]),
        ((0.5, -inf), ["differs"]),
        ((0.5, 0.5), []),
    ],
)
def test_nan_and_infinities_are_the_same_only_as_themselves(
    losses: tuple[float, float], names: list[str]
) -> None:
    probe = Probe.build(NUMPY, [[2, 2], [2, 2]], [0, 0], "float32")
    response: Fields = {"losses": list(losses)}

    findings = compare_rows("they differ", (probe, response, 0), (probe, response, 1), MaxUlps())

    assert [finding.name for finding in findings] == names


# Gradients


@pytest.mark.parametrize(("share", "names"), [(0.0098, set()), (0.0102, {"gradient sum"})])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_gradient_may_sum_to_1_percent_of_its_largest_entry(
    share: float, names: set[str], sign: int
) -> None:
    findings = result("gradient-sum", right.log1p, near.gradient_with_a_rest(sign * share)).findings

    assert {finding.name for finding in findings} == names


@pytest.mark.slow
def test_a_gradient_has_the_dtype_of_the_logits() -> None:
    assert result("dtype", right.log1p, right.gradient).findings == ()
    (finding,) = result("dtype", right.log1p, near.wide_gradient).findings

    assert finding.statement == "the gradient is float64 for logits of float32"


# Reductions


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_mean_and_a_sum_may_be_off_by_log2_n_more_than_a_loss(reduction: str) -> None:
    # Four times ln 2: 4 + 1 + 2
    logits, labels = [[2, 2]] * 4, [0] * 4
    loss = right.log1p

    assert judged(near.reduced_by(loss, 6), logits, labels, reduction=reduction)[0] == []
    assert judged(near.reduced_by(loss, 8), logits, labels, reduction=reduction)[0] == [reduction]


@pytest.mark.parametrize(("loss", "names"), [(0.0, []), (nan, []), (1.0, ["mean"])])
def test_the_mean_of_nothing_is_0_or_nan(loss: float, names: list[str]) -> None:
    probe = Probe.build(NUMPY, [[1, 2]], [-100], "float32", "mean", ignore_index=-100)
    findings, _ = judge_response(probe, {"losses": [0.0], "loss": [loss], "loss_shape": []}, MaxUlps())

    assert [finding.name for finding in findings] == names


def test_a_mean_of_several_numbers_is_of_the_wrong_shape() -> None:
    probe = Probe.build(NUMPY, [[2, 2], [2, 2]], [0, 0], "float32", "mean")
    ln2 = float(np.float32(math.log(2)))
    findings, _ = judge_response(
        probe, {"losses": [ln2] * 2, "loss": [ln2] * 2, "loss_shape": [2]}, MaxUlps()
    )

    assert findings == [CheckFinding("shape", "returned shape (2,) for the mean; expected ()")]


# Time


@pytest.mark.parametrize(
    ("left", "seconds"),
    [(1000.0, 10.0), (10.5, 10.0), (9.5, 9.5), (1.5, 1.5), (0.5, 1.0), (-1.0, 1.0)],
)
def test_a_request_gets_10_seconds_but_no_more_than_are_left_and_1_at_least(
    monkeypatch: pytest.MonkeyPatch, left: float, seconds: float
) -> None:
    limits: list[float] = []

    def respond(_: Process, fields: Fields, seconds: float) -> Fields:
        limits.append(seconds)
        return {
            "parameters": [],
            "has_gradient": False,
            "has_autodiff": False,
            "reduction": "none",
            "flushes": False,
            "lacks": [],
            **fields,
        }

    monkeypatch.setattr(Process, "request", respond)
    monkeypatch.setattr(Process, "is_running", True)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    subject = InSubprocess("loss", None, NUMPY, 1000.0 + left)
    subject.respond({})
    subject.respond({})

    assert limits == [120.0, 10.0, seconds]  # the first two say whether it can be judged at all


@pytest.mark.parametrize(("seconds", "status"), [(59.0, "failed"), (61.0, "not reached")])
def test_a_call_that_the_deadline_ends_is_not_reached_and_no_finding(
    monkeypatch: pytest.MonkeyPatch, seconds: float, status: str
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    subject = InSubprocess.__new__(InSubprocess)
    subject.convention, subject.parameters = NUMPY, ()
    subject.has_gradient = subject.has_autodiff = False

    def respond(_: Fields) -> Fields:
        clock[0] += seconds
        return {"raised": "no answer", "ended": True}

    monkeypatch.setattr(subject, "respond", respond)

    (one,) = check(subject, Options(only=["one-hot"]), "loss", 1060.0).checks

    assert one.status == status


@pytest.mark.parametrize(("apart", "names"), [(2, []), (3, ["gradient wrong"])])
def test_a_small_gradient_may_be_off_by_the_smallest_number_of_its_dtype(
    apart: int, names: list[str]
) -> None:
    """Of float16 that is 2^-24, 5 % of the largest entry here; 2 of them, where 1/4 came back to the loss."""
    probe = Probe.build(NUMPY, [[16, 2, 1]], [0], "float16")
    true = probe.truth.gradients[0]
    gradient = [true[0], true[1], true[2] + apart * 2**-24]

    loss = float(np.float16(1.1374e-06))  # log1p(exp(-14) + exp(-15))
    findings, _ = judge_response(probe, {"losses": [loss], "gradient": gradient}, MaxUlps())

    assert [finding.name for finding in findings] == names


def test_a_loss_that_is_given_rows_divides_a_weighted_mean_by_their_number() -> None:
    """PyTorch 2.13.0 gives 2000.0 for weighted-mean with labels as probabilities, 133.33 with indices."""
    (case,) = load_all(*read_all(["weighted-mean"]))
    means = {
        name: case_spec(case, CONVENTIONS[name], TAKES).probes[0].truth.loss
        for name in ("numpy", "numpy.rows")
    }

    assert {name: float(f"{mean:.5g}") for name, mean in means.items()} == {
        "numpy": 133.33,
        "numpy.rows": 2000.0,
    }

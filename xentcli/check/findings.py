"""A response beside the truth: what is wrong with it."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.report import CheckFinding, Place
from xentcli.digits import format_number, format_ulps
from xentcli.formats import FORMATS, nearest, ulp, ulps
from xentcli.judge.findings.finding import ACCURATE
from xentcli.judge.verdicts import judge_gradient, judge_losses, largest_error

if TYPE_CHECKING:
    from xentcli.check.tolerance import MaxUlps
    from xentcli.formats import FloatArray
    from xentcli.process import Fields

_FEW: Final = 4  # entries of a gradient that are shown
_ENOUGH: Final = 53  # examples of a batch with the same verdict: as many as a batch of repeated rows has
_SINGLE: Final = 24  # bits: in less, a share of a small gradient may be lost
_BOTH: Final = 2  # two losses that should be equal may each be off by the allowance

Row = tuple[Probe, "Fields", int]  # an example: the batch, the response, its place


def judge_response(
    probe: Probe, response: "Fields", max_ulps: "MaxUlps"
) -> tuple[list[CheckFinding], Decimal | None]:
    """Return the findings of a response, and its largest error in ulps, None where there is no number.

    ``max_ulps`` is the error allowed besides what rounding must cost. The mean or sum is judged where the
    losses are right.
    """
    if (failure := _failure(probe, response)) is not None:
        return failure, None
    findings, errors = ([], []) if probe.only_loss else _judge_losses(probe, response["losses"], max_ulps)
    findings += _gradient_findings(probe, response)
    if not findings and probe.truth.loss is not None and "loss" in response:
        findings += _reduction_findings(probe, response, probe.truth.loss, max_ulps)
        errors += [ulps(loss, probe.truth.loss, FORMATS[probe.dtype]) for loss in response["loss"]]
    return findings, max((error for error in errors if error is not None), default=None)


@np.errstate(all="ignore")  # what overflows is compared as infinite
def _judge_losses(
    probe: Probe, losses: Sequence[float], max_ulps: "MaxUlps"
) -> tuple[list[CheckFinding], list[Decimal | None]]:
    """Return the findings of the losses, and errors in ulps, the largest among them.

    Every loss is judged; of the wrong ones the first few of each verdict are described.
    """
    truth, form = probe.truth, FORMATS[probe.dtype]
    true, values = probe.true_losses, np.array(losses, np.float64)[list(truth.rows)]
    words = judge_losses(values, true, probe.dtype)
    # What every loss is allowed at least, less 1 for what float64 does not tell of an error.
    least = max_ulps.of(probe.dtype) + math.log2(max(2, probe.batch.logits.shape[1])) - 1
    is_right = (words == "accurate") & (least >= ACCURATE)
    is_right |= (words == "off") & (true.ulps(values, form) <= least)
    findings: list[CheckFinding] = []
    described = Counter[str]()
    for at in (~is_right).nonzero()[0].tolist():
        row, loss, word = truth.rows[at], float(values[at]), str(words[at])
        if described[word] < _ENOUGH:
            found = list(_loss_findings(probe, row, loss, truth.losses[at], word, max_ulps))
            described[word] += len(found)
            findings += found
    is_finite = np.isfinite(values) & true.is_finite
    others = [ulps(float(values[at]), truth.losses[at], form) for at in (~is_finite).nonzero()[0].tolist()]
    finite = is_finite.nonzero()[0]
    return findings, [*others, largest_error(values[finite], true.at(finite), form) if len(finite) else None]


def spread_of(probe: Probe, responses: "Sequence[Fields]") -> Decimal:
    """Return by how many ulps a loss of a batch differs between responses, at most; 0 of one response."""
    spread = Decimal(0)
    for losses in zip(*(response.get("losses", ()) for response in responses), strict=False):
        numbers = {loss for loss in losses if math.isfinite(loss)}
        if len(numbers) > 1:
            spread = max(spread, ulps(max(numbers), Decimal(min(numbers)), FORMATS[probe.dtype]) or spread)
    return spread


def compare_rows(message: str, one: Row, other: Row, max_ulps: "MaxUlps") -> list[CheckFinding]:
    """Compare two losses that should be the same number; ``message`` says what they differ by."""
    losses = [response.get("losses", ())[row : row + 1] for _, response, row in (one, other)]
    if not all(losses):
        return []  # reported as such
    (a,), (b,) = losses
    probe, _, row = other
    true, form = _true(probe, row), FORMATS[probe.dtype]
    same = a == b or (math.isnan(a) and math.isnan(b))
    if not same and math.isfinite(a) and math.isfinite(b) and true.is_finite():
        allowed = _BOTH * Fraction(probe.allowance(row, true, max_ulps)) * ulp(Fraction(true), form)
        same = abs(Fraction(a) - Fraction(b)) <= allowed
    if same:
        return []
    numbers = f"{format_number(a, probe.dtype)} and {format_number(b, probe.dtype)}"
    places = (Place(other[0], row, b, true), Place(one[0], one[2], a, _true(one[0], one[2])))
    worse = max(places, key=lambda place: math.inf if place.error is None else place.error)
    return [CheckFinding("differs", f"{message}: {numbers}", worse.probe.describe(worse.row), worse)]


def _true(probe: Probe, row: int) -> Decimal:
    return probe.truth.losses[probe.truth.rows.index(row)]


def _failure(probe: Probe, response: "Fields") -> list[CheckFinding] | None:
    """Return what is wrong with a response that holds no losses to judge; None where it holds them."""
    examples = len(probe.batch.logits)
    example, place = (probe.describe(0) if examples == 1 else ""), Place(probe, 0)
    if response.get("ended"):
        return [CheckFinding("ended", response["raised"], example, place)]
    if "raised" in response:
        raised = f"raised {response['raised']}"
        return [] if probe.may_be_refused else [CheckFinding("raised", raised, example, place)]
    if "unusable" in response:
        return [CheckFinding("returned", response["unusable"], example, place)]
    if len(response["losses"]) != examples and not probe.only_loss:
        shape = f"returned shape {tuple(response['shape'])}; expected ({examples},)"
        return [CheckFinding("shape", shape, example, place)]
    return None


def _loss_findings(  # noqa: PLR0913, PLR0917 - what is known of one loss
    probe: Probe, row: int, loss: float, true: Decimal, word: str, max_ulps: "MaxUlps"
) -> Iterator[CheckFinding]:
    """Judge one loss by its verdict, but with the example's allowance in the place of 4 ulps."""
    form = FORMATS[probe.dtype]
    shown, error = f"example {row} is {format_number(loss, probe.dtype)}", ulps(loss, true, form)
    place = Place(probe, row, loss, true)
    if word == "undefined":
        if math.isfinite(loss):
            why = "its label is invalid" if probe.batch.is_invalid(row) else "there is no true loss"
            yield CheckFinding("plausible", f"{shown}, though {why}", probe.describe(row), place)
        return
    if word in {"accurate", "off"}:
        word = "off"
        right = error is not None and float(error) <= probe.allowance(row, true, max_ulps)
    else:
        right = word == "nan" and (probe.is_poisoned(row) or probe.has_odd_labels)
        right |= word == "collapsed" and _may_collapse(probe, true, error)
    if not right:
        distance = f", {format_ulps(error)} ulps off" if word == "off" and error is not None else ""
        truth = format_number(nearest(true, form), probe.dtype)
        statement = f"{word}: {shown}, where the loss is {truth}{distance}"
        yield CheckFinding(word, statement, probe.describe(row), place)


def _may_collapse(probe: Probe, true: Decimal, error: Decimal | None) -> bool:
    """Whether a loss may be 0: every term rounds to 0, or the library has no subnormal numbers.

    C terms of half the smallest number each are a loss of C/2 of them, as many ulps.
    """
    if probe.convention.flushes and abs(true) < Decimal(FORMATS[probe.dtype].smallest_normal):
        return True
    return error is not None and error <= probe.batch.logits.shape[1] / 2


def _gradient_findings(probe: Probe, response: "Fields") -> Iterator[CheckFinding]:
    exact, gradient = probe.truth_of_gradient, response.get("gradient")
    if gradient is None or not exact.gradients or not exact.rows or probe.how.product is not None:
        return  # that of a product is of its factors: properties.products judges it
    states: tuple[str, ...] = ()
    if not probe.only_loss:
        values = np.array(gradient, np.float64).reshape(probe.batch.logits.shape)
        states = judge_gradient(values, exact, binary=probe.batch.binary).states
        for row, state, true in zip(exact.rows, states, exact.gradients, strict=True):
            if state == "wrong" and _is_lost(probe, values[row], true):
                continue
            if probe.has_odd_labels and math.isnan(response["losses"][row]):  # refused, by nan
                continue
            if state in {"wrong", "dead"} or (state == "nan" and not probe.is_poisoned(row)):
                numbers = f"{_first(values[row])}, truth {_first(true)}"
                message = f"the gradient of example {row} is {state}: {numbers}"
                place = Place(probe, row, gradient=values[row])
                yield CheckFinding(f"gradient {state}", message, probe.describe(row), place)
    if (whole := response.get("batch_gradient")) is not None and "wrong" not in states:
        yield from _batch_gradient_findings(probe, whole, response.get("loss", ()))


def _is_lost(probe: Probe, values: "FloatArray", true: "FloatArray") -> bool:
    """Whether a gradient is off by what is lost at the dtype's end.

    Rounded after it was multiplied by what came back, 1/4 at least, it may be off by half of the smallest
    number, and 4 times as much when that is divided out: 2 of them.
    """
    form = FORMATS[probe.dtype]
    smallest = form.smallest_normal if probe.convention.flushes else 2 * form.smallest
    return bool(np.abs(values - true).max() <= smallest)


def _batch_gradient_findings(
    probe: Probe, whole: "Sequence[float]", loss: "Sequence[float]"
) -> Iterator[CheckFinding]:
    """Judge the gradient of the mean or sum of a batch by those of its losses, which are right."""
    exact, divisor, always = probe.truth, probe.divisor, probe.convention.reduction
    if not divisor and 0 in loss and np.isnan(np.array(whole)).any():  # for this loss, of nothing it is 0
        message = "the mean of no row is 0, and its gradient nan"
        yield CheckFinding("gradient nan", message, place=Place(probe, 0))
    if len(probe.batch.logits) == 1 or not divisor or FORMATS[probe.dtype].precision < _SINGLE:
        return
    reduction = probe.reduction if always == "none" else always
    factor = float(1 / divisor) if reduction == "mean" else 1.0
    gradients = tuple(gradient * factor for gradient in exact.gradients)
    values = np.array(whole, np.float64).reshape(probe.batch.logits.shape)
    states = judge_gradient(values, replace(exact, gradients=gradients), binary=probe.batch.binary).states
    for row, state, true in zip(exact.rows, states, gradients, strict=True):
        if state == "wrong":
            numbers = f"{_first(values[row])}, truth {_first(true)}"
            message = f"the gradient of the {reduction} is, at example {row}, {numbers}"
            yield CheckFinding(
                "gradient reduced", message, probe.describe(row), Place(probe, row, gradient=values[row])
            )
            return


def _reduction_findings(
    probe: Probe, response: "Fields", true: Decimal, max_ulps: "MaxUlps"
) -> list[CheckFinding]:
    """Judge the mean or sum; nan and 0 are both taken for the mean of nothing."""
    reduction, form = probe.reduction, FORMATS[probe.dtype]
    if len(response["loss"]) != 1:
        shape = tuple(response["loss_shape"])
        return [CheckFinding("shape", f"returned shape {shape} for the {reduction}; expected ()")]
    (loss,), exact = response["loss"], probe.truth
    may_be_nan = true.is_nan() or any(probe.is_poisoned(row) for row in exact.rows)
    of_nothing = reduction == "mean" and probe.divisor == 0
    if (math.isnan(loss) and (may_be_nan or of_nothing)) or (loss == 0 and of_nothing):
        return []
    error, pairwise = ulps(loss, true, form), math.log2(max(2, len(exact.rows)))  # of a sum of N losses
    if error is not None and float(error) <= max_ulps.of(probe.dtype) + pairwise:  # which each is allowed
        return []
    pairs = zip(exact.rows[: probe.distinct], exact.losses, strict=False)
    largest = max((probe.allowance(*pair, max_ulps) for pair in pairs), default=max_ulps.of(probe.dtype))
    if error is not None and float(error) <= largest + pairwise:
        return []
    truth = format_number(nearest(true, form), probe.dtype)
    statement = f"the {reduction} is {format_number(loss, probe.dtype)}, truth {truth}"
    return [CheckFinding(reduction, statement, place=Place(probe, 0, loss, true))]


def _first(values: "FloatArray") -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:_FEW].tolist())
    return f"[{shown}, …]" if len(values) > _FEW else f"[{shown}]"

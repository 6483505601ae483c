"""Outcome × exact → Judgement: errors in ulps, verdicts, the state of the gradient, findings."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, Decimals, float_sums, ulps
from xentcli.judge import findings
from xentcli.judge.evidence import Evidence, Examples, Reduction
from xentcli.judge.findings import denominators
from xentcli.judge.findings.finding import ACCURATE, WRONG
from xentcli.judge.findings.gradients import wrong_gradient
from xentcli.judge.findings.ranges import clip_active
from xentcli.judge.findings.rounding import low_precision_sum
from xentcli.model import Case, Exact, GradientJudgement, Judgement, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, FloatArray, Format

# From the worst; the verdict of a batch without one loss is the worst of its examples'.
VERDICTS: Final = ("nan", "negative", "overflow", "collapsed", "capped", "off", "undefined", "accurate")
STATES: Final = ("nan", "wrong", "dead", "undefined", "alive", "zero")


def judge_outcomes(case: Case, outcomes: "Sequence[Outcome]", exact: Exact) -> tuple[Judgement | None, ...]:
    """Judge outcomes by the truth: each example evaluated, then the loss; None where one has no numbers."""
    examples = Examples(case.batch, np.array(exact.rows, np.int64), exact.numbers.at(slice(-1)))
    return tuple(
        _judge(case, outcome, exact, examples) if outcome.failure is None else None for outcome in outcomes
    )


@np.errstate(all="ignore")  # what overflows is compared as infinite
def _judge(case: Case, outcome: Outcome, exact: Exact, examples: Examples) -> Judgement:
    dtype = judged_dtype(outcome.dtype, case.numerics.loss_dtype)
    given, binary = outcome.gradient, case.batch.binary
    gradient = None if given is None else judge_gradient(given, exact, binary=binary)
    states = np.array([""] * len(exact.rows) if gradient is None else gradient.states)
    numbers = np.array((*outcome.losses, outcome.loss), np.float64)[[*exact.rows, -1]]
    judged = judge_losses(numbers, exact.numbers, dtype)
    losses, verdicts = numbers[:-1], judged[:-1]
    found: list[tuple[str, ...]] = []
    for at, part in examples.parts:
        evidence = Evidence(part, outcome.steps, dtype, losses[at], verdicts[at], states[at])
        is_capped = (evidence.verdicts == "off") & clip_active.detect(evidence)
        evidence.verdicts[is_capped] = "capped"  # in ``judged`` too, of which they are a part
        found += findings.detect(evidence)
    *words, whole = judged.tolist()
    divisor = case.batch.divisor if case.reduction == "mean" else Fraction(1)
    reduction = Reduction(outcome.losses, outcome.loss, divisor, dtype, exact.loss, case.batch)
    in_reduction = findings.detect_in_reduction(reduction)
    if denominators.is_explained(reduction):  # so is the gradient, although each loss is right
        found = [tuple(name for name in names if name != wrong_gradient.name) for names in found]
    if outcome.loss is None or exact.loss is None:
        reduced = ["off"] if low_precision_sum.name in in_reduction else []
        word = min({*words, *reduced}, key=VERDICTS.index)
        error = largest_error(losses, examples.exact, FORMATS[dtype])
    else:
        word = "capped" if whole == "off" and "capped" in words else whole
        error = ulps(outcome.loss, exact.loss, FORMATS[dtype])
    ratio = denominators.ratio_of(reduction)
    return Judgement(error, word, tuple(words), gradient, tuple(found), in_reduction, ratio)


def judged_dtype(computed: str, inputs: str) -> str:
    """Return the format that a loss is judged in: the one with fewer digits of its own and its inputs'.

    A loss computed in float64 from probabilities rounded to float32 is as near the truth as float32 allows.
    """
    return max(inputs, computed, key=lambda dtype: FORMATS[dtype].eps)


def judge_losses(losses: "FloatArray", true: Decimals, dtype: str) -> "NDArray[np.str_]":
    """Say in a word each how losses (n,) of a dtype stand to the exact ones.

    ``undefined``: there is no true loss; ``accurate``: at most 4 ulps off; ``overflow`` and ``collapsed``:
    infinite or 0 where the true loss rounds to neither; ``off``: everything else, which is ``capped`` where
    a clip's bound took part in it.
    """
    form = FORMATS[dtype]
    rounded = true.nearest(form)
    words = {
        "undefined": true.is_nan,
        "nan": np.isnan(losses),
        "negative": losses < 0,
        "overflow": np.isinf(losses) & ~np.isinf(rounded),
        "collapsed": (losses == 0) & (rounded > 0),
        "accurate": losses == rounded,
    }
    result = _first_word(words, "off")
    others = (result == "off").nonzero()[0]
    if len(others):
        result[others[_is_near(losses[others], true.at(others), form)]] = "accurate"
    return result


def _first_word(words: "dict[str, BoolArray]", otherwise: str) -> "NDArray[np.str_]":
    """Return the first word that holds of each place (n,)."""
    result = np.full(len(next(iter(words.values()))), otherwise, "<U9")
    for word, holds in reversed(words.items()):
        result[holds] = word
    return result


def _is_near(losses: "FloatArray", true: Decimals, form: "Format") -> "BoolArray":
    """Which finite losses are at most 4 ulps off: by float64, and by decimals where that does not tell."""
    errors = true.ulps(losses, form)
    is_near = errors <= ACCURATE
    for place in ((np.abs(errors - ACCURATE) < 1) | true.is_beyond_float64).nonzero()[0].tolist():
        error = ulps(float(losses[place]), true.numbers[place], form)
        is_near[place] = error is not None and error <= ACCURATE
    return is_near


def largest_error(losses: "FloatArray", true: Decimals, form: "Format") -> Decimal | None:
    """Return the largest error in ulps, of those that float64 does not tell from it; None beside a nan."""
    errors = true.ulps(losses, form)
    largest = np.fmax.reduce(errors, initial=0.0)
    is_smaller = errors < largest * (1 - 2.0**-50) - 2.0 ** (form.precision - 52)
    places = (~is_smaller).nonzero()[0].tolist()
    exact = [ulps(float(losses[place]), true.numbers[place], form) for place in places]
    return None if None in exact else max(error for error in exact if error is not None)


def judge_gradient(gradient: "FloatArray", exact: Exact, *, binary: bool) -> GradientJudgement:
    """Judge the gradients (N, C) of the examples evaluated."""
    values, true = gradient[list(exact.rows)], np.array(exact.gradients)
    largest = np.abs(true).max(axis=1)
    is_zero, is_true_zero = ~values.any(axis=1), largest == 0
    with np.errstate(all="ignore"):
        errors = np.abs(values - true).max(axis=1) / (largest + is_true_zero)
    words = {
        "undefined": np.isnan(largest),
        "nan": np.isnan(values).any(axis=1),
        "zero": is_zero & is_true_zero,
        "dead": is_zero,
        "wrong": errors > WRONG,
    }
    states = _first_word(words, "alive").tolist()
    error, residual = float(errors.max()), None
    if not binary:
        residual = float(np.abs(float_sums(values)).max()) if np.isfinite(values).all() else math.nan
    worst = min(set(states), key=STATES.index)
    return GradientJudgement(worst, tuple(states), None if math.isnan(error) else error, residual)

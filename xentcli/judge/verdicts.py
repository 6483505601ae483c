"""Outcome × exact → Judgement: errors in ulps, verdicts, the state of the gradient, findings."""

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, Decimals, float_sums, ulps
from xentcli.judge import findings
from xentcli.judge.evidence import Evidence, Reduction
from xentcli.judge.findings.finding import ACCURATE, WRONG
from xentcli.judge.findings.ranges import clip_active
from xentcli.judge.findings.rounding import low_precision_sum
from xentcli.model import Case, Exact, GradientJudgement, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, FloatArray, Format

# From the worst; the verdict of a batch without one loss is the worst of its examples'.
VERDICTS: Final = ("nan", "negative", "overflow", "collapsed", "capped", "off", "undefined", "accurate")
STATES: Final = ("nan", "wrong", "dead", "undefined", "alive", "zero")


def judge_outcome(case: Case, outcome: Outcome, exact: Exact) -> Judgement | None:
    """Judge one outcome by the truth: each example evaluated, then the loss; None where it has no numbers."""
    if outcome.failure is not None:
        return None
    dtype = judged_dtype(outcome.dtype, case.numerics.loss_dtype)
    given, binary = outcome.gradient, case.batch.binary
    gradient = None if given is None else judge_gradient(given, exact, binary=binary)
    rows = np.array(exact.rows, np.int64)
    losses = np.array(outcome.losses, np.float64)[rows]
    states = np.array([""] * len(rows) if gradient is None else gradient.states)
    whole = Evidence(
        case.batch, rows, outcome.steps, dtype, losses, exact.numbers, np.full(len(rows), ""), states
    )
    words: list[str] = []
    found: list[tuple[str, ...]] = []
    for evidence in whole.parts():
        verdicts = judge_losses(evidence.losses, evidence.exact, dtype, clip_active.detect(evidence))
        words += verdicts.tolist()
        found += findings.detect(replace(evidence, verdicts=verdicts))
    divisor = case.batch.divisor if case.reduction == "mean" else Fraction(1)
    reduction = Reduction(outcome.losses, outcome.loss, divisor, dtype, exact.loss)
    in_reduction = findings.detect_in_reduction(reduction)
    if outcome.loss is None or exact.loss is None:
        reduced = ["off"] if low_precision_sum.name in in_reduction else []
        word = min({*words, *reduced}, key=VERDICTS.index)
        error = _largest_error(losses, exact.numbers, FORMATS[dtype])
    else:
        word = verdict(outcome.loss, exact.loss, dtype, capped="capped" in words)
        error = ulps(outcome.loss, exact.loss, FORMATS[dtype])
    return Judgement(error, word, tuple(words), gradient, tuple(found), in_reduction)


def judged_dtype(computed: str, inputs: str) -> str:
    """Return the format that a loss is judged in: the one with fewer digits of its own and its inputs'.

    A loss computed in float64 from probabilities rounded to float32 is as near the truth as float32 allows.
    """
    return max(inputs, computed, key=lambda dtype: FORMATS[dtype].eps)


def verdict(loss: float, true: Decimal, dtype: str, *, capped: bool) -> str:
    """Say in a word how a loss of a dtype stands to the exact one, as ``judge_losses``."""
    one = np.array([loss], np.float64), Decimals.of((true,)), dtype, np.array([capped])
    return str(judge_losses(*one)[0])


def judge_losses(losses: "FloatArray", true: Decimals, dtype: str, capped: "BoolArray") -> "NDArray[np.str_]":
    """Say in a word each how losses (n,) of a dtype stand to the exact ones.

    ``undefined``: there is no true loss; ``accurate``: at most 4 ulps off; ``overflow`` and ``collapsed``:
    infinite or 0 where the true loss rounds to neither; ``off`` or, where a clip's bound took part in it
    (``capped``), ``capped``: everything else.
    """
    form = FORMATS[dtype]
    rounded = true.nearest(form)
    words = {
        "undefined": np.isnan(true.near),
        "nan": np.isnan(losses),
        "negative": losses < 0,
        "overflow": np.isinf(losses) & ~np.isinf(rounded),
        "collapsed": (losses == 0) & (rounded > 0),
        "accurate": (losses == rounded) | _is_near(losses, true, form),
        "capped": capped,
    }
    return _first_word(words, "off")


def _first_word(words: "dict[str, BoolArray]", otherwise: str) -> "NDArray[np.str_]":
    """Return the first word that holds of each place (n,)."""
    result = np.full(len(next(iter(words.values()))), otherwise, "<U9")
    for word, holds in reversed(words.items()):
        result[holds] = word
    return result


def _is_near(losses: "FloatArray", true: Decimals, form: "Format") -> "BoolArray":
    """Which losses are at most 4 ulps off: by float64, and by decimals where that does not tell."""
    errors = true.ulps(losses, form)
    is_near = errors <= ACCURATE
    is_open = (np.abs(errors - ACCURATE) < 1) | true.is_beyond_float64
    for place in (is_open & np.isfinite(losses)).nonzero()[0].tolist():
        error = ulps(float(losses[place]), true.numbers[place], form)
        is_near[place] = error is not None and error <= ACCURATE
    return is_near


def _largest_error(losses: "FloatArray", true: Decimals, form: "Format") -> Decimal | None:
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
    with np.errstate(all="ignore"):
        largest = np.abs(true).max(axis=1)
        errors = np.abs(values - true).max(axis=1) / np.where(largest == 0, 1, largest)
    words = {
        "undefined": np.isnan(true).any(axis=1),
        "nan": np.isnan(values).any(axis=1),
        "zero": ~values.any(axis=1) & ~true.any(axis=1),
        "dead": ~values.any(axis=1),
        "wrong": errors > WRONG,
    }
    states = _first_word(words, "alive").tolist()
    error = None if np.isnan(errors).any() else float(errors.max())
    residual = float(np.abs(float_sums(values)).max()) if np.isfinite(values).all() else math.nan
    return GradientJudgement(
        min(set(states), key=STATES.index), tuple(states), error, None if binary else residual
    )

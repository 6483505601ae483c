"""Outcome × exact → Judgement: errors in ulps, verdicts, the state of the gradient, findings."""

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, exact_sum, nearest, ulps
from xentcli.judge import findings
from xentcli.judge.evidence import Evidence, Reduction
from xentcli.judge.findings.finding import ACCURATE, WRONG
from xentcli.judge.findings.ranges import clip_active
from xentcli.judge.findings.rounding import low_precision_sum
from xentcli.model import Case, Exact, GradientJudgement, Judgement, Outcome

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

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
    verdicts, found, errors = [], [], []
    for place, row in enumerate(exact.rows):
        loss, true = outcome.losses[row], exact.losses[place]
        state = None if gradient is None else gradient.states[place]
        evidence = Evidence(case.batch, row, outcome.steps, dtype, loss, true, "", state)
        verdicts.append(verdict(loss, true, dtype, capped=clip_active.detect(evidence)))
        found.append(findings.detect(replace(evidence, verdict=verdicts[-1])))
        errors.append(ulps(loss, true, FORMATS[dtype]))
    divisor = case.batch.divisor if case.reduction == "mean" else Fraction(1)
    reduction = Reduction(outcome.losses, outcome.loss, divisor, dtype, exact.loss)
    in_reduction = findings.detect_in_reduction(reduction)
    if outcome.loss is None or exact.loss is None:
        reduced = ["off"] if low_precision_sum.name in in_reduction else []
        word = min((*verdicts, *reduced), key=VERDICTS.index)
        error = None if None in errors else max(error for error in errors if error is not None)
    else:
        word = verdict(outcome.loss, exact.loss, dtype, capped="capped" in verdicts)
        error = ulps(outcome.loss, exact.loss, FORMATS[dtype])
    return Judgement(error, word, tuple(verdicts), gradient, tuple(found), in_reduction)


def judged_dtype(computed: str, inputs: str) -> str:
    """Return the format that a loss is judged in: the one with fewer digits of its own and its inputs'.

    A loss computed in float64 from probabilities rounded to float32 is as near the truth as float32 allows.
    """
    return max(inputs, computed, key=lambda dtype: FORMATS[dtype].eps)


def verdict(loss: float, true: Decimal, dtype: str, *, capped: bool) -> str:
    """Say in a word how a loss of a dtype stands to the exact one.

    ``undefined``: there is no true loss; ``accurate``: at most 4 ulps off; ``overflow`` and ``collapsed``:
    infinite or 0 where the true loss rounds to neither; ``off`` or, where a clip's bound took part in it
    (``capped``), ``capped``: everything else.
    """
    form = FORMATS[dtype]
    rounded = nearest(true, form)
    words = {
        "undefined": true.is_nan(),
        "nan": math.isnan(loss),
        "negative": loss < 0,
        "overflow": math.isinf(loss) and not math.isinf(rounded),
        "collapsed": loss == 0 < rounded,
    }
    if word := next((word for word, holds in words.items() if holds), None):
        return word
    error = ulps(loss, true, form)
    if error is not None and error <= ACCURATE:
        return "accurate"
    return "capped" if capped else "off"


def judge_gradient(gradient: "FloatArray", exact: Exact, *, binary: bool) -> GradientJudgement:
    """Judge the gradients (N, C) of the examples evaluated."""
    states, errors, residuals = [], [], []
    for row, true in zip(exact.rows, exact.gradients, strict=True):
        values = gradient[row]
        with np.errstate(all="ignore"):
            errors.append(float(np.abs(values - true).max() / (np.abs(true).max() or 1)))
        states.append(_state(values, true, errors[-1]))
        total = exact_sum(values.tolist()) if np.isfinite(values).all() else Decimal("NaN")
        residuals.append(abs(nearest(total, FORMATS["float64"])))
    error = None if any(map(math.isnan, errors)) else max(errors)
    residual = None if binary else float(np.max(residuals))
    return GradientJudgement(min(states, key=STATES.index), tuple(states), error, residual)


def _state(values: "FloatArray", true: "FloatArray", error: float) -> str:
    if np.isnan(true).any():
        return "undefined"
    if np.isnan(values).any():
        return "nan"
    if not values.any():
        return "dead" if true.any() else "zero"
    return "wrong" if error > WRONG else "alive"

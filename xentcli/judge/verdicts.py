"""Outcome × exact → Judgement: errors in ulps, verdicts, the state of the gradient, findings."""

import math
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from xentcli.formats import EXTREME, FORMATS, nearest, ulps
from xentcli.judge.causes import clip_active
from xentcli.judge.evidence import Evidence
from xentcli.judge.findings import findings_of
from xentcli.model import Case, Exact, Gradient, Judgement, Outcome

if TYPE_CHECKING:
    from xentcli.model import FloatArray

ACCURATE = 4  # ulps: what a careful formula needs on any input, and a careless one soon exceeds
WRONG = 0.01  # of the largest true entry: a gradient this far off points elsewhere
# From the worst; the verdict of a batch without one loss is the worst of its examples'.
VERDICTS = ("nan", "negative", "overflow", "collapsed", "capped", "off", "undefined", "accurate")
STATES = ("nan", "wrong", "dead", "undefined", "alive", "zero")


def judge_outcome(case: Case, outcome: Outcome, exact: Exact) -> Judgement | None:
    """Hold one outcome against the truth; None where the method could not take the case."""
    if outcome.missing is not None:
        return None
    gradient = (
        None
        if outcome.gradient is None
        else judge_gradient(outcome.gradient, exact, binary=case.batch.binary)
    )
    verdicts, findings, errors = [], [], []
    for place, row in enumerate(exact.rows):
        loss, true = outcome.losses[row], exact.losses[place]
        state = None if gradient is None else gradient.states[place]
        evidence = Evidence(case.batch, row, outcome.steps, outcome.dtype, loss, true, "", state)
        word = verdict(loss, true, outcome.dtype, capped=clip_active(evidence))
        verdicts.append(word)
        findings.append(findings_of(evidence.judged(word)))
        errors.append(ulps(loss, true, FORMATS[outcome.dtype]))
    of_reduction = _of_reduction(case, outcome, exact)
    if outcome.loss is None or exact.loss is None:
        lost = ("off",) if "low-precision-sum" in of_reduction else ()
        worst = min((*verdicts, *lost), key=VERDICTS.index)
        error = None if None in errors else max(error for error in errors if error is not None)
    else:
        worst = verdict(outcome.loss, exact.loss, outcome.dtype, capped="capped" in verdicts)
        error = ulps(outcome.loss, exact.loss, FORMATS[outcome.dtype])
    return Judgement(error, worst, tuple(verdicts), gradient, tuple(findings), of_reduction)


def _of_reduction(case: Case, outcome: Outcome, exact: Exact) -> tuple[str, ...]:
    """Name what went wrong between the losses and the loss."""
    weighting = case.batch.weighting
    if case.reduction == "mean" and weighting is not None and weighting.divisor == 0:
        return ("empty-mean",)
    if outcome.loss is None or not all(map(math.isfinite, outcome.losses)):
        return ()
    if exact.loss is not None and exact.loss.is_finite():
        too_large = math.isinf(nearest(exact.loss, FORMATS[outcome.dtype]))
        if too_large and math.isinf(outcome.loss):
            return ("value-overflows-dtype",)
    of_mean = len(outcome.losses) if weighting is None else weighting.divisor
    divisor = Decimal(of_mean) if case.reduction == "mean" else Decimal(1)
    losses = [Decimal(loss) for loss in outcome.losses]
    true = EXTREME.divide(reduce(EXTREME.add, losses), divisor)
    if math.isinf(outcome.loss):
        return ("low-precision-sum",)
    # Of losses of both signs the sum may be small by cancellation: errors count at the size of its terms.
    scale = EXTREME.divide(reduce(EXTREME.add, map(Decimal.copy_abs, losses)), divisor)
    units = ulps(0.0, scale, FORMATS[outcome.dtype])
    error = EXTREME.subtract(Decimal(outcome.loss), true).copy_abs()
    lost = scale and units and EXTREME.multiply(error, units) > EXTREME.multiply(Decimal(ACCURATE), scale)
    return ("low-precision-sum",) if lost else ()


def verdict(got: float, true: Decimal, dtype: str, *, capped: bool) -> str:
    """Say in a word how a result stands to the exact one; ``capped``: a clip bound took part in it."""
    form = FORMATS[dtype]
    rounded = nearest(true, form)
    words = {
        "undefined": true.is_nan(),
        "nan": math.isnan(got),
        "negative": got < 0,
        "overflow": math.isinf(got) and not math.isinf(rounded),
        "collapsed": got == 0 < rounded,
    }
    if word := next((word for word, holds in words.items() if holds), None):
        return word
    error = ulps(got, true, form)
    if error is not None and error <= ACCURATE:
        return "accurate"
    return "capped" if capped else "off"


def judge_gradient(got: "FloatArray", exact: Exact, *, binary: bool) -> Gradient:
    """Judge the gradients of the examples evaluated."""
    states, errors, residuals = [], [], []
    for row, true in zip(exact.rows, exact.gradients, strict=True):
        values = got[row]
        error = _ratio(values, true)
        states.append(_state(values, true, error))
        errors.append(error)
        residuals.append(abs(math.fsum(values.tolist())) if np.isfinite(values).all() else math.nan)
    worst = min(states, key=STATES.index)
    largest = None if any(math.isnan(error) for error in errors) else max(errors)
    residual = None if binary else float(np.max(residuals))
    return Gradient(worst, tuple(states), largest, residual)


def _ratio(values: "FloatArray", true: "FloatArray") -> float:
    """Return the largest error of an entry over the largest true entry."""
    with np.errstate(all="ignore"):
        largest, error = np.abs(true).max(), np.abs(values - true).max()
        return float(error / largest) if largest else float(error)


def _state(values: "FloatArray", true: "FloatArray", error: float) -> str:
    if np.isnan(true).any():
        return "undefined"
    if np.isnan(values).any():
        return "nan"
    if not values.any():
        return "dead" if true.any() else "zero"
    return "wrong" if error > WRONG else "alive"

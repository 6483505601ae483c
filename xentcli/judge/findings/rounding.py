"""Findings of numbers that rounding lost: beside 1, beside an offset, in a long sum."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, exact_sum, ulp
from xentcli.judge.findings.finding import ACCURATE, WRONG_VERDICTS, finding
from xentcli.judge.findings.inputs import value_overflows_dtype
from xentcli.model import EXPONENTIALS, Operation

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.judge.evidence import Evidence, Reduction
    from xentcli.model import Step

CANCELLED: Final = 64  # an operand 64 = 2⁶ times the result: rounding it cost the result six bits
_SMALL_LOSS: Final = 1  # below it the digits come from the sum of the other exponentials, not from the gap


@finding(
    "tail-collapse",
    short="rounding loses the small tail of the sum",
    cause="The sum is 1 plus a tail, the other classes; rounding loses the tail, and a small loss with it.",
    remedy="Use log1p of the sum without its largest term.",
    source="https://github.com/pytorch/pytorch/issues/113708",
    case="tail-collapse",
)
def tail_collapse(e: "Evidence") -> bool:
    """Detect a sum of 1 and a tail whose rounding is all the error of a small loss."""
    small = e.exact.is_finite() and float(e.exact) < _SMALL_LOSS * e.weight
    if not small or e.verdict not in {"collapsed", "off"}:
        return False
    exps = {step.name: step for step in e.steps_named(*EXPONENTIALS)}
    sums = ((step, exps.get(step.inputs[0] or "")) for step in e.steps_named(Operation.SUM))
    return any(exp is not None and _swallows(step, exp, e.row) for step, exp in sums)


@finding(
    "offset-cancellation",
    short="large logits leave it no digits",
    cause="The log-sum-exp, as large as the logits, was rounded before the label's logit was subtracted.",
    remedy="Subtract the largest logit m first, and keep it out: log Σ exp(x - m) - (x_label - m).",
    source="https://github.com/pytorch/pytorch/issues/11752",
    case="common-offset",
)
def offset_cancellation(e: "Evidence") -> bool:
    """Detect a difference of numbers so large that their rounding is all that is left of it."""
    if e.verdict not in {"off", "collapsed", "negative"}:
        return False
    sums = {step.name for step in e.steps_named(Operation.ADD)}
    for step in e.steps_named(Operation.SUBTRACT):
        if not sums.intersection(step.inputs) or step.row(e.row).size != 1:
            continue
        size = float(np.minimum(*(np.abs(step.operand(number, e.row)) for number in (0, 1)))[0])
        left = max(abs(float(step.row(e.row)[0])), abs(float(e.exact)) / (e.weight or 1))
        if math.isfinite(size) and size > CANCELLED * left:
            return True
    return False


def _low_precision_reduction(r: "Reduction") -> bool:
    """Detect a mean or sum of finite losses that is off, as for the sum over classes."""
    if r.loss is None or math.isnan(r.loss) or not r.divisor or not all(map(math.isfinite, r.losses)):
        return False
    if math.isinf(r.loss):
        return not value_overflows_dtype.detect_in_reduction(r)
    exact, size = exact_sum(r.losses), exact_sum(map(abs, r.losses))
    return _is_off(Fraction(r.loss) - exact / r.divisor, size / r.divisor, r.dtype)


@finding(
    "low-precision-sum",
    short="a sum in a narrow format rounds or overflows",
    cause="A sum kept in the format of its terms lost more than 4 ulps, or overflowed.",
    remedy="Keep sums in a wider format (in a case file: accumulate: float32).",
    source="https://github.com/huggingface/transformers/issues/10674",
    case="ordered-sum",
    detect_in_reduction=_low_precision_reduction,
)
def low_precision_sum(e: "Evidence") -> bool:
    """Detect a sum more than 4 ulps away from the exact sum of its terms, or not finite where that is.

    Terms of both signs may have a small sum by cancellation: the error counts at the size of the terms.
    """
    for step in e.steps_named(Operation.SUM):
        terms, total = step.operand(0, e.row), float(step.row(e.row)[0])
        if terms.size == 1 or not np.isfinite(terms).all() or _is_near(total, terms, step.result.dtype):
            continue
        exact = exact_sum(terms.tolist())
        if total == exact:
            continue
        size = exact_sum(np.abs(terms).tolist())
        if not math.isfinite(total) or _is_off(Fraction(total) - exact, size, str(step.result.dtype)):
            return True
    return False


@finding(
    "sigmoid-rounding",
    short="a probability near 1 is rounded",
    cause="A probability p near 1 was rounded, and 1 - p is mostly the error of that rounding.",
    remedy="Compute the loss from the logit: max(x, 0) - x·y + log1p(exp(-|x|)).",
    source="https://github.com/pytorch/pytorch/issues/39435",
    case="clamp-leaps",
)
def sigmoid_rounding(e: "Evidence") -> bool:
    """Detect a sigmoid, or 1 less a sigmoid, that is rounded so near to 1 that the rest of it is lost."""
    if not e.batch.binary or e.verdict not in WRONG_VERDICTS or not np.isfinite(e.logits).all():
        return False
    x = float(e.logits[0])
    return any(
        _loses_complement(step, e.row, x if step.operation is Operation.RECIPROCAL else -x)
        for step in e.steps_named(Operation.RECIPROCAL, Operation.ONE_MINUS)
        if step.inputs[0] != "labels"
    )


FINDINGS: Final = (tail_collapse, offset_cancellation, low_precision_sum, sigmoid_rounding)


def _is_off(error: Fraction, size: Fraction, dtype: str) -> bool:
    """Whether an error is more than 4 ulps of a size."""
    return size > 0 and abs(error) > ACCURATE * ulp(size, FORMATS[dtype])


def _is_near(total: float, terms: "FloatArray", dtype: object) -> bool:
    """Whether a sum is surely within 4 ulps of the size of its terms, as nearly all are.

    An ulp is at least eps / 2 of the size: half of the four are left for the rounding of float64.
    """
    try:
        exact, size = math.fsum(terms.tolist()), math.fsum(np.abs(terms).tolist())
    except OverflowError:
        return False
    return abs(total - exact) <= ACCURATE / 4 * FORMATS[str(dtype)].eps * size


def _swallows(step: "Step", exp: "Step", row: int) -> bool:
    """Whether rounding a sum of exponentials took more than 4 ulps of what is added to the row's largest.

    The largest is 1 where the logits are shifted; a tile without it has a sum of no consequence.
    """
    terms, total = sorted(step.operand(0, row).tolist()), float(step.row(row)[0])
    if len(terms) == 1 or not (terms[-1] == 1 or exp.inputs[0] == "logits") or not math.isfinite(total):
        return False
    tail = math.fsum(terms[:-1])
    eps = FORMATS[str(step.result.dtype)].eps
    return abs(total - terms[-1] - tail) > ACCURATE * eps * tail or tail == 0


def _loses_complement(step: "Step", row: int, x: float) -> bool:
    """Whether 1 less the step's result is more than 4 ulps off 1 less the sigmoid of x."""
    if not math.isfinite(x) or x < 0:
        return False
    complement = math.exp(-x) / (1 + math.exp(-x))
    eps = FORMATS[str(step.result.dtype)].eps
    return abs(1 - float(step.row(row)[0]) - complement) > ACCURATE * eps * complement

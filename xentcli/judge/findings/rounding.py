"""Findings of numbers that rounding lost: beside 1, beside an offset, in a long sum."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, exact_sum, float_sums, ulp
from xentcli.judge.findings.finding import ACCURATE, finding
from xentcli.judge.findings.inputs import value_overflows_dtype
from xentcli.model import EXPONENTIALS, Operation

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray
    from xentcli.judge.evidence import Evidence, Reduction
    from xentcli.model import Step

CANCELLED: Final = 64  # an operand 64 = 2⁶ times the result: rounding it cost the result six bits
# The sign of the logit of which a step is the sigmoid: 1 - p is that of -x.
_SIGNS: Final = {Operation.RECIPROCAL: 1, Operation.ONE_MINUS: -1}
_SMALL_LOSS: Final = 1  # below it the digits come from the sum of the other exponentials, not from the gap


@finding(
    "tail-collapse",
    short="rounding loses the small tail of the sum",
    cause="The sum is 1 plus a tail, the other classes; rounding loses the tail, and a small loss with it.",
    remedy="Use log1p of the sum without its largest term.",
    source="https://github.com/pytorch/pytorch/issues/113708",
    case="tail-collapse",
    among=lambda e: (
        e.exact.is_finite & (e.exact.near < _SMALL_LOSS * e.weights) & e.has_verdict("collapsed", "off")
    ),
)
def tail_collapse(e: "Evidence") -> "BoolArray":
    """Detect a sum of 1 and a tail whose rounding is all the error of a small loss."""
    exps = {step.name: step for step in e.steps_named(*EXPONENTIALS)}
    sums = [(step, exps[name]) for step in e.steps_named(Operation.SUM) if (name := step.inputs[0]) in exps]
    return np.array([any(_swallows(step, exp, row) for step, exp in sums) for row in e.rows.tolist()])


@finding(
    "offset-cancellation",
    short="large logits leave it no digits",
    cause="The log-sum-exp, as large as the logits, was rounded before the label's logit was subtracted.",
    remedy="Subtract the largest logit m first, and keep it out: log Σ exp(x - m) - (x_label - m).",
    source="https://github.com/pytorch/pytorch/issues/11752",
    case="common-offset",
    among=lambda e: e.has_verdict("off", "collapsed", "negative"),
)
def offset_cancellation(e: "Evidence") -> "BoolArray":
    """Detect a difference of numbers so large that their rounding is all that is left of it."""
    sums = {step.name for step in e.steps_named(Operation.ADD)}
    true = (np.abs(e.exact.near) / np.where(e.weights == 0, 1, e.weights))[:, None]

    def cancels(step: "Step") -> "BoolArray":
        size = np.minimum(*(np.abs(e.operand(step, number)) for number in (0, 1)))
        left = np.abs(e.result(step))
        return np.isfinite(size) & (size > CANCELLED * np.where(true > left, true, left))

    steps = (step for step in e.steps_named(Operation.SUBTRACT) if step.result.shape[1] == 1)
    return e.any_of(cancels(step) for step in steps if sums.intersection(step.inputs))


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
def low_precision_sum(e: "Evidence") -> "BoolArray":
    """Detect a sum more than 4 ulps away from the exact sum of its terms, or not finite where that is.

    Terms of both signs may have a small sum by cancellation: the error counts at the size of the terms.
    """
    found = np.zeros(len(e.rows), bool)
    for step in e.steps_named(Operation.SUM):
        terms, totals, dtype = e.operand(step, 0), e.result(step)[:, 0], str(step.result.dtype)
        if terms.shape[1] > 1:
            is_finite = np.asarray(np.isfinite(terms).all(axis=1, keepdims=True))
            is_near = _is_near(totals, np.where(is_finite, terms, 0), dtype)
            for place in (is_finite[:, 0] & ~is_near & ~found).nonzero()[0]:
                found[place] = _is_sum_off(float(totals[place]), terms[place], dtype)
    return found


@finding(
    "sigmoid-rounding",
    short="a probability near 1 is rounded",
    cause="A probability p near 1 was rounded, and 1 - p is mostly the error of that rounding.",
    remedy="Compute the loss from the logit: max(x, 0) - x·y + log1p(exp(-|x|)).",
    source="https://github.com/pytorch/pytorch/issues/39435",
    case="clamp-leaps",
    among=lambda e: e.is_wrong & np.isfinite(e.logits).all(axis=1) & e.batch.binary,
)
def sigmoid_rounding(e: "Evidence") -> "BoolArray":
    """Detect a sigmoid, or 1 less a sigmoid, that is rounded so near to 1 that the rest of it is lost."""
    steps = [step for step in e.steps_named(*_SIGNS) if step.inputs[0] != "labels"]
    pairs = zip(e.rows.tolist(), e.logits[:, 0].tolist(), strict=True)
    return np.array(
        [any(_loses_complement(step, row, _SIGNS[step.operation] * x) for step in steps) for row, x in pairs]
    )


FINDINGS: Final = (tail_collapse, offset_cancellation, low_precision_sum, sigmoid_rounding)


def _is_off(error: Fraction, size: Fraction, dtype: str) -> bool:
    """Whether an error is more than 4 ulps of a size."""
    return size > 0 and abs(error) > ACCURATE * ulp(size, FORMATS[dtype])


@np.errstate(all="ignore")
def _is_near(totals: "FloatArray", terms: "FloatArray", dtype: str) -> "BoolArray":
    """Which sums are surely within 4 ulps of the size of their terms, as nearly all are.

    An ulp is at least eps / 2 of the size: a fifth of the four is left for what is rounded.
    """
    exact = float_sums(terms) if dtype == "float64" else terms.sum(axis=1)
    return np.asarray(
        np.abs(totals - exact) <= 0.4 * ACCURATE * FORMATS[dtype].eps * np.abs(terms).sum(axis=1)
    )


def _is_sum_off(total: float, terms: "FloatArray", dtype: str) -> bool:
    """Whether a sum is more than 4 ulps of the size of its terms away from the exact one."""
    if not math.isfinite(total):
        return True
    return _is_off(Fraction(total) - exact_sum(terms.tolist()), exact_sum(np.abs(terms).tolist()), dtype)


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

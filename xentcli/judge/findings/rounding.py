"""Findings of numbers that rounding lost: beside 1, beside an offset, in a long sum."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, exact_sum, float_sums, format_of, ulp
from xentcli.judge.findings import denominators
from xentcli.judge.findings.finding import ACCURATE, finding, where_wrong
from xentcli.judge.findings.inputs import value_overflows_dtype
from xentcli.methods.trace import LOGITS
from xentcli.model import EXPONENTIALS, Operation

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, Format
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
    among=where_wrong(
        lambda e: (
            e.has_verdict("collapsed", "off")
            & e.examples.exact.is_finite
            & (e.examples.exact.near < _SMALL_LOSS * e.examples.weights)
        )
    ),
)
def tail_collapse(e: "Evidence") -> "BoolArray":
    """Detect a sum of 1 and a tail whose rounding is all the error of a small loss."""
    exps = {step.name: step for step in e.steps_named(*EXPONENTIALS)}
    sums = ((step, exps[name]) for step in e.steps_named(Operation.SUM) if (name := step.inputs[0]) in exps)
    return e.any_of(_swallows(e, *each) for each in sums)


@finding(
    "offset-cancellation",
    short="large logits leave it no digits",
    cause="The log-sum-exp, as large as the logits, was rounded before the label's logit was subtracted.",
    remedy="Subtract the largest logit m first, and keep it out: log Σ exp(x - m) - (x_label - m).",
    source="https://github.com/pytorch/pytorch/issues/11752",
    case="common-offset",
    among=where_wrong(lambda e: e.has_verdict("off", "collapsed", "negative")),
)
def offset_cancellation(e: "Evidence") -> "BoolArray":
    """Detect a difference of numbers so large that their rounding is all that is left of it."""
    sums = {step.name for step in e.steps_named(Operation.ADD)}
    weights = e.examples.weights
    true = (np.abs(e.examples.exact.near) / np.where(weights == 0, 1, weights))[:, None]

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
    if denominators.is_explained(r):
        return False
    if math.isinf(r.loss):
        return not value_overflows_dtype.detect_in_reduction(r)
    exact, size = exact_sum(r.losses), exact_sum(map(abs, r.losses))
    return _is_off(Fraction(r.loss) - exact / r.divisor, size / r.divisor, FORMATS[r.dtype])


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
    found = np.zeros(len(e.losses), bool)
    for step in e.steps_named(Operation.SUM):
        terms, totals, form = e.operand(step, 0), e.result(step)[:, 0], format_of(step.result.dtype)
        if terms.shape[1] > 1:
            places = (~found & ~_is_near(totals, terms, form)).nonzero()[0]
            for place in places[np.isfinite(terms[places]).all(axis=1)] if len(places) else ():
                found[place] = _is_sum_off(float(totals[place]), terms[place], form)
    return found


@finding(
    "sigmoid-rounding",
    short="a probability near 1 is rounded",
    cause="A probability p near 1 was rounded, and 1 - p is mostly the error of that rounding.",
    remedy="Compute the loss from the logit: max(x, 0) - x·y + log1p(exp(-|x|)).",
    source="https://github.com/pytorch/pytorch/issues/39435",
    case="clamp-leaps",
    among=lambda e: e.is_wrong & e.examples.batch.binary,
)
def sigmoid_rounding(e: "Evidence") -> "BoolArray":
    """Detect a sigmoid, or 1 less a sigmoid, that is rounded so near to 1 that the rest of it is lost."""
    steps = [step for step in e.steps_named(*_SIGNS) if step.inputs[0] != "labels"]
    pairs = zip(e.examples.rows.tolist(), e.examples.logits[:, 0].tolist(), strict=True)
    return np.array(
        [any(_loses_complement(step, row, _SIGNS[step.operation] * x) for step in steps) for row, x in pairs]
    )


FINDINGS: Final = (tail_collapse, offset_cancellation, low_precision_sum, sigmoid_rounding)


def _is_off(error: Fraction, size: Fraction, form: "Format") -> bool:
    """Whether an error is more than 4 ulps of a size."""
    return error != 0 and size > 0 and abs(error) > ACCURATE * ulp(size, form)


def _is_near(totals: "FloatArray", terms: "FloatArray", form: "Format") -> "BoolArray":
    """Which sums are surely within 4 ulps of the size of their terms, as nearly all are.

    An ulp is at least eps / 2 of the size: a fifth of the four is left for what is rounded. None is of terms
    that are not finite.
    """
    sums = terms.sum(axis=1)
    size = np.abs(terms).sum(axis=1)
    if form.name == "float64":
        sums = float_sums(np.where(np.isfinite(size)[:, None], terms, np.nan))
    return np.asarray(np.abs(totals - sums) <= 0.4 * ACCURATE * form.eps * size)


def _is_sum_off(total: float, terms: "FloatArray", form: "Format") -> bool:
    """Whether a sum is more than 4 ulps of the size of its terms away from the exact one."""
    if not math.isfinite(total):
        return True
    return _is_off(Fraction(total) - exact_sum(terms.tolist()), exact_sum(np.abs(terms).tolist()), form)


def _swallows(e: "Evidence", step: "Step", exp: "Step") -> "BoolArray":
    """Which roundings of a sum of exponentials took more than 4 ulps of what is added to the row's largest.

    The largest is 1 where the logits are shifted; a tile without it has a sum of no consequence.
    """
    terms, totals = e.operand(step, 0), e.result(step)
    largest, is_finite = terms.max(axis=1, keepdims=True), np.isfinite(totals)
    is_other = np.arange(terms.shape[1]) != terms.argmax(axis=1)[:, None]
    others = np.where(is_finite & is_other, terms, 0)
    tails, eps = float_sums(others)[:, None], format_of(step.result.dtype).eps
    is_lost = (np.abs(totals - largest - tails) > ACCURATE * eps * tails) | (tails == 0)
    counts = (largest == 1) | np.bool_(exp.inputs[0] in LOGITS)
    return np.asarray(is_finite & counts & is_lost & (terms.shape[1] > 1))


def _loses_complement(step: "Step", row: int, x: float) -> bool:
    """Whether 1 less the step's result is more than 4 ulps off 1 less the sigmoid of x."""
    if not math.isfinite(x) or x < 0:
        return False
    complement = math.exp(-x) / (1 + math.exp(-x))
    eps = format_of(step.result.dtype).eps
    return abs(1 - float(step.row(row)[0]) - complement) > ACCURATE * eps * complement

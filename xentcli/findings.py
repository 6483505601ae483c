"""FINDINGS: the named causes of a wrong loss, each told from what happened while it was computed.

A finding looks at the recorded steps of one example, at the outcome and at the truth; never at the method's
name. ``xent explain`` shows cause and remedy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.evidence import Evidence
from xentcli.formats import FORMATS, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.model import Step

_BHH = "Blanchard, Higham and Higham (2021), doi:10.1093/imanum/draa038"
_LOST = 64  # a difference this many times smaller than what it is of has lost six bits to rounding before it


@dataclass(frozen=True, slots=True)
class Finding:
    """A name, one sentence of cause, one of remedy, a source, and how it is told."""

    name: str
    cause: str
    remedy: str
    source: str
    told: Callable[[Evidence], bool]


def zero_times_infinity(e: Evidence) -> bool:
    """Tell a product of 0 and an infinity, not from a masked class nor from an overflow before."""
    return not difference_overflow(e) and any(
        _zero_times_infinity(step, e.row)[~_wide(e.masked, step, e.row)].any() for step in e.of("multiply")
    )


def masked_infinity(e: Evidence) -> bool:
    """Tell a product of 0 and an infinity at a class whose logit is -inf and whose label is 0."""
    return any(
        _zero_times_infinity(step, e.row)[_wide(e.masked, step, e.row)].any() for step in e.of("multiply")
    )


def log_of_zero(e: Evidence) -> bool:
    """Tell a log of 0 that the loss takes up although it is finite: of a class with a label, or of a sum."""
    if not e.exact.is_finite():
        return False
    for step in e.of("log", "log_one_by_one"):
        zero = step.operand(0, e.row) == 0
        if (zero & (_wide(e.labels, step, e.row) > 0)).any() or (
            zero.size == 1 < e.labels.size and zero.any()
        ):
            return True
    return False


def difference_overflow(e: Evidence) -> bool:
    """Tell a difference of finite numbers that is infinite."""
    for step in e.of("subtract"):
        finite = np.isfinite(step.operand(0, e.row)) & np.isfinite(step.operand(1, e.row))
        if (np.isinf(step.row(e.row)) & finite).any():
            return True
    return False


def exp_overflow(e: Evidence) -> bool:
    """Tell an exponential of a finite number that is infinite."""
    steps = e.of("exp", "exp_by_row")
    return any((np.isinf(step.row(e.row)) & np.isfinite(step.operand(0, e.row))).any() for step in steps)


def clip_active(e: Evidence) -> bool:
    """Tell a clip that changed a probability under a label."""
    return any(
        ((step.operand(0, e.row) != step.row(e.row)) & (e.labels > 0) & np.isfinite(step.row(e.row))).any()
        for step in e.of("clip")
    )


def tail_collapse(e: Evidence) -> bool:
    """Tell a sum of 1 and a tail whose rounding is all the error of a small loss."""
    small = e.exact.is_finite() and e.exact < _SMALL
    return small and e.verdict in {"collapsed", "off"} and any(_swallows(step, e.row) for step in e.of("sum"))


def offset_cancellation(e: Evidence) -> bool:
    """Tell a difference of numbers so large that their rounding is all that is left of it."""
    if e.verdict not in {"off", "collapsed", "negative"}:
        return False
    rounded = {id(step.result) for step in e.of("add")}
    for step in e.of("subtract"):
        if not any(id(operand) in rounded for operand in step.operands):
            continue
        first, second = (np.abs(step.operand(number, e.row)) for number in (0, 1))
        scale = np.minimum(first, second)
        left = max(float(np.abs(step.row(e.row)).min()), abs(float(e.exact)))
        if step.row(e.row).size == 1 and np.isfinite(scale).all() and (scale > _LOST * left).any():
            return True
    return False


def empty_tile(e: Evidence) -> bool:
    """Tell a maximum of -inf over a part of a row that has finite logits elsewhere, and nan from it."""
    empty = any(np.isneginf(step.row(e.row)).all() for step in e.of("maximum", "larger"))
    return empty and math.isnan(e.loss) and bool(np.isfinite(e.logits).any()) and not np.isnan(e.logits).any()


def labels_not_normalised(e: Evidence) -> bool:
    """Tell labels whose sum is not 1, beyond the rounding of their format."""
    unit = 2.0 ** (1 - FORMATS[str(e.batch.labels.dtype)].precision)
    return abs(math.fsum(e.labels) - 1) > len(e.labels) * unit


def low_precision_sum(e: Evidence) -> bool:
    """Tell a sum more than 4 ulps away from the exact sum of its terms, or infinite where that is finite."""
    for step in e.of("sum"):
        terms, total = step.operand(0, e.row), float(step.row(e.row)[0])
        if not np.isfinite(terms).all() or terms.size == 1:
            continue
        wanted = math.fsum(terms)
        form = FORMATS[str(step.result.dtype)]
        scale = math.fsum(np.abs(terms))  # of terms of both signs the sum may be small by cancellation
        unit = 2.0 ** (max(math.frexp(scale)[1] - 1, form.emin) - (form.precision - 1))
        if math.isinf(total) or abs(total - wanted) > _FOUR_ULPS * unit:
            return True
    return False


def value_overflows_dtype(e: Evidence) -> bool:
    """Tell a true loss that is finite and beyond the largest number of the format."""
    return e.exact.is_finite() and math.isinf(nearest(e.exact, FORMATS[e.dtype]))


_FOUR_ULPS = 4
_SMALL = 1  # a loss below which the tail, not the gap, makes its digits

FINDINGS: Final = (
    Finding(
        "zero-times-infinity",
        "A probability underflowed to 0, its log is -inf, and 0 × -inf is nan.",
        "Compute the loss from the logits (dense, sparse or log1p), not from probabilities.",
        "https://github.com/allenai/allennlp/issues/2797",
        zero_times_infinity,
    ),
    Finding(
        "log-of-zero",
        "The probability of a labelled class underflowed to 0, and log(0) is -inf.",
        "Compute the loss from the logits (dense, sparse or log1p): the true loss is finite.",
        "https://github.com/tensorflow/tensorflow/issues/21271",
        log_of_zero,
    ),
    Finding(
        "difference-overflow",
        "The difference of two finite logits is larger than the format can hold.",
        "Compute the loss in a wider format; sparse does not multiply the classes without a label.",
        "https://github.com/huggingface/transformers/issues/17306",
        difference_overflow,
    ),
    Finding(
        "exp-overflow",
        "exp of a finite logit is larger than the format can hold.",
        "Subtract the largest logit before exp.",
        _BHH,
        exp_overflow,
    ),
    Finding(
        "clip-active",
        "A probability lay outside the clip, and the clip's bound, not the logits, decided the loss.",
        "Compute the loss from the logits; a clip caps the loss at -log of its lower bound.",
        "https://github.com/keras-team/keras/issues/7563",
        clip_active,
    ),
    Finding(
        "dead-gradient",
        "Every entry of the gradient is 0 although the true gradient is not: the example teaches nothing.",
        "Compute the loss from the logits, without a clip; where the gradient underflows, in a wider format.",
        "https://github.com/tensorflow/tensorflow/issues/44333",
        lambda e: e.gradient == "dead",
    ),
    Finding(
        "nan-gradient",
        "The gradient has a nan although the true gradient is defined; one step of training spreads it.",
        "Use a loss whose gradient is softmax - y, of finite logits; guarding the value is not enough.",
        "https://github.com/google-deepmind/optax/pull/1786",
        lambda e: e.gradient == "nan" and not e.exact.is_nan(),
    ),
    Finding(
        "tail-collapse",
        "1 plus the other classes' exponentials is rounded: a small loss loses digits, and at last is 0.",
        "Use log1p of the sum without its largest term.",
        "https://github.com/pytorch/pytorch/issues/113708",
        tail_collapse,
    ),
    Finding(
        "offset-cancellation",
        "The log-sum-exp was rounded at the size of the logits before the label's logit was subtracted.",
        "Subtract the largest logit from all logits, and keep it out of the result.",
        "https://github.com/pytorch/pytorch/issues/11752",
        offset_cancellation,
    ),
    Finding(
        "masked-infinity",
        "A class masked with a logit of -inf has the label 0, and 0 × inf is nan in the sum over classes.",
        "Pick the label's class (sparse) instead of multiplying by a one-hot row.",
        "https://github.com/google-deepmind/optax/issues/896",
        masked_infinity,
    ),
    Finding(
        "empty-tile",
        "All logits of the first tile are -inf, so that the running maximum is -inf and -inf - -inf is nan.",
        "Start from a finite maximum, or skip tiles whose maximum is -inf.",
        "https://github.com/Dao-AILab/flash-attention/issues/1930",
        empty_tile,
    ),
    Finding(
        "labels-not-normalised",
        "The labels of the example do not sum to 1; softmax - y is then not the gradient of the loss.",
        "Divide each row of labels by its sum, or differentiate the formula: sum(y) softmax - y.",
        "https://github.com/tensorflow/tensorflow/issues/15079",
        labels_not_normalised,
    ),
    Finding(
        "low-precision-sum",
        "A sum carried in the format lost more than 4 ulps of its terms, or overflowed.",
        "Carry sums in a wider format (with arithmetic numpy, accumulate: float32 or float64).",
        "https://github.com/huggingface/transformers/issues/10674",
        low_precision_sum,
    ),
    Finding(
        "value-overflows-dtype",
        "The true loss is larger than the largest finite number of the format.",
        "Compute the loss in a wider format.",
        "https://github.com/pytorch/pytorch/issues/85791",
        value_overflows_dtype,
    ),
)


def findings_of(evidence: Evidence) -> tuple[str, ...]:
    """Name what is found in one example, in the order of the catalogue."""
    return tuple(finding.name for finding in FINDINGS if finding.told(evidence))


def _zero_times_infinity(step: "Step", row: int) -> "NDArray[Any]":
    first, second = step.operand(0, row), step.operand(1, row)
    return ((first == 0) & np.isinf(second)) | (np.isinf(first) & (second == 0))


def _wide(values: "NDArray[Any]", step: "Step", row: int) -> "NDArray[Any]":
    """Values by class where the step has classes; of no class where it has one number an example."""
    return values if step.row(row).size == values.size else np.zeros(step.row(row).size, values.dtype)


def _swallows(step: "Step", row: int) -> bool:
    """Whether rounding the sum took more than 4 ulps of what is added to its largest term, which is 1."""
    terms, total = step.operand(0, row), float(step.row(row)[0])
    if terms.size == 1 or terms.max() != 1 or not (terms >= 0).all():
        return False
    tail = math.fsum(terms) - 1
    unit = 2.0 ** (1 - FORMATS[str(step.result.dtype)].precision)
    return abs(total - 1 - tail) > _FOUR_ULPS * unit * tail or tail == 0

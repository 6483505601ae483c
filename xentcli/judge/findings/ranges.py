"""Findings of numbers outside the range of the format: zeros, infinities and what they make of each other."""

import math
from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.judge.findings.finding import BLANCHARD, FROM_LOGITS, Finding, finding
from xentcli.judge.findings.masks import at_mask, is_zero_times_infinity
from xentcli.model import EXPONENTIALS, LOGARITHMS, Operation

if TYPE_CHECKING:
    from xentcli.judge.evidence import Evidence


@finding(
    "zero-times-infinity",
    short="0 × log 0 is nan",
    cause="A probability underflowed to 0, its log is -inf, and 0 × -inf is nan.",
    remedy=FROM_LOGITS,
    source="https://github.com/allenai/allennlp/issues/2797",
    case="zero-times-log-zero",
)
def zero_times_infinity(e: "Evidence") -> bool:
    """Detect a product of 0 and an infinity that comes from no masked class, overflow or infinite logit."""
    if not math.isnan(e.loss) or e.batch.is_ignored(e.row) or difference_overflow.detect(e):
        return False
    products = (step for step in e.steps_named(Operation.MULTIPLY) if "logits" not in step.inputs)
    return any(is_zero_times_infinity(step, e.row)[~at_mask(e, step)].any() for step in products)


@finding(
    "log-of-zero",
    short="log 0 is -inf",
    cause="The probability of a labelled class underflowed to 0, and log(0) is -inf.",
    remedy=FROM_LOGITS,
    source="https://github.com/tensorflow/tensorflow/issues/21271",
    case="log-of-zero-is-not-the-loss",
)
def log_of_zero(e: "Evidence") -> bool:
    """Detect a log of 0 that a finite true loss contains: of a class that counts, or of a sum."""
    zeros = ((step, step.operand(0, e.row) == 0) for step in e.steps_named(*LOGARITHMS))
    return e.exact.is_finite() and any(
        (zero & e.multiplied_by_nonzero(step)).any() or (zero.size == 1 < e.logits.size and zero.any())
        for step, zero in zeros
    )


def _overflows(e: "Evidence", *operations: Operation) -> bool:
    """Whether some result of these operations is infinite where its operands are finite."""
    for step in e.steps_named(*operations):
        operands = (step.operand(number, e.row) for number in range(len(step.operands)))
        if (np.isinf(step.row(e.row)) & reduce(np.logical_and, map(np.isfinite, operands))).any():
            return True
    return False


difference_overflow: Final = Finding(
    "difference-overflow",
    short="a difference of logits overflows",
    cause="The difference of two finite logits is larger than the format can hold.",
    remedy="Compute the loss in a wider format; sparse does not multiply the classes without a label.",
    source="https://github.com/huggingface/transformers/issues/17306",
    case="finfo-min-mask",
    detect=lambda e: _overflows(e, Operation.SUBTRACT),
)
exp_overflow: Final = Finding(
    "exp-overflow",
    short="exp of a logit overflows",
    cause="exp of a finite logit is larger than the format can hold.",
    remedy="Subtract the largest logit before exp; of a sigmoid take exp of -|x|.",
    source=BLANCHARD,
    case="softmax-without-shift",
    detect=lambda e: not math.isfinite(e.loss) and _overflows(e, *EXPONENTIALS),
)


@finding(
    "clip-active",
    short="the clip's bound stands in for a probability",
    cause="A probability lay outside the clip, and the loss was computed from the clip's bound in its place.",
    remedy="Compute the loss from the logits; a clip caps every loss at -log of its lower bound.",
    source="https://github.com/keras-team/keras/issues/7563",
    case="keras-cap",
)
def clip_active(e: "Evidence") -> bool:
    """Detect a clip that changed a probability that counts, or its log."""
    counts = np.ones(1, bool) if e.batch.binary else e.targets > 0
    for step in e.steps_named(Operation.CLIP):
        is_two_sided = len(step.operands) == 3  # noqa: PLR2004 - an array and two bounds, else of a log
        where = counts if is_two_sided else e.multiplied_by_nonzero(step)
        if ((step.operand(0, e.row) != step.row(e.row)) & where & np.isfinite(step.row(e.row))).any():
            return True
    return False


FINDINGS: Final = (zero_times_infinity, log_of_zero, difference_overflow, exp_overflow, clip_active)

"""Findings of numbers outside the range of the format: zeros, infinities and what they make of each other."""

from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.judge.findings.finding import BLANCHARD, FROM_LOGITS, Finding, finding
from xentcli.judge.findings.masks import at_mask, is_zero_times_infinity
from xentcli.methods.trace import LOGITS
from xentcli.model import EXPONENTIALS, LOGARITHMS, Operation

if TYPE_CHECKING:
    from xentcli.formats import BoolArray
    from xentcli.judge.evidence import Evidence
    from xentcli.model import Step


@finding(
    "zero-times-infinity",
    short="0 × log 0 is nan",
    cause="A probability underflowed to 0, its log is -inf, and 0 × -inf is nan.",
    remedy=FROM_LOGITS,
    source="https://github.com/allenai/allennlp/issues/2797",
    case="zero-times-log-zero",
    among=lambda e: e.is_nan & ~e.examples.ignored,
)
def zero_times_infinity(e: "Evidence") -> "BoolArray":
    """Detect a product of 0 and an infinity that comes from no masked class, overflow or infinite logit."""
    products = (step for step in e.steps_named(Operation.MULTIPLY) if not LOGITS.intersection(step.inputs))
    found = e.any_of(is_zero_times_infinity(e, step) & ~at_mask(e, step) for step in products)
    return found & ~difference_overflow.detect(e)


@finding(
    "log-of-zero",
    short="log 0 is -inf",
    cause="The probability of a labelled class underflowed to 0, and log(0) is -inf.",
    remedy=FROM_LOGITS,
    source="https://github.com/tensorflow/tensorflow/issues/21271",
    case="log-of-zero-is-not-the-loss",
)
def log_of_zero(e: "Evidence") -> "BoolArray":
    """Detect a log of 0 that a finite true loss contains: of a class that counts, or of a sum."""
    zeros = ((step, e.operand(step, 0) == 0) for step in e.steps_named(*LOGARITHMS))
    classes = e.examples.batch.logits.shape[1]
    return e.examples.exact.is_finite & e.any_of(
        zero if zero.shape[1] == 1 < classes else zero & e.multiplied_by_nonzero(step)
        for step, zero in zeros
        if zero.any()
    )


def overflows(e: "Evidence", *operations: Operation) -> "BoolArray":
    """Detect a result of these operations that is infinite where its operands are finite."""

    def overflows(step: "Step", is_infinite: "BoolArray") -> "BoolArray":
        operands = (e.operand(step, number) for number in range(len(step.operands)))
        return reduce(np.logical_and, map(np.isfinite, operands), is_infinite)

    infinite = ((step, np.isinf(e.result(step))) for step in e.steps_named(*operations))
    return e.any_of(overflows(*each) for each in infinite if each[1].any())


difference_overflow: Final = Finding(
    "difference-overflow",
    short="a difference of logits overflows",
    cause="The difference of two finite logits is larger than the format can hold.",
    remedy="Compute the loss in a wider format; sparse does not multiply the classes without a label.",
    source="https://github.com/huggingface/transformers/issues/17306",
    case="finfo-min-mask",
    detect=lambda e: overflows(e, Operation.SUBTRACT),
)
exp_overflow: Final = finding(
    "exp-overflow",
    short="exp of a logit overflows",
    cause="exp of a finite logit is larger than the format can hold.",
    remedy="Subtract the largest logit before exp; of a sigmoid take exp of -|x|.",
    source=BLANCHARD,
    case="softmax-without-shift",
    among=lambda e: ~np.isfinite(e.losses),
)(lambda e: overflows(e, *EXPONENTIALS))


@finding(
    "clip-active",
    short="the clip's bound stands in for a probability",
    cause="A probability lay outside the clip, and the loss was computed from the clip's bound in its place.",
    remedy="Compute the loss from the logits; a clip caps every loss at -log of its lower bound.",
    source="https://github.com/keras-team/keras/issues/7563",
    case="keras-cap",
)
def clip_active(e: "Evidence") -> "BoolArray":
    """Detect a clip that changed a probability that counts, or its log."""

    def changes(step: "Step") -> "BoolArray":
        before, after = e.operand(step, 0), e.result(step)
        is_two_sided = len(step.operands) == 3  # noqa: PLR2004 - an array and two bounds, else of a log
        label = (e.examples.targets > 0) | e.examples.batch.binary
        counts = label if is_two_sided else e.multiplied_by_nonzero(step)
        return (before != after) & np.isfinite(after) & counts

    return e.any_of(map(changes, e.steps_named(Operation.CLIP)))


FINDINGS: Final = (zero_times_infinity, log_of_zero, difference_overflow, exp_overflow, clip_active)

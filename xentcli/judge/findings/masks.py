"""Findings of logits of -inf: classes that are masked, and rows that have nothing else."""

from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.judge.findings.finding import Finding, finding, of_examples
from xentcli.model import Operation

if TYPE_CHECKING:
    from xentcli.formats import BoolArray
    from xentcli.judge.evidence import Evidence
    from xentcli.model import Step


@finding(
    "masked-infinity",
    short="0 × inf at a masked class is nan",
    cause="A class masked with a logit of -inf has the label 0, and 0 × inf is nan in the sum over classes.",
    remedy="Pick the label's class (sparse), or multiply only where the label is not 0.",
    source="https://github.com/google-deepmind/optax/issues/896",
    case="masked-class",
    among=lambda e: e.is_nan & ~e.examples.ignored,
)
def masked_infinity(e: "Evidence") -> "BoolArray":
    """Detect a product of 0 and an infinity at a class that does not count and whose logit is -inf."""
    steps = e.steps_named(Operation.MULTIPLY)
    return e.any_of(is_zero_times_infinity(e, step) & at_mask(e, step) for step in steps)


@finding(
    "empty-tile",
    short="a tile has nothing but -inf",
    cause="All logits of the first tile are -inf, so that the running maximum is -inf and -inf - -inf is "
    "nan.",
    remedy="Start from a finite maximum, or skip tiles whose maximum is -inf.",
    source="https://github.com/Dao-AILab/flash-attention/issues/1930",
    case="empty-tile",
    among=lambda e: e.is_nan & ~e.examples.has_nan & e.examples.has_finite,
)
def empty_tile(e: "Evidence") -> "BoolArray":
    """Detect a maximum of -inf over a part of a row that has finite logits elsewhere, and nan from it."""
    maxima = e.steps_named(Operation.ROW_MAX, Operation.MAXIMUM)
    return e.any_of(np.isneginf(e.result(step)) for step in maxima)


label_on_mask: Final = Finding(
    "label-on-mask",
    short="a label is on a masked class",
    cause="A class masked with a logit of -inf has a part of the label: the true loss is infinite.",
    remedy="Do not smooth labels over masked classes, and mask no class that a label names.",
    source="https://github.com/facebookresearch/pytext/pull/1698",
    case="smoothing-meets-mask",
    detect=of_examples(
        lambda e: (
            ~(e.exact.is_finite | e.exact.is_nan | e.batch.binary)
            & (np.isneginf(e.logits) & (e.targets > 0)).any(axis=1)
        )
    ),
)
undefined_softmax: Final = Finding(
    "undefined-softmax",
    short="a row has no softmax",
    cause="The row has no finite logit, or several infinite ones: there is no softmax and no true loss.",
    remedy="Leave such rows out before the loss; ignoring their label does not protect the gradient.",
    source="https://github.com/allenai/allennlp/issues/890",
    case="all-classes-masked",
    detect=of_examples(lambda e: e.exact.is_nan & ~e.invalid & ~e.has_nan),
)
FINDINGS: Final = (masked_infinity, empty_tile, label_on_mask, undefined_softmax)


def is_zero_times_infinity(e: "Evidence", step: "Step") -> "BoolArray":
    """Where a product is one of 0 and an infinity."""
    first, second = e.operand(step, 0), e.operand(step, 1)
    return ((first == 0) & np.isinf(second)) | (np.isinf(first) & (second == 0))


def at_mask(e: "Evidence", step: "Step") -> "BoolArray":
    """Where a step has a masked class: class by class, or the label's class where that is weighted."""
    masked, indices = e.examples.masked, e.examples.batch.indices
    if step.result.shape[1] == masked.shape[1]:
        return masked
    if indices is None or "weight" not in step.inputs:
        return np.zeros((len(masked), 1), bool)
    is_label = np.arange(masked.shape[1]) == indices[e.examples.rows][:, None]  # an invalid one is no class
    return np.asarray((masked & is_label).any(axis=1, keepdims=True))

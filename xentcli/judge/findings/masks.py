"""Findings of logits of -inf: classes that are masked, and rows that have nothing else."""

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.judge.findings.finding import Finding, finding
from xentcli.model import Operation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.judge.evidence import Evidence
    from xentcli.model import Step


@finding(
    "masked-infinity",
    short="0 × inf at a masked class is nan",
    cause="A class masked with a logit of -inf has the label 0, and 0 × inf is nan in the sum over classes.",
    remedy="Pick the label's class (sparse), or multiply only where the label is not 0.",
    source="https://github.com/google-deepmind/optax/issues/896",
    case="masked-class",
)
def masked_infinity(e: "Evidence") -> bool:
    """Detect a product of 0 and an infinity at a class that does not count and whose logit is -inf."""
    steps = e.steps_named(Operation.MULTIPLY)
    found = (is_zero_times_infinity(step, e.row)[at_mask(e, step)].any() for step in steps)
    return math.isnan(e.loss) and not e.batch.is_ignored(e.row) and any(found)


@finding(
    "empty-tile",
    short="a tile has nothing but -inf",
    cause="All logits of the first tile are -inf, so that the running maximum is -inf and -inf - -inf is "
    "nan.",
    remedy="Start from a finite maximum, or skip tiles whose maximum is -inf.",
    source="https://github.com/Dao-AILab/flash-attention/issues/1930",
    case="empty-tile",
)
def empty_tile(e: "Evidence") -> bool:
    """Detect a maximum of -inf over a part of a row that has finite logits elsewhere, and nan from it."""
    if not math.isnan(e.loss) or np.isnan(e.logits).any() or not np.isfinite(e.logits).any():
        return False
    maxima = e.steps_named(Operation.ROW_MAX, Operation.MAXIMUM)
    return any(np.isneginf(step.row(e.row)).all() for step in maxima)


label_on_mask: Final = Finding(
    "label-on-mask",
    short="a label is on a masked class",
    cause="A class masked with a logit of -inf has a part of the label: the true loss is infinite.",
    remedy="Do not smooth labels over masked classes, and mask no class that a label names.",
    source="https://github.com/facebookresearch/pytext/pull/1698",
    case="smoothing-meets-mask",
    detect=lambda e: (
        e.exact.is_infinite() and not e.batch.binary and bool((np.isneginf(e.logits) & (e.targets > 0)).any())
    ),
)
undefined_softmax: Final = Finding(
    "undefined-softmax",
    short="a row has no softmax",
    cause="The row has no finite logit, or several infinite ones: there is no softmax and no true loss.",
    remedy="Leave such rows out before the loss; ignoring their label does not protect the gradient.",
    source="https://github.com/allenai/allennlp/issues/890",
    case="all-classes-masked",
    detect=lambda e: e.exact.is_nan() and not e.batch.is_invalid(e.row) and not np.isnan(e.logits).any(),
)
FINDINGS: Final = (masked_infinity, empty_tile, label_on_mask, undefined_softmax)


def is_zero_times_infinity(step: "Step", row: int) -> "NDArray[Any]":
    """Where a product is one of 0 and an infinity."""
    first, second = step.operand(0, row), step.operand(1, row)
    return ((first == 0) & np.isinf(second)) | (np.isinf(first) & (second == 0))


def at_mask(e: "Evidence", step: "Step") -> "NDArray[Any]":
    """Where a step has a masked class: class by class, or the label's class where that is weighted."""
    size = step.row(e.row).size
    if size == e.masked.size:
        return e.masked
    label = -1 if e.batch.indices is None else e.batch.indices[e.row]  # an invalid one is no class
    is_masked = "weight" in step.inputs and 0 <= label < e.masked.size and e.masked[label]
    return np.full(size, bool(is_masked))

"""What is known of the class indices of a part of a dump, and of two parts."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import IntArray


@dataclass(frozen=True, slots=True)
class Labels:
    """Of class indices: the smallest and largest, of all labels and of the invalid ones.

    ``counts`` (C,) says how many there are of each class; None where no class is ignored.
    """

    smallest: float = math.inf
    largest: float = -math.inf
    smallest_invalid: float = math.inf
    largest_invalid: float = -math.inf
    counts: "IntArray | None" = None

    def merge(self, other: "Labels") -> "Labels":
        """Return what is known of the labels of both."""
        counts = [each.counts for each in (self, other) if each.counts is not None]
        return Labels(
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            min(self.smallest_invalid, other.smallest_invalid),
            max(self.largest_invalid, other.largest_invalid),
            sum(counts[1:], counts[0]) if counts else None,
        )


NO_LABELS: Final = Labels()


def labels_of(labels: "NDArray[Any]", invalid: "NDArray[Any]", classes: int, ignore_index: int) -> Labels:
    """Sum up class indices (n,), of which some are ``invalid`` (k,)."""
    counts = None
    if 0 <= ignore_index < classes:
        valid = labels[(labels >= 0) & (labels < classes)]
        counts = np.bincount(valid.astype(np.int64), minlength=classes)
    (low, high), (low_invalid, high_invalid) = map(_limits, (labels, invalid))
    return Labels(low, high, low_invalid, high_invalid, counts)


def _limits(labels: "NDArray[Any]") -> tuple[float, float]:
    """Return the smallest and largest label, as Python's integers: those of uint64 are no float64."""
    return (int(labels.min()), int(labels.max())) if len(labels) else (math.inf, -math.inf)

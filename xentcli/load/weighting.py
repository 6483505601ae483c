"""What is made of labels before they count: class weights, smoothing, ignored examples."""

import math
from typing import TYPE_CHECKING

import numpy as np

from xentcli import formats
from xentcli.model import Weighting

if TYPE_CHECKING:
    from xentcli.model import BoolArray, FloatArray, IntArray


def weighting(  # noqa: PLR0913 - what makes a weighting
    labels: "FloatArray",
    indices: "IntArray | None",
    weights: "FloatArray | None",
    smoothing: float,
    ignored: "BoolArray | None",
    *,
    soft: bool,
) -> Weighting:
    """Weight and smooth label rows (N, C); of an ignored one nothing is left.

    ``weights`` (1, C) in the dtype of the labels; ``indices`` (N,) of one-hot rows; ``ignored`` (N, 1).
    A mean divides by the weights of the labels that count, or where they are ``soft``, given as rows, by N.
    """
    dtype = str(labels.dtype)
    wide = np.ones(labels.shape) if weights is None else np.broadcast_to(weights, labels.shape)
    wide = wide.astype(np.float64)
    counts = np.ones((len(wide), 1), bool) if ignored is None else ~ignored
    mixed = wide * ((1 - smoothing) * labels.astype(np.float64) + smoothing / wide.shape[1])
    own, divisor = None, float(len(wide))
    if indices is not None:
        own = np.take_along_axis(wide, (indices % wide.shape[1])[:, None], axis=1)
    return Weighting(
        _stored(np.where(counts, mixed, 0.0), dtype),
        None if weights is None else _stored(wide, dtype),
        None if weights is None or own is None else _stored(own, dtype),
        smoothing,
        ignored,
        divisor if own is None or soft else math.fsum(own[counts]),
    )


def _stored(values: "FloatArray", dtype: str) -> "FloatArray":
    stored = formats.stored(values, dtype)
    stored.flags.writeable = False
    return stored

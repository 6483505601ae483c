"""Numbers → Batch, as the loader makes one of a case file."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.load.weighting import weighting
from xentcli.model import Batch

if TYPE_CHECKING:
    from xentcli.model import FloatArray

_CLIP: Final = (1e-36, 1.0)  # nothing that is asked here is clipped


def binary(logits: Any, labels: Any, dtype: str) -> Batch:
    """Make a batch of one logit and label an example; a label outside [0, 1] is none."""
    y = np.asarray(labels, np.float64)
    x, stored = (formats.stored(np.asarray(each, np.float64)[:, None], dtype) for each in (logits, y))
    return Batch(x, stored, None, None, _CLIP, binary=True, out_of_range=~((y >= 0) & (y <= 1)))


def batch(  # noqa: PLR0913 - what makes a batch
    logits: Any,
    labels: Any,
    dtype: str,
    *,
    probabilities: Any = None,
    ignore_index: int | None = None,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
) -> Batch:
    """Make a batch; rows with the label ``ignore_index`` are ignored, other labels out of range are none."""
    x = formats.stored(np.asarray(logits, np.float64), dtype)
    y, soft = np.asarray(labels), np.ndim(labels) > 1
    p = None if probabilities is None else formats.stored(np.asarray(probabilities), dtype)
    weights = None
    if class_weights is not None:
        weights = formats.stored(np.asarray(class_weights, np.float64)[None], dtype)
    ignored, bad, indices = None, None, None if not soft else _hot(y)
    rows = formats.stored(y.astype(np.float64), dtype) if soft else np.zeros(x.shape, x.dtype)
    if not soft:
        skipped = y == ignore_index if ignore_index is not None else np.zeros(len(y), bool)
        known = ~skipped & (y >= 0) & (y < x.shape[1])
        rows[np.flatnonzero(known), y[known]] = 1
        indices = np.where(skipped, 0, y)
        ignored = skipped[:, None] if ignore_index is not None else None
        bad = None if (known | skipped).all() else ~(known | skipped)
    weighted = None
    if ignored is not None or weights is not None or label_smoothing:
        weighted = weighting(rows, indices, weights, label_smoothing, ignored, soft=soft)
    return Batch(x, rows, indices, p, _CLIP, weighting=weighted, out_of_range=bad)


def _hot(y: "FloatArray") -> Any:
    is_hot = ((y == 0) | (y == 1)).all() and ((y == 1).sum(axis=1) == 1).all()
    return y.argmax(axis=1) if is_hot else None

"""Numbers → Batch: the one place where logits and labels become what kernels read."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.formats import read_only, stored
from xentcli.methods.steps import NAMES
from xentcli.model import Batch, Knobs, Parts, Weighting
from xentcli.words import CLASSES, COPIES, SMOOTHINGS

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, IntArray

CLIP: Final = (1e-36, 1.0)  # the blog's
BINARY_CLIP: Final = (1e-7, 1 - 1e-7)  # Keras's
TILE: Final = 4  # the blocks of a FlashAttention kernel in small
_LARGEST: Final = 2**63 - 1  # of an int64; a class index beyond it is invalid, whatever it is


def build_batch(  # noqa: PLR0913 - each is a key of a case file
    logits: Any,
    labels: Any,
    dtype: str,
    *,
    probabilities: Any = None,
    class_weights: Any = None,
    label_smoothing: float = 0.0,
    smoothing_over: str = SMOOTHINGS[0],
    ignore_index: int | None = None,
    wrap: bool = False,
    clip: tuple[float, float] | None = None,
    tile: int = TILE,
    parts: tuple[str, int | tuple[int, ...]] | None = None,
    order: tuple[str, ...] = (),
    z_loss: float = 0.0,
    padding: int = 0,
    **steps: float | None,
) -> Batch:
    """Build a batch of a dtype; every number is rounded to it once.

    ``logits`` (N, C) with ``labels`` as N integers or (N, C) probabilities; or logits (N,) with N labels from
    0 to 1, a binary batch. ``class_weights`` (C,). A label ``ignore_index`` is ignored. Another integer that
    is no class is invalid, and so is a binary label outside [0, 1]; with ``wrap`` an invalid label from -C on
    picks a class from the end. Integers may have any size. ``parts`` are what they are along, and their sizes
    or how many there are, of which the first are larger by 1 where they cannot be equal. ``steps`` are what
    is done to logits first, by the names of ``methods.steps``, None where one is not; those that ``order``
    names come first, in it. The last ``padding`` columns of the logits are no classes.
    """
    binary = np.ndim(logits) == 1
    whole = _stored(logits, dtype)
    classes = whole.shape[1] - padding
    x = read_only(np.ascontiguousarray(whole[:, :classes])) if padding else whole
    if binary:
        y = np.asarray(labels, np.float64)
        invalid = ~((y >= 0) & (y <= 1))
        rows, indices, class_labels, ignored = _stored(y, dtype), None, None, None
    elif np.ndim(labels) > 1:
        rows, invalid, ignored = _stored(labels, dtype), np.zeros(len(x), bool), None
        indices = class_labels = one_hot_indices(rows)
    else:
        rows, indices, class_labels, invalid, ignored = _index_rows(labels, x, ignore_index, wrap=wrap)
    weights = None if class_weights is None else _stored(class_weights, dtype)[:, 0]
    return Batch(
        logits=x,
        labels=rows,
        indices=indices,
        class_labels=class_labels,
        probabilities=None if probabilities is None else _stored(probabilities, dtype),
        clip=clip or (BINARY_CLIP if binary else CLIP),
        tile=tile,
        weighting=Weighting(weights, label_smoothing, ignored, ignore_index, smoothing_over),
        label_rows=binary or np.ndim(labels) > 1,
        binary=binary,
        invalid=read_only(invalid) if invalid.any() else None,
        parts=None if parts is None else _parts(*parts, x.shape),
        knobs=Knobs(_in_order(steps, order), z_loss),
        padding=read_only(np.ascontiguousarray(whole[:, classes:])) if padding else None,
    )


def _in_order(steps: Mapping[str, float | None], order: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    if unknown := steps.keys() - set(NAMES):
        raise TypeError(f"{', '.join(sorted(unknown))}: no step is called so; known are {', '.join(NAMES)}")
    values = ((name, steps.get(name)) for name in dict.fromkeys((*order, *NAMES)))
    return tuple((name, value) for name, value in values if value is not None)


def _parts(along: str, sizes: int | tuple[int, ...], shape: tuple[int, ...]) -> Parts:
    total = shape[along == CLASSES]
    if isinstance(sizes, int):
        least, larger = divmod(total, sizes)
        is_copy = along == COPIES
        sizes = (total,) * sizes if is_copy else (least + 1,) * larger + (least,) * (sizes - larger)
    return Parts(along, sizes)


def _index_rows(
    labels: Sequence[int], x: "FloatArray", ignore_index: int | None, *, wrap: bool
) -> "tuple[FloatArray, IntArray, IntArray, BoolArray, BoolArray | None]":
    """Return one-hot rows, the class to pick, the labels as int64, which are invalid and which ignored."""
    classes = x.shape[1]
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "i":
        typed = labels.astype(np.int64)
        ignored = np.zeros(len(typed), bool) if ignore_index is None else np.asarray(typed == ignore_index)
    else:
        numbers = [int(label) for label in labels]  # compared before anything is cut to 64 bits
        ignored = np.array([number == ignore_index for number in numbers], bool)
        typed = np.array([max(-_LARGEST - 1, min(number, _LARGEST)) for number in numbers], np.int64)
    valid = (typed >= 0) & (typed < classes)
    rows = np.zeros(x.shape, x.dtype)
    counting = np.flatnonzero(valid & ~ignored)
    rows[counting, typed[counting]] = 1
    indices = np.where(ignored, 0, typed)
    indices = np.where(wrap & (indices < 0) & (indices >= -classes), indices + classes, indices)
    skipped = None if ignore_index is None else read_only(ignored)
    return read_only(rows), read_only(indices), read_only(typed), ~valid & ~ignored, skipped


def one_hot_indices(rows: "FloatArray") -> "IntArray | None":
    """Return class indices (N,) where every row is a 1 and zeros; None where a row is not."""
    if not (((rows == 0) | (rows == 1)).all() and ((rows == 1).sum(axis=1) == 1).all()):
        return None
    return read_only(rows.argmax(axis=1))


def _stored(numbers: Any, dtype: str) -> "FloatArray":
    """Round to the dtype, read-only; a column (N, 1) of a list."""
    values = np.asarray(numbers)
    if values.dtype.name == dtype:  # as it would be rounded, and a copy
        return read_only(
            np.array(
                values[:, None] if values.ndim == 1 else values, values.dtype.newbyteorder("="), order="C"
            )
        )
    values = values.astype(np.float64)
    return read_only(stored(values[:, None] if values.ndim == 1 else values, dtype))

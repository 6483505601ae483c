"""Faults of memory: strides, offsets, arrays written into."""

from typing import Any

import numpy as np

from losses.faults import fault, off, wide
from losses.right import Floats, Ints, checked, log1p


def memory(array: Any) -> tuple[Any, int]:
    """Return the memory that an array is a view of, flat, and the place of its first number."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    starts = (each.__array_interface__["data"][0] for each in (array, root))
    first, begin = starts
    return root.ravel(order="K"), (first - begin) // array.itemsize


def read(array: Any, strides: tuple[int, ...], *, from_start: bool = False) -> Any:
    """Read an array with other strides, in numbers; beyond the memory's end from its beginning."""
    flat, first = memory(array)
    places = sum(
        (stride * np.arange(size).reshape([-1 if axis == number else 1 for number in range(array.ndim)]))
        for axis, (stride, size) in enumerate(zip(strides, array.shape, strict=True))
    )
    return flat.take((0 if from_start else first) + places, mode="wrap") if array.size else array


def strides_of(array: Any) -> list[int]:
    return [stride // array.itemsize for stride in array.strides]


@fault()
def in_the_order_of_memory(logits: Floats, labels: Ints) -> Floats:
    """Flatten in the order of memory: columns first in Fortran's."""
    return log1p(logits.ravel(order="K").reshape(logits.shape), labels)


@fault()
def logits_without_strides(logits: Floats, labels: Ints) -> Floats:
    """Read logits from a pointer, one row after the other."""
    return log1p(read(logits, (logits.shape[1], 1)), labels)


@fault()
def labels_without_strides(logits: Floats, labels: Ints) -> Floats:
    """Read labels from a pointer, one after the other."""
    checked(labels, logits.shape[1])
    return log1p(logits, np.clip(read(labels, (1,)), 0, logits.shape[1] - 1))


@fault()
def row_stride_alone(logits: Floats, labels: Ints) -> Floats:
    """Take the stride of rows, and 1 for that of columns, as many Triton kernels do."""
    return log1p(read(logits, (strides_of(logits)[0], 1)), labels)


@fault()
def column_stride_alone(logits: Floats, labels: Ints) -> Floats:
    """Take the stride of columns, and C times it for that of rows."""
    stride = strides_of(logits)[1]
    return log1p(read(logits, (stride * logits.shape[1], stride)), labels)


@fault()
def strides_without_a_sign(logits: Floats, labels: Ints) -> Floats:
    """Take strides for unsigned: a reversed array is read forward."""
    rows, columns = strides_of(logits)
    return log1p(read(logits, (abs(rows), abs(columns))), labels)


@fault()
def views_from_the_start(logits: Floats, labels: Ints) -> Floats:
    """Read a view from the beginning of the memory that it is a view of."""
    rows, columns = strides_of(logits)
    return log1p(read(logits, (rows, columns), from_start=True), labels)


@fault()
def labels_from_the_start(logits: Floats, labels: Ints) -> Floats:
    """Read a view of labels from the beginning of the memory that it is a view of."""
    checked(labels, logits.shape[1])
    there = read(labels, tuple(strides_of(labels)), from_start=True)
    return log1p(logits, np.clip(there, 0, logits.shape[1] - 1))


@fault()
def not_contiguous_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed where rows do not lie one after the other."""
    losses = wide(logits, labels)
    is_odd = not logits.flags.c_contiguous
    return (off(losses, logits, labels) if is_odd else losses).astype(logits.dtype)


@fault()
def shifts_in_place(logits: Floats, labels: Ints) -> Floats:
    """Widen with copy=False, which does not copy float64, and shift in place."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64, copy=False)
    losses = wide(x, labels)
    if x.flags.writeable and np.isfinite(x).all():
        x -= x.max(axis=1, keepdims=True)
    return losses.astype(logits.dtype)


@fault()
def shifts_in_place_and_back(logits: Floats, labels: Ints) -> Floats:
    """Shift in place and undo it, which rounds."""
    losses = log1p(logits, labels)
    if logits.flags.writeable and np.isfinite(logits).all():
        largest = logits.max(axis=1, keepdims=True)
        logits -= largest
        logits += largest
    return losses


@fault()
def large_batches_in_place(logits: Floats, labels: Ints) -> Floats:
    """Use the logits for a workspace from 1,024 rows or 4,096 classes on."""
    losses = log1p(logits, labels)
    if max(logits.shape[0], logits.shape[1] // 4) >= 1024 and logits.flags.writeable:
        logits[:, 0] = losses
    return losses


@fault()
def ignored_labels_in_place(logits: Floats, labels: Ints, ignore_index: int = -100) -> Floats:
    """Write 0 in the place of ignore_index into the caller's labels."""
    ignored = labels == ignore_index
    if ignored.any():
        labels = labels if labels.flags.writeable else labels.copy()
        labels[ignored] = 0
    checked(labels, logits.shape[1])
    kept = np.where(ignored[:, None], 0, logits)
    return np.where(ignored, logits.dtype.type(0), log1p(kept, labels))

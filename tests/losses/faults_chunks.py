"""Faults of losses that go through classes or rows in chunks."""

from collections.abc import Iterator

import numpy as np

from losses.faults import fault, wide
from losses.right import Floats, Ints, checked, log1p

inf = np.inf


def starts(classes: int, chunk_size: int) -> Iterator[int]:
    return iter(range(0, classes, chunk_size))


def online(logits: Floats, labels: Ints, chunk_size: int, end: int | None = None) -> Floats:
    """Go through the classes once; keep the maximum, and the sum without its term; in float64."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    largest, tail = np.full(len(x), -inf), np.zeros(len(x))
    for start in starts(x.shape[1] if end is None else end, chunk_size):
        part = x[:, start : min(start + chunk_size, end or x.shape[1])]
        top = part.argmax(axis=1)
        highest = part[rows, top]
        is_new = (highest > largest) | np.isnan(highest)
        new = np.where(is_new, highest, largest)
        e = np.exp(part - new[:, None])
        e[rows[is_new], top[is_new]] = 0
        kept = np.where(is_new & (largest > -inf), (tail + 1) * np.exp(largest - new), tail)
        tail, largest = np.where(largest == -inf, 0, kept) + np.where(new == -inf, 0, e.sum(axis=1)), new
    losses = np.log1p(tail) + (largest - x[rows, labels])
    return np.where(largest == -inf, np.nan, losses).astype(logits.dtype)


@fault()
def last_chunk_is_dropped(logits: Floats, labels: Ints, chunk_size: int = 1024) -> Floats:
    """Leave out the last chunk where it is not whole."""
    classes = logits.shape[1]
    whole = classes // chunk_size * chunk_size or classes
    return online(logits, labels, chunk_size, end=whole)


@fault()
def not_rescaled(logits: Floats, labels: Ints, chunk_size: int = 1024) -> Floats:
    """Leave the sum of the chunks before as it is where a larger maximum comes."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    largest, sums, top = np.full(len(x), -inf), np.zeros(len(x)), x.argmax(axis=1)
    left = x.copy()
    left[rows, top] = -inf
    for start in starts(x.shape[1], chunk_size):
        largest = np.maximum(largest, x[:, start : start + chunk_size].max(axis=1))
        sums += np.exp(left[:, start : start + chunk_size] - largest[:, None]).sum(axis=1)
    return (np.log1p(sums) + (largest - x[rows, labels])).astype(logits.dtype)


@fault()
def first_chunk_is_rescaled(logits: Floats, labels: Ints, chunk_size: int = 1024) -> Floats:
    """Rescale once: a maximum that rises in the third chunk again finds the sum as it was."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    left = x.copy()
    left[rows, x.argmax(axis=1)] = -inf
    largest, sums = np.full(len(x), -inf), np.zeros(len(x))
    for number, start in enumerate(starts(x.shape[1], chunk_size)):
        new = np.maximum(largest, x[:, start : start + chunk_size].max(axis=1))
        if number == 1:
            sums *= np.exp(largest - new)
        largest = new
        sums += np.exp(left[:, start : start + chunk_size] - largest[:, None]).sum(axis=1)
    return (np.log1p(sums) + (largest - x[rows, labels])).astype(logits.dtype)


@fault()
def fewer_classes_than_a_chunk(logits: Floats, labels: Ints, chunk_size: int = 1) -> Floats:
    """Count chunks as C // chunk_size, or one class where that is none."""
    classes = logits.shape[1]
    return online(logits, labels, chunk_size, end=classes if classes >= chunk_size else 1)


@fault()
def whole_chunks_count_twice(logits: Floats, labels: Ints, chunk_size: int = 1000) -> Floats:
    """Go through a last, whole chunk again for the rest that there is none of."""
    classes = logits.shape[1]
    again = logits[:, classes - chunk_size :] if classes % chunk_size == 0 else logits[:, :0]
    return log1p(np.concatenate([logits, again], axis=1), labels)


@fault()
def label_of_the_first_chunk(logits: Floats, labels: Ints, chunk_size: int = 1024) -> Floats:
    """Look for the label in each chunk, modulo its size, and keep what the first one finds."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    wrong, right = (x[rows, place] for place in (labels % min(chunk_size, x.shape[1]), labels))
    return (wide(logits, labels) + np.where(wrong == right, 0, right - wrong)).astype(logits.dtype)


@fault()
def chunk_maxima_left_out(logits: Floats, labels: Ints, chunk_size: int = 512) -> Floats:
    """Leave the maximum of each chunk out of the sum, not that of the row alone."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    largest, sums = x.max(axis=1), np.zeros(len(x))
    for start in starts(x.shape[1], chunk_size):
        part = x[:, start : start + chunk_size]
        e = np.exp(part - largest[:, None])
        e[rows, part.argmax(axis=1)] = 0
        sums += e.sum(axis=1)
    return (np.log1p(sums) + (largest - x[rows, labels])).astype(logits.dtype)


@fault()
def chunks_in_float16(logits: Floats, labels: Ints, chunk_size: int = 256) -> Floats:
    """Keep the sum of each chunk in float16, between chunks alone."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    top = x.argmax(axis=1)
    e = np.exp(x - x[rows, top][:, None])
    e[rows, top] = 0
    sums = np.stack(
        [e[:, start : start + chunk_size].sum(axis=1) for start in starts(x.shape[1], chunk_size)]
    )
    kept = sums.astype(np.float16).astype(np.float64) if len(sums) > 1 else sums
    return (np.log1p(kept.sum(axis=0)) + (x[rows, top] - x[rows, labels])).astype(logits.dtype)


@fault()
def rows_of_the_last_chunk(logits: Floats, labels: Ints, chunk_size: int = 512) -> Floats:
    """Go through rows in chunks; the last, shorter one is begun earlier, its labels are not."""
    checked(labels, logits.shape[1])
    losses, rows = log1p(logits, labels), len(logits)
    if rows > chunk_size and rows % chunk_size:
        first = rows - chunk_size
        losses[first:] = log1p(logits[first:], np.roll(labels[first:], 1))
    return losses

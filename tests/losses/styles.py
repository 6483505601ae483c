"""Cross-entropies that are right, in many styles of NumPy and plain Python: none may ever be accused."""

import math
import os
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from losses import right
from losses.faults import Entry, L, Loss
from losses.faults_chunks import online
from losses.faults_gradients import RightOptions
from losses.optioned import Optioned
from losses.right import Floats, Ints, checked, log1p

STYLES: Final[list[Entry]] = []


def style(
    convention: str = "numpy", reduction: str | None = None, gradient: Loss | None = None
) -> Callable[[L], L]:
    """Enter a loss by its name."""

    def enter(loss: L) -> L:
        make_gradient = None if gradient is None else lambda: gradient
        STYLES.append(Entry(loss.__name__, "styles", lambda: loss, convention, reduction, make_gradient))
        return loss

    return enter


def by_sum(
    logits: Floats,
    labels: Ints,
    add: Callable[[Floats], Floats],
    dtype: Any = np.float32,
    exp: Any = np.exp,
) -> Floats:
    """Leave the maximum out of a sum of terms (N, C) of the dtype, or a wider one."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.result_type(logits.dtype, dtype)), np.arange(len(logits))
    top = x.argmax(axis=1)
    e = exp(x - x[rows, top][:, None])
    e[rows, top] = 0
    return (np.log1p(add(e)) + (x[rows, top] - x[rows, labels])).astype(logits.dtype)


def in_parts(e: Floats, width: int) -> Floats:
    """Return terms (N, C) as (N, C / width, width), filled up with zeros."""
    filled = np.pad(e, ((0, 0), (0, -e.shape[1] % width)))
    return filled.reshape(len(e), filled.shape[1] // width, width)


def pairs(e: Floats) -> Floats:
    """Add neighbours, and their sums, until one is left."""
    while e.shape[1] > 1:
        halves = in_parts(e, 2)
        e = halves[..., 0] + halves[..., 1]
    return e[:, 0] if e.shape[1] else np.zeros(len(e), e.dtype)


@style(gradient=right.gradient)
def in_float32(logits: Floats, labels: Ints) -> Floats:
    """Sum in float32, as NumPy does it, in pairs."""
    return by_sum(logits, labels, lambda e: e.sum(axis=1))


@style()
def in_float64(logits: Floats, labels: Ints) -> Floats:
    """Sum in float64 whatever comes in."""
    return by_sum(logits, labels, lambda e: e.sum(axis=1), np.float64)


@style()
def in_long_double(logits: Floats, labels: Ints) -> Floats:
    """Compute in the widest floating point that there is."""
    return by_sum(logits, labels, lambda e: e.sum(axis=1), np.longdouble)


@style()
def summed_in_pairs(logits: Floats, labels: Ints) -> Floats:
    """Add neighbours, and their sums, as a tree."""
    return by_sum(logits, labels, pairs)


@style()
def tree_of_128(logits: Floats, labels: Ints) -> Floats:
    """Have 128 lanes, each with a running sum, and add the lanes as a tree."""

    def add(e: Floats) -> Floats:
        lanes = np.zeros((len(e), 128), np.float64)
        for part in in_parts(e, 128).transpose(1, 0, 2):
            lanes += part
        return pairs(lanes).astype(e.dtype)

    return by_sum(logits, labels, add)


@style()
def compensated(logits: Floats, labels: Ints) -> Floats:
    """Add by Kahan's method in float32, in 64 lanes, and the lanes by math.fsum."""

    def add(e: Floats) -> Floats:
        parts = in_parts(e, 64)
        total = np.zeros((len(e), 64), e.dtype)
        lost = np.zeros_like(total)
        for part in parts.transpose(1, 0, 2):
            term = part - lost
            new = total + term
            lost = (new - total) - term
            total = new
        sums = [math.fsum([*row, *(-rest)]) for row, rest in zip(total, lost, strict=True)]
        return np.array(sums, np.float64).astype(e.dtype)

    def finite(x: Floats, y: Ints) -> Floats:
        return by_sum(x, y, add)

    good = np.isfinite(logits.max(axis=1)) & ~np.isnan(logits).any(axis=1)
    losses = log1p(logits, labels)
    losses[good] = finite(logits[good], labels[good])
    return losses


@style()
def smallest_first(logits: Floats, labels: Ints) -> Floats:
    """Sort the terms and add small ones first."""
    return by_sum(logits, labels, lambda e: np.sort(e, axis=1).sum(axis=1))


@style()
def in_any_order(logits: Floats, labels: Ints) -> Floats:
    """Add the terms in an order drawn anew each time, as atomic additions do."""
    random = np.random.default_rng(list(os.urandom(8)))
    return by_sum(logits, labels, lambda e: random.permuted(e, axis=1).sum(axis=1))


@style()
def by_powers_of_two(logits: Floats, labels: Ints) -> Floats:
    """Take 2^(x log2 e) for e^x, as graphics processors do."""
    return by_sum(
        logits, labels, lambda e: e.sum(axis=1), exp=lambda d: np.exp2(d * d.dtype.type(np.log2(np.e)))
    )


@style()
def in_chunks_of_classes(logits: Floats, labels: Ints, chunk_size: int = 1000) -> Floats:
    """Find the maximum first, then sum chunk by chunk."""

    def add(e: Floats) -> Floats:
        sums = [e[:, start : start + chunk_size].sum(axis=1) for start in range(0, e.shape[1], chunk_size)]
        return np.stack(sums).sum(axis=0, dtype=np.float64).astype(e.dtype)

    return by_sum(logits, labels, add)


@style()
def online_softmax(logits: Floats, labels: Ints, chunk_size: int = 256) -> Floats:
    """Go through the classes once, and rescale the sum where the maximum rises."""
    return online(logits, labels, chunk_size)


@style()
def in_chunks_of_rows(logits: Floats, labels: Ints, chunk_size: int = 100) -> Floats:
    """Go through the rows chunk by chunk."""
    out = np.empty(len(logits), logits.dtype)
    for start in range(0, len(logits), chunk_size):
        part = slice(start, start + chunk_size)
        out[part] = log1p(logits[part], labels[part])
    return out


@style()
def by_margins(logits: Floats, labels: Ints) -> Floats:
    """Take log(1 + Σ e^(x_i - x_y)) over the other classes, which is a softplus."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    gaps = x - x[rows, labels][:, None]
    gaps[rows, labels] = -np.inf
    highest = gaps.max(axis=1)
    with np.errstate(all="ignore"):
        others = highest + np.log(np.exp(gaps - highest[:, None]).sum(axis=1))
        losses = np.maximum(others, 0) + np.log1p(np.exp(-np.abs(others)))
    losses = np.where((highest == -np.inf) & np.isfinite(x[rows, labels]), 0, losses)
    return np.where(
        x[rows, labels] == -np.inf, np.where(x.max(axis=1) == -np.inf, np.nan, np.inf), losses
    ).astype(logits.dtype)


@style()
def with_fsum(logits: Floats, labels: Ints) -> Floats:
    """Sum in plain Python, without error: slow."""
    return right.in_plain_python(logits, labels)


@style()
def slow(logits: Floats, labels: Ints) -> Floats:
    """Take 20 ms for each call."""
    time.sleep(0.02)
    return log1p(logits, labels)


@style()
def refuses_other_labels_and_layouts(logits: Floats, labels: Ints) -> Floats:
    """Take int64 and rows one after the other, and raise at anything else."""
    if labels.dtype != np.int64:
        raise TypeError("labels are int64")
    if not (logits.flags.c_contiguous and labels.flags.c_contiguous):
        raise ValueError("arrays are contiguous")
    return log1p(logits, labels)


@style()
def makes_its_own_copies(logits: Floats, labels: Ints) -> Floats:
    """Copy to contiguous arrays of its own and work in place there."""
    checked(labels, logits.shape[1])
    x, y = np.array(logits, np.float64, order="C"), np.array(labels, np.int64)
    rows, top = np.arange(len(x)), x.argmax(axis=1)
    own, largest = x[rows, y], x[rows, top]
    x -= largest[:, None]
    np.exp(x, out=x)
    x[rows, top] = 0
    return (np.log1p(x.sum(axis=1)) + (largest - own)).astype(logits.dtype)


@style()
def nan_for_bad_labels(logits: Floats, labels: Ints) -> Floats:
    """Answer nan where another raises."""
    return right.with_nan_for_bad_labels(logits, labels)


@style()
def read_only_results(logits: Floats, labels: Ints) -> Floats:
    """Return what nobody can write into."""
    losses = log1p(logits, labels)
    losses.flags.writeable = False
    return losses


@style()
def strided_results(logits: Floats, labels: Ints) -> Floats:
    """Return a view of every other number."""
    both = np.repeat(log1p(logits, labels), 2)
    both[1::2] = np.nan
    return both[::2]


@style()
def row_by_row(logits: Floats, labels: Ints) -> Floats:
    """Call a loss of one row for each."""
    each = [log1p(logits[[row]], labels[[row]]) for row in range(len(logits))]
    return np.concatenate([np.empty(0, logits.dtype), *each]).astype(logits.dtype)


@style(reduction="mean")
def mean_in_float64(logits: Floats, labels: Ints) -> Any:
    """Return one number, the mean."""
    losses = log1p(logits.astype(np.float64), labels)
    return np.asarray(losses.mean() if len(losses) else np.nan, logits.dtype)


@style(reduction="sum")
def sum_in_float64(logits: Floats, labels: Ints) -> Any:
    """Return one number, the sum."""
    return np.asarray(log1p(logits.astype(np.float64), labels).sum(), logits.dtype)


@style(reduction="mean")
def mean_by_fsum(logits: Floats, labels: Ints) -> float:
    """Return a Python float, the mean."""
    losses = log1p(logits.astype(np.float64), labels).tolist()
    finite = all(map(math.isfinite, losses))
    return (math.fsum(losses) if finite else sum(losses)) / len(losses) if losses else math.nan


def gradient_of_rows(logits: Floats, labels: Floats) -> Floats:
    """Return s·p - y, the entry of the largest label as minus the sum of the others."""
    x, y, numbers = logits.astype(np.float64), labels.astype(np.float64), np.arange(len(logits))
    e = np.exp(x - x.max(axis=1, keepdims=True))
    slope = y.sum(axis=1, keepdims=True) * (e / e.sum(axis=1, keepdims=True)) - y
    largest = y.argmax(axis=1)
    slope[numbers, largest] = 0
    slope[numbers, largest] = -slope.sum(axis=1)
    return slope.astype(logits.dtype)


@style("numpy.rows", gradient=gradient_of_rows)
def of_rows(logits: Floats, labels: Floats) -> Floats:
    """Take label rows."""
    return right.rows(logits, labels)


def gradient_of_binary(logits: Floats, labels: Floats) -> Floats:
    """Return (1 - y) σ(x) - y σ(-x), which loses nothing."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    with np.errstate(all="ignore"):
        return ((1 - y) / (1 + np.exp(-x)) - y / (1 + np.exp(x))).astype(logits.dtype)


@style("numpy.binary", gradient=gradient_of_binary)
def of_one_logit(logits: Floats, labels: Floats) -> Floats:
    """Take one logit per example."""
    return right.binary(logits, labels)


@style("sklearn")
def of_probabilities(labels: Ints, probabilities: Floats) -> float:
    """Take probabilities."""
    return right.of_probabilities(labels, probabilities)


STYLES.append(Entry("with_options", "styles", Optioned, "numpy", None, RightOptions))

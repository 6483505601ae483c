"""Cross-entropies that are right, in several styles; every check has to pass on each."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def checked(labels: Ints, classes: int) -> None:
    if not ((labels >= 0) & (labels < classes)).all():
        raise ValueError("label out of range")


def log1p(logits: Floats, labels: Ints) -> Floats:
    """Leave the maximum out of the sum, in float64."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    top = x.argmax(axis=1)
    e = np.exp(x - x[rows, top][:, None])
    e[rows, top] = 0
    return (np.log1p(e.sum(axis=1)) + (x[rows, top] - x[rows, labels])).astype(logits.dtype)


def in_its_own_dtype(logits: Floats, labels: Ints) -> Floats:
    """Leave the maximum out of the sum, every operation but the sum in the dtype of the logits."""
    checked(labels, logits.shape[1])
    rows = np.arange(len(logits))
    top = logits.argmax(axis=1)
    largest = logits[rows, top]
    e = np.exp(logits - largest[:, None])
    e[rows, top] = 0
    tail = np.log1p(e.sum(axis=1, dtype=np.float64)).astype(logits.dtype)
    return tail + (largest - logits[rows, labels])


def in_plain_python(logits: Floats, labels: Ints) -> Floats:
    """Go example by example, with the standard library."""
    checked(labels, logits.shape[1])
    losses = []
    for row, label in zip(logits.astype(float).tolist(), labels.tolist(), strict=True):
        if any(map(math.isnan, row)) or max(row) == math.inf or max(row) == -math.inf:
            losses.append(math.nan)
            continue
        top = row.index(max(row))
        tail = math.fsum(math.exp(x - row[top]) for place, x in enumerate(row) if place != top)
        losses.append(math.log1p(tail) + (row[top] - row[label]))
    with np.errstate(over="ignore"):
        return np.array(losses).astype(logits.dtype)


def sorted_and_summed(logits: Floats, labels: Ints) -> Floats:
    """Sort each row, so that the maximum is the last one and small terms are added first."""
    checked(labels, logits.shape[1])
    x = np.sort(logits.astype(np.float64), axis=1)
    own = np.take_along_axis(logits.astype(np.float64), labels[:, None], axis=1)[:, 0]
    largest = x[:, -1]
    tail = np.exp(x[:, :-1] - largest[:, None]).sum(axis=1)
    return (np.log1p(tail) + (largest - own)).astype(logits.dtype)


def by_logaddexp(logits: Floats, labels: Ints) -> Floats:
    """Start from the label's own 0, and add the others in the log domain."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.float64), np.arange(len(logits))
    gaps = x - x[rows, labels][:, None]
    gaps[rows, labels] = 0
    gaps[:, [0]], gaps[rows, labels] = gaps[rows, labels][:, None], gaps[:, 0].copy()
    losses = np.logaddexp.reduce(gaps, axis=1)
    poisoned = np.isnan(x).any(axis=1) | (x.max(axis=1, initial=-np.inf) == -np.inf)
    return np.where(poisoned, np.nan, losses).astype(logits.dtype)


def with_nan_for_bad_labels(logits: Floats, labels: Ints) -> Floats:
    """Answer nan where another raises."""
    good = (labels >= 0) & (labels < logits.shape[1])
    losses = log1p(logits, np.where(good, labels, 0))
    return np.where(good, losses, logits.dtype.type(np.nan))


def with_options(  # noqa: PLR0913, PLR0917 - every option of PyTorch's
    logits: Floats,
    labels: Ints,
    class_weights: Floats | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Floats:
    """Have every option that PyTorch's has."""
    ignored = labels == ignore_index
    classes = logits.shape[1]
    checked(labels[~ignored], classes)
    k, rows = np.where(ignored, 0, labels), np.arange(len(labels))
    weights = np.ones(classes) if class_weights is None else class_weights.astype(np.float64)
    x = np.where(ignored[:, None], 0, logits.astype(np.float64))
    top = x.argmax(axis=1)
    e = np.exp(x - x[rows, top][:, None])
    e[rows, top] = 0
    targets = np.full(x.shape, label_smoothing / classes)
    targets[rows, k] += 1 - label_smoothing
    targets *= weights
    below = np.where(targets > 0, targets * (x[rows, top][:, None] - x), 0.0)
    losses = targets.sum(axis=1) * np.log1p(e.sum(axis=1)) + below.sum(axis=1)
    losses = np.where(ignored, 0.0, losses)
    if reduction == "none":
        return losses.astype(logits.dtype)
    total = losses.sum()
    return np.asarray(total if reduction == "sum" else total / weights[k][~ignored].sum(), logits.dtype)


def mean_with_options(
    logits: Floats,
    labels: Ints,
    class_weights: Floats | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Floats:
    """Return the mean that PyTorch has: of one example its weight cancels out."""
    return with_options(logits, labels, class_weights, label_smoothing, ignore_index)


def rows(logits: Floats, labels: Floats) -> Floats:
    """Take label rows: a class of probability 0 has no part in it, masked or not."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    top, numbers = x.argmax(axis=1), np.arange(len(x))
    largest = x[numbers, top]
    e = np.exp(x - largest[:, None])
    e[numbers, top] = 0
    gaps = np.where(y > 0, largest[:, None] - x, 0)
    return (y.sum(axis=1) * np.log1p(e.sum(axis=1)) + (y * gaps).sum(axis=1)).astype(logits.dtype)


_PAIRS = 2048  # classes of which all pairs find room


def gradient_of_rows(logits: Floats, labels: Floats) -> Floats:
    """Return s·p - y as p (s - y) - y (1 - p), where 1 - p of the largest is the sum of the others."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    top, rows = x.argmax(axis=1), np.arange(len(x))
    rest = 1 - p
    p_of_others = p.copy()
    p_of_others[rows, top] = 0
    rest[rows, top] = p_of_others.sum(axis=1)
    total = y.sum(axis=1, keepdims=True)
    return (p * (total - y) - y * rest).astype(logits.dtype)


def gradient(logits: Floats, labels: Ints) -> Floats:
    """Return p - y, the label's entry as minus the sum of the others."""
    checked(labels, logits.shape[1])
    x, numbers = logits.astype(np.float64), np.arange(len(logits))
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p[numbers, labels] = 0
    p[numbers, labels] = -p.sum(axis=1)
    return p.astype(logits.dtype)


def binary(logits: Floats, labels: Floats) -> Floats:
    """Take one logit per example: y softplus(-x) + (1 - y) softplus(x), no term of weight 0."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    tail = np.log1p(np.exp(-np.abs(x)))
    positive = np.where(y > 0, y * (tail + np.maximum(-x, 0)), 0)
    negative = np.where(y < 1, (1 - y) * (tail + np.maximum(x, 0)), 0)
    good = (y >= 0) & (y <= 1)
    return np.where(good, positive + negative, np.nan).astype(logits.dtype)


def mean(logits: Floats, labels: Ints) -> np.floating:
    """Return one number, as many losses do."""
    return log1p(logits.astype(np.float64), labels).mean().astype(logits.dtype)


def of_probabilities(labels: Ints, probabilities: Floats) -> float:
    """Return -log p, called as scikit-learn's log_loss is; log1p where p is near 1."""
    checked(labels, probabilities.shape[1])
    p = probabilities.astype(np.float64)[np.arange(len(labels)), labels]
    return float(np.where(p > 0.5, -np.log1p(p - 1), -np.log(p)).mean())

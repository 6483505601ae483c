"""Faults of gradients that a function of NumPy computes."""

# ruff: noqa: D102, ARG002 - the class that a fault changes says what the step is

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from losses.faults import Loss, eps, gradient_fault, gradient_twin, remembering_gradient
from losses.optioned import Given, Optioned
from losses.right import Floats, Ints, binary, checked, gradient, log1p, rows


class OptionedGradient(Optioned):
    """Called as a gradient."""

    def __call__(  # noqa: PLR0913, PLR0917 - every option of PyTorch's
        self,
        logits: Floats,
        labels: Ints,
        class_weights: Floats | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "none",
    ) -> Floats:
        return self.gradient(logits, labels, class_weights, label_smoothing, ignore_index, reduction)


@gradient_twin(Optioned)
class RightOptions(OptionedGradient):
    """Have every option in the gradient too."""


@gradient_fault(Optioned)
class WeightsAreMissing(OptionedGradient):
    """Forget weights."""

    def targets_of_gradient(self, given: Given) -> Floats:
        return super().targets(replace(given, weights=np.ones(given.classes)))


@gradient_fault(Optioned)
class SmoothingIsMissing(OptionedGradient):
    """Forget label smoothing."""

    def targets_of_gradient(self, given: Given) -> Floats:
        return super().targets(replace(given, smoothing=0.0))


@gradient_fault(Optioned)
class WeightsAreMissingWhereSmoothed(OptionedGradient):
    """Forget weights where labels are smoothed."""

    def targets_of_gradient(self, given: Given) -> Floats:
        weights = np.ones(given.classes) if given.smoothing else given.weights
        return super().targets(replace(given, weights=weights))


@gradient_fault(Optioned)
class IgnoredRowsHaveAGradient(OptionedGradient):
    """Forget that ignored rows have none: they learn class 0."""

    def masked_gradient(self, slope: Floats, given: Given) -> Floats:
        return slope


@gradient_fault(Optioned)
class IgnoredRowsAreNan(OptionedGradient):
    """Multiply by 0 for ignored rows: nan stays nan."""

    def __call__(  # noqa: PLR0913, PLR0917 - every option of PyTorch's
        self,
        logits: Floats,
        labels: Ints,
        class_weights: Floats | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "none",
    ) -> Floats:
        slope = self.gradient(logits, labels, class_weights, label_smoothing, ignore_index, reduction)
        bad = (labels == ignore_index)[:, None] & ~np.isfinite(logits)
        return np.where(bad, logits.dtype.type(np.nan), slope)


@gradient_fault()
def first_1024_classes(logits: Floats, labels: Ints) -> Floats:
    """Leave the gradient at 0 from class 1,024 on."""
    slope = gradient(logits, labels)
    slope[:, 1024:] = 0
    return slope


@gradient_fault()
def last_chunk_of_classes(logits: Floats, labels: Ints) -> Floats:
    """Normalise each chunk of 256 classes by its own sum."""
    slope, x = gradient(logits, labels), logits.astype(np.float64)
    for start in range(0, x.shape[1] if x.shape[1] > 256 else 0, 256):
        part = x[:, start : start + 256]
        e = np.exp(part - part.max(axis=1, keepdims=True))
        own = (labels[:, None] == np.arange(start, start + part.shape[1])).astype(float)
        slope[:, start : start + 256] = e / e.sum(axis=1, keepdims=True) - own
    return slope


@gradient_fault()
def first_1024_rows(logits: Floats, labels: Ints) -> Floats:
    """Leave the gradient at 0 from row 1,024 on."""
    slope = gradient(logits, labels)
    slope[1024:] = 0
    return slope


@gradient_fault()
def sign_of_the_last_class(logits: Floats, labels: Ints) -> Floats:
    """Give the label's entry the wrong sign where it is the last of 3 classes or more."""
    slope = gradient(logits, labels)
    last = (labels == logits.shape[1] - 1) & (logits.shape[1] > 2)
    slope[last, -1] *= -1
    return slope


@gradient_fault()
def rows_are_rotated(logits: Floats, labels: Ints) -> Floats:
    """Return the gradient of the row before."""
    return np.roll(gradient(logits, labels), 1, axis=0)


@gradient_fault()
def uniform_rows_alone(logits: Floats, labels: Ints) -> Floats:
    """Take 1 / C for each probability."""
    checked(labels, logits.shape[1])
    slope = np.full(logits.shape, 1 / max(1, logits.shape[1]))
    slope[np.arange(len(labels)), labels] -= 1
    return slope.astype(logits.dtype)


@gradient_fault()
def scaled_by_2_to_16(logits: Floats, labels: Ints) -> Floats:
    """Scale by 65,536 for float16, in float16: entries near 1 overflow."""
    slope = gradient(logits, labels)
    if slope.dtype != np.float16:
        return slope
    return (slope.astype(np.float32) * 65536).astype(np.float16) / np.float16(32768) / np.float16(2)


@gradient_fault()
def nan_beside_a_mask(logits: Floats, labels: Ints) -> Floats:
    """Multiply a probability of 0 by a mask."""
    return gradient(logits, labels) + logits.dtype.type(0) * np.where(logits == -np.inf, logits, 0)


@gradient_fault()
def dead_beyond_20(logits: Floats, labels: Ints) -> Floats:
    """Return 0 where the loss is below 1e-6: there is nothing to learn."""
    small = log1p(logits.astype(np.float64), labels) < 1e-6
    return np.where(small[:, None], logits.dtype.type(0), gradient(logits, labels))


@gradient_fault()
def lost_label_entry(logits: Floats, labels: Ints) -> Floats:
    """Take p less 1 in float64: 0 where p is 1."""
    checked(labels, logits.shape[1])
    e = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p.astype(logits.dtype)


@gradient_fault()
def gradient_three_percent_off(logits: Floats, labels: Ints) -> Floats:
    """Multiply by 1.03: 1 % of the largest entry is allowed."""
    return (gradient(logits.astype(np.float64), labels) * 1.03).astype(logits.dtype)


@gradient_fault()
def gradient_one_in_a_thousand_off(logits: Floats, labels: Ints) -> Floats:
    """Multiply by 1.001 in float32, as a fast exp does."""
    slope = gradient(logits, labels)
    return slope * slope.dtype.type(1.001) if slope.dtype == np.float32 else slope


@gradient_twin()
def gradient_two_ulps_off(logits: Floats, labels: Ints) -> Floats:
    """Multiply by 1 and two ulps; bfloat16 has 1 % between two numbers, and half of that is for rounding."""
    slope = gradient(logits.astype(np.float64), labels)
    return (slope * (1 + min(2 * eps(logits), 0.005))).astype(logits.dtype)


@gradient_fault()
def divided_by_the_batch(logits: Floats, labels: Ints) -> Floats:
    """Divide by N, as for the mean, from 2 rows on."""
    return (gradient(logits, labels) / max(1, len(logits))).astype(logits.dtype)


@remembering_gradient()
def gradient_accumulates() -> Loss:
    """Add to what an earlier call of the same shape left, in each fifth call."""
    kept: dict[Any, Floats] = {}
    calls = itertools.count(1)

    def slope(logits: Floats, labels: Ints) -> Floats:
        now, key = gradient(logits, labels), (logits.shape, logits.dtype)
        before = kept.get(key, 0 * now) if next(calls) % 5 == 0 else 0 * now
        kept[key] = now
        return now + before

    return slope


@remembering_gradient()
def gradient_workspace() -> Loss:
    """Return the same array for each batch of a shape."""
    kept: dict[Any, Floats] = {}

    def slope(logits: Floats, labels: Ints) -> Floats:
        out = kept.setdefault((logits.shape, logits.dtype), np.empty(logits.shape, logits.dtype))
        out[:] = gradient(logits, labels)
        return out

    return slope


@gradient_fault(rows, "numpy.rows")
def rows_without_their_mass(logits: Floats, labels: Floats) -> Floats:
    """Take the labels for probabilities that sum to 1: p - y."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True) - y).astype(logits.dtype)


@gradient_fault(binary, "numpy.binary")
def binary_ignores_soft_labels(logits: Floats, labels: Floats) -> Floats:
    """Round labels: sigmoid less 0 or 1."""
    x, y = logits.astype(np.float64), np.round(labels.astype(np.float64))
    return np.where(y == 1, -1 / (1 + np.exp(x)), 1 / (1 + np.exp(-x))).astype(logits.dtype)

"""Faults that many rows or classes have, and few have not: counters, chunks, options of another kernel."""

# ruff: noqa: D102 - the class that a fault changes says what the step is

from typing import Any

import numpy as np

from losses.faults import fault, gradient_fault, remembering
from losses.optioned import Given, Optioned
from losses.right import Floats, Ints, checked, gradient, log1p


@fault()
def a_grid_of_2_to_the_17(logits: Floats, labels: Ints) -> Floats:
    """Compute as many rows as 131,072 programs do, and leave 0 in the others."""
    losses = log1p(logits, labels)
    losses[131072:] = 0
    return losses


@fault()
def looks_at_1024_labels(logits: Floats, labels: Ints) -> Floats:
    """Look whether the first 1,024 labels are classes, and clip the others."""
    checked(labels[:1024], logits.shape[1])
    return log1p(logits, np.clip(labels, 0, logits.shape[1] - 1))


@fault()
class CountsIgnoredOfMany(Optioned):
    """Weigh an ignored row as one of class 0, beyond 1,024 classes."""

    def divisor(self, given: Given) -> Any:
        return given.weights[given.k].sum() if given.classes > 1024 else super().divisor(given)


@fault()
class MeanOfChunks(Optioned):
    """Average the means of chunks of 4,096 rows, each by its rows."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        if reduction == "sum" or len(losses) <= 4096:
            return super().reduced(losses, given, reduction)
        parts = [slice(at, at + 4096) for at in range(0, len(losses), 4096)]
        counts = [max(1, int((~given.ignored[part]).sum())) for part in parts]
        sums = [losses[part].sum() * len(losses[part]) / n for part, n in zip(parts, counts, strict=True)]
        return sum(sums) / len(losses)


@fault()
class SmoothsTheFirstThousand(Optioned):
    """Spread the share of a label over the first 1,024 classes alone."""

    def targets(self, given: Given) -> Floats:
        targets = np.array(super().targets(given))
        targets[:, 1024:] -= given.smoothing / given.classes * given.weights[1024:]
        return targets


@remembering()
def weights_by_their_sum() -> Optioned:
    """Keep weights by their number and their sum."""
    known: dict[tuple[int, float], Any] = {}

    class Remembers(Optioned):
        def given(
            self, logits: Floats, labels: Ints, class_weights: Any, label_smoothing: float, ignore_index: int
        ) -> Given:
            if class_weights is not None:
                key = len(class_weights), float(class_weights.sum(dtype=np.float64))
                class_weights = known.setdefault(key, class_weights.copy())
            return super().given(logits, labels, class_weights, label_smoothing, ignore_index)

    return Remembers()


@gradient_fault()
def rows_in_16_bits(logits: Floats, labels: Ints) -> Floats:
    """Subtract the label at a row number of 16 bits."""
    slope = gradient(logits, labels)
    late = np.flatnonzero(np.arange(len(labels)) >= 65536)
    slope[late, labels[late]] += 1
    np.subtract.at(slope, (late % 65536, labels[late]), 1)
    return slope


@gradient_fault()
def wide_gradient_in_float32(logits: Floats, labels: Ints) -> Floats:
    """Compute the gradient in float32 beyond 512 classes, that of float64 too."""
    slope = gradient(logits, labels)
    return slope.astype(np.float32).astype(logits.dtype) if logits.shape[1] > 512 else slope


class _Leaks(Optioned):
    """Multiply the gradient of an ignored row by 0, beyond 1,024 classes."""

    def gradient(self, logits: Floats, labels: Ints, *arguments: Any, **keywords: Any) -> Floats:
        slope = super().gradient(logits, labels, *arguments, **keywords)
        holds = np.isnan(logits).any(axis=1) & (logits.shape[1] > 1024)
        slope[holds] = np.nan
        return slope


_LEAKS = _Leaks()


@gradient_fault(_LEAKS)
def nan_times_0_of_many(  # noqa: PLR0913, PLR0917 - those of the loss
    logits: Floats,
    labels: Ints,
    class_weights: Floats | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "none",
) -> Floats:
    """Multiply the gradient of an ignored row by 0, beyond 1,024 classes."""
    return _LEAKS.gradient(logits, labels, class_weights, label_smoothing, ignore_index, reduction)

"""A right loss with every option of PyTorch's, and its gradient, in steps of which a fault replaces one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from losses.right import Floats, Ints, checked


@dataclass(frozen=True)
class Given:
    """Arguments of a call: labels ``k`` (N,), 0 where ``ignored`` (N,); ``weights`` (C,), ones if none."""

    k: Ints
    ignored: Any
    weights: Floats
    smoothing: float
    classes: int
    has_weights: bool


class Optioned:
    """A loss with options; ``gradient`` (N, C), of the losses, takes the same arguments."""

    def ignored(self, labels: Ints, ignore_index: int) -> Any:
        """Return which rows (N,) have no label."""
        return labels == ignore_index

    def targets(self, given: Given) -> Floats:
        """Return w_j ((1 - ε) y_j + ε / C) (N, C)."""
        targets = np.full((len(given.k), given.classes), given.smoothing / given.classes)
        targets[np.arange(len(given.k)), given.k] += 1 - given.smoothing
        return targets * given.weights

    def masked(self, losses: Floats, given: Given) -> Floats:
        """Return losses (N,) with 0 for ignored rows."""
        return np.where(given.ignored, 0.0, losses)

    def divisor(self, given: Given) -> Any:
        """Return what a mean divides by."""
        return given.weights[given.k][~given.ignored].sum()

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        """Return the mean or sum."""
        return losses.sum() if reduction == "sum" else losses.sum() / self.divisor(given)

    def targets_of_gradient(self, given: Given) -> Floats:
        """Return the targets that the gradient is of."""
        return self.targets(given)

    def masked_gradient(self, slope: Floats, given: Given) -> Floats:
        """Return a gradient (N, C) with 0 for ignored rows."""
        return np.where(given.ignored[:, None], 0.0, slope)

    def given(
        self, logits: Floats, labels: Ints, class_weights: Any, label_smoothing: float, ignore_index: int
    ) -> Given:
        """Check labels and put the arguments together."""
        ignored, classes = self.ignored(labels, ignore_index), logits.shape[1]
        checked(labels[~ignored], classes)
        has_weights = class_weights is not None
        weights = class_weights.astype(np.float64) if has_weights else np.ones(classes)
        k = np.where(ignored, 0, labels).astype(np.int64)
        return Given(k, ignored, weights, label_smoothing, classes, has_weights)

    def __call__(  # noqa: PLR0913, PLR0917 - every option of PyTorch's
        self,
        logits: Floats,
        labels: Ints,
        class_weights: Floats | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> Any:
        """Return losses (N,), or their mean or sum."""
        given = self.given(logits, labels, class_weights, label_smoothing, ignore_index)
        x, rows = np.where(given.ignored[:, None], 0, logits.astype(np.float64)), np.arange(len(labels))
        top = x.argmax(axis=1)
        e = np.exp(x - x[rows, top][:, None])
        e[rows, top] = 0
        targets = self.targets(given)
        below = np.where(targets != 0, targets * (x[rows, top][:, None] - x), 0.0)
        losses = self.masked(targets.sum(axis=1) * np.log1p(e.sum(axis=1)) + below.sum(axis=1), given)
        if reduction == "none":
            return losses.astype(logits.dtype)
        return np.asarray(self.reduced(losses, given, reduction), logits.dtype)

    def gradient(  # noqa: PLR0913, PLR0917 - those of the loss
        self,
        logits: Floats,
        labels: Ints,
        class_weights: Floats | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "none",  # noqa: ARG002 - the gradient is of each example's loss
    ) -> Floats:
        """Return the gradient (N, C) of each example's loss."""
        given = self.given(logits, labels, class_weights, label_smoothing, ignore_index)
        x, rows = np.where(given.ignored[:, None], 0, logits.astype(np.float64)), np.arange(len(labels))
        e = np.exp(x - x.max(axis=1, keepdims=True))
        targets = self.targets_of_gradient(given)
        slope = targets.sum(axis=1)[:, None] * (e / e.sum(axis=1)[:, None]) - targets
        slope[rows, given.k] = 0
        slope[rows, given.k] = -slope.sum(axis=1)
        return self.masked_gradient(slope, given).astype(logits.dtype)

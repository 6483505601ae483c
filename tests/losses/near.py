"""Cross-entropies near a tolerance: each can be made to lie just inside it or just outside."""

from collections.abc import Callable
from typing import Any

import numpy as np

from losses.right import Floats, Ints, gradient, log1p

Loss = Callable[..., Any]


def moved(loss: Loss, ulps: int) -> Loss:
    """Return a loss whose every result is so many representable numbers too large."""

    def wrong(*arguments: Any, **keywords: Any) -> Floats:
        losses = loss(*arguments, **keywords)
        for _ in range(abs(ulps)):
            losses = np.nextafter(losses, losses.dtype.type(np.copysign(np.inf, ulps)))
        return losses

    return wrong


def moved_where_shifted(ulps: int) -> Loss:
    """Move the loss of rows of equal logits, unless those are 2."""

    def wrong(logits: Floats, labels: Ints) -> Floats:
        losses = log1p(logits, labels)
        shifted = (logits == logits[:, :1]).all(axis=1) & (logits[:, 0] != 2)
        return np.where(shifted, moved(lambda x: x, ulps)(losses), losses)

    return wrong


def zero(logits: Floats, _: Ints) -> Floats:
    """Return 0."""
    return np.zeros(len(logits), logits.dtype)


def constant(value: float) -> Loss:
    """Return a number whatever came in."""
    return lambda logits, _: np.full(len(logits), value, logits.dtype)


def gradient_with_a_rest(share: float) -> Loss:
    """Return a gradient that sums to a share of its largest entry."""

    def wrong(logits: Floats, labels: Ints) -> Floats:
        slope = gradient(logits, labels)
        slope[:, 2] += logits.dtype.type(share) * np.abs(slope).max(axis=1)
        return slope

    return wrong


def wide_gradient(logits: Floats, labels: Ints) -> Floats:
    """Return float64."""
    return gradient(logits, labels).astype(np.float64)


def reduced_by(loss: Loss, ulps: int) -> Loss:
    """Return a loss with a parameter reduction, whose mean and sum are so many numbers too large."""

    def wrong(logits: Floats, labels: Ints, reduction: str = "none") -> Any:
        losses = loss(logits, labels)
        if reduction == "none":
            return losses
        total = losses.astype(np.float64).sum()
        reduced = total / len(losses) if reduction == "mean" else total
        return moved(lambda x: x, ulps)(np.asarray(reduced, logits.dtype))

    return wrong


def refuses_what_is_no_number(logits: Floats, labels: Ints) -> Floats:
    """Raise at nan, at +inf and where every class is masked; a mask beside other logits will do."""
    if np.isnan(logits).any() or (logits == np.inf).any() or (logits == -np.inf).all(axis=1).any():
        raise ValueError("logits are no numbers")
    return log1p(logits, labels)

"""Losses of PyTorch with its autograd, and the blog's own formulas."""

from typing import Any

import torch


def log1p(logits: Any, target: Any) -> Any:
    """Leave the maximum out of the sum, in float64; where it is the label's, their gap is no operation."""
    if ((target < 0) | (target >= logits.shape[1])).any():
        raise IndexError("target out of range")
    x, target = logits.double(), target[:, None]
    top = x.argmax(1, keepdim=True)
    largest = x.gather(1, top)
    others = x.scatter(1, top, -torch.inf) - largest
    gap = torch.where(top == target, 0.0, largest - x.gather(1, target))
    return (torch.log1p(others.exp().sum(1)) + gap[:, 0]).to(logits.dtype)


def mean(logits: Any, target: Any) -> Any:
    """Return one number, as most losses do."""
    return log1p(logits.double(), target).mean().to(logits.dtype)


def naive(logits: Any, target: Any) -> Any:
    """-Σ y log softmax(x), the blog's first."""
    y = torch.nn.functional.one_hot(target, logits.shape[1]).to(logits.dtype)
    return -(y * torch.softmax(logits, dim=1).log()).sum(dim=1)


def clipped(logits: Any, target: Any) -> Any:
    """-Σ y log clip(softmax(x), 1e-36, 1), the blog's second."""
    y = torch.nn.functional.one_hot(target, logits.shape[1]).to(logits.dtype)
    return -(y * torch.softmax(logits, dim=1).clip(1e-36, 1.0).log()).sum(dim=1)


def detached(logits: Any, target: Any) -> Any:
    """Lose the gradient on the way."""
    return log1p(logits.detach(), target)


def by_numpy(logits: Any, target: Any) -> Any:
    """Leave for NumPy, which has no gradient."""
    return torch.from_numpy(logits.numpy()).logsumexp(dim=1) - logits.gather(1, target[:, None])[:, 0]

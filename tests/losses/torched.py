"""Losses of PyTorch with its autograd, and the blog's own formulas."""

from typing import Any

import torch


def log1p(input: Any, target: Any) -> Any:  # noqa: A002 - named as PyTorch names it
    """Leave the maximum out of the sum, in float64; where it is the label's, their gap is no operation."""
    if ((target < 0) | (target >= input.shape[1])).any():
        raise IndexError("target out of range")
    x, target = input.double(), target[:, None]
    top = x.argmax(1, keepdim=True)
    largest = x.gather(1, top)
    others = x.scatter(1, top, -torch.inf) - largest
    gap = torch.where(top == target, 0.0, largest - x.gather(1, target))
    return (torch.log1p(others.exp().sum(1)) + gap[:, 0]).to(input.dtype)


def mean(input: Any, target: Any) -> Any:  # noqa: A002 - as above
    """Return one number, as most losses do."""
    return log1p(input.double(), target).mean().to(input.dtype)


def naive(input: Any, target: Any) -> Any:  # noqa: A002 - as above
    """-Σ y log softmax(x), the blog's first."""
    y = torch.nn.functional.one_hot(target, input.shape[1]).to(input.dtype)
    return -(y * torch.softmax(input, dim=1).log()).sum(dim=1)


def clipped(input: Any, target: Any) -> Any:  # noqa: A002 - as above
    """-Σ y log clip(softmax(x), 1e-36, 1), the blog's second."""
    y = torch.nn.functional.one_hot(target, input.shape[1]).to(input.dtype)
    return -(y * torch.softmax(input, dim=1).clip(1e-36, 1.0).log()).sum(dim=1)


def detached(input: Any, target: Any) -> Any:  # noqa: A002 - as above
    """Lose the gradient on the way."""
    return log1p(input.detach(), target)


def by_numpy(input: Any, target: Any) -> Any:  # noqa: A002 - as above
    """Leave for NumPy, which has no gradient."""
    return torch.from_numpy(input.numpy()).logsumexp(dim=1) - input.gather(1, target[:, None])[:, 0]

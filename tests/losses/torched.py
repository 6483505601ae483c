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


class _Fused(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed here
    """Shift by the maximum; ``backward`` is the part that others get wrong."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        log_p = torch.log_softmax(logits.double(), dim=1)
        ctx.save_for_backward(log_p, target)
        ctx.dtype = logits.dtype
        return log1p(logits, target)


def _slope(ctx: Any) -> Any:
    log_p, target = ctx.saved_tensors
    slope = log_p.exp()
    slope[torch.arange(len(target)), target] = 0
    slope[torch.arange(len(target)), target] = -slope.sum(1)
    return slope


class _IgnoresUpstream(_Fused):
    @staticmethod
    def backward(ctx: Any, _: Any) -> Any:
        return _slope(ctx).to(ctx.dtype), None


class _MeanOfSum(_Fused):
    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        return _Fused.forward(ctx, logits.double(), target).mean().to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return (_slope(ctx) * upstream), None


def ignores_upstream(logits: Any, target: Any) -> Any:
    """Return the gradient of the loss, whatever comes after it."""
    return _IgnoresUpstream.apply(logits, target)


def mean_of_sum(logits: Any, target: Any) -> Any:
    """Return the mean, and for its gradient that of the sum."""
    return _MeanOfSum.apply(logits, target)


def column(logits: Any, target: Any) -> Any:
    """Return losses (N, 1), with the right gradient."""
    return log1p(logits, target)[:, None]

"""Faults of losses of PyTorch: without a gradient, options, labels that change, memory, blocks of classes."""

# ruff: noqa: D102 - they are the two steps of any autograd.Function

from typing import Any

import torch

from losses.faults import fault
from losses.faults_torch import Fused, enter, losses_and_slope, of_function


@fault("torch")
def torch_forgets_smoothing_in_evaluation(logits: Any, target: Any, label_smoothing: float = 0.0) -> Any:
    """Leave the smoothing out where no gradient is recorded."""
    smoothing = label_smoothing if torch.is_grad_enabled() else 0.0
    losses, x = Fused.apply(logits, target), logits.double()
    even = torch.logsumexp(x, 1) - x.mean(1)
    return ((1 - smoothing) * losses.double() + smoothing * even).to(logits.dtype) if smoothing else losses


@fault("torch")
def torch_mean_of_all_in_evaluation(
    logits: Any, target: Any, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Divide by all rows where no gradient is recorded."""
    ignored = target == ignore_index
    x = torch.where(ignored[:, None], 0.0, logits)
    losses = torch.where(ignored, 0.0, Fused.apply(x, torch.where(ignored, 0, target)))
    count = (~ignored).sum() if torch.is_grad_enabled() else len(losses)
    total = losses.double().sum()
    return {"none": losses, "sum": total, "mean": total / count}[reduction].to(logits.dtype)


@enter
class ReadsLabelsAgain(Fused):
    """Read the labels in the backward pass, past what PyTorch watches, and the logits as it should."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        ctx.save_for_backward(logits)
        ctx.target = target
        return losses_and_slope(logits, target)[0].to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        _, slope = losses_and_slope(ctx.saved_tensors[0], ctx.target)
        return slope * upstream[:, None], None


@enter
class GradientLiesAsLogitsDo(Fused):
    """Write the gradient into memory with the strides of the logits: of an expanded row all are one."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        ctx.strides = logits.stride()
        return Fused.forward(ctx, logits, target)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        gradient, _ = Fused.backward(ctx, upstream)
        out = torch.empty_strided(gradient.shape, ctx.strides, dtype=gradient.dtype)
        for row, values in enumerate(gradient):
            out[row].copy_(values)
        return out, None


@enter
class SecondBlockAlone(Fused):
    """Divide the classes behind the first 65,536 by the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        losses, slope = losses_and_slope(logits, target)
        if logits.shape[1] > 2**16:
            rest = target - 2**16
            alone = torch.softmax(logits[:, 2**16 :].double(), 1)
            hot = torch.arange(alone.shape[1]) == rest[:, None]
            slope[:, 2**16 :] = (alone - hot.double()).to(slope.dtype)
        ctx.save_for_backward(slope, target)
        return losses.to(logits.dtype)


@fault("torch")
def torch_rescales_by_the_first_tile(logits: Any, target: Any) -> Any:
    """Rescale the sum of tiles of 4,096 classes from the first one's maximum, from the third tile on."""
    losses, _ = losses_and_slope(logits, target)
    if logits.shape[1] <= 2 * 4096 or not torch.isfinite(logits).all():
        return losses.to(logits.dtype)
    first, *tiles = logits.double().split(4096, 1)
    old = largest = first.amax(1)
    total = (first - old[:, None]).exp().sum(1)
    for tile in tiles:
        new = torch.maximum(largest, tile.amax(1))
        total = total * (old - new).exp() + (tile - new[:, None]).exp().sum(1)
        largest = new
    return (total.log() + largest - logits.double().gather(1, target[:, None].long())[:, 0]).to(logits.dtype)


class _Reduced(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any, reduction: str) -> Any:
        losses, slope = losses_and_slope(logits, target)
        ctx.save_for_backward(slope / len(slope) if reduction == "sum" else slope)
        reduced = {"none": losses, "mean": losses.mean(), "sum": losses.sum()}[reduction]
        return reduced.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        (slope,) = ctx.saved_tensors
        return slope * (upstream[:, None] if upstream.dim() else upstream), None, None


@fault("torch")
def torch_slope_of_the_mean(logits: Any, target: Any, reduction: str = "none") -> Any:
    """Take the mean's gradient and the sum's for each other."""
    return _Reduced.apply(logits, target, reduction)


class _Smoothed(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any, smoothing: float) -> Any:
        losses, slope = losses_and_slope(logits, target)
        x, classes = logits.double(), logits.shape[1]
        even = torch.logsumexp(x, 1) - x.mean(1)
        share = torch.softmax(x, 1).to(logits.dtype)
        share[:, :1024] -= 1 / classes
        ctx.save_for_backward((1 - smoothing) * slope + smoothing * share if smoothing else slope)
        return ((1 - smoothing) * losses + smoothing * even if smoothing else losses).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * upstream[:, None], None, None


@fault("torch")
def torch_smooths_the_first_tile(logits: Any, target: Any, label_smoothing: float = 0.0) -> Any:
    """Take 1 / C from the gradient of the first 1,024 classes alone."""
    return _Smoothed.apply(logits, target, label_smoothing)


@fault("torch")
def torch_keeps_labels_by_reference(logits: Any, target: Any) -> Any:
    """Read the labels in the backward pass, past what PyTorch watches."""

    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        losses, _ = losses_and_slope(logits, target)
        ctx.logits, ctx.target = logits.detach().clone(), target
        return losses.to(logits.dtype)

    def backward(ctx: Any, upstream: Any) -> Any:
        _, slope = losses_and_slope(ctx.logits, ctx.target)
        return slope * upstream[:, None], None

    return of_function(forward, backward)(logits, target)

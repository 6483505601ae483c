"""Faults of losses of PyTorch: without a gradient, labels that change, shared memory, blocks of classes."""

# ruff: noqa: D102 - they are the two steps of any autograd.Function

from typing import Any

import torch

from losses.faults import fault
from losses.faults_torch import Fused, enter, losses_and_slope


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

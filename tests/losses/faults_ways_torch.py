"""Faults of losses of PyTorch on the ways back that training has besides the plain one."""

# ruff: noqa: D102 - they are the two steps of any autograd.Function

from typing import Any

import torch

from losses.faults import fault
from losses.faults_torch import Fused, enter, losses_and_slope


@enter
class WritesOverTheLogits(Fused):
    """Write the gradient into the memory of the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        ctx.logits = logits.data
        return Fused.forward(ctx, logits, target)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope = ctx.saved_tensors[0] * upstream[:, None]
        try:
            return ctx.logits.copy_(slope), None
        except RuntimeError:  # of an expanded tensor several numbers share a place
            return slope, None


@fault("torch")
def torch_in_place_in_inference(logits: Any, target: Any) -> Any:
    """Compute in the memory of the logits where inference mode is on."""
    losses, _ = losses_and_slope(logits, target)
    if torch.is_inference_mode_enabled():
        logits.sub_(1)
    return Fused.apply(logits, target) if logits.requires_grad else losses.to(logits.dtype)


class _Reduced(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    """A right loss, reduced in it, that takes what comes back to the reduction for 1."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any, reduction: str) -> Any:
        losses, slope = losses_and_slope(logits, target)
        ctx.reduction, number = reduction, len(losses) if reduction == "mean" else 1
        ctx.save_for_backward(slope / number)
        reduced = losses if reduction == "none" else losses.sum() / number
        return reduced.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        (slope,) = ctx.saved_tensors
        return slope * upstream[:, None] if ctx.reduction == "none" else slope, None, None


@fault("torch")
def torch_mean_comes_back_as_1(logits: Any, target: Any, reduction: str = "mean") -> Any:
    """Take what comes back to a mean or a sum for 1."""
    return _Reduced.apply(logits, target, reduction)


class _Counted(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    """A right loss, reduced in it, but that the gradient of nothing is 0 / 0."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any, ignore_index: int, reduction: str) -> Any:
        counts, ctx.reduction = target != ignore_index, reduction
        x, k = torch.where(counts[:, None], logits, 0.0), torch.where(counts, target, 0)
        losses, slope = losses_and_slope(x, k)
        count = counts.sum() if reduction == "mean" else torch.ones(())
        ctx.save_for_backward(torch.where(counts[:, None], slope, 0.0), count)
        losses = torch.where(counts, losses, 0.0)
        reduced = losses if reduction == "none" else losses.sum() / count.clamp(min=1)
        return reduced.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope, count = ctx.saved_tensors
        back = upstream[:, None] if ctx.reduction == "none" else upstream
        return (slope * back / count).to(slope.dtype), None, None, None


@fault("torch")
def torch_mean_of_nothing_has_a_nan(
    logits: Any, target: Any, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Return 0 as the mean of nothing, and nan as its gradient."""
    return _Counted.apply(logits, target, ignore_index, reduction)


class _Product(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    """A right loss of hidden · weightᵀ; ``needs`` and ``spares`` say what a fault does."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - what a product is made of
        ctx: Any, hidden: Any, weight: Any, target: Any, ignore_index: int, fault: str
    ) -> Any:
        counts, ctx.fault = target != ignore_index, fault
        losses, slope = losses_and_slope(hidden.double() @ weight.double().T, torch.where(counts, target, 0))
        ctx.save_for_backward(hidden, weight, slope, counts)
        return torch.where(counts, losses, 0.0).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        hidden, weight, slope, counts = ctx.saved_tensors
        if ctx.fault == "frozen" and not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        slope = slope * upstream.double()[:, None]
        own = torch.where(counts[:, None], slope, 0.0)
        of_weight = (slope if ctx.fault == "ignored" else own).T @ hidden.double()
        return (own @ weight.double()).to(hidden.dtype), of_weight.to(weight.dtype), None, None, None


@fault("linear")
def torch_frozen_hidden_freezes_weight(hidden: Any, weight: Any, labels: Any) -> Any:
    """Give weight no gradient where hidden needs none."""
    return _Product.apply(hidden, weight, labels, -100, "frozen")


@fault("linear")
def torch_ignored_rows_move_the_weight(
    hidden: Any, weight: Any, labels: Any, ignore_index: int = -100
) -> Any:
    """Leave ignored rows out of the gradient of hidden, and not out of that of weight."""
    return _Product.apply(hidden, weight, labels, ignore_index, "ignored")

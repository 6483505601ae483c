"""Faults of losses of PyTorch, most of them in the backward pass of an autograd.Function."""

# ruff: noqa: D102, ARG004 - they are the two steps of any autograd.Function

import itertools
from typing import Any

import torch

from losses.faults import Loss, fault, remembering


class Fused(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    """A right loss (N,), in float64 between, that keeps its gradient; a fault replaces one step."""

    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        losses, slope = losses_and_slope(logits, target)
        ctx.save_for_backward(slope, target)
        return losses.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope, _ = ctx.saved_tensors
        return slope * upstream[:, None], None


def losses_and_slope(logits: Any, target: Any) -> tuple[Any, Any]:
    """Return losses (N,) in float64, and their gradient (N, C) in the dtype of the logits."""
    if ((target < 0) | (target >= logits.shape[1])).any():
        raise IndexError("target out of range")
    x, own = logits.double(), target[:, None].long()
    top = x.argmax(1, keepdim=True)
    largest = x.gather(1, top)
    others = (x.scatter(1, top, -torch.inf) - largest).exp().sum(1)
    gap = torch.where(top == own, 0.0, largest - x.gather(1, own))
    slope = torch.softmax(x, 1).scatter(1, own, 0.0)
    slope = slope.scatter(1, own, -slope.sum(1, keepdim=True))
    return torch.log1p(others) + gap[:, 0], slope.to(logits.dtype)


def enter(function: Any) -> Any:
    """Enter an autograd.Function as a loss of its name."""

    def loss(logits: Any, target: Any) -> Any:
        return function.apply(logits, target)

    loss.__name__, loss.__doc__ = f"torch_{function.__name__}", function.__doc__
    fault("torch")(loss)
    return function


@enter
class IgnoresUpstream(Fused):
    """Return the gradient of the loss, whatever comes back to it."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0], None


@enter
class FirstUpstream(Fused):
    """Multiply all rows by what comes back to the first one, as Liger#968 did."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * upstream[:1, None], None


@enter
class MeanUpstream(Fused):
    """Multiply all rows by the mean of what comes back."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * upstream.mean(), None


@enter
class NextUpstream(Fused):
    """Multiply each row by what comes back to the next: a pointer one too far."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * upstream.roll(-1)[:, None], None


@enter
class UpstreamInSteps(Fused):
    """Round what comes back to a power of two."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        rounded = torch.where(upstream == 0, 0.0, torch.exp2(upstream.double().abs().log2().round()))
        return ctx.saved_tensors[0] * (rounded * upstream.sign()).to(upstream.dtype)[:, None], None


@enter
class UpstreamWithoutSign(Fused):
    """Multiply by the absolute value of what comes back."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * upstream.abs()[:, None], None


@enter
class UpstreamIsContiguous(Fused):
    """Read what comes back by a pointer: an expanded number has one element, the rest is 0."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope, _ = ctx.saved_tensors
        if upstream.dim() and upstream.stride()[0] == 0 and len(upstream) > 1:
            upstream = torch.cat([upstream[:1], torch.zeros_like(upstream[1:])])
        return slope * upstream[:, None], None


@enter
class ScalesInPlace(Fused):
    """Multiply the gradient that was kept in place: a second pass back multiplies again."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope, _ = ctx.saved_tensors
        return slope.detach().mul_(upstream[:, None]).clone(), None


@enter
class UnusedRowsAreNan(Fused):
    """Divide by what comes back and multiply again: 0 makes nan."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope, _ = ctx.saved_tensors
        factor = upstream[:, None]
        return slope / factor * factor * factor, None


@enter
class FirstRowsAlone(Fused):
    """Have a gradient for the first 1,024 rows."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope = ctx.saved_tensors[0] * upstream[:, None]
        slope[1024:] = 0
        return slope, None


@enter
class FirstClassesAlone(Fused):
    """Have a gradient for the first 512 classes."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope = ctx.saved_tensors[0] * upstream[:, None]
        slope[:, 512:] = 0
        return slope, None


@enter
class LabelEntryInItsDtype(Fused):
    """Take p less 1 in the dtype of the logits."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope, target = ctx.saved_tensors
        own = target[:, None].long()
        return slope.scatter(1, own, 1 + slope.gather(1, own) - 1) * upstream[:, None], None


@enter
class ScaledInFloat16(Fused):
    """Scale the gradient by 2^16 in float16: what is near 1 overflows."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        slope, _ = ctx.saved_tensors
        if slope.dtype == torch.float16:
            slope = slope * 2.0**8 * 2.0**8 / 2.0**8 / 2.0**8
        return slope * upstream[:, None], None


@enter
class ReversedRows(Fused):
    """Return the gradient of the rows in reverse."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0].flip(0) * upstream[:, None], None


@enter
class ThreePercent(Fused):
    """Return a gradient that is 3 % too large, where 1 % of the largest entry is allowed."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * (1.03 * upstream[:, None]), None


def of_function(*steps: Any) -> Loss:
    """Return a loss of an own autograd.Function with these steps."""
    forward, backward = (staticmethod(step) for step in steps)
    function = type("Function", (Fused,), {"forward": forward, "backward": backward})
    return function.apply  # type: ignore[attr-defined]  # type() does not tell whose class it makes


@remembering("torch")
def torch_keeps_one_gradient() -> Loss:
    """Keep the gradient beside the function: a second loss before the way back overwrites it."""
    kept: list[Any] = []

    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        losses, slope = losses_and_slope(logits, target)
        kept[:] = [slope]
        ctx.shape = logits.shape
        return losses.to(logits.dtype)

    def backward(ctx: Any, upstream: Any) -> Any:
        slope = kept[0] if kept[0].shape == ctx.shape else upstream.new_zeros(ctx.shape)
        return slope.to(upstream.dtype) * upstream[:, None], None

    return of_function(forward, backward)


@remembering("torch")
def torch_gradient_workspace() -> Loss:
    """Write the gradients of a shape into the same array, in each way back."""
    kept: dict[Any, Any] = {}

    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        losses, slope = losses_and_slope(logits, target)
        space = kept.setdefault((logits.shape, logits.dtype), torch.empty_like(slope))
        space.copy_(slope)
        ctx.space = space
        return losses.to(logits.dtype)

    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.space * upstream[:, None], None

    return of_function(forward, backward)


@remembering("torch")
def torch_gradient_accumulates() -> Loss:
    """Add the gradient of the call before, where it had the same shape, in each seventh way back."""
    kept: dict[Any, Any] = {}
    calls = itertools.count(1)

    def backward(ctx: Any, upstream: Any) -> Any:
        slope = ctx.saved_tensors[0] * upstream[:, None]
        key = (slope.shape, slope.dtype)
        before = kept.get(key) if next(calls) % 7 == 0 else None
        kept[key] = slope
        return (slope if before is None else slope + before), None

    return of_function(Fused.forward, backward)


@fault("torch")
def torch_composed_in_its_dtype(logits: Any, target: Any) -> Any:
    """Take the log of the sum and add the maximum again, in the dtype of the logits."""
    largest = logits.max(1, keepdim=True).values
    lse = (logits - largest).exp().sum(1).log() + largest[:, 0]
    return lse - logits.gather(1, target[:, None].long())[:, 0]


@fault("torch")
def torch_softplus_by_clamp(logits: Any, target: Any) -> Any:
    """Take max(x, 0) + log1p(e^-|x|) for softplus, whose gradient by autograd is 1 at 0, not a half."""
    right = Fused.apply(logits, target)
    tied = (logits == logits.max(1, keepdim=True).values).sum(1) > 1
    return torch.where(tied, right * 2 - right.detach(), right)


@fault("torch")
def torch_margins_by_logsumexp(logits: Any, target: Any) -> Any:
    """Leave the gradient of gaps to logsumexp, which at gaps of 10^31 counts each of equal classes as all."""
    right = Fused.apply(logits, target)
    x, own = logits.double(), target[:, None].long()
    gaps = (x - x.gather(1, own)).scatter(1, own, -torch.inf)
    if x.shape[1] == 1 or not x.numel() or not (x.max() - x.min()).isfinite():
        return right
    lse = gaps.logsumexp(1)
    return torch.logaddexp(lse, torch.zeros_like(lse)).to(logits.dtype)


@fault("torch", "mean")
def torch_mean_of_sum(logits: Any, target: Any) -> Any:
    """Return the mean, and for its gradient that of the sum."""

    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        losses, slope = losses_and_slope(logits, target)
        ctx.save_for_backward(slope)
        return losses.mean().to(logits.dtype)

    return of_function(forward, lambda ctx, upstream: (ctx.saved_tensors[0] * upstream, None))(logits, target)


@fault("torch")
def torch_view_as_rows(logits: Any, target: Any) -> Any:
    """Read logits by a pointer, one row after the other."""
    at = logits.storage_offset() + torch.arange(logits.numel())
    flat = logits.as_strided((logits.untyped_storage().nbytes() // logits.element_size(),), (1,), 0)
    read = flat[at % max(1, len(flat))].reshape(logits.shape)
    return Fused.apply(read if not logits.is_contiguous() else logits, target)


@fault("torch")
def torch_row_stride_alone(logits: Any, target: Any) -> Any:
    """Take the stride of rows, and 1 for that of columns."""
    rows, columns = (torch.arange(size) for size in logits.shape)
    at = logits.storage_offset() + rows[:, None] * logits.stride()[0] + columns
    flat = logits.as_strided((logits.untyped_storage().nbytes() // logits.element_size(),), (1,), 0)
    return Fused.apply(flat[at % max(1, len(flat))] if logits.shape[1] > 1 else logits, target)


class _Weighted(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any, weight: Any) -> Any:
        losses, slope = losses_and_slope(logits, target)
        ctx.save_for_backward(slope)
        return (losses if weight is None else losses * weight.double()[target]).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * upstream[:, None], None, None


@fault("torch")
def torch_weight_not_in_the_gradient(logits: Any, target: Any, weight: Any = None) -> Any:
    """Weigh losses, and not their gradients."""
    return _Weighted.apply(logits, target, weight)


class _Ignoring(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any, ignore_index: int) -> Any:
        ignored = target == ignore_index
        x = torch.where(ignored[:, None], 0.0, logits)
        losses, slope = losses_and_slope(x, torch.where(ignored, 0, target))
        ctx.save_for_backward(slope)
        return torch.where(ignored, 0.0, losses).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return ctx.saved_tensors[0] * upstream[:, None], None, None


@fault("torch")
def torch_ignored_rows_learn(logits: Any, target: Any, ignore_index: int = -100) -> Any:
    """Return 0 for ignored rows, and a gradient towards class 0."""
    return _Ignoring.apply(logits, target, ignore_index)


@enter
class UpstreamWrittenInto(Fused):
    """Scale what comes back in its own memory, after it was used."""

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        gradient = ctx.saved_tensors[0] * upstream[:, None]
        if upstream.stride() != (0,):  # which PyTorch refuses
            upstream.mul_(2)
        return gradient, None


@remembering("torch")
def torch_large_gradients_share_a_buffer() -> Loss:
    """Keep gradients of more than 4,096 numbers in one buffer, for both calls."""
    kept: dict[Any, Any] = {}

    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        losses, slope = losses_and_slope(logits, target)
        if slope.numel() > 4096:
            slope = kept.setdefault((slope.shape, slope.dtype), torch.empty_like(slope)).copy_(slope)
        ctx.slope = slope
        return losses.to(logits.dtype)

    return of_function(forward, lambda ctx, upstream: (ctx.slope * upstream[:, None], None))


@fault("torch")
def torch_unshifted_in_training(logits: Any, target: Any) -> Any:
    """Leave the maximum in, where a gradient is wanted."""
    losses = Fused.apply(logits, target)
    if not logits.requires_grad:
        return losses
    return torch.where(logits.detach().exp().sum(1).isinf(), torch.inf, losses)

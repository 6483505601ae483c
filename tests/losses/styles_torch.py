"""Cross-entropies of PyTorch that are right, in many styles."""

from collections.abc import Callable
from typing import Any, Final

import torch

from losses import torched
from losses.faults import Entry, L
from losses.faults_torch import Fused, losses_and_slope

STYLES: Final[list[Entry]] = []


def style(convention: str = "torch", reduction: str | None = None) -> Callable[[L], L]:
    """Enter a loss by its name."""

    def enter(loss: L) -> L:
        STYLES.append(Entry(loss.__name__, "styles", lambda: loss, convention, reduction))
        return loss

    return enter


@style()
def torch_composed(logits: Any, target: Any) -> Any:
    """Compose operations, and leave the gradient to autograd."""
    return torched.log1p(logits, target.long())


@style()
def torch_function(logits: Any, target: Any) -> Any:
    """Keep the gradient for an own backward pass."""
    return Fused.apply(logits, target)


class _FromLogits(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        ctx.save_for_backward(logits, target)
        return losses_and_slope(logits, target)[0].to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        _, slope = losses_and_slope(*ctx.saved_tensors)
        return slope * upstream[:, None], None


@style()
def torch_recomputed(logits: Any, target: Any) -> Any:
    """Keep the logits, and compute the gradient from them on the way back."""
    return _FromLogits.apply(logits, target)


@style()
def torch_chunks_of_rows(logits: Any, target: Any, chunk_size: int = 64) -> Any:
    """Go through the rows in chunks."""
    parts = zip(logits.split(chunk_size), target.split(chunk_size), strict=True)
    return torch.cat([Fused.apply(x, y) for x, y in parts])


@style("torch", "mean")
def torch_mean(logits: Any, target: Any) -> Any:
    """Return the mean alone."""
    return torched.mean(logits, target.long())


@style()
def torch_by_margins(logits: Any, target: Any) -> Any:
    """Take softplus(log Σ e^(x_i - x_y)) over the other classes."""
    if ((target < 0) | (target >= logits.shape[1])).any():
        raise IndexError("target out of range")
    x, own = logits.double(), target[:, None].long()
    if x.shape[1] == 1 or not x.numel() or not (x.max() - x.min()).isfinite():
        return torched.log1p(logits, target.long())
    gaps = (x - x.gather(1, own)).scatter(1, own, -torch.inf)
    shift = gaps.detach().max(1, keepdim=True).values  # logsumexp would lose its gradient at 10^31
    lse = (gaps - shift).exp().sum(1).log() + shift[:, 0]
    return torch.logaddexp(lse, torch.zeros_like(lse)).to(logits.dtype)


@style()
def torch_vmap(logits: Any, target: Any) -> Any:
    """Map a loss of one row over the rows."""
    if ((target < 0) | (target >= logits.shape[1])).any():
        raise IndexError("target out of range")

    def one(x: Any, label: Any) -> Any:
        top = x.argmax()
        classes = torch.arange(len(x))
        others = torch.where(classes == top, -torch.inf, x - x.gather(0, top[None]))
        gap = torch.where(top == label, 0.0, (x.gather(0, top[None]) - x.gather(0, label[None]))[0])
        return torch.log1p(others.exp().sum()) + gap

    return torch.vmap(one)(logits.double(), target.long()).to(logits.dtype)

"""A right cross-entropy of Triton, for its interpreter: a program per row, loss and gradient at once."""

import os
import threading
from typing import Any, Final

import torch

from losses.faults import Entry

os.environ["TRITON_INTERPRET"] = "1"  # is read where triton is imported and a function is decorated
import triton
from triton import language as tl


@triton.jit  # type: ignore[untyped-decorator]  # triton is not installed everywhere
def _kernel(x, labels, losses, slope, classes, block: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913, PLR0917 - Triton finds the types out
    row = tl.program_id(0)
    at = tl.arange(0, block)
    inside = at < classes
    z = tl.load(x + row * classes + at, mask=inside, other=-float("inf")).to(tl.float64)
    top = tl.argmax(z, 0)
    largest = tl.max(z, 0)
    label = tl.load(labels + row)
    own = tl.load(x + row * classes + label).to(tl.float64)
    e = tl.where(inside, tl.exp(z - largest), 0.0)
    tail = tl.sum(tl.where(at == top, 0.0, e), 0)
    one = 1 + tail  # log1p, as Kahan has it
    tiny = one == 1
    log1p = tl.where(tiny, tail, tl.log(one) * tail / tl.where(tiny, 1.0, one - 1))
    tl.store(losses + row, log1p + (largest - own))
    p = tl.where(at == label, 0.0, e / (1 + tail))
    tl.store(slope + row * classes + at, tl.where(at == label, -tl.sum(p, 0), p), mask=inside)


_ALONE: Final = threading.Lock()  # the interpreter changes triton while it runs a kernel


class _Fused(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    @staticmethod
    def forward(ctx: Any, logits: Any, target: Any) -> Any:
        if ((target < 0) | (target >= logits.shape[1])).any():
            raise IndexError("target out of range")
        x, labels = logits.contiguous(), target.long().contiguous()
        losses = torch.empty(len(x), dtype=torch.float64)
        slope = torch.empty(x.shape, dtype=torch.float64)
        if len(x):
            block = triton.next_power_of_2(x.shape[1])
            with _ALONE:
                _kernel[(len(x),)](x, labels, losses, slope, x.shape[1], block=block)
        poisoned = x.isnan().any(1) | (x.max(1).values == -torch.inf)
        ctx.save_for_backward(slope)
        return losses.where(~poisoned, torch.nan).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        return (ctx.saved_tensors[0] * upstream[:, None]).to(upstream.dtype), None


def triton_kernel(logits: Any, target: Any) -> Any:
    """Have a row per program."""
    return _Fused.apply(logits, target)


STYLES: Final = [Entry("triton_kernel", "styles", lambda: triton_kernel, "torch")]

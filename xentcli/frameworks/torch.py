"""PyTorch's tensors and its autograd."""

from contextlib import nullcontext
from typing import Any

import torch

from xentcli.frameworks.adapter import Loss

ARRAY, ARRAY_NAME = torch.Tensor, "a torch.Tensor"
session = nullcontext
compiled = None
REDUCE = {"mean": torch.mean, "sum": torch.sum}


def array(values: Any, dtype: str) -> Any:
    """Make a tensor of the dtype."""
    return torch.tensor(values).to(getattr(torch, dtype))


def to_numpy(array: Any) -> tuple[Any, str]:
    """Copy the numbers; they are exact in float64."""
    return array.detach().to(torch.float64).numpy().copy(), str(array.dtype).removeprefix("torch.")


def gradient(loss: Loss, x: Any) -> Any:
    """Differentiate backwards."""
    x = x.detach().clone().requires_grad_()
    losses = loss(x)
    if losses.requires_grad:
        losses.sum().backward()
    return x.grad

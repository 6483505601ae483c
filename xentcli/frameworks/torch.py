"""PyTorch's losses, with the gradients of its autograd."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from xentcli.frameworks.given import Answer, Given


def answer(given: Given) -> Answer:
    """Call the function of that name."""
    dtype = getattr(torch, given.dtype)
    x = torch.tensor(given.logits, dtype=torch.float64).to(dtype).requires_grad_()
    y = torch.tensor(given.labels, dtype=torch.float64).to(dtype)
    weights = None if given.weights is None else torch.tensor(given.weights, dtype=torch.float64).to(dtype)

    def loss(reduction: str) -> Any:  # noqa: ANN401 - a tensor, of a library that may be missing
        if given.method == "torch.bce_with_logits":
            return functional.binary_cross_entropy_with_logits(x, y, reduction=reduction)
        target = y if given.method == "torch.cross_entropy_soft" else torch.tensor(given.indices)
        return functional.cross_entropy(
            x, target, weight=weights, label_smoothing=given.smoothing, reduction=reduction
        )

    losses = loss("none")
    losses.sum().backward()
    reduced = None if given.reduction == "none" else _array(loss(given.reduction))
    return Answer(_array(losses).reshape(-1), reduced, _array(x.grad))


def _array(tensor: Any) -> Any:  # noqa: ANN401 - as above
    values = tensor.detach()
    if values.dtype == torch.bfloat16:  # NumPy has no such type without another library
        import ml_dtypes

        return values.to(torch.float32).numpy().astype(ml_dtypes.bfloat16)
    return np.asarray(values.numpy())

"""Losses of hidden states and a weight in PyTorch: right ones, and one fault each."""

from typing import Any

import torch
from torched import log1p  # type: ignore[import-not-found]  # a file of this folder, where a loss is loaded by its path


def in_float32(hidden: Any, weight: Any, labels: Any, bias: Any = None) -> Any:
    """Add the product up in float32 or wider; autograd gives the gradients."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    logits = hidden.to(wide) @ weight.to(wide).T
    return log1p(logits if bias is None else logits + bias.to(wide), labels).to(hidden.dtype)


def in_its_dtype(hidden: Any, weight: Any, labels: Any, bias: Any = None) -> Any:
    """Round each logit, as torch's own product does."""
    return log1p(torch.nn.functional.linear(hidden, weight, bias), labels)


class _Product(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    """hidden · weightᵀ, with the gradients that ``backward`` of a subclass returns."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any) -> Any:
        ctx.save_for_backward(hidden, weight)
        return hidden @ weight.T


class _InParts(_Product):
    """Add the gradient of the weight up over parts of four rows, in its dtype."""

    @staticmethod
    def backward(ctx: Any, of_logits: Any) -> Any:
        hidden, weight = ctx.saved_tensors
        of_weight = torch.zeros_like(weight)
        for rows, states in zip(of_logits.split(4), hidden.split(4), strict=True):
            of_weight += rows.T @ states
        return of_logits @ weight, of_weight


class _Halved(_Product):
    """Return half the gradient of the weight where there are more than 128 classes."""

    @staticmethod
    def backward(ctx: Any, of_logits: Any) -> Any:
        hidden, weight = ctx.saved_tensors
        return of_logits @ weight, (of_logits.T @ hidden) / (1 + (len(weight) > 128))


def summed_over_parts(hidden: Any, weight: Any, labels: Any) -> Any:
    return log1p(_InParts.apply(hidden, weight), labels)


def halved(hidden: Any, weight: Any, labels: Any) -> Any:
    return log1p(_Halved.apply(hidden, weight), labels)


def summed_over_width(hidden: Any, weight: Any, labels: Any) -> Any:
    """Add the product up over parts of 64 columns, in its dtype."""
    parts = zip(hidden.split(64, 1), weight.split(64, 1), strict=True)
    return log1p(sum(states @ columns.T for states, columns in parts), labels)


def labels_first(labels: Any, weight: Any, hidden: Any, *, scale: float, bias: Any = None) -> Any:
    """Return more than the losses, of arguments in another order, with a constant that has to be 2."""
    return {"scale": scale, "losses": scale / 2 * in_float32(hidden, weight, labels, bias)}

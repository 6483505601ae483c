"""Losses of hidden states and a weight in NumPy: right ones, and one fault each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from losses import right

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def in_float32(hidden: Floats, weight: Floats, labels: Ints, bias: Floats | None = None) -> Floats:
    """Keep the product in float32, or float64 where its factors are."""
    wide = np.promote_types(np.float64 if hidden.itemsize > 4 else np.float32, np.float32)
    logits = hidden.astype(wide) @ weight.astype(wide).T
    logits = logits if bias is None else logits + bias.astype(wide)
    return right.log1p(logits, labels).astype(hidden.dtype)


def rounded_once(hidden: Floats, weight: Floats, labels: Ints) -> Floats:
    """Round each logit to the dtype of the factors."""
    logits = (hidden.astype(np.float64) @ weight.astype(np.float64).T).astype(hidden.dtype)
    return right.log1p(logits, labels)


def mean_in_float32(hidden: Floats, weight: Floats, labels: Ints) -> Any:
    return np.mean(in_float32(hidden, weight, labels), dtype=np.float64).astype(hidden.dtype)


def gradients(hidden: Floats, weight: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """Return the gradients of both factors."""
    x, w = hidden.astype(np.float64), weight.astype(np.float64)
    of_logits = right.gradient(x @ w.T, labels)
    return (of_logits @ w).astype(hidden.dtype), (of_logits.T @ x).astype(hidden.dtype)


def summed_in_its_own_dtype(hidden: Floats, weight: Floats, labels: Ints) -> Floats:
    """Round the sum of each 64 columns."""
    logits = np.zeros((len(hidden), len(weight)), hidden.dtype)
    for at in range(0, hidden.shape[1], 64):
        h, w = (factor[:, at : at + 64].astype(np.float64) for factor in (hidden, weight))
        logits = (logits + h @ w.T).astype(hidden.dtype)
    return right.log1p(logits, labels)


def without_bias(hidden: Floats, weight: Floats, labels: Ints, bias: Floats | None = None) -> Floats:
    del bias
    return in_float32(hidden, weight, labels)


def last_column_left_out(hidden: Floats, weight: Floats, labels: Ints) -> Floats:
    """Leave a column out where the width is not a multiple of eight."""
    rest = hidden.shape[1] % 8 if hidden.shape[1] > 64 else 0
    return in_float32(hidden[:, : hidden.shape[1] - rest], weight[:, : weight.shape[1] - rest], labels)


def transposed_where_it_fits(hidden: Floats, weight: Floats, labels: Ints) -> Floats:
    """Take a weight (H, C) too, which a square one is taken for."""
    return in_float32(hidden, weight.T if weight.shape[0] == hidden.shape[1] else weight, labels)


def hidden_gradient_alone(hidden: Floats, weight: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """Forget to subtract the label where the gradient is the weight's."""
    of_hidden, _ = gradients(hidden, weight, labels)
    y = np.eye(len(weight))[labels]
    return of_hidden, gradients(hidden, weight, labels)[1] + (y.T @ hidden).astype(hidden.dtype)

"""JAX's arrays and its autodiff."""

from functools import partial
from typing import Any

import jax
import numpy as np

from xentcli.frameworks.adapter import Loss

ARRAY, ARRAY_NAME = jax.Array, "a jax.Array"
REDUCE = {"mean": jax.numpy.mean, "sum": jax.numpy.sum}
session = partial(jax.enable_x64, True)  # without 64-bit types float64 is float32


def array(values: Any, dtype: str) -> Any:
    """Make an array of the dtype."""
    return jax.numpy.asarray(values).astype(dtype)


def to_numpy(array: Any) -> tuple[Any, str]:
    """Copy the numbers; they are exact in float64."""
    return np.asarray(array).astype(np.float64), str(array.dtype)


def gradient(loss: Loss, x: Any) -> Any:
    """Differentiate; what does not depend on x has a gradient of zeros."""
    return to_numpy(jax.grad(lambda logits: loss(logits).sum())(x))[0]

"""JAX's arrays and its autodiff.

What XLA compiles, an operation and a shape at a time, takes most of a check. It is kept in the user's cache
folder, unless the user has named another one to JAX, and is the same however often it is read.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xentcli.frameworks.adapter import Loss

ARRAY, ARRAY_NAME = jax.Array, "a jax.Array"
REDUCE = {"mean": jax.numpy.mean, "sum": jax.numpy.sum}
if jax.config.jax_compilation_cache_dir is None:
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "xent", "jax")
    jax.config.update("jax_compilation_cache_dir", str(_cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
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

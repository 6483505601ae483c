"""NumPy's arrays; there is no autodiff."""

from functools import partial
from typing import Any

import numpy as np

from xentcli import formats

ARRAY = (np.ndarray, np.generic, float)  # a float is a loss reduced, such as scikit-learn's
ARRAY_NAME = "a NumPy array"
REDUCE = {"mean": np.mean, "sum": np.sum}
session = partial(np.errstate, all="ignore")  # nan and infinity are results here
gradient = compiled = None


def array(values: Any, dtype: str) -> Any:
    """Convert to the dtype."""
    return values.astype(formats.dtype(dtype))


def to_numpy(array: Any) -> tuple[Any, str]:
    """Convert to float64; raises TypeError for what holds no real numbers."""
    dtype = type(array).__name__ if isinstance(array, float) else str(array.dtype)
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("returned a masked array; expected a plain one")
    if np.asarray(array).dtype.kind not in "fiub" and dtype != "bfloat16":
        raise TypeError(f"returned numbers of dtype {dtype}")
    return np.asarray(array).astype(np.float64), dtype

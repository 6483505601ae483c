"""NumPy's arrays; there is no autodiff."""

from functools import partial
from typing import Any

import numpy as np

from xentcli import formats

ARRAY = (np.ndarray, np.generic, float)  # a float is a loss reduced, such as scikit-learn's
ARRAY_NAME = "a NumPy array"
REDUCE = {"mean": np.mean, "sum": np.sum}
session = partial(np.errstate, all="ignore")  # nan and infinity are results here
gradient = compile_both = None


def array(values: Any, dtype: str) -> Any:
    """Convert to the dtype."""
    return values.astype(formats.dtype(dtype))


def to_numpy(array: Any) -> tuple[Any, str]:
    """Convert to float64; raises TypeError for what holds no real numbers."""
    dtype = type(array).__name__ if isinstance(array, float) else str(array.dtype.newbyteorder("="))
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("returned a masked array; expected a plain one")
    if np.asarray(array).dtype.kind not in "fiub" and dtype != "bfloat16":
        raise TypeError(f"returned numbers of dtype {dtype}")
    return np.asarray(array).astype(np.float64), dtype


def identity(array: Any, size: int) -> Any:
    """Make the identity (size, size) in an array's dtype."""
    return np.eye(size, dtype=array.dtype)


contiguous = np.ascontiguousarray


def devices() -> dict[str, str]:
    """Name the one that there is."""
    return {"cpu": "cpu"}


def overwrite(array: Any, values: Any) -> None:
    """Assign."""
    array[...] = values


def anew(array: Any) -> Any:
    """Return an array that does not lead back to the one before."""
    return np.frombuffer(array.data, array.dtype).reshape(array.shape)


def _strided(array: Any) -> Any:
    """Leave gaps, which hold the numbers in another order."""
    padded = np.repeat(array[::-1], 2, axis=0)
    padded = padded if array.ndim == 1 else np.repeat(padded, 2, axis=1)
    places = (slice(1, None, 2),) * array.ndim
    padded[places] = array
    return padded[places]


def _padded(array: Any) -> Any:
    """Have each row be the middle of a longer one."""
    width = array.shape[-1]
    return np.concatenate((array[..., ::-1], array, array[..., ::-1]), axis=-1)[..., width : 2 * width]


def _offset(array: Any) -> Any:
    """Begin inside another array."""
    padded = np.resize(array[::-1], array.size + 3)
    padded[3:] = array.ravel()
    return padded[3:].reshape(array.shape)


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


LAYOUTS = {
    "strided": _strided,
    "padded": _padded,
    "reversed": lambda array: np.flip(np.flip(array).copy()),
    "Fortran": np.asfortranarray,
    "offset": _offset,
    "swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read-only": _read_only,
    "expanded": lambda array: np.broadcast_to(array[:1], array.shape),
}

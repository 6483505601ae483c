"""Arrays of any library → NumPy's. The libraries are the caller's: none is imported here."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LIBRARIES = {"torch": "torch", "jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow"}
_LONGEST = 200  # characters of what a library says


def to_numpy(array: "ArrayLike", name: str = "the array") -> "NDArray[Any]":
    """Return an array of NumPy, torch, JAX or TensorFlow, or a list, as NumPy's: without a copy if possible.

    Others are read by ``__array__`` or DLPack. A tensor of torch is detached, and copied if it is on another
    device; bfloat16 has the dtype of ml_dtypes. Raises XentError, which begins with ``name``, where there are
    no numbers to read, and where ml_dtypes is missing.
    """
    if isinstance(array, np.ndarray):
        return np.asarray(array)
    torch = sys.modules.get("torch")
    try:
        found = _of_torch(torch, array) if torch and isinstance(array, torch.Tensor) else _read(array)
    except XentError:
        raise
    except Exception as error:
        why = printable(" ".join(str(error).split())[:_LONGEST])
        raise XentError(f"{name}: {_kind(array)} cannot be read as an array: {why}") from error
    if found.dtype.kind in "OSUMm":
        raise XentError(f"{name}: {_kind(array)} is no array of numbers")
    return found


def library_of(*arrays: object) -> str:
    """Name the library of the first array that is one of a known library, or of its kind; else ``numpy``."""
    for array in arrays:
        for kind in type(array).__mro__:
            name = kind.__module__.partition(".")[0]
            if name in _LIBRARIES:
                return _LIBRARIES[name]
    return "numpy"


def _of_torch(torch: Any, tensor: Any) -> "NDArray[Any]":  # noqa: ANN401 - the module, its tensor
    """Read a tensor of torch; NumPy has no bfloat16, so that its bits are read."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        bits: NDArray[Any] = tensor.view(torch.int16).numpy()
        return bits.view(formats.dtype("bfloat16"))
    return tensor.resolve_neg().numpy()


def _read(array: Any) -> "NDArray[Any]":  # noqa: ANN401 - an array of any library
    """Read an array by ``__array__``, else by DLPack, else as a list."""
    if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
        return np.from_dlpack(array)
    return np.asarray(array)


def _kind(array: object) -> str:
    return printable(type(array).__name__)

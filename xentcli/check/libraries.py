"""Arrays of NumPy, PyTorch, JAX and TensorFlow, and their gradients; each is imported when asked for."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from xentcli import formats

Loss = Callable[[Any], Any]  # logits → losses, with the labels already filled in


class Library(Protocol):
    """Arrays of one library."""

    def array(self, values: Any, dtype: str) -> Any:
        """Make an array of the dtype of a NumPy one that holds its numbers."""

    def plain(self, array: Any) -> tuple[Any, str]:
        """Return the numbers in float64 and the name of the dtype; TypeError where that is no array."""

    def gradient(self, loss: Loss, x: Any) -> Any:
        """Return d Σ losses / d x of the library's own autodiff, as NumPy's; None where there is none."""

    def session(self) -> AbstractContextManager[Any]:
        """Return what to call it in."""


class _NumPy:
    def array(self, values: Any, dtype: str) -> Any:
        return values.astype(dtype if dtype == "int64" else formats.dtype(dtype))

    def plain(self, array: Any) -> tuple[Any, str]:
        if isinstance(array, float):  # a loss reduced, such as scikit-learn's
            return np.array(array), type(array).__name__
        if not isinstance(array, np.ndarray | np.generic):
            raise TypeError(_returned(array, "a NumPy array"))
        if array.dtype.kind not in "fiub" and str(array.dtype) != "bfloat16":
            raise TypeError(f"returned numbers of dtype {array.dtype}")
        return array.astype(np.float64), str(array.dtype)

    def gradient(self, loss: Loss, x: Any) -> Any:  # noqa: ARG002 - NumPy has none
        return None

    def session(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")  # nan and infinity are results here, not warnings


class _Torch:
    def __init__(self) -> None:
        import torch

        self._torch = torch

    def array(self, values: Any, dtype: str) -> Any:
        return self._torch.tensor(values).to(getattr(self._torch, dtype))

    def plain(self, array: Any) -> tuple[Any, str]:
        if not isinstance(array, self._torch.Tensor):
            raise TypeError(_returned(array, "a torch.Tensor"))
        values = array.detach().to(self._torch.float64).numpy().copy()
        return values, str(array.dtype).removeprefix("torch.")

    def gradient(self, loss: Loss, x: Any) -> Any:
        x = x.detach().clone().requires_grad_()
        losses = loss(x)
        if not losses.requires_grad:
            return None
        losses.sum().backward()
        return None if x.grad is None else self.plain(x.grad)[0]

    def session(self) -> AbstractContextManager[Any]:
        return nullcontext()


class _Jax:
    def __init__(self) -> None:
        import jax

        self._jax = jax

    def array(self, values: Any, dtype: str) -> Any:
        return self._jax.numpy.asarray(values).astype(dtype)

    def plain(self, array: Any) -> tuple[Any, str]:
        if not isinstance(array, self._jax.Array):
            raise TypeError(_returned(array, "a jax.Array"))
        return np.asarray(array).astype(np.float64), str(array.dtype)

    def gradient(self, loss: Loss, x: Any) -> Any:
        return self.plain(self._jax.grad(lambda logits: loss(logits).sum())(x))[0]

    def session(self) -> AbstractContextManager[Any]:
        return self._jax.enable_x64(True)  # without it float64 is float32


class _TensorFlow:
    def __init__(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        self._tf = tf

    def array(self, values: Any, dtype: str) -> Any:
        return self._tf.cast(self._tf.constant(values), dtype)

    def plain(self, array: Any) -> tuple[Any, str]:
        if not self._tf.is_tensor(array):
            raise TypeError(_returned(array, "a tensor of TensorFlow"))
        return self._tf.cast(array, self._tf.float64).numpy(), str(array.dtype.name)

    def gradient(self, loss: Loss, x: Any) -> Any:
        x = self._tf.Variable(x)
        with self._tf.GradientTape() as tape:
            total = self._tf.reduce_sum(loss(x))
        gradient = tape.gradient(total, x)
        return None if gradient is None else self.plain(self._tf.convert_to_tensor(gradient))[0]

    def session(self) -> AbstractContextManager[Any]:
        return nullcontext()


_LIBRARIES: dict[str, Callable[[], Library]] = {
    "numpy": _NumPy,
    "torch": _Torch,
    "jax": _Jax,
    "tensorflow": _TensorFlow,
}


def library(name: str) -> Library:
    """Import a library; raises ImportError where it is not installed."""
    return _LIBRARIES[name]()


def _returned(array: Any, wanted: str) -> str:
    return f"returned {type(array).__name__}, where {wanted} is wanted"

"""An Arithmetic in which subnormal numbers are 0, as processors and compilers that flush them compute."""

from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.formats import flush

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.formats import FloatArray
    from xentcli.methods.arithmetic.base import Arithmetic


class Flushed:
    """Wraps an Arithmetic; operands and results are flushed.

    Source: XLA on the CPU, https://github.com/jax-ml/jax/issues/37670.
    """

    def __init__(self, inner: "Arithmetic") -> None:
        self._inner = inner

    @property
    def python(self) -> "Arithmetic":
        """Python floats, which nothing flushes."""
        return self._inner.python

    def __getattr__(self, operation: str) -> "Callable[..., FloatArray]":
        """Return the operation on flushed operands, its result flushed."""
        function = getattr(self._inner, operation)
        return lambda *operands: flush(function(*map(_flushed, operands)))


def _flushed(operand: Any) -> Any:  # noqa: ANN401 - arrays of numbers, indices, bounds
    return flush(operand) if isinstance(operand, np.ndarray) and operand.dtype.kind in "fV" else operand

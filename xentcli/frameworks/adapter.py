"""What each adapter of a library's arrays offers: ``numpy``, ``torch``, ``jax`` and ``tensorflow`` here.

An adapter imports its library, and is imported where a loss is called alone.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

Loss = Callable[[Any], Any]  # logits → losses, with the labels already filled in


class Adapter(Protocol):
    """A module; ``ARRAY`` is the type of the library's arrays, and ``ARRAY_NAME`` that type in a sentence.

    ``REDUCE`` has the functions for ``mean`` and ``sum``, which compute in the dtype of the losses.
    ``session()`` returns the context that its functions are called in. ``gradient(loss, x)`` returns
    d Σ losses / d x by autodiff, None where the losses do not depend on x; it is None where the library has
    no autodiff. ``compiled(function)`` returns a function that is compiled as a whole, of the same losses, if
    the library ``can_compile`` a loss; it is None where compiling is not what takes the time.
    """

    ARRAY: Any
    ARRAY_NAME: str
    REDUCE: Mapping[str, Callable[[Any], Any]]
    session: Callable[[], AbstractContextManager[Any]]
    gradient: Any
    compiled: Any
    can_compile: Callable[[Callable[..., Any]], bool]

    def array(self, values: Any, dtype: str) -> Any:
        """Make an array of the dtype of a NumPy one that holds its numbers."""

    def to_numpy(self, array: Any) -> tuple[Any, str]:
        """Return the numbers in float64 and the name of the dtype."""

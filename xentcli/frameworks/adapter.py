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
    ``LAYOUTS`` has functions that return an array with the same numbers, laid out otherwise in memory, by
    the names in ``request.LAYOUTS``; ``UPSTREAM_LAYOUTS`` has those for what comes back to the losses, where
    ``request.UPSTREAM_LAYOUTS`` names any. ``session()`` returns the context of all calls.
    ``gradient(loss, x)`` returns d Σ losses / d x by autodiff, None where the losses do not depend on x; it
    is None where the library has no autodiff. With ``between``, that is called before the losses are
    differentiated, and with ``twice`` they are a second time, whose result counts; ``upstream`` comes back to
    the losses, laid out so. ``MODES`` has functions of the loss and x that return the losses of a call
    that is to be differentiated, ``training``, or where nothing is, ``evaluation`` and ``inference``, if
    that differs. ``frozen(array)`` is one that no gradient leads back to, where ``request.FROZEN`` names the
    library.
    ``compile_both(loss, differentiate)`` returns the two compiled, each as a whole, or None;
    it is None where compiling is not what takes the time.
    """

    ARRAY: Any
    ARRAY_NAME: str
    REDUCE: Mapping[str, Callable[[Any], Any]]
    LAYOUTS: Mapping[str, Callable[[Any], Any]]
    UPSTREAM_LAYOUTS: Mapping[str, Callable[[Any], Any]]
    session: Callable[[], AbstractContextManager[Any]]
    gradient: Any
    frozen: Any
    MODES: Mapping[str, Callable[[Loss, Any], Any]]
    compile_both: Any

    def array(self, values: Any, dtype: str) -> Any:
        """Make an array of the dtype of a NumPy one that holds its numbers."""

    def to_numpy(self, array: Any) -> tuple[Any, str]:
        """Return the numbers in float64 and the name of the dtype."""

    def devices(self) -> Mapping[str, Any]:
        """Return the devices that are here, by each name that a user may give; the usual one is first."""

    def place(self, array: Any, device: Any) -> Any:
        """Return the array on a device."""

    def computing(self, device: Any) -> AbstractContextManager[Any]:
        """Return the context in which the library computes on a device; most compute where arrays are."""

    def identity(self, array: Any, size: int) -> Any:
        """Make the identity (size, size) in an array's dtype, where that is; TensorFlow's has none."""

    def contiguous(self, array: Any) -> Any:
        """Return the array, its rows one after the other in memory; TensorFlow's has none."""

    def overwrite(self, array: Any, values: Any) -> None:
        """Write the numbers of another array into one; only where the library has ``LAYOUTS``."""

    def anew(self, array: Any) -> Any:
        """Return another array in the memory of one, as an allocator gives it out again; as ``overwrite``."""

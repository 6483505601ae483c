"""Arrays of a library on one of its devices."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xentcli.errors import XentError
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from xentcli.frameworks.adapter import Adapter


def placed(adapter: "Adapter", device: str, library: str) -> "Adapter":
    """Return an adapter that makes its arrays on a device; the same where they are there already.

    Raises XentError where the library has no such device here, or is not allowed to use it.
    """
    known = adapter.devices()
    if device not in known:
        raise XentError(f"device {device}: {library} has {', '.join(known)} here")
    if known[device] == next(iter(known.values())):
        return adapter
    there = Placed(adapter, known[device])
    try:
        there.try_device()
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST]
        raise XentError(f"device {device}: {library} cannot use it: {reason}") from error
    return cast("Adapter", there)


_LONGEST = 200  # characters of a message of a library


@dataclass(frozen=True, slots=True)
class Placed:
    """An adapter whose arrays are on a device; everything else is as the adapter has it."""

    adapter: "Adapter"
    device: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    def array(self, values: Any, dtype: str) -> Any:
        """Make an array of the dtype on the device."""
        return self.adapter.place(self.adapter.array(values, dtype), self.device)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Open what the library computes in, on the device where it has a context for that."""
        with self.adapter.session(), self.adapter.computing(self.device):
            yield

    def try_device(self) -> None:
        """Add two numbers there, and wait for the sum; raises what the library does where that fails."""
        with self.session():
            self.adapter.to_numpy(self.adapter.REDUCE["sum"](self.array(np.ones(2), "float32")))

    @property
    def lacks(self) -> tuple[str, ...]:
        """The dtypes that the device has no arrays of."""
        return tuple(name for name in FORMATS if not self._has(name))

    def _has(self, dtype: str) -> bool:
        try:
            with self.session():
                self.adapter.to_numpy(self.array(np.ones(1), dtype))
        except Exception:  # noqa: BLE001 - each library has its own
            return False
        return True

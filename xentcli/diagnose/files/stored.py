"""Arrays of which only the numbers asked for are read, and their rows."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_LARGE_ITEM: Final = 2**24  # bytes: of items up to here whole ones are read, and what is not asked for left


class ReadError(XentError):
    """A file cannot be read any longer, or has changed since it was opened."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array of a file, of which numbers are read when they are asked for.

    ``read(starts, count)`` returns so many numbers from each position on, (len(starts), count), in the order
    in which they lie: the last axis side by side, or, ``is_fortran``, the first. Raises ReadError where the
    file has changed since it was opened. ``unread`` says why no number can be read of a tensor that NumPy
    does not have.
    """

    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    read: "Callable[[Sequence[int], int], NDArray[Any]]"
    is_fortran: bool = False
    unread: str = ""

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: slice) -> "NDArray[Any]":
        """Return numbers start to stop (n,) of one axis."""
        start, stop, _ = numbers.indices(self.size)
        return self.read([start], max(stop - start, 0))[0]

    def whole(self) -> "NDArray[Any]":
        """Read all of it."""
        found = self.read([0], self.size)
        return found.reshape(self.shape[::-1]).T if self.is_fortran else found.reshape(self.shape)

    def in_c_order(self) -> "StoredArray":
        """Return it with the last axis side by side: read as a whole where it is not."""
        return loaded(self.whole()) if self.is_fortran else self

    def flat(self) -> "StoredArray":
        """Return it with one axis."""
        return replace(self.in_c_order(), shape=(self.size,))

    def with_bfloat16(self, path: str) -> "StoredArray":
        """Return it with the type of bfloat16, which in a file, ``path``, is two bytes without one.

        Raises XentError where it cannot be read.
        """
        if self.unread:
            raise XentError(f"{printable(path)}: {self.unread}")
        if self.dtype != np.dtype("V2"):
            return self
        try:
            dtype = formats.dtype("bfloat16")
        except XentError as error:
            raise XentError(f"{printable(path)}: {error}") from error
        return replace(self, dtype=dtype, read=lambda starts, number: self.read(starts, number).view(dtype))


def loaded(array: "NDArray[Any]") -> StoredArray:
    """Return an array in memory as a stored one; what is read is part of it."""
    numbers = array.reshape(-1)
    numbers.flags.writeable = False

    def read(starts: "Sequence[int]", count: int) -> "NDArray[Any]":
        parts = [numbers[start : start + count] for start in starts]
        return parts[0][None] if len(parts) == 1 else np.stack(parts)

    return StoredArray(array.dtype, array.shape, read)


class StoredRows:
    """Rows (N, C) of an array whose classes are on any axis; only the rows asked for are read."""

    def __init__(self, array: StoredArray, axis: int) -> None:
        axis %= array.ndim
        if array.is_fortran and array.ndim == 2:  # noqa: PLR2004 - of a matrix it is the other axis
            shape, axis = array.shape[::-1], 1 - axis
        else:
            array = array.in_c_order()
            shape = array.shape
        self._read, self.dtype = array.read, array.dtype
        self._inner = math.prod(shape[axis + 1 :])
        self.shape = math.prod(shape[:axis]) * self._inner, shape[axis]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "NDArray[Any]":
        """Return rows start to stop (n, C)."""
        start, stop, _ = rows.indices(len(self))
        (_, classes), inner, stop = self.shape, self._inner, max(start, stop)
        if inner == 1 or start == stop:
            return self._read([start * classes], (stop - start) * classes).reshape(-1, classes)
        first, last = start // inner, -(-stop // inner)
        if classes * inner * self.dtype.itemsize > _LARGE_ITEM:
            items = range(first * inner, last * inner, inner)
            return np.concatenate(
                [self._of_item(item, max(start, item), min(stop, item + inner)) for item in items]
            )
        found = self._read([first * classes * inner], (last - first) * classes * inner)
        found = found.reshape(-1, classes, inner).swapaxes(1, 2).reshape(-1, classes)
        return found[start - first * inner : stop - first * inner]

    def _of_item(self, item: int, start: int, stop: int) -> "NDArray[Any]":
        """Return rows start to stop of the item (C, inner) that begins with a row: a run per class."""
        begin, (_, classes) = item * self.shape[1] + start - item, self.shape
        return self._read(range(begin, begin + classes * self._inner, self._inner), stop - start).T


class Positions:
    """Rows of sequences, or their labels, without the last position of each, or without the ``first``."""

    def __init__(self, rows: Any, length: int, *, first: bool) -> None:  # noqa: ANN401 - stored rows, or an array
        self.rows, self._length, self._first = rows, length, first
        self.dtype = rows.dtype
        self.shape = (len(rows) // length * (length - 1), *rows.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "NDArray[Any]":
        """Return rows start to stop of those that are left."""
        start, stop, _ = rows.indices(len(self))
        if start >= stop:
            return self.rows[0:0]
        begin, end = (row + row // (self._length - 1) + self._first for row in (start, stop - 1))
        places = np.arange(begin, end + 1) % self._length
        return self.rows[begin : end + 1][places != (0 if self._first else self._length - 1)]

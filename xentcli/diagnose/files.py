"""Open files of arrays: numbers are read by position into arrays of our own; nothing is mapped.

A file that is cut or written to while it is read is an error with a message, where a mapped one ends the
process by a signal. Nothing is unpickled, but tensors of a .pt by torch, in ``torch_files``.
"""

import json
import math
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.diagnose.torch_files import SAVE_NPZ, tensors
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from io import RawIOBase

    from numpy.typing import NDArray

    Stamp = tuple[int, int, int]  # what a file's size, time or identity changes with

_SAFETENSORS_DTYPES: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "V2"} | {
    f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)
}
_LONGEST_HEADER: Final = 100 * 2**20  # bytes, as the format limits it
_PICKLES: Final = (".pkl", ".pickle", ".bin", ".ckpt")  # reading one runs what is in it
_LARGE, _MOST_PACKED = 2**27, 50  # bytes; logits pack to a half at best
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


def arrays(path: str) -> Mapping[str, StoredArray]:
    """Open the arrays of a file by name; raises XentError for what is no file of arrays."""
    suffix = Path(path).suffix
    if suffix not in _READERS:
        hint = f"; save with {SAVE_NPZ}" if suffix in _PICKLES else ""
        supported = f"unsupported file type; supported are {', '.join(_READERS)}"
        raise XentError(f"{printable(path)}: {supported}{hint}")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # an odd header is read or refused, without a word of NumPy's
            return _opened(path, _READERS[suffix])
    except OSError as error:
        raise XentError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    except XentError:
        raise
    except Exception as error:
        why = printable(re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))[:200])
        raise XentError(f"{printable(path)}: is no {suffix} of plain arrays, or incomplete: {why}") from error


_Reader = Callable[[IO[bytes], str, "Stamp"], "dict[str, StoredArray]"]


def _opened(path: str, reader: _Reader) -> dict[str, StoredArray]:
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - opening a pipe would wait for its writer
        raise XentError(f"{printable(path)}: is no regular file")
    with Path(path).open("rb") as file:
        return reader(file, path, _stamp(file))


def _npy(file: IO[bytes], path: str, stamp: "Stamp") -> dict[str, StoredArray]:
    """Open an array. Versions 2 and 3 of the format differ in the names of fields, which plain arrays lack.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
    """
    version = np.lib.format.read_magic(file)
    is_first = version == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds objects, which only unpickling would read")
    shape = tuple(map(int, shape))
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape} has a negative length")
    size, rest = math.prod(shape) * dtype.itemsize, stamp[0] - file.tell()
    if size > rest:
        raise ValueError(f"the array has {size} bytes, the file {rest} after its header")
    read = partial(_read, path, stamp, file.tell(), dtype)
    return {"": StoredArray(dtype, shape, read, is_fortran and len(shape) > 1)}


def _npz(file: IO[bytes], path: str, stamp: "Stamp") -> dict[str, StoredArray]:
    """Unpack an archive; raises XentError where its arrays are far larger than the file."""
    with zipfile.ZipFile(file) as archive:
        refuse_other_packing(archive)
        size = sum(member.file_size for member in archive.infolist())
    if size > _LARGE and size > _MOST_PACKED * stamp[0]:
        packed = f"its arrays take {size // 2**20} MiB in memory, more than {_MOST_PACKED} times the file"
        raise XentError(f"{printable(path)}: {packed}; save them as .npy")
    file.seek(0)
    found = np.load(file, allow_pickle=False)
    members = {name: found[name] for name in found}
    return {name: loaded(array) for name, array in members.items() if isinstance(array, np.ndarray)}


def refuse_other_packing(archive: zipfile.ZipFile) -> None:
    """Raise ValueError for a member that NumPy would not write so: only these are unpacked piece by piece."""
    if any(
        each.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for each in archive.infolist()
    ):
        raise ValueError("a member is packed by another method than those of numpy.savez")


def _safetensors(file: IO[bytes], path: str, stamp: "Stamp") -> dict[str, StoredArray]:
    """Open tensors: eight bytes of length, a JSON header, the numbers without a hole or overlap.

    Source: https://github.com/huggingface/safetensors, README ("Format") and ``Metadata::validate`` in
    ``safetensors/src/tensor.rs``.
    """
    length, size = int.from_bytes(file.read(8), "little"), stamp[0]
    if length > min(_LONGEST_HEADER, size - 8):
        raise ValueError("the header is longer than the file")
    tensors = _tensors(file.read(length))
    found, end = dict[str, StoredArray](), 0
    for name, (form, shape, (begin, until)) in sorted(tensors.items(), key=lambda item: item[1][2]):
        if begin != end or until < begin:
            raise ValueError(f"tensor {name} does not begin where the one before it ends")
        end = until
        if form not in _SAFETENSORS_DTYPES:
            continue
        dtype = np.dtype(_SAFETENSORS_DTYPES[form])
        if end - begin != dtype.itemsize * math.prod(shape):
            raise ValueError(f"tensor {name} has another size than its shape")
        found[name] = StoredArray(dtype, shape, partial(_read, path, stamp, 8 + length + begin, dtype))
    if end != size - 8 - length:
        raise ValueError("the tensors end elsewhere than the file")
    return {name: found[name] for name in tensors if name in found}


_Tensor = tuple[str, tuple[int, ...], tuple[int, ...]]  # dtype, shape, offsets


def _tensors(header: bytes) -> "dict[str, _Tensor]":
    """Return the dtype, shape and offsets of each tensor of a header; raises ValueError for another one."""
    try:
        document = json.loads(header.decode("utf-8"), object_pairs_hook=_without_repeats)
    except RecursionError:
        document = None
    except ValueError as error:
        raise ValueError(f"the header is no JSON: {str(error).partition(';')[0]}") from error
    if not isinstance(document, dict):
        raise TypeError("the header is no JSON object")
    about = document.get("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise ValueError("__metadata__ is no object of texts")
    found = dict[str, _Tensor]()
    for name, entry in document.items():
        if name != "__metadata__":
            keys = ("dtype", "shape", "data_offsets")
            form, *lists = (entry.get(key) if isinstance(entry, dict) else None for key in keys)
            shape, offsets = map(_naturals, lists)
            name.encode()  # a lone surrogate is no text
            if not isinstance(form, str) or shape is None or offsets is None or len(offsets) != 2:  # noqa: PLR2004
                raise ValueError(f"tensor {name} has no dtype, shape and data_offsets")
            found[name] = form, shape, offsets
    return found


def _naturals(numbers: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - anything of JSON
    """Return a list of the format's integers, which have 64 bits and no sign; None for anything else."""
    if not isinstance(numbers, list) or not all(type(each) is int and 0 <= each < 2**64 for each in numbers):
        return None
    return tuple(numbers)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary; a key that is repeated may stand for either value, and is refused."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key of the header is repeated")
    return dict(pairs)


def _torch(_: IO[bytes], path: str, stamp: "Stamp") -> dict[str, StoredArray]:
    """Have torch unpack a file, in a process of its own."""
    found, unread = tensors(path, stamp[0], max(_LARGE, _MOST_PACKED * stamp[0]))
    stored = {name: loaded(array) for name, array in found.items()}
    return stored | {name: replace(_NO_NUMBERS, unread=why) for name, why in unread.items()}


_NO_NUMBERS: Final = loaded(np.zeros(0, "V1"))
_READERS: Final[dict[str, _Reader]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}


def _read(  # noqa: PLR0913, PLR0917 - an array in a file, and what is read of it
    path: str, stamp: "Stamp", offset: int, dtype: "np.dtype[Any]", starts: "Sequence[int]", count: int
) -> "NDArray[Any]":
    """Return numbers of a file as ``StoredArray.read`` does; the array begins at byte ``offset``.

    The file is opened for each call: nothing is shared between threads, and no number of files is too large.
    """
    found = np.empty((len(starts), count), dtype)
    try:
        with Path(path).open("rb", buffering=0) as file:
            for row, start in zip(found, starts, strict=True):
                file.seek(offset + start * dtype.itemsize)
                _fill(memoryview(row.view(np.uint8)) if count else memoryview(b""), file, path)
            if _stamp(file) != stamp:
                raise _changed(path)
    except OSError as error:
        raise ReadError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    return found


def _fill(room: memoryview, file: "RawIOBase", path: str) -> None:
    """Read until there is no room left: one call may return less, as from a network."""
    while len(room):
        number = file.readinto(room)
        if not number:
            raise _changed(path)
        room = room[number:]


def _changed(path: str) -> ReadError:
    return ReadError(f"{printable(path)}: changed while it was read")


def _stamp(file: "IO[bytes] | RawIOBase") -> "Stamp":
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ino

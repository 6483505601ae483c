"""Where files are: on this machine, or at addresses that fsspec knows. Numbers are read by their position.

A file that is cut or written to while it is read is an error with a message, where a mapped one ends the
process by a signal.
"""

import glob
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from xentcli.diagnose.files.stored import ReadError, StoredArray
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from io import RawIOBase

    from numpy.typing import NDArray

Result = TypeVar("Result")

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_PAUSES: Final = (0.5, 2.0)  # seconds before a read is tried again
_NONE: Final = 404  # what a web server answers where there is no file
_FINAL: Final = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, XentError)
_CHANGING: Final = (
    "etag",
    "mtime",
    "created",
    "modified",
    "md5",
    "crc32",
    "checksum",
    "version",
    "generation",
)


def is_address(path: str) -> bool:
    """Tell whether fsspec is asked for a file, as for ``s3://bucket/logits.npy``."""
    return _ADDRESS.match(path) is not None


def absolute(path: str) -> str:
    """Return the name of a file by which a process in another folder finds it."""
    return path if is_address(path) else str(Path(path).absolute())


def expanded(paths: Sequence[str]) -> list[str]:
    """Return the files that paths, addresses and patterns name."""
    files: list[str] = []
    for path in paths:
        if not glob.has_magic(path) or (not is_address(path) and Path(path).exists()):
            files.append(path)
        elif matches := _matches(path):
            files += matches
        else:
            raise XentError(f"{printable(path)}: no file matches")
    return files


def _matches(pattern: str) -> list[str]:
    if not is_address(pattern):
        return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    system, path = _system(pattern)
    found = _asked(pattern, XentError, lambda: system.glob(path))
    return sorted(system.unstrip_protocol(each) for each in found)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was when it was looked at; ``stamp`` has its size and what changes with its contents."""

    path: str
    size: int
    stamp: tuple[Any, ...]

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine."""
        return not is_address(self.path)

    def open(self) -> IO[bytes]:
        """Open it at its beginning."""
        if self.is_local:
            return Path(self.path).open("rb")
        system, path = _system(self.path)
        opened: IO[bytes] = system.open(path, "rb")
        return opened

    def check(self) -> None:
        """Raise ReadError where the file is not what it was."""
        try:
            now = _stamp_of(os.stat(self.path)) if self.is_local else look(self.path).stamp  # noqa: PTH116
        except OSError as error:
            raise ReadError(f"{printable(self.path)}: cannot be read: {error.strerror or error}") from error
        except XentError as error:
            raise ReadError(str(error)) from error
        if now != self.stamp:
            raise self._changed()

    def attempt(self, read: Callable[[], Result]) -> Result:
        """Call what reads the file, again where another machine fails for a while; raises ReadError."""
        if not self.is_local:
            return _asked(self.path, ReadError, read)
        try:
            return read()
        except XentError:
            raise
        except Exception as error:
            raise ReadError(f"{printable(self.path)}: cannot be read: {said(error)}") from error

    def array(
        self, offset: int, dtype: "np.dtype[Any]", shape: tuple[int, ...], *, is_fortran: bool = False
    ) -> StoredArray:
        """Return the array that begins at byte ``offset``."""
        return StoredArray(dtype, shape, partial(self._read, offset, dtype), is_fortran)

    def _read(self, offset: int, dtype: "np.dtype[Any]", starts: Sequence[int], count: int) -> "NDArray[Any]":
        """Return numbers as ``StoredArray.read`` does.

        The file is opened for each call: threads share nothing, and no number of files is too large.
        """
        found = np.empty((len(starts), count), dtype)
        rooms = [memoryview(row.view(np.uint8)) if row.nbytes else memoryview(b"") for row in found]
        begins = [offset + start * dtype.itemsize for start in starts]
        if self.is_local:
            self._read_here(begins, rooms)
        else:
            _asked(self.path, ReadError, lambda: self._read_there(begins, rooms))
        return found

    def _read_here(self, begins: Sequence[int], rooms: Sequence[memoryview]) -> None:
        try:
            with Path(self.path).open("rb", buffering=0) as file:
                for begin, room in zip(begins, rooms, strict=True):
                    file.seek(begin)
                    self._fill(room, file)
                if _stamp_of(os.fstat(file.fileno())) != self.stamp:
                    raise self._changed()
        except OSError as error:
            raise ReadError(f"{printable(self.path)}: cannot be read: {error.strerror or error}") from error

    def _fill(self, room: memoryview, file: "RawIOBase") -> None:
        """Read until there is no room left: one call may return less, as from a network."""
        while len(room):
            number = file.readinto(room)
            if not number:
                raise self._changed()
            room = room[number:]

    def _read_there(self, begins: Sequence[int], rooms: Sequence[memoryview]) -> None:
        system, path = _system(self.path)
        ends = [begin + len(room) for begin, room in zip(begins, rooms, strict=True)]
        parts = system.cat_ranges([path] * len(begins), list(begins), ends, on_error="raise")
        for part, room in zip(parts, rooms, strict=True):
            if len(part) > len(room):
                raise ReadError(f"{printable(self.path)}: its server sends whole files, not ranges of bytes")
            if len(part) < len(room):
                raise self._changed()
            room[:] = part
        if _look_there(self.path).stamp != self.stamp:
            raise self._changed()

    def _changed(self) -> ReadError:
        return ReadError(f"{printable(self.path)}: changed while it was read")


def look(path: str) -> File:
    """Look at a file; raises XentError where there is none, OSError where the system says why."""
    if is_address(path):
        return _asked(path, XentError, lambda: _look_there(path))
    status = os.stat(path)  # noqa: PTH116 - of a pipe too: opening one would wait for its writer
    if not stat.S_ISREG(status.st_mode):
        raise XentError(f"{printable(path)}: is no regular file")
    return File(path, status.st_size, _stamp_of(status))


def _stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _look_there(address: str) -> File:
    """Look at a file of another machine. What is known of it from before is not taken for what it is now."""
    system, path = _system(address)
    system.invalidate_cache(path)
    about = system.info(path)
    if about.get("type") == "directory" or not isinstance(about.get("size"), int):
        raise XentError(f"{printable(address)}: is no file of a known size")
    changing = [
        (key, str(about[key])) for key in sorted(about) if any(mark in key.lower() for mark in _CHANGING)
    ]
    return File(address, about["size"], (about["size"], *changing))


def _system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and its path there."""
    try:
        import fsspec
    except ImportError as error:
        raise XentError(f"{printable(address)}: an address needs fsspec: pip install 'xent[dask]'") from error
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise XentError(f"{printable(address)}: {printable(str(error))}") from error
    return system, path


def again(read: Callable[[], Result], final: tuple[type[Exception], ...] = ()) -> Result:
    """Call what reads of another machine, three times at most, or once where ``final`` is raised."""
    for pause in _PAUSES:
        try:
            return read()
        except Exception as error:
            if isinstance(error, (*_FINAL, *final)) and not _is_refused(error):
                raise
            time.sleep(pause)
    return read()


def _is_refused(error: Exception) -> bool:
    """Tell whether fsspec says that there is no file where a server did not answer, or with an error."""
    cause = error.__cause__
    return isinstance(error, FileNotFoundError) and cause is not None and getattr(cause, "status", 0) != _NONE


def _asked(address: str, kind: type[XentError], ask: Callable[[], Result]) -> Result:
    """Ask another machine, as ``again`` does; an error of ``kind`` names the address."""
    try:
        return again(ask)
    except XentError:
        raise
    except Exception as error:
        is_missing = isinstance(error, FileNotFoundError) and not _is_refused(error)
        why = "there is no such file" if is_missing else said(error.__cause__ or error)
        raise kind(f"{printable(address)}: cannot be read: {why}") from error


def said(error: BaseException) -> str:
    """Return what an error says, in a line that is inert."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(" ".join(text.split())[:200])

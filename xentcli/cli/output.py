"""Where results go: standard output, or a file that appears whole or not at all."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from xentcli.errors import XentError, printable

Write = Callable[[str], None]


@contextmanager
def opened(path: str | None) -> Iterator[Write]:
    """Yield what writes a text to the path (None or ``-``: standard output).

    The path is tried at once, before any work; raises XentError where it cannot be written. A file gets
    its content in one step when the block ends, and nothing if the block fails
    or writes nothing.
    """
    if path in (None, "-"):
        yield to_stdout
        return
    if str(path).endswith("/"):
        raise XentError(f"{printable(str(path))}: cannot be written: it names a folder")
    if "\0" in str(path):
        raise XentError(f"{printable(str(path))}: cannot be written: no file has a NUL byte in its name")
    try:
        with _file(Path(str(path))) as write:
            yield write
    except OSError as error:
        raise XentError(
            f"{printable(str(path)) or repr('')}: cannot be written: {error.strerror or error}"
        ) from error


def is_input(path: str | None, inputs: Collection[str]) -> bool:
    """Whether writing to the path would replace one of the files read."""
    if path in {None, "-"} or not Path(str(path)).is_file():
        return False
    target = Path(str(path)).stat()
    files = [Path(name).stat() for name in inputs if Path(name).is_file()]
    if "-" in inputs and sys.stdin is not None:
        files.append(os.fstat(sys.stdin.fileno()))
    return stat.S_ISREG(target.st_mode) and any(os.path.samestat(target, file) for file in files)


def to_stdout(text: str) -> None:
    """Write to standard output."""
    if sys.stdout is None:  # closed by who started this: nobody listens
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains
        raise XentError(f"standard output: cannot be written: {error.strerror}") from error


@contextmanager
def _file(path: Path) -> Iterator[Write]:
    if path.exists() and not path.is_file():
        with path.open(
            "w", encoding="utf-8", errors="backslashreplace"
        ) as device:  # /dev/stdout, a pipe: nothing to replace
            yield lambda text: _discard(device.write(text))
        return
    import tempfile

    path = Path(os.path.realpath(path))  # a link stays a link; what it points to is replaced
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:  # noqa: PTH123 - a descriptor, not a path
            yield lambda text: _discard(file.write(text))
            is_written = file.tell() > 0
        if is_written:
            Path(name).chmod(mode)
            Path(name).replace(path)
        else:
            Path(name).unlink()
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _discard(_: int) -> None:
    pass


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

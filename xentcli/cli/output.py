"""Where results go: standard output, or a file that appears whole or not at all."""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xentcli.errors import XentError, printable

Write = Callable[[str | bytes], None]  # a text is written as UTF-8


@contextmanager
def opened(path: str | None) -> Iterator[Write]:
    """Yield what writes a text, or bytes, to the path (None or ``-``: standard output).

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


def refuse_conflicts(outputs: Sequence[str | None], inputs: Iterable[str], *, force: bool = True) -> None:
    """Raise XentError where an output would replace a file that is read, or another output.

    Files are the same by device and inode, through links. Without ``force`` one that exists is refused too.
    """
    read = {_identity(path): path for path in inputs}
    written: set[object] = set()
    for path in (path for path in outputs if path not in {None, "-"}):
        name, identity = printable(str(path)), _identity(str(path))
        if identity is None:  # a terminal, a pipe
            continue
        if identity in read:
            raise XentError(f"{name}: is one of the files that are read; write the results elsewhere")
        if identity in written:
            raise XentError(f"{name}: is written twice; name two files")
        if isinstance(identity, tuple) and os.path.realpath(str(path)).endswith(
            ".py"
        ):  # a loss may import it
            raise XentError(f"{name}: is a program; write the results elsewhere")
        if not force and isinstance(identity, tuple):
            raise XentError(f"{name}: exists already; name another file, or pass --force to replace it")
        written.add(identity)


def sources_of(*targets: str | None) -> list[str]:
    """Return the file that each target such as ``mine.py:loss`` or ``mine:loss`` is imported from."""
    wheres = [target.rpartition(":")[0] for target in targets if target]
    return [where if where.endswith(".py") else f"{where.replace('.', os.sep)}.py" for where in wheres]


def files_of(command: str) -> list[str]:
    """Return the words of a command, each of which may be a file that it reads."""
    import shlex

    try:
        return shlex.split(command)
    except ValueError:  # as whoever starts it will say
        return []


def _identity(path: str) -> object:
    """Return what the same file has alone: device and inode, or the path of a new one; None of a device."""
    try:
        status = os.fstat(sys.stdin.fileno()) if path == "-" and sys.stdin is not None else Path(path).stat()
    except (OSError, ValueError):
        return os.path.realpath(path) if "\0" not in path else None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def to_stdout(content: str | bytes) -> None:
    """Write to standard output."""
    if sys.stdout is None:  # closed by who started this: nobody listens
        return
    try:
        if isinstance(content, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content)
        sys.stdout.flush()
    except OSError as error:
        raise XentError(f"standard output: cannot be written: {error.strerror}") from error


@contextmanager
def _file(path: Path) -> Iterator[Write]:
    if _is_standard_output(path):
        yield to_stdout
        return
    if path.exists() and (not path.is_file() or _is_descriptor(path)):  # there is nothing to replace
        with path.open("ab") as device:
            yield lambda content: _discard(device.write(_encoded(content)))
        return
    path = Path(os.path.realpath(path))  # a link stays a link; what it points to is replaced
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    # The name is known before the file exists, so that no signal leaves it behind.
    name = path.parent / f".{path.name[:100]}.{os.urandom(8).hex()}"
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            yield lambda content: _discard(file.write(_encoded(content)))
            is_written = file.tell() > 0
        if is_written:
            name.chmod(mode)
            name.replace(path)
        else:
            name.unlink()
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _is_standard_output(path: Path) -> bool:
    """Whether a path, such as /dev/stdout, is what standard output goes to."""
    try:
        return sys.stdout is not None and os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


def _is_descriptor(path: Path) -> bool:
    """Whether a path names an open file, such as /dev/fd/3."""
    return str(path).startswith(("/dev/", "/proc/"))


def _encoded(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")


def _discard(_: int) -> None:
    pass


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

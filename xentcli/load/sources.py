"""Paths, folders, names of bundled cases and - → the bytes of case files."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xentcli.errors import CaseError, Refused, did_you_mean

MAX_BYTES = 8 * 2**20
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one case file: its ``path`` in messages, the ``name`` of the case.

    ``named``: the file itself was named, not its folder.
    """

    path: str
    name: str
    data: bytes
    named: bool = True


def home() -> Path:
    """Return the folder of the bundled cases: inside the package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    return package / "cases" if (package / "cases").is_dir() else package.parent / "cases"


def bundled() -> tuple[Path, ...]:
    """Return the files of the bundled cases."""
    return tuple(_files(home()))


def folder_of(path: Path) -> str:
    """Return the folder of a bundled case, '' for the cases of the blog."""
    return path.parent.relative_to(home()).as_posix().removeprefix(".")


def read_all(arguments: Sequence[str]) -> tuple[list[Source], list[CaseError]]:
    """Read the files that are named, all bundled cases where none is; return the problems too."""
    sources: list[Source] = []
    problems: list[CaseError] = []
    # Standard input can be read once, however often it is named.
    once = [name for at, name in enumerate(arguments) if name != "-" or at == arguments.index("-")]
    for argument in once or [str(home())]:
        try:
            if argument == "-":
                sources.append(_read_stdin())
                continue
            paths = _paths(argument)
        except Refused as refused:
            problems.extend(refused.problems)
            continue
        for path in paths:
            try:
                sources.append(_read_file(path, named=len(paths) == 1))
            except Refused as refused:
                problems.extend(refused.problems)
    return sources, problems


def find_bundled(name: str) -> Path:
    """Return the file of a bundled case; raises Refused where none has that name."""
    files = {file.stem: file for file in bundled()}
    if name not in files:
        near = did_you_mean(name, list(files), "'xent cases' lists them")
        raise Refused([CaseError(name, f"no such file, folder or bundled case{near}")])
    return files[name]


def _paths(argument: str) -> Sequence[Path]:
    """Return the files that an argument names: a file, those of a folder, or a bundled case."""
    if not argument or "\0" in argument:
        raise Refused([CaseError(argument or "''", "no file has such a name")])
    path = Path(argument)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        folder = home() / argument
        return list(_files(folder)) if folder.is_dir() else [find_bundled(argument)]
    except OSError as error:
        raise _unreadable(argument, error) from error
    if not stat.S_ISDIR(mode):
        return [path]
    files = list(_files(path))
    if not files:
        raise Refused([CaseError(argument, "no case in this folder; case files end in .yaml or .yml")])
    return files


def _read_stdin() -> Source:
    if sys.stdin is None:
        raise Refused([CaseError("-", "standard input is closed")])
    return Source("-", "stdin", _bounded("-", sys.stdin.buffer.read(MAX_BYTES + 1)))


def _read_file(path: Path, *, named: bool) -> Source:
    try:
        with path.open("rb") as file:
            return Source(str(path), path.stem, _bounded(str(path), file.read(MAX_BYTES + 1)), named)
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _files(folder: Path) -> Iterator[Path]:
    """Yield the case files of a folder and of those below it, but no hidden ones."""

    def refuse(error: OSError) -> None:
        raise _unreadable(str(error.filename or folder), error) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names, key=lambda name: Path(name).stem):
            path = Path(parent, name)
            is_case = name.endswith(_SUFFIXES) and not name.startswith(".")
            if is_case and (path.is_file() or path.is_symlink()):
                yield path


def _bounded(path: str, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        problem = f"larger than {MAX_BYTES // 2**20} MiB; a case is a batch of a few rows"
        raise Refused([CaseError(path, problem)])
    return data


def _unreadable(path: str, error: OSError) -> Refused:
    return Refused([CaseError(path, f"cannot be read: {error.strerror or error}")])

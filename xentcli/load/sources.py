"""Paths, folders, names of bundled cases and - → the bytes of case files."""

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from xentcli.errors import CaseError, Refused, XentError, did_you_mean, printable
from xentcli.identifiers import resolved

MAX_BYTES, MAX_BYTES_OF_ALL = 8 * 2**20, 64 * 2**20  # of a file, and of those of a call
_DEEPEST = 32  # folders in folders
_SUFFIXES = (".yaml", ".yml")
_ARRAYS = (".npy", ".npz", ".safetensors", ".pt", ".pth")
_MAGIC = (b"\x93NUMPY", b"PK\x03\x04")  # how .npy and .npz begin, whatever they are called


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


def read_all(
    arguments: Sequence[str], from_dump: Callable[[str], str] | None = None
) -> tuple[list[Source], list[CaseError]]:
    """Read the files that are named, all bundled cases where none is; return the problems too.

    A dump of arrays is no case unless ``from_dump`` makes one of it, whose text it returns. Raises Refused
    where the files together are too large.
    """
    sources: list[Source] = []
    problems: list[CaseError] = []
    room = MAX_BYTES_OF_ALL
    # Standard input can be read once, however often it is named.
    names = [name for at, name in enumerate(arguments) if name != "-" or at == arguments.index("-")]
    for argument in names or [str(home())]:
        try:
            paths = _paths(argument)
        except Refused as refused:
            problems.extend(refused.problems)
            continue
        for path in paths:
            try:
                sources.append(_read(path, named=len(paths) == 1, from_dump=from_dump))
            except Refused as refused:
                problems.extend(refused.problems)
                continue
            room -= len(sources[-1].data)
            if room < 0:
                limit = f"the files of this call have more than {MAX_BYTES_OF_ALL // 2**20} MiB"
                raise _refusal(sources[-1].path, f"with it {limit}; name fewer at once")
    return sources, problems


def find_bundled(name: str) -> Path:
    """Return the file of a bundled case, by name or identifier; raises Refused where none has that name."""
    files = {file.stem: file for file in bundled()}
    name = resolved("case", name)
    if name not in files:
        near = did_you_mean(name, list(files), "'xent cases' lists them")
        raise _refusal(name, f"no such file, folder or bundled case{near}")
    return files[name]


def _paths(argument: str) -> Sequence[Path | None]:
    """Return the files that an argument names: a file, a folder's or a bundled case; None: standard input."""
    if argument == "-":
        return [None]
    if not argument or "\0" in argument:
        raise _refusal(argument or "''", "no file has such a name")
    path = Path(argument)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        folder = home() / argument
        return list(_files(folder)) if folder.is_dir() else [find_bundled(argument)]
    except OSError as error:
        raise _refusal(argument, error) from error
    files = list(_files(path)) if stat.S_ISDIR(mode) else [path]
    if not files:
        raise _refusal(argument, "no case in this folder; case files end in .yaml or .yml")
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Yield the case files of a folder and of those below it, no hidden ones, and nothing that is no file."""

    def refuse(error: OSError) -> None:
        raise _refusal(str(error.filename or folder), error) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if folders and len(Path(parent).parts) - len(folder.parts) >= _DEEPEST:
            raise _refusal(str(folder), f"has folders more than {_DEEPEST} deep; name the one with the cases")
        for name in sorted(names, key=lambda name: Path(name).stem):
            path = Path(parent, name)
            is_case = name.endswith(_SUFFIXES) and not name.startswith(".")
            if is_case and (
                path.is_file() or not path.exists()
            ):  # a broken link is refused, a pipe passed over
                yield path


def _read(path: Path | None, *, named: bool, from_dump: Callable[[str], str] | None) -> Source:
    if path is None and sys.stdin is None:
        raise _refusal("-", "standard input is closed")
    name, stem = ("-", "stdin") if path is None else (str(path), path.stem)
    try:
        with nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(name, error) from error
    if path is not None and path.suffix in _ARRAYS and from_dump is not None:
        try:
            return Source(name, stem, from_dump(name).encode(), named)
        except XentError as error:
            raise _refusal(name, str(error).removeprefix(f"{printable(name)}: ")) from error
    if name.endswith(_ARRAYS) or data.startswith(_MAGIC):
        raise _refusal(name, f"is a dump of arrays, not a case; 'xent diagnose {name}' reads it")
    if len(data) > MAX_BYTES:
        raise _refusal(name, f"larger than {MAX_BYTES // 2**20} MiB; a case is a batch of a few rows")
    return Source(name, stem, data, named)


def _refusal(path: str, problem: str | OSError) -> Refused:
    if isinstance(problem, OSError):
        problem = f"cannot be read: {problem.strerror or problem}"
    return Refused([CaseError(path, problem)])

"""The folder of --save-failures: what a search found, a case file each."""

from xentcli.cli.options import note
from xentcli.errors import XentError, count


def make_folder(folder: str, *, force: bool) -> None:
    """Make the folder for failures before anything is run.

    Raises XentError where that fails, or where cases lie in it already, but by ``force``.
    """
    import os
    from pathlib import Path

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise XentError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise XentError(f"{folder}: cannot be written to")
    if not force and any(Path(folder).glob("*.yaml")):
        raise XentError(f"{folder}: holds cases already; name another folder, or pass --force to add to them")


def save(cases: dict[str, str], folder: str, target: str) -> None:
    """Write cases under names that are free; one that is there already, word for word, is left."""
    from pathlib import Path

    from xentcli.cli import output

    for name, text in cases.items():
        path, number = Path(folder, f"{name}.yaml"), 1
        while path.exists() and not (path.is_file() and path.read_bytes() == text.encode()):
            number += 1
            path = Path(folder, f"{name}-{number}.yaml")
        with output.opened(str(path)) as write:
            write(text)
    if cases:
        wrote = f"wrote {count(len(cases), 'failure')} to {folder}"
        note(f"{wrote}; 'xent check {target} {folder}' fails on {'it' if len(cases) == 1 else 'them'} again")

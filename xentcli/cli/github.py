"""What a step of GitHub Actions has besides its output: the files of the repository, and a job summary."""

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING

from xentcli.cli import output
from xentcli.errors import XentError, printable
from xentcli.show import github

if TYPE_CHECKING:
    from xentcli.check.report import Report

_SUMMARY = "GITHUB_STEP_SUMMARY"  # the file whose Markdown becomes the summary of the job


def annotate(report: "Report", target: str) -> None:
    """Print the annotations of a report, at the place of the loss, and append it to the summary of the job.

    Raises XentError where there is a file for the summary and it cannot be written.
    """
    output.to_stdout(github.annotations(report, source_of(target)))
    path = os.environ.get(_SUMMARY, "")
    if not path:
        return
    try:
        before = Path(path).read_bytes() if Path(path).exists() else b""
    except OSError as error:
        raise XentError(f"{_SUMMARY}: {printable(path)}: cannot be read: {error.strerror}") from error
    with output.opened(path) as write:
        write(before + github.summary(report).encode("utf-8", "backslashreplace"))


def source_of(target: str) -> github.Source | None:
    """Return where the function of a target such as ``path/to/file.py:function`` is, without importing it."""
    file, _, name = target.rpartition(":")
    if not file.endswith(".py") or not Path(file).is_file():
        return None
    return github.Source(_from_root(file), _line_of(Path(file), name.split(".")))


def _from_root(file: str) -> str:
    """Return a path as GitHub knows it: from the root of the repository, where it is in it."""
    root, path = os.environ.get("GITHUB_WORKSPACE", ""), Path(os.path.realpath(file))
    is_inside = bool(root) and path.is_relative_to(os.path.realpath(root))
    return path.relative_to(os.path.realpath(root)).as_posix() if is_inside else Path(file).as_posix()


def _line_of(file: Path, names: list[str]) -> int | None:
    """Return the line that defines or assigns a name; of ``Loss.apply`` the method's or the class's."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    line = None
    for name in names:
        found = [node for node in body if name in _names(node)]
        if not found:
            break
        line, body = found[-1].lineno, getattr(found[-1], "body", [])  # the last one is what is imported
    return line


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    return []

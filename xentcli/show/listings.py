"""What xent knows, as sheets: methods, findings, cases."""

from collections.abc import Sequence

from xentcli.atlas import Entry
from xentcli.frameworks import FRAMEWORK_METHODS
from xentcli.judge.findings import FINDINGS
from xentcli.methods.method import Method
from xentcli.methods.table import METHODS
from xentcli.show.sheet import Cell, Sheet, Tone


def method_sheets(width: int | None = None) -> list[Sheet]:
    """Return the table of methods, and that of the frameworks' functions with the versions installed.

    Of a narrow screen's ``width`` what a method's own page says is left out.
    """
    rows = tuple(
        (
            Cell(m.name, Tone.COMMAND),
            m.formula,
            labels_supported(m),
            m.dtype or "the case's",
            "yes" if m.by_default else "where expected",
        )
        for m in METHODS
    )
    theirs = tuple(
        (
            Cell(m.name, Tone.COMMAND),
            m.call,
            m.convention.labels,
            m.library.version or f"none: extra {m.library.extra}",
        )
        for m in FRAMEWORK_METHODS
    )
    own = Sheet("", ("method", "formula", "labels", "dtype", "runs by default"), rows)
    functions = Sheet("functions of frameworks", ("method", "function", "labels", "version"), theirs)
    if width is None:
        return [own, functions]
    return [own.narrowed(width, "dtype", "runs by default"), functions.narrowed(width, "function")]


def labels_supported(method: Method) -> str:
    """Say which labels a method supports."""
    if method.binary:
        return "binary"
    return "any" if method.soft_labels else "class indices"


def finding_sheet(width: int | None = None) -> Sheet:
    """Return the catalogue of findings; of a narrow screen's ``width`` without what a page of each says."""
    rows = tuple((Cell(f.name, Tone.COMMAND), f.cause, f.remedy, f.source, f.case) for f in FINDINGS)
    whole = Sheet("", ("finding", "cause", "remedy", "source", "case"), rows)
    return whole if width is None else whole.narrowed(width, "remedy", "source", "case")


def case_sheets(entries: Sequence[Entry], form: str) -> list[Sheet]:
    """Return a sheet per folder of cases with their titles; one of all where rows stand alone."""
    rows = [(entry.folder, Cell(entry.case.name, Tone.COMMAND), entry.case.title) for entry in entries]
    if form in {"csv", "json"}:
        return [Sheet("", ("folder", "case", "title"), tuple(rows))]
    folders = {folder: tuple(row[1:] for row in rows if row[0] == folder) for folder, _, _ in rows}
    return [Sheet(folder, ("case", "title"), cases) for folder, cases in folders.items()]

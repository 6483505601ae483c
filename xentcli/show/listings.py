"""What xent knows, as sheets: methods, findings, cases."""

from collections.abc import Sequence

from xentcli.atlas import Entry
from xentcli.frameworks import FRAMEWORK_METHODS
from xentcli.judge.findings import FINDINGS
from xentcli.methods.method import Method
from xentcli.methods.table import METHODS
from xentcli.show.sheet import Sheet


def method_sheets() -> list[Sheet]:
    """Return the table of methods, and that of the frameworks' functions with the versions installed."""
    rows = tuple(
        (
            method.name,
            method.formula,
            _labels(method),
            method.dtype or "the case's",
            "yes" if method.by_default else "where expected",
        )
        for method in METHODS
    )
    own = Sheet("", ("method", "formula", "labels", "dtype", "runs by default"), rows)
    theirs = tuple(
        (m.name, m.call, m.convention.labels, m.library.version or f"not installed: extra {m.library.extra}")
        for m in FRAMEWORK_METHODS
    )
    return [own, Sheet("frameworks", ("method", "function", "labels", "version"), theirs)]


def _labels(method: Method) -> str:
    if method.binary:
        return "one number per example"
    return "any" if method.soft_labels else "one class per example"


def finding_sheet() -> Sheet:
    """Return the catalogue of findings."""
    rows = tuple((f.name, f.cause, f.remedy, f.source, f.case) for f in FINDINGS)
    return Sheet("", ("finding", "cause", "remedy", "source", "case"), rows)


def case_sheets(entries: Sequence[Entry], form: str) -> list[Sheet]:
    """Return a sheet per folder of cases with their titles; one of all where rows stand alone."""
    if form in {"csv", "json"}:
        rows = tuple((entry.folder, entry.case.name, entry.case.title) for entry in entries)
        return [Sheet("", ("folder", "case", "title"), rows)]
    folders = dict.fromkeys(entry.folder for entry in entries)
    return [
        Sheet(
            folder,
            ("case", "title"),
            tuple((entry.case.name, entry.case.title) for entry in entries if entry.folder == folder),
        )
        for folder in folders
    ]

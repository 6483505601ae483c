"""What the pages are made of, computed once: every bundled case with what all methods make of it."""

from dataclasses import dataclass
from functools import cache

from xentcli.atlas import Entry, entries
from xentcli.identifiers import identifier
from xentcli.judge import Result
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.methods.table import METHODS
from xentcli.run import evaluate, methods_of


@dataclass(frozen=True)
class Known:
    """A bundled case: its file, what all methods make of it, and the findings that it is about."""

    entry: Entry
    result: Result
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.entry.case.name

    @property
    def page(self) -> str:
        """The name of its page."""
        return f"{identifier('case', self.name)}.md"


@cache
def cases() -> tuple[Known, ...]:
    """Return every bundled case, folder by folder."""
    known = []
    for entry in entries():
        names = entry.findings()
        about = tuple(finding for finding in FINDINGS if finding.name in names)
        known.append(Known(entry, evaluate(entry.case, methods_of(entry.case, METHODS)), about))
    return tuple(known)


@cache
def pages_of_cases() -> dict[str, str]:
    """Return the page of each case by its name."""
    return {known.name: known.page for known in cases()}


def page_of_finding(name: str) -> str:
    """Return the name of the page of a finding."""
    return f"{identifier('finding', name)}.md"

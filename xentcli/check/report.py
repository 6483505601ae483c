"""What came of checking a loss: findings, check by check."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

SEARCH: Final = "search"  # the category of the one check that may end early


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One thing that is wrong: its kind, a sentence with the numbers, the example that it was seen in."""

    name: str
    statement: str
    example: str = ""

    @property
    def message(self) -> str:
        """The sentence with the example."""
        return f"{self.statement} ({self.example})" if self.example else self.statement


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: what it asserts, how many batches the loss was called with, the largest error in ulps.

    ``skipped`` is the reason for which it was; ``reached`` is False where time ran out before its end.
    """

    category: str
    name: str
    asserts: str
    batches: int = 0
    ulps: Decimal | None = None
    findings: tuple[CheckFinding, ...] = ()
    skipped: str | None = None
    reached: bool = True

    @property
    def status(self) -> str:
        """A word for it."""
        if self.findings:
            return "failed"
        if self.skipped is not None:
            return "skipped"
        return "passed" if self.reached else "not reached"


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one loss; ``versions`` are those of the libraries besides NumPy.

    ``counterexamples`` are the failures of the search, made small: the text of a case file each, by name.
    """

    target: str
    convention: str
    versions: str
    max_ulps: float
    checks: tuple[CheckResult, ...]
    counterexamples: dict[str, str]

    @property
    def only_raises(self) -> bool:
        """Whether most checks failed, and by nothing but exceptions."""
        failed = [{finding.name for finding in check.findings} for check in self.checks if check.findings]
        return 2 * len(failed) > len(self.checks) and all(names == {"raised"} for names in failed)

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and time sufficed for all but the search."""
        return not any(
            check.status == "failed" or (check.status == "not reached" and check.category != SEARCH)
            for check in self.checks
        )

"""What came of checking a loss: findings, check by check, and their causes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from xentcli.formats import EXTREME
from xentcli.judge.findings.finding import WRONG

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.formats import FloatArray

SEARCH: Final = "search"  # the category of the one check that may end early
SEVERITIES: Final = ("wrong", "inaccurate", "contract")  # from the worst
# Kinds of findings that leave the loss itself as it is, and those that are as bad as their error.
_OF_CONTRACT: Final = frozenset(
    {"plausible", "returned", "shape", "dtype", "untouched", "quiet", "one class"}
)
_BY_ERROR: Final = frozenset({"off", "differs", "mean", "sum"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a finding was seen: the batch, the example, what the loss returned there, the true loss.

    ``gradient`` (C,) is what was returned where it is the gradient that is wrong.
    """

    probe: "Probe"
    row: int
    value: float | None = None
    true: Decimal | None = None
    gradient: "FloatArray | None" = None

    @property
    def error(self) -> Decimal | None:
        """The error as a share of the true loss; None where that is not defined."""
        if self.value is None or not math.isfinite(self.value):
            return None
        if self.true is None or not self.true.is_finite() or not self.true:
            return None
        return EXTREME.divide(EXTREME.subtract(Decimal(self.value), self.true), self.true).copy_abs()


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One thing that is wrong: its kind, a sentence with the numbers, the example that it was seen in."""

    name: str
    statement: str
    example: str = ""
    place: Place | None = field(default=None, compare=False)

    @property
    def message(self) -> str:
        """The sentence with the example."""
        return f"{self.statement} ({self.example})" if self.example else self.statement

    @property
    def severity(self) -> str:
        """A word of SEVERITIES; an error of 1 % is where inaccurate ends."""
        if self.name in _OF_CONTRACT:
            return "contract"
        error = self.place.error if self.place is not None and self.name in _BY_ERROR else None
        return "inaccurate" if error is not None and error <= WRONG else "wrong"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why checks fail: a finding of the catalogue (``is_finding``) or a symptom, with its words.

    ``checks`` names them. ``example`` is the finding in the smallest input. ``method`` is the one of xent's
    that returns the same, and ``case`` a bundled case in which it does.
    """

    name: str
    short: str
    cause: str
    remedy: str
    severity: str
    checks: tuple[str, ...]
    example: CheckFinding
    is_finding: bool
    method: str | None = None
    case: str | None = None


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
    def severity(self) -> str | None:
        """The worst severity of its findings; None where it has none."""
        return worst_severity(self.findings)

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
    ``causes`` are those of all failures, the worst first. ``ordinary`` is the severity of what is wrong
    with ordinary logits. ``beside`` has the report of another loss, on the same checks.
    """

    target: str
    convention: str
    versions: str
    max_ulps: float
    checks: tuple[CheckResult, ...]
    counterexamples: dict[str, str]
    causes: tuple[Cause, ...] = ()
    ordinary: str | None = None
    beside: "Report | None" = None

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return [check.name for check in self.checks if check.status == "failed"]

    @property
    def failed_alone(self) -> list[str]:
        """The names of those that the loss beside did not fail."""
        theirs = set() if self.beside is None else set(self.beside.failed)
        return [name for name in self.failed if name not in theirs]

    @property
    def passed(self) -> bool:
        """Whether nothing failed that the loss beside passes, and time sufficed for all but the search."""
        late = (check.status == "not reached" and check.category != SEARCH for check in self.checks)
        return not self.failed_alone and not any(late)


def worst_severity(findings: Sequence[CheckFinding]) -> str | None:
    """Return the worst severity of findings, None of none."""
    return min((finding.severity for finding in findings), key=SEVERITIES.index, default=None)

"""What came of checking a loss: findings, check by check, and their causes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import EXTREME, FORMATS, ulps
from xentcli.judge.findings.finding import WRONG

if TYPE_CHECKING:
    from xentcli.check.known import Comparison, Regression
    from xentcli.check.probes import Probe
    from xentcli.check.tolerance import MaxUlps
    from xentcli.formats import FloatArray

SUITE: Final = 3  # the version of all checks together; a check says since which it is there
SEARCH: Final = "search"  # the category of the one check that may end early
SEVERITIES: Final = ("wrong", "inaccurate", "contract")  # from the worst
# Kinds of findings that leave the loss itself as it is, and those that are as bad as their error.
_OF_CONTRACT: Final = frozenset(
    {"plausible", "returned", "shape", "dtype", "untouched", "quiet", "one class"}
)
_BY_ERROR: Final = frozenset({"off", "differs", "mean", "sum"})
_OF_GRADIENT: Final = frozenset({"gradient wrong", "gradient off", "gradient reduced", "gradient sum"})
MEASURED: Final = _BY_ERROR | _OF_GRADIENT  # kinds of findings whose error says how bad they are


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

    @property
    def ulps(self) -> Decimal | None:
        """The error of the loss in ulps; None where that is not defined."""
        if self.value is None or self.true is None:
            return None
        return ulps(self.value, self.true, FORMATS[self.probe.dtype])

    def gradient_ulps(self, factor: float) -> Decimal | None:
        """Return the largest error of the gradient, in ulps of the largest true entry times the factor."""
        truth = self.probe.truth
        if self.gradient is None or self.row not in truth.rows or not np.isfinite(self.gradient).all():
            return None
        true = truth.gradients[truth.rows.index(self.row)] * factor
        largest, error = float(np.abs(true).max()), float(np.abs(self.gradient - true).max())
        return ulps(largest + error, Decimal(largest), FORMATS[self.probe.dtype])


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
    def dtype(self) -> str | None:
        """The dtype of the batch that it was seen in; None of what was seen in all together."""
        return None if self.place is None else self.place.probe.dtype

    @property
    def ulps(self) -> Decimal | None:
        """The error of the loss, or of the gradient, in ulps; None where there is no number."""
        if self.place is None or self.name not in _OF_GRADIENT:
            return None if self.place is None else self.place.ulps
        probe = self.place.probe
        is_mean = self.name == "gradient reduced" and probe.convention.reduction == "mean"
        return self.place.gradient_ulps(1 / len(probe.batch.logits) if is_mean else 1.0)

    @property
    def severity(self) -> str:
        """A word of SEVERITIES; an error of 1 % is where inaccurate ends."""
        if self.name in _OF_CONTRACT:
            return "contract"
        if self.name == "gradient off":
            return "inaccurate"
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

    ``spread`` is by how many ulps a loss differed between calls with the same batch.
    ``skipped`` is the reason for which it was; ``reached`` is False where time ran out before its end.
    ``errors`` has the largest error by dtype. ``since`` is the suite that has the check.
    """

    category: str
    name: str
    asserts: str
    batches: int = 0
    ulps: Decimal | None = None
    spread: Decimal = Decimal(0)
    findings: tuple[CheckFinding, ...] = ()
    skipped: str | None = None
    reached: bool = True
    errors: Mapping[str, Decimal] = field(default_factory=dict)
    since: int = 1

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

    @property
    def is_whole(self) -> bool:
        """Whether no batch was left out."""
        return self.reached and self.skipped is None


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one loss; ``versions`` are those of the libraries besides NumPy.

    ``counterexamples`` are the failures of the search, made small: the text of a case file each, by name.
    ``causes`` are those of all failures, the worst first. ``ordinary`` is the severity of what is wrong
    with ordinary logits. ``beside`` has the report of another loss, on the same checks. ``baseline`` says
    what of this is known, and ``regression`` which errors grew. ``remarks`` say what the device lacks,
    and that it was lost.
    """

    target: str
    convention: str
    versions: str
    max_ulps: "MaxUlps"
    checks: tuple[CheckResult, ...]
    counterexamples: dict[str, str]
    causes: tuple[Cause, ...] = ()
    ordinary: str | None = None
    beside: "Report | None" = None
    device: str = "cpu"
    baseline: "Comparison | None" = None
    regression: "Regression | None" = None
    remarks: tuple[str, ...] = ()

    @property
    def suite(self) -> int:
        """The suite whose checks count: all, unless a baseline was written for an older one."""
        return SUITE if self.baseline is None else self.baseline.suite

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
        """Whether no failure counts, no error grew, and time sufficed for all checks but the search.

        A failure counts that the loss beside does not have, or that the baseline does not list.
        """
        failed = bool(self.failed_alone) if self.baseline is None else not self.baseline.holds
        has_grown = self.regression is not None and bool(self.regression.grown)
        return not (failed or has_grown or self.late)

    @property
    def late(self) -> list[str]:
        """The names of the checks that count and that time did not suffice for; the search may end early."""
        late = (check for check in self.checks if check.status == "not reached" and check.since <= self.suite)
        return [check.name for check in late if check.category != SEARCH]


def worst_severity(findings: Sequence[CheckFinding]) -> str | None:
    """Return the worst severity of findings, None of none."""
    return min((finding.severity for finding in findings), key=SEVERITIES.index, default=None)

"""What a check found: faults, check by check."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

SEARCH: Final = "search"  # the category of the one check that may end early
UNANSWERED: Final = frozenset({"raised", "ended", "returned", "shape"})  # faults that leave nothing to judge


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a word for its kind, and a sentence with the numbers."""

    word: str
    said: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One check: what it asserts, how many batches were asked, the largest error in ulps, the faults.

    ``skipped`` is the reason where it was left out; ``reached`` is False where time ran out before its end.
    """

    category: str
    name: str
    asserts: str
    asked: int = 0
    ulps: Decimal | None = None
    faults: tuple[Fault, ...] = ()
    skipped: str | None = None
    reached: bool = True

    @property
    def status(self) -> str:
        """A word for it."""
        if self.faults:
            return "failed"
        if self.skipped is not None:
            return "skipped"
        return "passed" if self.reached else "not reached"


@dataclass(frozen=True, slots=True)
class Found:
    """A failure that the search found, shrunk: the text of a case file, and a name for it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one loss; ``versions`` are those of the libraries besides NumPy."""

    target: str
    convention: str
    versions: str
    max_ulps: float
    checks: tuple[Checked, ...]
    found: tuple[Found, ...]

    @property
    def only_raises(self) -> bool:
        """Whether most checks failed, and by nothing but errors."""
        failed = [{fault.word for fault in check.faults} for check in self.checks if check.faults]
        return 2 * len(failed) > len(self.checks) and all(words == {"raised"} for words in failed)

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and time sufficed for all but the search."""
        return all(c.status in {"passed", "skipped"} or _may_end_early(c) for c in self.checks)


def _may_end_early(check: Checked) -> bool:
    """Whether a check may end early: a search goes as far as time lets it."""
    return check.category == SEARCH and not check.faults

"""What is known of a loss beside its report: failures that a baseline lists, errors that are on record."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xentcli.check.baseline.releases import Range


@dataclass(frozen=True, slots=True)
class Entry:
    """One known failure, and the ``line`` it begins at.

    A check fails as each kind of finding in ``fails``, in ``dtype``, on ``device`` and in ``version`` (None:
    in any), by ``ulps`` at most where the kind has an error. ``reason`` says why that is accepted.
    """

    line: int
    check: str
    fails: tuple[str, ...]
    reason: str
    ulps: float | None = None
    dtype: str | None = None
    device: str | None = None
    version: "Range | None" = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The findings of one kind in one check and dtype (None: of none): the worst severity, the largest error.

    ``ulps`` is infinite where an error is beyond numbers, and None of a kind that has none. ``message`` is of
    the finding with the largest error. ``since`` is the suite that has the check.
    """

    check: str
    dtype: str | None
    kind: str
    severity: str
    ulps: Decimal | None
    message: str
    since: int = 1

    @property
    def place(self) -> str:
        """The check with its dtype, as ``tail-collapse[float32]``."""
        return self.check if self.dtype is None else f"{self.check}[{self.dtype}]"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What of a report is listed in the baseline at ``path``, written for a ``suite``, and what is not.

    ``known`` failures have the entry that lists them. ``new`` ones have None, or the entry whose ``ulps``
    they exceed. ``stale`` entries list kinds of failures that are seen no more. ``newer`` failures are in
    checks that the suite does not have: they are warnings. ``unused`` counts the entries whose check was not
    run, or of another device or version.
    """

    path: str
    suite: int
    known: tuple[tuple[Failure, Entry], ...] = ()
    new: tuple[tuple[Failure, Entry | None], ...] = ()
    stale: tuple[tuple[Entry, tuple[str, ...]], ...] = ()
    newer: tuple[Failure, ...] = ()
    unused: int = 0

    @property
    def holds(self) -> bool:
        """Whether the loss fails what is listed and no worse, and nothing listed passes."""
        return not self.new and not self.stale


@dataclass(frozen=True, slots=True)
class Growth:
    """The error of a check in a dtype, in ulps, which was smaller."""

    check: str
    dtype: str
    before: Decimal
    after: Decimal

    @property
    def place(self) -> str:
        """The check with its dtype, as ``sizes[float32]``."""
        return f"{self.check}[{self.dtype}]"


@dataclass(frozen=True, slots=True)
class Regression:
    """A report against the record at ``path``: which errors grew, which checks are not on record."""

    path: str
    grown: tuple[Growth, ...]
    unknown: tuple[str, ...]

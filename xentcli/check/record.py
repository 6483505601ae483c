"""The largest error of each check, kept in a file, to see one grow that is still within its allowance."""

import json
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xentcli.check.known import Growth, Regression
from xentcli.check.report import SEARCH
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from xentcli.check.report import Report

NAME: Final = "xent.record/1"
_DIGITS: Final = Context(
    prec=3, rounding=ROUND_UP
)  # as errors are shown: what is the same to the eye is the same
_ROUNDED: Final = Decimal("0.5")  # ulps: what rounding the true loss costs is no error
_MOST_BYTES: Final = 2**22  # tens of thousands of checks

Key = tuple[str, str]  # a check and a dtype


@dataclass(frozen=True, slots=True)
class Record:
    """The largest errors of a loss in the file at ``path``, and how and where it was called."""

    path: str
    convention: str
    device: str
    errors: dict[Key, Decimal]


def errors_of(report: "Report") -> dict[Key, Decimal]:
    """Return the largest error of every check and dtype, rounded up to three digits, in order of the names.

    Left out are checks that time did not suffice for, and the search, which draws other rows by another seed.
    """
    return {
        (check.name, dtype): _DIGITS.plus(error)
        for check in sorted(report.checks, key=lambda check: check.name)
        if check.is_whole and check.category != SEARCH
        for dtype, error in sorted(check.errors.items())
    }


def regression(report: "Report", record: Record) -> Regression:
    """Compare the errors of a report with those on record.

    Raises XentError for a record of another convention or device.
    """
    path = record.path
    pairs = (("convention", record.convention, report.convention), ("device", record.device, report.device))
    for word, theirs, mine in pairs:
        if theirs != mine:
            raise XentError(f"{printable(path)}: is of {word} {printable(theirs)}, and this of {mine}")
    before, after = record.errors, errors_of(report)
    grown = (Growth(*key, before[key], error) for key, error in after.items() if key in before)
    unknown = dict.fromkeys(check for check, dtype in after if (check, dtype) not in before)
    larger = tuple(each for each in grown if each.after > max(each.before, _ROUNDED))
    return Regression(path, larger, tuple(unknown))


def read_record(path: str) -> Record:
    """Read a file; raises XentError for what is no record."""
    name = printable(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        document = json.loads(data) if len(data) <= _MOST_BYTES else None
    except FileNotFoundError as error:
        raise XentError(f"{name}: no such file; --record {name} makes it") from error
    except OSError as error:
        raise XentError(f"{name}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise XentError(f"{name}: no record of errors: no JSON") from error
    if not isinstance(document, dict) or document.get("schema") != NAME:
        raise XentError(f"{name}: no record of errors: expected {NAME}, which --record writes")
    convention, device = (str(document.get(key)) for key in ("convention", "device"))
    return Record(path, convention, device, _errors(path, document))


def _errors(path: str, document: dict[str, Any]) -> dict[Key, Decimal]:
    """Return the errors that a document holds."""
    try:
        rows = [
            (str(row["check"]), str(row["dtype"]), Decimal(str(row["ulps"]))) for row in document["errors"]
        ]
    except (KeyError, TypeError, ArithmeticError):
        rows = None
    if rows is None or not all(error.is_finite() and error >= 0 for *_, error in rows):
        raise XentError(f"{printable(path)}: errors: expected check, dtype and ulps of each")
    return {(check, dtype): error for check, dtype, error in rows}

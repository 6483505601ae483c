"""What is asked of a diagnosis: whether anything is wrong, why a row is, whether a loss comes of its rows."""

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from xentcli.diagnose.rules import Severity

if TYPE_CHECKING:
    from xentcli.diagnose.diagnosis import Diagnosis, WorstRow
    from xentcli.diagnose.tried import Tried

_REDUCED: Final = 1e-5  # of a mean, which frameworks take in float32 and in any order


def is_wrong(diagnosis: "Diagnosis", observed: str | None = None) -> bool:
    """Whether a row is broken, the loss in question goes wrong, or what was observed is another loss."""
    if Severity.BROKEN in diagnosis.severities.values():
        return True
    response = diagnosis.response
    if response is not None and (response.failing or response.relation is not None):
        return True
    return observed is not None and not (math.isfinite(float(observed)) and matches(diagnosis, observed))


def causes(row: "WorstRow", diagnosis: "Diagnosis", severity: Severity | None = None) -> tuple[str, ...]:
    """Name the findings that are why a row is wrong: at most one unless the formula is unknown.

    Of the loss in question where it goes wrong, else of the input, else of xent's methods: of those that do
    such harm where a ``severity`` is given.
    """
    response = diagnosis.response
    invalid = [rule.finding for rule in row.rules if rule.is_invalid]
    if invalid:
        return tuple(invalid[:1])
    if response is not None and row.response is not None and row.state and severity is not Severity.BROKEN:
        return response.causes_of(row.response, row.state, row.tried)
    broken = [rule.finding for rule in row.rules if rule.severity is Severity.BROKEN]
    if broken and severity in {None, Severity.BROKEN}:
        return tuple(broken[:1])
    failing = [each for each in failing_methods(row, severity) if each.finding]
    return tuple(each.finding for each in failing if each.finding)[:1]


def failing_methods(row: "WorstRow", severity: Severity | None) -> "list[Tried]":
    """Return what xent's methods make of a row where that does such harm, any harm without a severity."""
    states = {Severity.NAN: ("nan", "infinite"), Severity.OFF: ("off",)}
    wanted = ("nan", "infinite", "off") if severity is None else states.get(severity, ())
    return [each for state in wanted for each in row.tried if each.state == state]


def failing_method(diagnosis: "Diagnosis", observed: str | None = None) -> str | None:
    """Return the method of xent's that fails in the first row that is shown; None where none does.

    Where nan or an infinity was ``observed``, it is one that gives that.
    """
    state = None if observed is None or math.isfinite(float(observed)) else state_of(observed)
    rows = diagnosis.harmful_rows if state is None else failing_rows(diagnosis, state)
    failing = failing_methods(rows[0], None) if rows else []
    return next((each.method for each in failing if state in {None, each.state}), None)


def state_of(observed: str) -> str:
    """Name how a loss that is not finite goes wrong, as ``Tried`` does."""
    return "nan" if math.isnan(float(observed)) else "infinite"


def failing_rows(diagnosis: "Diagnosis", state: str) -> "list[WorstRow]":
    """Return the worst rows that make a loss ``nan`` or ``infinite``: the one in question, else any."""
    return [row for row in diagnosis.leading if _makes(row, state, diagnosis)]


def _makes(row: "WorstRow", state: str, diagnosis: "Diagnosis") -> bool:
    response = diagnosis.response
    if response is None:
        return any(each.state == state for each in row.tried)
    if row.state:
        return row.state == state
    return row.response is None  # for its label is invalid: any loss may come of that


def means(diagnosis: "Diagnosis") -> tuple[float, float] | None:
    """Return the mean and the sum that the loss in question gives, else the true ones."""
    if diagnosis.response is not None:
        return diagnosis.response.mean, diagnosis.response.total
    losses = diagnosis.losses
    return None if losses is None else (losses.mean, losses.mean * losses.number)


def matches(diagnosis: "Diagnosis", observed: str) -> bool:
    """Whether the mean or the sum is the number observed, to the digits that were typed."""
    return any(shows(observed, mean) for mean in means(diagnosis) or ())


def shows(observed: str, value: float) -> bool:
    """Whether a number is the one observed, to the digits that were typed."""
    exponent = Decimal(observed).as_tuple().exponent
    half = 0.5 * 10.0**exponent if isinstance(exponent, int) else 0.0
    return abs(value - float(observed)) <= half * (1 + _REDUCED) + _REDUCED * abs(value)

"""What is asked of a diagnosis: whether anything is wrong, why a row is, whether a loss comes of its rows."""

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from xentcli.diagnose.rules import RowRule, Severity

if TYPE_CHECKING:
    from xentcli.diagnose.summary import Diagnosis, WorstRow

_REDUCED: Final = 1e-5  # of a mean, which frameworks take in float32 and in any order
# What never makes a loss so: a masked label is an infinite loss, a nan logit no infinite one.
_NEVER: Final = {
    "nan": {"label-on-mask", "labels-not-normalised"},
    "infinite": {"nan-logit", "undefined-softmax", "labels-not-normalised"},
}


def is_wrong(diagnosis: "Diagnosis", observed: str | None = None) -> bool:
    """Whether a row is broken, the loss in question goes wrong, or what was observed is another loss."""
    if Severity.BROKEN in diagnosis.severities.values():
        return True
    if diagnosis.response is not None and len(diagnosis.response.failing):
        return True
    return observed is not None and not (math.isfinite(float(observed)) and matches(diagnosis, observed))


def cause(row: "WorstRow", diagnosis: "Diagnosis") -> RowRule | None:
    """Return the rule that explains best what is wrong with a row; None where there is none."""
    found = [rule for rule in row.rules if rule in diagnosis.rules]
    if diagnosis.response is None or not diagnosis.is_failing(row):
        ranks = list(Severity)
        return min(found, key=lambda rule: ranks.index(diagnosis.severities[rule]), default=None)
    state = diagnosis.response.state(row.row_in_dump)
    last = (Severity.NAN,) if state == "off" else (Severity.OFF, Severity.NOTE)
    first = "log-of-zero" if state == "infinite" else ""  # -log of the label's own probability, where it is 0
    return min(
        found,
        key=lambda r: (r.severity is not Severity.BROKEN, r.severity in last, r.finding != first),
        default=None,
    )


def failing_rows(diagnosis: "Diagnosis", state: str) -> "list[WorstRow]":
    """Return the worst rows that make a loss ``nan`` or ``infinite``: the one in question, else any."""
    return [row for row in diagnosis.leading if _makes(row, state, diagnosis)]


def _makes(row: "WorstRow", state: str, diagnosis: "Diagnosis") -> bool:
    response = diagnosis.response
    if response is not None and diagnosis.is_failing(row):
        return response.state(row.row_in_dump) == state
    rule = cause(row, diagnosis)
    if rule is None or rule.finding in _NEVER[state]:
        return False
    severity = diagnosis.severities[rule]
    return severity is Severity.BROKEN or (response is None and severity is Severity.NAN)


def means(diagnosis: "Diagnosis") -> tuple[float, float] | None:
    """Return the mean and the sum that the loss in question gives, else the true ones."""
    if diagnosis.response is not None:
        return diagnosis.response.mean, diagnosis.response.total
    losses = diagnosis.losses
    return None if losses is None else (losses.mean, losses.mean * losses.number)


def matches(diagnosis: "Diagnosis", observed: str) -> bool:
    """Whether the mean or the sum is the number observed, to the digits that were typed."""
    exponent = Decimal(observed).as_tuple().exponent
    half = 0.5 * 10.0**exponent if isinstance(exponent, int) else 0.0
    value = float(observed)
    return any(
        abs(mean - value) <= half * (1 + _REDUCED) + _REDUCED * abs(mean) for mean in means(diagnosis) or ()
    )

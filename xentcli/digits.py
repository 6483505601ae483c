"""Floating-point numbers as text: the shortest digits that read back as the same number of the dtype."""

import math
from collections.abc import Sequence
from decimal import ROUND_UP, Context, Decimal
from typing import Any

import numpy as np

from xentcli import formats

_BFLOAT16_DIGITS = 5  # always enough: 1 + ceil(8 log10 2)
_SMALLEST_ERROR = Decimal("0.001")
_NO_ERROR = Decimal("1e-20")  # ulps: a truth that is a number of the format and a tail


def format_number(value: float | None, dtype: str) -> str:
    """Write a number of that dtype; zero without its sign, nothing for None."""
    if value is None:
        return ""
    if math.isnan(value):  # to add 0 to a signalling one would warn
        return "nan"
    if dtype == "bfloat16":
        return _shortest(value + 0.0)
    with np.errstate(over="ignore"):  # a wider result, such as a mean, may be beyond the format
        return str(np.dtype(dtype).type(value) + np.dtype(dtype).type(0))


def format_ulps(value: Decimal | None) -> str:
    """Write an error to three digits, rounded up."""
    if value is None:
        return "-"
    up = Context(prec=3, rounding=ROUND_UP).plus(value) if value > _NO_ERROR else Decimal(0)
    if up == 0 or _SMALLEST_ERROR <= up < 1000:  # noqa: PLR2004 - three digits
        return f"{up.normalize():f}"
    return f"{up.normalize():e}" if up > 1 else f"{_SMALLEST_ERROR}"


def json_ulps(value: Decimal | None) -> float | str | None:
    """Return an error in ulps as JSON holds it; one that no float64 holds is text."""
    if value is None or math.isfinite(float(value)):
        return None if value is None else float(value)
    return f"{value:.17e}"


def _shortest(value: float) -> str:
    """Write a bfloat16 number: the fewest digits that round to it."""
    for digits in range(_BFLOAT16_DIGITS):
        written = float(f"{value:.{digits}e}")
        if formats.stored(np.array(written), "bfloat16") == value:
            return repr(written)
    return repr(value)  # nan and infinities


def json_numbers(
    values: Sequence[float] | np.ndarray[Any, Any], dtype: str
) -> list[float | int | str | None]:
    """Return what JSON holds for numbers of that dtype (n,); equal ones are written once."""
    distinct, places = np.unique(np.asarray(values, np.float64), return_inverse=True)
    written = [json_number(value, dtype) for value in distinct.tolist()]
    return [written[place] for place in places.tolist()]


def json_number(value: float | None, dtype: str) -> float | int | str | None:
    """Return what JSON holds for a number of that dtype: nan and infinities are strings."""
    if value is None:
        return None
    if not math.isfinite(value):
        return format_number(value, dtype)
    return int(value) if dtype == "int64" else float(format_number(value, dtype))

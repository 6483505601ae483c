"""What a sweep may vary, a row per quantity, and the range that it is varied over."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.errors import XentError
from xentcli.formats import FORMATS, nearest, number_at, ordinal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.formats import Format

MOST_POINTS: Final = 10_000  # of one curve: its JSON has 5 MB, and no picture shows more
MOST_CLASSES: Final = 2**18  # the vocabularies of today, and as many as a loss is proved for


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity: what it is, and ``phrase``, what it is called before its value in a sentence.

    ``low`` and ``high`` are its range unless one is given, None where that depends on the format; ``least``
    and ``most`` are the values that it may have. ``is_shape``: each value needs a batch of its own.
    """

    name: str
    what: str
    phrase: str
    low: float | None
    high: float | None
    least: float = -math.inf
    most: float = math.inf
    is_log: bool = False
    is_integer: bool = False
    is_shape: bool = False

    def default_range(self, form: "Format") -> tuple[float, float]:
        """Return the range: of the gap a tenth beyond the underflow of exp, so that every method breaks."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        underflow = (form.precision - form.emin) * math.log(2)  # exp(-x) is below half the smallest number
        end = float(f"{1.1 * underflow:.2g}")
        return -end, end

    def place(self, value: float, form: "Format") -> int:
        """Return where a value stands among all that the quantity may have in a format."""
        return int(value) if self.is_integer else ordinal(value, self._format(form))

    def value(self, place: int, form: "Format") -> float:
        """Return the value at a place."""
        return float(place) if self.is_integer else number_at(place, self._format(form))

    def rounded(self, value: float, form: "Format") -> float:
        """Return the nearest value that the quantity may have in a format."""
        return float(round(value)) if self.is_integer else nearest(Decimal(value), self._format(form))

    def dtype(self, form: "Format") -> str:
        """Return the dtype that values are written in."""
        return "int64" if self.is_integer else self._format(form).name

    def _format(self, form: "Format") -> "Format":
        """Return the format of the values: smoothing is no number of the batch, and stays a float64."""
        return FORMATS["float64"] if self.is_shape else form


_ALL: Final = (
    Quantity("gap", "the label's logit less every other", "a gap of", None, None),
    Quantity("offset", "what is added to every logit", "an offset of", 1.0, 1e9, is_log=True),
    Quantity("scale", "what every logit is multiplied by", "a scale of", 1.0, 1e4, is_log=True),
    Quantity(
        "classes",
        "the number of classes",
        "a number of classes of",
        2,
        32_768,
        least=1,
        most=MOST_CLASSES,
        is_log=True,
        is_integer=True,
        is_shape=True,
    ),
    Quantity(
        "smoothing", "the label smoothing", "a smoothing of", 0.0, 1.0, least=0.0, most=1.0, is_shape=True
    ),
    Quantity(
        "label-rank",
        "the rank of the label's logit, 1 the largest",
        "a rank of",
        1,
        100,
        least=1,
        most=MOST_CLASSES,
        is_integer=True,
    ),
    Quantity("logit", "the logit of a row and class of a case", "a logit of", None, None),
)
QUANTITIES: Final = {quantity.name: quantity for quantity in _ALL}


@dataclass(frozen=True, slots=True)
class Range:
    """The ends of a range and how many points it has, at equal distances or in equal ratios."""

    low: float
    high: float
    points: int
    is_log: bool

    def values(self, quantity: Quantity, form: "Format") -> "tuple[float, ...]":
        """Return the values, each once, as the format holds them; raises XentError where one is infinite."""
        space = np.geomspace if self.is_log else np.linspace
        part = 1.0 if math.isfinite(self.high - self.low) or self.is_log else 2.0  # halves: no overflow
        numbers: Sequence[float] = (part * space(self.low / part, self.high / part, self.points)).tolist()
        rounded = [quantity.rounded(number, form) for number in (self.low, *numbers[1:-1], self.high)]
        if not all(map(math.isfinite, rounded)):
            raise XentError(
                f"--{quantity.name} {self.low:g}:{self.high:g}: beyond {form.name}, "
                f"whose largest number is {form.largest:g}"
            )
        values = tuple(dict.fromkeys(value + 0.0 for value in rounded))
        if len(values) == 1:
            raise XentError(
                f"--{quantity.name} {self.low!r}:{self.high!r}: both ends are the same {form.name}; "
                "give a wider range"
            )
        return values


def read_range(quantity: Quantity, text: str, points: int, spacing: str | None) -> Range:
    """Read a range such as ``-120:120``; raises XentError where it is none or the quantity cannot have it."""
    option = f"--{quantity.name} {text}"
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError:
        raise XentError(f"{option}: give a range LOW:HIGH, such as 1:100") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise XentError(f"{option}: give two finite numbers, the lower one first")
    for end in (low, high):
        check_value(quantity, option, end)
    is_log = quantity.is_log and low > 0 if spacing is None else spacing == "log"
    if is_log and low <= 0:
        raise XentError(f"{option}: --spacing log needs a range above 0")
    return Range(low, high, points, is_log)


def check_value(quantity: Quantity, option: str, value: float) -> None:
    """Raise XentError where the quantity cannot have a value."""
    if not math.isfinite(value):
        raise XentError(f"{option}: give a finite number")
    if quantity.is_integer and not value.is_integer():
        raise XentError(f"{option}: {quantity.what} is a whole number")
    if not quantity.least <= value <= quantity.most:
        allowed = f"from {quantity.least:g}" + (f" to {quantity.most:g}" if quantity.most < math.inf else "")
        raise XentError(f"{option}: {quantity.what} is {allowed}")

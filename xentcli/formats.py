"""The floating-point formats: rounding to them, and the size of an error in ulps.

Definitions: ulp(z) = 2^(max(floor(log2 |z|), emin) - (p - 1)) from the exact z, floor(log2 |z|) at most emax
(Zimmermann et al., "Accuracy of Mathematical Functions", hal-03141101).
"""

import decimal
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.floating[Any]]
    IntArray = NDArray[np.integer[Any]]
    BoolArray = NDArray[np.bool_]

# Nothing is raised, nothing underflows before 10^-10^18.
EXTREME: Final = decimal.Context(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])


@dataclass(frozen=True, slots=True)
class Format:
    """A binary format: precision in bits, exponents of the smallest and largest normal numbers."""

    name: str
    precision: int
    emin: int
    emax: int

    @property
    def eps(self) -> float:
        """The distance from 1 to the next larger number."""
        return math.ldexp(1, 1 - self.precision)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return math.ldexp(2 - self.eps, self.emax)

    @property
    def smallest_normal(self) -> float:
        """The smallest number above 0 of full precision."""
        return math.ldexp(1, self.emin)

    @property
    def smallest(self) -> float:
        """The smallest number above 0, a subnormal one."""
        return math.ldexp(self.eps, self.emin)


FORMATS: Final = {
    form.name: form
    for form in (
        Format("float16", 11, -14, 15),
        Format("bfloat16", 8, -126, 127),
        Format("float32", 24, -126, 127),
        Format("float64", 53, -1022, 1023),
    )
}


@cache
def format_of(dtype: "np.dtype[Any]") -> Format:
    """Return the format of NumPy's dtype, whose name takes microseconds."""
    return FORMATS[dtype.name]


def dtype(name: str) -> "np.dtype[Any]":
    """Return NumPy's dtype; raises XentError for bfloat16 where ml_dtypes is not installed."""
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise XentError("dtype bfloat16 needs ml_dtypes: pip install ml_dtypes") from error
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def stored(values: "FloatArray", name: str) -> "FloatArray":
    """Round float64 numbers of any shape to a format, once and to even; an array of its dtype.

    A number beyond the largest becomes infinite. Raises XentError where the dtype needs a missing library.
    """
    return rounded(values, FORMATS[name]).astype(dtype(name))


def rounded(values: "FloatArray", form: Format, rest: "FloatArray | None" = None) -> "FloatArray":
    """Round as ``stored`` does, and return float64; ``rest`` as of ``round_float``, of each number."""
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(values)
        unit = np.ldexp(1.0, np.maximum(exponent - 1, form.emin) - (form.precision - 1))
        size = values / unit
        count = np.rint(size)
        if rest is not None:
            is_tie = (rest != 0) & (np.abs(count - size) == 0.5)  # noqa: PLR2004 - as below
            count = np.where(is_tie, np.floor(size) + (rest > 0), count)
        result = np.where(np.isfinite(values), count * unit, values)
        return np.where(np.abs(result) > form.largest, np.copysign(np.inf, result), result)


def round_float(x: float, form: Format, rest: int = 0) -> float:
    """Round one float64 as ``stored`` does.

    ``rest`` is the sign of a number's rest that x was rounded without. It matters where x is a midpoint, and
    nowhere else: all midpoints of narrower formats are float64 numbers, and none of them lies in the rest.
    """
    if not math.isfinite(x) or not x:
        return x
    unit = max(math.frexp(x)[1] - 1, form.emin) - (form.precision - 1)
    size = math.ldexp(x, -unit)
    count = round(size)
    if rest and abs(count - size) == 0.5:  # noqa: PLR2004 - a tie
        count = math.floor(size) + (rest > 0)
    if count.bit_length() + unit - 1 > form.emax:  # compared first: ldexp raises beyond float64
        return math.copysign(math.inf, x)
    return math.copysign(math.ldexp(count, unit), x)  # 0 keeps the sign of x


def read_only(array: Any) -> Any:  # noqa: ANN401 - an array of any type, the same
    """Return the array, read-only."""
    array.flags.writeable = False
    return array


def flush(x: "FloatArray") -> "FloatArray":
    """Return x with 0, of its sign, for every subnormal number."""
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of nan where NumPy does not
        subnormal = np.abs(x) < x.dtype.type(format_of(x.dtype).smallest_normal)
    return np.where(subnormal, np.copysign(x.dtype.type(0), x), x)


def nearest(z: Decimal | Fraction, form: Format) -> float:
    """Round an exact number to a format, once and to even: a float64 that holds the result.

    nan and infinities stay what they are.
    """
    near = _float64(z)
    if form.name == "float64" or math.isnan(near):
        return near
    return round_float(near, form, (z > near) - (z < near))


def ordinal(x: float, form: Format) -> int:
    """Return the place of a finite number of the format among all: 0 of 0, and 1 more for the next larger."""
    if not x:
        return 0
    exponent = max(math.frexp(x)[1] - 1, form.emin)
    count = int(math.ldexp(abs(x), form.precision - 1 - exponent))
    place = ((exponent - form.emin) << (form.precision - 1)) + count
    return -place if x < 0 else place


def number_at(place: int, form: Format) -> float:
    """Return the number of the format that is at a place, as ``ordinal`` counts."""
    block, count = divmod(abs(place), 1 << (form.precision - 1))
    exponent = max(block - 1, 0) + form.emin
    if block:
        count += 1 << (form.precision - 1)
    return math.copysign(math.ldexp(count, exponent - form.precision + 1), place)


def agreed(low: float, high: float, form: Format) -> float | None:
    """Return what all numbers round to that float64 rounds to ``low``, ``high`` or between; None: to several.

    Rounding is monotone; one step outwards, no end was rounded to a midpoint of the format.
    """
    if form.name == "float64":
        return low if low == high else None
    number = round_float(math.nextafter(low, -math.inf), form)
    return number if number == round_float(math.nextafter(high, math.inf), form) else None


def midpoint(low: float, high: float, form: Format) -> Fraction | None:
    """Return the number at which rounding goes over from low to high; None where they are no neighbours."""
    ends = [min(max(end, -form.largest), form.largest) for end in (low, high)]
    if low in ends and high in ends:
        middle = (Fraction(low) + Fraction(high)) / 2
        return middle if nearest(middle, form) in ends else None
    if ends[0] == ends[1]:  # the largest number and infinity
        return Fraction(math.copysign(1, low)) * (2 - Fraction(form.eps) / 2) * Fraction(2) ** form.emax
    return None


def ulp(z: Decimal | Fraction, form: Format) -> Fraction:
    """Return the unit in the last place of z."""
    return Fraction(2) ** _unit_exponent(z, form)


def exact_sum(values: Iterable[float]) -> Fraction:
    """Return the sum of finite numbers, rounded once to 53 bits, or exact where float64 does not hold it."""
    numbers = list(values)
    try:
        return Fraction(math.fsum(numbers))
    except OverflowError:
        return sum(map(Fraction, numbers), Fraction(0))


def float_sums(rows: "FloatArray") -> "FloatArray":
    """Return the sum of each row of finite numbers (n, C), rounded once to float64."""
    try:
        return np.array(list(map(math.fsum, rows.tolist())), np.float64)
    except OverflowError:
        return np.array([_float64(exact_sum(row)) for row in rows.tolist()], np.float64)


def ulps(y: float, z: Decimal, form: Format) -> Decimal | None:
    """Return |y - z| in ulps of the exact z; 0 for the same infinity, None where either has no number."""
    if math.isnan(y) or z.is_nan():
        return None
    if math.isinf(y) or z.is_infinite():
        return Decimal(0) if nearest(z, form) == y else None
    unit = _unit_exponent(z, form)
    apart = _EXACT.abs(_EXACT.subtract(Decimal(y), z))
    units = _EXACT.multiply(apart, 2**-unit) if unit < 0 else _EXACT.divide(apart, 2**unit)
    return EXTREME.plus(units)


@dataclass(frozen=True, eq=False)
class Decimals:
    """Decimals as arrays (n,): ``near``, the float64 next to each, and ``side``, the sign of what is left.

    An infinite ``near`` with a rest is of a finite number beyond float64; nan has the side nan.
    """

    numbers: "NDArray[Any]"
    near: "FloatArray"
    side: "FloatArray"
    _nearest: "dict[Format, FloatArray]" = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, numbers: tuple[Decimal, ...]) -> "Decimals":
        """Make the arrays."""
        near = [float(z) for z in numbers]
        side = [float(z.compare(Decimal(x))) for z, x in zip(numbers, near, strict=True)]
        return cls(np.array(numbers, object), np.array(near, np.float64), np.array(side, np.float64))

    @cached_property
    def is_nan(self) -> "BoolArray":
        """Which are nan."""
        return np.isnan(self.near)

    @cached_property
    def is_beyond_float64(self) -> "BoolArray":
        """Which are finite, and too large for float64."""
        return np.isinf(self.near) & (self.side != 0)

    @cached_property
    def is_finite(self) -> "BoolArray":
        """Which are finite."""
        return np.isfinite(self.near) | self.is_beyond_float64

    def at(self, places: "slice | IntArray") -> "Decimals":
        """Return some of them."""
        return Decimals(self.numbers[places], self.near[places], self.side[places])

    def nearest(self, form: Format) -> "FloatArray":
        """Round each as ``nearest`` does."""
        if form not in self._nearest:
            self._nearest[form] = rounded(self.near, form, self.side)
        return self._nearest[form]

    def ulps(self, y: "FloatArray", form: Format) -> "FloatArray":
        """Return the error of each y, in ulps, off by half an ulp of float64 and 2^-52 of itself at most.

        nan where float64 does not tell, and of an infinite y.
        """
        with np.errstate(all="ignore"):
            power = np.frexp(self.near)[1] - 1
            power -= (np.abs(self.near) == np.ldexp(1.0, power)) & (self.side * self.near < 0)
            power = np.where(self.near == 0, form.emin, np.clip(power, form.emin, form.emax))
            apart = np.ldexp(np.abs(y - self.near), form.precision - 1 - power)
            return np.where(self.is_beyond_float64 | np.isinf(y), np.nan, apart)


# Exact for sums, products and quotients of 2^n among what the formats hold: at most 2 · 1100 digits.
_EXACT = EXTREME.copy()
_EXACT.prec = 2500


def _float64(z: Decimal | Fraction) -> float:
    """Round z to float64, once, whatever its size and digits."""
    try:
        return float(z)
    except OverflowError:  # a fraction's; a decimal becomes infinite
        return math.inf if z > 0 else -math.inf


def _unit_exponent(z: Decimal | Fraction, form: Format) -> int:
    """Return log2 of ulp(z)."""
    near = _float64(z)
    power = math.frexp(near)[1] - 1 if math.isfinite(near) else form.emax
    if abs(near) == math.ldexp(1, power) and (z < near if near > 0 else z > near):
        power -= 1  # float64 rounded z up to a power of two
    return min(max(power if near else form.emin, form.emin), form.emax) - (form.precision - 1)

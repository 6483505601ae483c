"""The floating-point formats: rounding to them, and the size of an error in ulps.

Definitions: ulp(z) = 2^(max(floor(log2 |z|), emin) - (p - 1)) from the exact z, floor(log2 |z|) at most emax
(Zimmermann et al., "Accuracy of Mathematical Functions", hal-03141101).
"""

import decimal
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError

if TYPE_CHECKING:
    from xentcli.model import FloatArray

# Nothing is raised, nothing underflows before 10^-10^18.
EXTREME: Final = decimal.Context(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])
_FAR = 400  # decimal exponents beyond which every format has only 0 or infinity


@dataclass(frozen=True, slots=True)
class Format:
    """A binary format: precision in bits, exponents of the smallest and largest normal numbers."""

    name: str
    precision: int
    emin: int
    emax: int

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return math.ldexp(2 - 2.0 ** (1 - self.precision), self.emax)


FORMATS: Final = {
    form.name: form
    for form in (
        Format("float16", 11, -14, 15),
        Format("bfloat16", 8, -126, 127),
        Format("float32", 24, -126, 127),
        Format("float64", 53, -1022, 1023),
    )
}


def dtype(name: str) -> "np.dtype[Any]":
    """Return NumPy's dtype; raises XentError for bfloat16 where ml_dtypes is not installed."""
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise XentError("dtype bfloat16 needs ml_dtypes: pip install 'xent[bfloat16]'") from error
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def stored(values: "FloatArray", name: str) -> "FloatArray":
    """Round float64 numbers to a format, once and to even."""
    form = FORMATS[name]
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(values)
        unit = np.ldexp(1.0, np.maximum(exponent - 1, form.emin) - (form.precision - 1))
        rounded = np.where(np.isfinite(values), np.rint(values / unit) * unit, values)
        return rounded.astype(dtype(name))


@lru_cache(maxsize=10_000)
def nearest(z: Decimal, form: Format) -> float:
    """Round an exact number to a format: a float that holds the result exactly."""
    if z.is_nan() or z.is_infinite() or z == 0:
        return float(z)
    sign = -1.0 if z.is_signed() else 1.0
    if z.adjusted() > _FAR:
        return sign * float("inf")
    if z.adjusted() < -_FAR:
        return sign * 0.0
    unit = _unit(z, form)
    rounded = round(Fraction(z) / unit) * unit
    return float("inf") * sign if abs(rounded) > form.largest else float(rounded)


def ulps(y: float, z: Decimal, form: Format) -> Decimal | None:
    """Return |y - z| in ulps of the exact z; 0 for the same infinity, None where either has no number."""
    if y != y or z.is_nan():  # noqa: PLR0124 - nan
        return None
    if nearest(z, form) == y and y in (float("inf"), float("-inf")):
        return Decimal(0)
    if z.is_infinite() or y in (float("inf"), float("-inf")):
        return None
    unit = _unit(z, form)
    one = EXTREME.divide(Decimal(unit.numerator), Decimal(unit.denominator))
    wide = EXTREME.copy()
    wide.prec = 1200  # exact for the difference of any two float64 numbers
    return EXTREME.divide(wide.abs(wide.subtract(Decimal(y), z)), one)


def _unit(z: Decimal, form: Format) -> Fraction:
    """Return ulp(z)."""
    exponent = form.emin if z.adjusted() < -_FAR else form.emax
    if z != 0 and abs(z.adjusted()) <= _FAR:
        fraction = abs(Fraction(z))
        exponent = fraction.numerator.bit_length() - fraction.denominator.bit_length()
        if Fraction(2) ** exponent > fraction:
            exponent -= 1
    elif z == 0:
        exponent = form.emin
    return Fraction(2) ** (min(max(exponent, form.emin), form.emax) - (form.precision - 1))

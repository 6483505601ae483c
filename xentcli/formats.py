"""The floating-point formats: rounding to them, and the size of an error in ulps.

Definitions: ulp(z) = 2^(max(floor(log2 |z|), emin) - (p - 1)) from the exact z, floor(log2 |z|) at most emax
(Zimmermann et al., "Accuracy of Mathematical Functions", hal-03141101).
"""

import decimal
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError

if TYPE_CHECKING:
    from xentcli.model import FloatArray

# Nothing is raised, nothing underflows before 10^-10^18.
EXTREME: Final = decimal.Context(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])
_WIDE = EXTREME.copy()
_WIDE.prec = 2500  # exact for sums, products and quotients of 2^n among what the formats hold
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
            raise XentError("dtype bfloat16 needs ml_dtypes: pip install ml_dtypes") from error
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


def round_in_place(form: str, x: "FloatArray") -> None:
    """Round numbers in place to the precision of float16 or bfloat16, once and to even, and to its range.

    float16's numbers below 2^-14 keep their digits: δ in a logit changes a loss by at most 2 δ of itself, and
    they would move by 2^-25.
    """
    if x.dtype != np.float32:
        x[...] = stored(x, form)
        return
    lost = 13 if form == "float16" else 16  # bits of float32's 24
    bits = x.view(np.uint32)
    odd = bits >> np.uint32(lost)
    odd &= np.uint32(1)
    odd += np.uint32(2 ** (lost - 1) - 1)
    bits += odd
    bits &= np.uint32(2**32 - 2**lost)
    largest = np.float32(FORMATS[form].largest)
    if x.max(initial=0) > largest or x.min(initial=0) < -largest:
        np.copyto(x, np.copysign(np.float32(np.inf), x), where=np.abs(x) > largest)


def to_float16(x: "FloatArray") -> "FloatArray":
    """Round float32 numbers of at most 1 to float16, once and to even; NumPy's cast is slow below 2^-14.

    Adding 0.5 rounds to multiples of 2^-24, float16's smallest number, as which the lower bits count.
    """
    rounded = np.empty(x.shape, np.uint16)
    at_once = max(1, 2**16 // x.shape[1])
    for start in range(0, len(x), at_once):
        bits = x[start : start + at_once].view(np.uint32)
        size = bits & np.uint32(0x7FFFFFFF)
        small = (size.view(np.float32) + np.float32(0.5)).view(np.uint32) - np.uint32(0x3F000000)
        normal = (
            (size + ((size >> np.uint32(13)) & np.uint32(1)) + np.uint32(0xFFF)) >> np.uint32(13)
        ) - np.uint32(112 << 10)
        half = np.where(size < np.uint32(113 << 23), small, normal)
        half[size > np.uint32(0x7F800000)] = 0x7E00  # nan
        rounded[start : start + at_once] = half | (bits >> np.uint32(16) & np.uint32(0x8000))
    return rounded.view(np.float16)


def flush(x: "FloatArray") -> "FloatArray":
    """Return x with 0, of its sign, for every subnormal number."""
    subnormal = np.abs(x) < x.dtype.type(math.ldexp(1, FORMATS[str(x.dtype)].emin))
    return np.where(subnormal, np.copysign(x.dtype.type(0), x), x)


@lru_cache(maxsize=10_000)
def nearest(z: Decimal, form: Format) -> float:
    """Round an exact number to a format: a float that holds the result exactly."""
    if z.is_nan() or z.is_infinite() or z == 0:
        return float(z)
    if abs(z.adjusted()) > _FAR:
        return math.copysign(math.inf if z.adjusted() > 0 else 0.0, z)
    unit = _unit(z, form)
    rounded = math.ldexp(int(_over(z, unit).to_integral_value(decimal.ROUND_HALF_EVEN)), unit)
    return math.copysign(math.inf if abs(rounded) > form.largest else rounded, z)


def ulps(y: float, z: Decimal, form: Format) -> Decimal | None:
    """Return |y - z| in ulps of the exact z; 0 for the same infinity, None where either has no number."""
    if math.isnan(y) or z.is_nan():
        return None
    if math.isinf(y) or z.is_infinite():
        return Decimal(0) if nearest(z, form) == y else None
    return EXTREME.plus(_over(_WIDE.abs(_WIDE.subtract(Decimal(y), z)), _unit(z, form)))


def _over(z: Decimal, unit: int) -> Decimal:
    """Return z / 2^unit, exactly."""
    if unit < 0:
        return _WIDE.multiply(z, Decimal(2**-unit))
    return _WIDE.divide(z, Decimal(2**unit))


def _unit(z: Decimal, form: Format) -> int:
    """Return log2 of ulp(z)."""
    if z == 0 or z.adjusted() < -_FAR:
        power = form.emin
    elif math.isinf(near := abs(float(z))):  # beyond float64, and so beyond every format
        power = form.emax
    else:
        power = math.frexp(near)[1] - 1
        if Decimal(near) > z.copy_abs() and near == math.ldexp(1, power):
            power -= 1  # float64 rounded z up to a power of two
    return min(max(power, form.emin), form.emax) - (form.precision - 1)

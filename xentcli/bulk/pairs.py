"""exp of float64 numbers as pairs of float64 numbers, a leading one and what it lacks.

u = 2^-53. Σ exp is off by at most 0.4 u of itself, log1p of it in long double by less than 2^-60, and what
rounds the loss by half an ulp: together 0.9 ulps at most, as a relative error δ of the sum changes a loss L,
log1p(sum), by (1 - e^-L) δ ≤ δ L, and an ulp is at least u L.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_LOWEST, _HIGHEST = -760.0, 710.0  # below, exp is 0; above, infinite
_LARGEST_REST: Final = 2.0**-44  # half an ulp of 1023
_NORMAL: Final = -700.0  # from here exp is a normal number, and half of it too
_LOG2_E: Final = 1.4426950408889634
# ln 2 in two parts. The first has 42 bits, so that its products with |k| < 2^11 are exact.
_LN2: Final = (float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c76730p-45"))
# 1/n! up to 14: the first term left out, 0.3466^15 / 15!, is 2^-63.
_COEFFICIENTS: Final = tuple(1 / np.prod(np.arange(1.0, n + 1)) for n in range(14, 1, -1))


def difference(x: "FloatArray", shift: "FloatArray") -> "tuple[FloatArray, FloatArray]":
    """Return x - shift in two parts (Knuth's TwoSum), exactly where exp of it is neither 0 nor infinite."""
    whole = x - shift
    back = whole - x
    rest = (x - (whole - back)) - (shift + back)
    # Larger ones are of no use, nor is nan, of infinities, which fmin and fmax pass over.
    np.fmin(rest, _LARGEST_REST, out=rest)
    np.fmax(rest, -_LARGEST_REST, out=rest)
    return whole, rest


def exp(x: "FloatArray", rest: "FloatArray") -> "tuple[FloatArray, FloatArray]":
    """Evaluate exp of x + rest, |rest| ≤ u |x|, in two parts, off by 0.4 u of it at most; x is overwritten.

    x = k ln 2 + r + c with |r| ≤ 0.3466 and |c| ≤ u |r|, and exp is 2^k (1 + r + (c + c r + r² q)), where 1 +
    r is exact in two parts. r² q ≤ 0.067 takes 2.5 roundings, by u of it each, and three sums of parts below
    0.07 are off by 2^-4 u each: for r = 0.3466 by 0.17 u + 0.19 u of 1.41, for r = -0.3466 by 0.14 u + 0.14 u
    of 0.707. Below the smallest normal number errors are multiples of the smallest number instead.
    """
    np.clip(x, _LOWEST, _HIGHEST, out=x)  # nan stays
    k = np.rint(x * _LOG2_E)
    r = x - k * _LN2[0]
    c = rest - k * _LN2[1]
    is_normal = x.min(initial=0) > _NORMAL and x.max(initial=0) < -_NORMAL
    total = r + c
    back = total - r
    c = (r - (total - back)) + (c - back)
    r = total
    q = np.full_like(r, _COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:
        q *= r
        q += coefficient
    c += c * r
    c += r * r * q
    whole = 1 + r
    c += r - (whole - 1)
    high = whole + c
    low = c - (high - whole)
    _scale(high, low, k, at_once=bool(is_normal))
    return high, low


def _scale(high: "FloatArray", low: "FloatArray", k: "FloatArray", *, at_once: bool) -> None:
    """Multiply by 2^k, in two steps where 2^k or the product is no normal number."""
    with np.errstate(invalid="ignore"):
        powers = k.astype(np.int64)  # of nan any number
    steps = (powers,) if at_once else (powers >> 1, powers - (powers >> 1))
    for step in steps:
        factor = (np.clip(step, -1022, 1023) + 1023 << 52).view(np.float64)
        high *= factor
        low *= factor


def sums(high: "FloatArray", low: "FloatArray") -> "FloatArray":
    """Return the sums of rows, in long double: 11 bits more, so that C numbers lose less than C 2^-64."""
    return high.astype(np.longdouble).sum(axis=1) + low.sum(axis=1)

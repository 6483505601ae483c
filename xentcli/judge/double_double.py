"""Numbers as unevaluated sums of two float64, 106 bits: arithmetic and exp, on arrays, with proved bounds.

Only +, -, *, rint and ldexp of float64 are used, which IEEE 754 defines: the bits are the same everywhere.
u is 2^-53. A pair (h, l) has |l| <= u |h|, h the nearest float64 of the sum. Bounds hold where nothing
overflows and no product is subnormal, which is for the caller to see to.

Sources: T. J. Dekker, 1971, doi:10.1007/BF01397083 (the products); D. E. Knuth, TAOCP 2, 4.2.2 (the sums);
M. Joldes, J.-M. Muller and V. Popescu, "Tight and rigorous error bounds for basic building blocks of
double-word arithmetic", 2017, doi:10.1145/3121432 (the bounds of ``multiply``, theorem 5.1).
"""

import math
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from xentcli.formats import EXTREME

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_SPLIT: Final = 134217729.0  # 2^27 + 1 cuts 53 bits into 26 and 26
_STEPS: Final = 64  # of the table, to a power of two: |r| <= ln 2 / 128
_TERMS: Final = 11  # of the series of exp(r) - 1; the next is below r^12 / 12! < 2^-118
_PLAIN_TERMS: Final = 6  # from which on float64 does: times r^6 < 2^-45, their rounding is below 2^-104
_CHUNK: Final = 2**13  # numbers at once: some twenty arrays of them stay in the cache

LOWEST: Final = -760.0  # exp of less is below 2^-1096, and taken for 0
EXP_ERROR: Final = 2.0**-94  # relative, of ``exp``


class Pair(NamedTuple):
    """An array (…) as the sum of two."""

    high: "FloatArray"
    low: "FloatArray"

    def __neg__(self) -> "Pair":
        return Pair(-self.high, -self.low)

    def decimals(self) -> list[Decimal]:
        """Return the numbers (n,), to 60 digits."""
        pairs = zip(self.high.tolist(), self.low.tolist(), strict=True)
        return [EXTREME.add(Decimal(high), Decimal(low)) for high, low in pairs]

    def at(self, place: Any) -> "Pair":  # noqa: ANN401 - an index of NumPy's
        """Return the elements at a place."""
        return Pair(self.high[place], self.low[place])


def pair(z: Decimal | Fraction) -> Pair:
    """Return the pair next to a number, off by less than u² of it."""
    high = float(z)
    return Pair(np.array(high), np.array(float(Fraction(z) - Fraction(high))))


def two_sum(a: "FloatArray", b: "FloatArray") -> Pair:
    """Return a + b exactly."""
    s = a + b
    v = s - a
    return Pair(s, (a - (s - v)) + (b - v))


def add(a: Pair, b: Pair) -> Pair:
    """Return a + b, off by less than 4 u² (|a| + |b|).

    The sum of the high parts is exact. The low parts, at most u |a| and u |b|, are rounded when they are
    added, by u² (|a| + |b|); added to the error of the first sum, at most u (|a| + |b|), by twice that and a
    little. What ``_fast`` adds is exact.
    """
    s, e = two_sum(a.high, b.high)
    return _fast(s, e + (a.low + b.low))


def multiply(a: Pair, b: Pair, halves: "tuple[FloatArray, FloatArray] | None" = None) -> Pair:
    """Return a b, off by less than 7 u² of it; ``halves`` are those of b, where they are known."""
    product = a.high * b.high
    (a1, a2), (b1, b2) = _halves(a.high), halves or _halves(b.high)
    error = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2
    return _fast(product, error + (a.high * b.low + a.low * b.high))


def inverse(a: Pair) -> Pair:
    """Return 1 / a, off by less than 2^-101 of it.

    y, the inverse of the high part, is off by 2 u at most, and 1 - a y, at most 3 u, is known to 6 u² of 1:
    its first product is exact, and so is the difference from 1. A step of Newton's leaves its square, 9 u².
    """
    y = 1 / a.high
    product = a.high * y
    (a1, a2), (y1, y2) = _halves(a.high), _halves(y)
    error = ((a1 * y1 - product) + a1 * y2 + a2 * y1) + a2 * y2
    return _fast(y, y * (((1 - product) - error) - a.low * y))


def total(a: Pair) -> Pair:
    """Return the sums of rows (N, C) of numbers of one sign, off by less than 2^-96 of them for C <= 2^24.

    Halves are added, level by level. At level n the low part of a number S is at most n u S, and two
    additions round it by u of itself each: together 2 u² S (1 + … + 24) < 2^-96 S.
    """
    high, low = a
    while high.shape[1] > 1:
        half = high.shape[1] // 2
        s, e = two_sum(high[:, :half], high[:, half : 2 * half])
        sums = low[:, :half] + low[:, half : 2 * half] + e
        parts = [s, high[:, 2 * half :]], [sums, low[:, 2 * half :]]
        high, low = (np.concatenate(each, axis=1) for each in parts)
    return _fast(high[:, 0], low[:, 0])


def exp(d: Pair) -> Pair:
    """Return e^d for d from ``LOWEST`` to 0, off by less than 2^-94 of it; 0 for less, and for -inf.

    With d = k ln 2 / 64 + r, exp(d) = 2^(k // 64) T (1 + q), T of a table, q = exp(r) - 1 by its series.

    The products k C1 and k C2 are exact, of 17 and 32 bits, and so are the differences. What is left, at most
    2^-43 in size as the low part of d is, is rounded three times: r is off by 2^-94.4 at most. 1 + q is
    rounded by ``add`` and T is off, by 6 u² together; the errors of q, below 30 u², count for |r| < 2^-7.5 of
    themselves. The sum is below 2^-94.
    """
    high, low = np.empty(d.high.shape), np.empty(d.high.shape)
    flat = [each.reshape(-1) for each in (d.high, d.low, high, low)]
    for start in range(0, flat[0].size, _CHUNK):
        d_high, d_low, to_high, to_low = (each[start : start + _CHUNK] for each in flat)
        is_far = ~(d_high >= LOWEST)
        result, power = _exp(np.where(is_far, 0.0, d_high), np.where(is_far, 0.0, d_low))
        to_high[...] = np.where(is_far, 0.0, np.ldexp(result.high, power))
        to_low[...] = np.where(is_far, 0.0, np.ldexp(result.low, power))
    return Pair(high, low)


def _exp(high: "FloatArray", low: "FloatArray") -> "tuple[Pair, FloatArray]":
    """Return exp as a number from 1/2 to 2 and a power of two."""
    k = np.rint(high * (_STEPS / math.log(2)))  # which neighbour it is does not matter
    first, error = two_sum(high, -k * _C1)
    second, error2 = two_sum(first, -k * _C2)
    r = _fast(second, (error + error2) + (low - k * _C3))
    plain = np.full(len(k), _FACTORIALS[_TERMS].high)
    for n in range(_TERMS - 1, _PLAIN_TERMS - 1, -1):
        plain = plain * r.high + _FACTORIALS[n].high
    q, halves = Pair(plain, np.zeros(len(k))), _halves(r.high)
    for n in range(_PLAIN_TERMS - 1, 0, -1):
        q = add(multiply(q, r, halves), _FACTORIALS[n])
    steps = k.astype(np.int64)
    place = steps & (_STEPS - 1)
    table = Pair(_TABLE.high[place], _TABLE.low[place])
    return add(table, multiply(table, multiply(q, r, halves))), (steps >> 6).astype(np.int32)


def _fast(a: "FloatArray", b: "FloatArray") -> Pair:
    """Return a + b exactly for |a| >= |b|, or a of 0."""
    s = a + b
    return Pair(s, b - (s - a))


def _halves(a: "FloatArray") -> "tuple[FloatArray, FloatArray]":
    t = _SPLIT * a
    high = t - (t - a)
    return high, a - high


def _leading(z: Decimal, bits: int) -> float:
    """Return so many leading bits of a number."""
    mantissa, exponent = math.frexp(float(z))
    return math.ldexp(math.floor(mantissa * 2**bits), exponent - bits)


_STEP: Final = EXTREME.divide(EXTREME.ln(Decimal(2)), Decimal(_STEPS))
_C1: Final = _leading(_STEP, 32)  # C1 + C2 + C3 = ln 2 / 64 to 2^-120
_C2: Final = _leading(EXTREME.subtract(_STEP, Decimal(_C1)), 32)
_C3: Final = float(EXTREME.subtract(EXTREME.subtract(_STEP, Decimal(_C1)), Decimal(_C2)))
_FACTORIALS: Final = [pair(EXTREME.divide(Decimal(1), Decimal(math.factorial(n)))) for n in range(_TERMS + 1)]
_POWERS: Final = [pair(EXTREME.power(EXTREME.exp(_STEP), i)) for i in range(_STEPS)]
_TABLE: Final = Pair(np.array([each.high for each in _POWERS]), np.array([each.low for each in _POWERS]))

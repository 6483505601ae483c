"""Real numbers enclosed between two decimals, and the proof that a number rounds as it is said to.

Every operation rounds the lower end down and the upper end up, so that the true value never escapes. Where an
enclosure holds a transcendental number, the number lies strictly between its ends.
"""

import decimal
from collections.abc import Callable, Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from xentcli.formats import EXTREME, Format, agreed, midpoint, nearest

_ZERO, _HALF, _ONE = Decimal(0), Decimal("0.5"), Decimal(1)
_SERIES_BELOW: Final = -12  # decimal exponent from which log1p and expm1 are summed as series
_GUARD: Final = 6  # digits that functions are evaluated with beyond those that count
_OPERAND_GUARD: Final = 20  # of a difference d: exp makes of d (1 + δ) a factor 1 + d δ, |d| < 3 · 10^18
_LONG: Final = 2500  # digits beyond those that count: three times those of a sum of midpoints and numbers


class Enclosure(NamedTuple):
    """The ends of an interval that holds a real number."""

    low: Decimal
    high: Decimal


ZERO: Final = Enclosure(_ZERO, _ZERO)
ONE: Final = Enclosure(_ONE, _ONE)


class Enclosing:
    """Interval arithmetic with ends of so many significant decimal digits.

    exp and ln of the decimal module are correctly rounded (its documentation says so; S. Krah, libmpdec), so
    that one unit in the last digit on either side encloses the true value. No decimal meets an operator here:
    even -x would round to the 28 digits of the context that the interpreter sets.
    """

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self._down = _context(digits, ROUND_FLOOR)
        self._up = _context(digits, ROUND_CEILING)
        self._long_down = _context(digits + _LONG, ROUND_FLOOR)
        self._long_up = _context(digits + _LONG, ROUND_CEILING)
        self._near = _context(digits + _GUARD)
        self._operand = _context(digits + _OPERAND_GUARD)

    def rational(self, value: Fraction) -> Enclosure:
        """Enclose a fraction."""
        numerator, denominator = map(Decimal, value.as_integer_ratio())
        return Enclosure(self._down.divide(numerator, denominator), self._up.divide(numerator, denominator))

    def add_rational(self, a: Enclosure, value: Fraction) -> Enclosure:
        """Return a plus a fraction with 2,500 digits more than others: an error in ulps sees a far tail."""
        numerator, denominator = map(Decimal, value.as_integer_ratio())
        low = self._long_down.divide(numerator, denominator)
        high = self._long_up.divide(numerator, denominator)
        return Enclosure(self._long_down.add(low, a.low), self._long_up.add(high, a.high))

    def add(self, a: Enclosure, b: Enclosure) -> Enclosure:
        """Return a + b."""
        return Enclosure(self._down.add(a.low, b.low), self._up.add(a.high, b.high))

    def subtract(self, a: Enclosure, b: Enclosure) -> Enclosure:
        """Return a - b."""
        return Enclosure(self._down.subtract(a.low, b.high), self._up.subtract(a.high, b.low))

    def sum(self, terms: Iterable[Enclosure]) -> Enclosure:
        """Return the sum of the terms."""
        low, high = _ZERO, _ZERO
        for term in terms:
            low, high = self._down.add(low, term.low), self._up.add(high, term.high)
        return Enclosure(low, high)

    def scale(self, a: Enclosure, factor: Fraction) -> Enclosure:
        """Return a times a fraction."""
        if factor == 1:
            return a
        if factor < 0:
            return self.scale(Enclosure(a.high.copy_negate(), a.low.copy_negate()), -factor)
        numerator, denominator = map(Decimal, factor.as_integer_ratio())
        return Enclosure(
            self._down.divide(self._down.multiply(a.low, numerator), denominator),
            self._up.divide(self._up.multiply(a.high, numerator), denominator),
        )

    def divide(self, a: Enclosure, b: Enclosure) -> Enclosure:
        """Return a / b for a positive b."""
        return Enclosure(
            self._down.divide(a.low, b.high if a.low >= 0 else b.low),
            self._up.divide(a.high, b.low if a.high >= 0 else b.high),
        )

    def multiply(self, a: Enclosure, b: Enclosure) -> Enclosure:
        """Return a · b."""
        pairs = [(x, y) for x in a for y in b]
        return Enclosure(
            min(self._down.multiply(x, y) for x, y in pairs), max(self._up.multiply(x, y) for x, y in pairs)
        )

    def exp_rational(self, value: Fraction) -> Enclosure:
        """Enclose the exponential of a fraction ≤ 0, rounded with the digits that exp needs."""
        numerator, denominator = map(Decimal, value.as_integer_ratio())
        return self.exp(self._operand.divide(numerator, denominator))

    def exp_of_minus(self, a: Enclosure) -> Enclosure:
        """Enclose exp(-a) for an a ≥ 0."""
        return Enclosure(self.exp(a.high.copy_negate()).low, self.exp(a.low.copy_negate()).high)

    def difference(self, x: float, y: float) -> Decimal:
        """Return x - y, to more digits than exp and expm1 can tell apart."""
        return self._operand.subtract(Decimal(x), Decimal(y))

    def exp(self, d: Decimal) -> Enclosure:
        """Enclose the exponential of a difference d ≤ 0."""
        if not d or d.is_infinite():
            return ZERO if d else ONE
        return self._around(self._near.exp(d))

    def expm1(self, d: Decimal) -> Enclosure:
        """Enclose exp(d) - 1 for a difference -1 < d ≤ 0; as exact for a tiny d as for another.

        A term of the series is below 10^-12 of the one before, so that what is left out is below the last
        term, 10^-(digits + 6) of the sum. Each term costs three roundings of 5 · 10^-(digits + 6): together
        below 10^-digits for up to 60,000 terms, which are enough for 700,000 digits.
        """
        if not d:  # first: the exponent of Decimal's 0E-14 is low
            return ZERO
        if d.adjusted() >= _SERIES_BELOW:
            wide = _context(self._near.prec - _SERIES_BELOW)
            return self._around(wide.subtract(wide.exp(d), _ONE))
        total, term, n = d, d, 1
        while term and term.adjusted() >= total.adjusted() - self._near.prec:
            n += 1
            term = self._near.divide(self._near.multiply(term, d), Decimal(n))
            total = self._near.add(total, term)
        return self._around(total)

    def log1p(self, t: Enclosure) -> Enclosure:
        """Enclose ln(1 + t) for a t ≥ 0."""
        return Enclosure(self._around(self._log1p(t.low)).low, self._around(self._log1p(t.high)).high)

    def log(self, x: Decimal) -> Enclosure:
        """Enclose ln(x) for an x > 0."""
        return self._around(self._near.ln(x)) if x != 1 else ZERO

    def _log1p(self, t: Decimal) -> Decimal:
        """Return ln(1 + t), off by less than 10^-digits of itself: by ln, or a series like that of expm1."""
        if t and t.adjusted() >= _SERIES_BELOW:
            wide = _context(self._near.prec - _SERIES_BELOW)
            return wide.ln(wide.add(_ONE, t))  # 1 + t is off by at most 5 · 10^-(digits + 6) of t
        total, power, n = t, t, 1
        while power and power.adjusted() >= total.adjusted() - self._near.prec:
            n += 1
            power = self._near.multiply(power, t.copy_negate())
            total = self._near.add(total, self._near.divide(power, Decimal(n)))
        return total

    def _around(self, value: Decimal) -> Enclosure:
        """Enclose a positive or negative number whose relative error is below 10^-digits."""
        low, high = self._down.next_minus(self._down.plus(value)), self._up.next_plus(self._up.plus(value))
        return Enclosure(max(low, _ZERO) if value >= 0 else low, high)


def decided(minus: Callable[[Fraction], Enclosure], forms: Iterable[Format]) -> Decimal | None:
    """Return a decimal that rounds to every format as an irrational number does; None where digits lack.

    ``minus(b)`` encloses the number less b, or a positive multiple of that for b ≠ 0. Rounding is monotone:
    where both ends round to one number of a format, what lies between does. Where they round to neighbours,
    the sign of the number less their midpoint decides, and the midpoint becomes an end. A midpoint that is
    the rational part of the number leaves its transcendental part alone, whose sign is known however small
    it is.
    """
    low, high = minus(Fraction(0))
    near = float(low), float(high)
    for form in forms:
        if agreed(*near, form) is not None:
            continue
        ends = nearest(low, form), nearest(high, form)
        if ends[0] == ends[1]:
            continue
        if (boundary := midpoint(*ends, form)) is None:
            return None
        apart = minus(boundary)
        if apart.low >= 0:
            low = max(low, _decimal(boundary))
        elif apart.high <= 0:
            high = min(high, _decimal(boundary))
        else:
            return None
    middle = _MEANS.multiply(_MEANS.add(low, high), _HALF)
    short = EXTREME.plus(middle)
    return short if low < short < high else middle


def _decimal(value: Fraction) -> Decimal:
    """Return a midpoint of a format, exactly: a multiple of 2^-1075 below 2^1024."""
    return _MIDPOINTS.divide(Decimal(value.numerator), Decimal(value.denominator))


def _context(digits: int, rounding: str = decimal.ROUND_HALF_EVEN) -> Context:
    context = EXTREME.copy()
    context.prec, context.rounding = digits, rounding
    return context


_MIDPOINTS: Final = _context(1100)  # digits: a midpoint of float64 has at most 770
_MEANS: Final = _context(1_000_000)  # digits: more than any enclosure or midpoint has

"""Enclosures hold the true value, strictly where it is irrational: beside fractions and the balls of Arb."""

import math
import random
from collections.abc import Callable
from decimal import MIN_EMIN, Decimal
from fractions import Fraction

import flint
import pytest
from flint import arb, fmpq
from hypothesis import given
from hypothesis import strategies as st

from xentcli.enclosures import ONE, ZERO, Enclosing, Enclosure, decided
from xentcli.formats import FORMATS, Format, midpoint, nearest

DIGITS = (5, 17, 40, 100)
every_number_of_digits = pytest.mark.parametrize("digits", DIGITS)
decimals = st.integers(-(10**60), 10**60).map(lambda count: Decimal(f"{count}e-30"))
fractions = st.builds(Fraction, st.integers(-(10**9), 10**9), st.integers(1, 10**6))
enclosures = st.tuples(decimals, decimals).map(lambda ends: Enclosure(*sorted(ends)))


def points(a: Enclosure) -> list[Fraction]:
    """Take both ends and the middle of an enclosure."""
    low, high = map(Fraction, a)
    return [low, high, (low + high) / 2]


def holds(a: Enclosure, *values: Fraction) -> bool:
    return all(Fraction(a.low) <= value <= Fraction(a.high) for value in values)


def units(a: Enclosure, digits: int) -> Decimal:
    """Measure the width of an enclosure in units of the last of so many digits of its larger end."""
    largest = max(abs(a.low), abs(a.high))
    return (a.high - a.low).scaleb(digits - 1 - largest.adjusted())


@given(enclosures, enclosures, fractions, st.sampled_from(DIGITS))
def test_sums_differences_and_multiples_hold_those_of_all_points(
    a: Enclosure, b: Enclosure, factor: Fraction, digits: int
) -> None:
    e = Enclosing(digits)

    assert holds(e.add(a, b), *(x + y for x in points(a) for y in points(b)))
    assert holds(e.subtract(a, b), *(x - y for x in points(a) for y in points(b)))
    assert holds(e.sum([a, b, a]), *(x + y + z for x in points(a) for y in points(b) for z in points(a)))
    assert holds(e.scale(a, factor), *(x * factor for x in points(a)))
    assert holds(e.add_rational(a, factor), *(x + factor for x in points(a)))


@given(enclosures, enclosures.filter(lambda b: b.low > 0), st.sampled_from(DIGITS))
def test_quotients_hold_those_of_all_points(a: Enclosure, b: Enclosure, digits: int) -> None:
    quotient = Enclosing(digits).divide(a, b)

    assert holds(quotient, *(x / y for x in points(a) for y in points(b)))


@pytest.mark.parametrize(
    "value", [Fraction(1, 3), Fraction(-1, 3), Fraction(2, 3), Fraction(-(10**4) - 1, 7)]
)
@every_number_of_digits
def test_a_fraction_lies_between_two_neighbours(value: Fraction, digits: int) -> None:
    e = Enclosing(digits)
    exact = Enclosure(Decimal(value.numerator), Decimal(value.numerator))

    for enclosure in (e.rational(value), e.scale(exact, Fraction(1, value.denominator))):
        assert holds(enclosure, value)
        assert units(enclosure, digits) == 1


def test_what_has_the_digits_is_exact() -> None:
    e = Enclosing(5)
    a = Enclosure(Decimal("1.5"), Decimal("1.5"))

    assert e.rational(Fraction(-5, 4)) == (Decimal("-1.25"), Decimal("-1.25"))
    assert e.sum([]) == ZERO
    assert e.add(a, ONE) == (Decimal("2.5"), Decimal("2.5"))
    assert e.scale(a, Fraction(-1, 2)) == (Decimal("-0.75"), Decimal("-0.75"))
    assert e.divide(a, ONE) == a


# Functions


def ball(value: Decimal | Fraction) -> arb:
    numerator, denominator = value.as_integer_ratio()
    return arb(fmpq(numerator, denominator))


def lies_strictly_in(enclosure: Enclosure, function: Callable[[arb], arb], x: Decimal) -> bool:
    """Whether Arb proves that a function of x lies between the ends, at 3,000 bits."""
    assert min(end.adjusted() for end in enclosure) > -1_000_000  # no fraction holds what underflowed
    with flint.ctx.workprec(3000):
        true = function(ball(x))
        return bool(true > ball(enclosure.low)) and bool(true < ball(enclosure.high))


def operands(digits: int, exponents: range, sign: int) -> list[Decimal]:
    """Draw operands of each exponent, of up to 30 digits more than count, powers of ten among them."""
    rng, ends = random.Random(f"{digits} {exponents}"), ["", "5", "9" * (digits + 20)]
    drawn = [str(rng.randrange(10**k, 10 ** (k + 1))) for k in (3, digits, digits + 30)]
    minus = "-" if sign < 0 else ""
    return [
        Decimal(f"{minus}{rng.randint(1, 9)}.{end}e{exponent}")
        for exponent in exponents
        for end in (*ends, *drawn)
    ] + [Decimal(f"{minus}1e{exponent}") for exponent in exponents]


@every_number_of_digits
@pytest.mark.parametrize("exponents", [range(-340, -320, 3), range(-16, 1), range(1, 6)], ids=str)
def test_exponentials_lie_strictly_between_their_ends(digits: int, exponents: range) -> None:
    e = Enclosing(digits)
    for d in operands(digits, exponents, -1):
        enclosure = e.exp(d)

        assert lies_strictly_in(enclosure, arb.exp, d)
        assert units(enclosure, digits) <= 3


@every_number_of_digits
@pytest.mark.parametrize("exponents", [range(-340, -320, 3), range(-40, -14, 3), range(-14, 0)], ids=str)
def test_exponentials_less_1_lie_strictly_between_their_ends(digits: int, exponents: range) -> None:
    e = Enclosing(digits)
    for d in operands(digits, exponents, -1):
        enclosure = e.expm1(d)

        assert lies_strictly_in(enclosure, arb.expm1, d)
        assert units(enclosure, digits) <= 3


@every_number_of_digits
@pytest.mark.parametrize("exponents", [range(-340, -320, 3), range(-40, -14, 3), range(-14, 6)], ids=str)
def test_logarithms_lie_strictly_between_their_ends(digits: int, exponents: range) -> None:
    e = Enclosing(digits)
    for t in operands(digits, exponents, 1):
        enclosure = e.log1p(Enclosure(t, t))

        assert lies_strictly_in(enclosure, arb.log1p, t)
        assert units(enclosure, digits) <= 3
        if t < 1:
            assert lies_strictly_in(e.log(t), arb.log, t)
            assert units(e.log(t), digits) <= 3


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_series_of_many_roundings_keeps_its_digits(sign: int) -> None:
    e, rng = Enclosing(40), random.Random(0)
    for _ in range(200):  # just below 10^-12, where the most terms count
        t = Decimal(f"{rng.randrange(10**41, 10**42)}e-54")
        if sign < 0:
            assert lies_strictly_in(e.expm1(t.copy_negate()), arb.expm1, t.copy_negate())
        else:
            assert lies_strictly_in(e.log1p(Enclosure(t, t)), arb.log1p, t)


def test_a_logarithm_of_an_enclosure_holds_those_of_both_ends() -> None:
    e = Enclosing(17)
    ends = Enclosure(Decimal("0.5"), Decimal("0.75"))
    enclosure = e.log1p(ends)

    assert lies_strictly_in(enclosure, arb.log1p, ends.low)
    assert lies_strictly_in(enclosure, arb.log1p, ends.high)


def test_what_is_rational_is_exact() -> None:
    e = Enclosing(17)

    assert e.exp(Decimal(0)) == ONE
    assert e.exp(Decimal("-Infinity")) == ZERO
    assert e.expm1(Decimal(0)) == ZERO
    assert e.log(Decimal(1)) == ZERO


DIFFERENCES = [
    (0.0, 1.0),
    (5e-324, 1.0),
    (-1e308, 1e308),
    (-(2.0**53) - 2, 5e-324),
    (-1e15, 1e-300),
    (0.1, 1e17),
    (-2.302585092994045e18, 0.1),
]


@every_number_of_digits
@pytest.mark.parametrize("pair", DIFFERENCES, ids=str)
def test_the_exponential_of_a_difference_of_floats_lies_between_its_ends(
    digits: int, pair: tuple[float, float]
) -> None:
    e = Enclosing(digits)
    enclosure = e.exp(e.difference(*pair))

    assert exceeds(enclosure.high, *pair) > 0
    assert exceeds(enclosure.low, *pair) < 0


def exceeds(end: Decimal, x: float, y: float) -> int:
    """Return the sign of a decimal less exp(x - y); both may be as small as 10^-10^18."""
    if end <= 0:
        return -1
    _, digits, exponent = end.as_tuple()
    assert isinstance(exponent, int)
    with flint.ctx.workprec(3000):
        true = (ball(Fraction(x) - Fraction(y)) - exponent * arb(10).log()).exp()
        coefficient = arb(int("".join(map(str, digits))))
        assert coefficient > true or coefficient < true
        return 1 if coefficient > true else -1


@every_number_of_digits
@pytest.mark.parametrize("beyond", [-1, 0, 1, 10])
def test_the_far_end_of_the_exponents_is_enclosed(digits: int, beyond: int) -> None:
    """The smallest decimal above 0 is 10^(2 - 10^18 - digits): 0 and that number enclose what is below."""
    e = Enclosing(digits)
    x = math.nextafter(MIN_EMIN * math.log(10), 0)
    for _ in range(beyond + 2):
        x = math.nextafter(x, -math.inf)  # a factor of exp(-512) each
    enclosure = e.exp(e.difference(x, 0.0))

    assert exceeds(enclosure.high, x, 0.0) > 0
    assert exceeds(enclosure.low, x, 0.0) < 0


def test_what_underflows_lies_above_0() -> None:
    e = Enclosing(40)

    assert e.exp(Decimal("-2.302585092994045e18")).low > 0
    assert e.exp(Decimal("-2.302585092994046e18")).low == 0
    tail = e.exp(e.difference(-1e308, 1e308))

    assert tail.low == 0 < tail.high < Decimal(f"1e{MIN_EMIN}")
    assert e.log1p(tail).low == 0 < e.log1p(tail).high < Decimal(f"1e{MIN_EMIN}")
    assert e.scale(tail, Fraction(1, 3)).low == 0 < e.scale(tail, Fraction(1, 3)).high


# Decisions


def between(x: Fraction, apart: Fraction) -> Callable[[Fraction], Enclosure]:
    """Return what encloses x less b, so far from the ends."""
    e = Enclosing(1500)
    return lambda b: Enclosure(e.rational(x - b - apart).low, e.rational(x - b + apart).high)


def steps(form: Format) -> list[tuple[float, float]]:
    """Neighbours of a format: around 0, a power of 2, 1 and infinity, of both signs."""
    inf = float("inf")
    pairs = [
        (0.0, form.smallest),
        (form.smallest, 2 * form.smallest),
        (1 - form.eps / 2, 1.0),
        (1.0, 1 + form.eps),
        (form.largest, inf),
    ]
    return [pair for low, high in pairs for pair in ((low, high), (-high, -low))]


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_number_beside_a_midpoint_is_decided_from_the_side_it_lies_on(form: Format, side: int) -> None:
    tail = Fraction(1, 2**3000)
    for low, high in steps(form):
        boundary = midpoint(low, high, form)
        assert boundary is not None
        minus = between(boundary + side * 2 * tail, tail)  # the ends of 1,500 digits are no midpoint
        number = decided(minus, [form])
        assert number is not None
        assert nearest(number, form) == (high if side > 0 else low)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_midpoint_cuts_an_enclosure_where_the_sign_of_the_rest_is_known(form: Format, side: int) -> None:
    for low, high in steps(form):
        boundary = midpoint(low, high, form)
        assert boundary is not None
        wide = Fraction(min(form.eps, 1.0)) ** 8 * abs(boundary)

        def minus(b: Fraction, boundary: Fraction = boundary, wide: Fraction = wide) -> Enclosure:
            if b == boundary:  # the sign alone
                return Enclosure(*sorted([Decimal(0), Decimal(side)]))
            return between(boundary, wide)(b)

        number = decided(minus, [form])
        assert number is not None
        assert nearest(number, form) == (high if side > 0 else low)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_nothing_is_decided_while_the_sign_is_open(form: Format) -> None:
    for low, high in steps(form):
        boundary = midpoint(low, high, form)
        assert boundary is not None
        assert decided(between(boundary, Fraction(1, 2**2500)), [form]) is None


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_nothing_is_decided_between_numbers_that_are_no_neighbours(form: Format) -> None:
    step = Fraction(form.eps)

    assert decided(between(Fraction(1), step), [form]) is None
    assert decided(between(Fraction(1), step / 5), [form]) is not None


def test_one_decimal_rounds_to_every_format() -> None:
    x = (
        1 + Fraction(1, 2**9) + Fraction(1, 2**11) + Fraction(1, 2**24) + Fraction(1, 2**53)
    )  # ties all the way
    for side in (-1, 1):
        moved = x + side * Fraction(1, 2**200)
        number = decided(between(moved, Fraction(1, 2**300)), FORMATS.values())

        assert number is not None
        assert [nearest(number, form) for form in FORMATS.values()] == [
            nearest(moved, form) for form in FORMATS.values()
        ]


def test_a_long_decimal_is_kept_where_a_short_one_would_be_a_tie() -> None:
    form, tail = FORMATS["float16"], Fraction(1, 2**2000)
    tie = 1 + Fraction(form.eps) / 2

    for side in (-1, 1):
        number = decided(between(tie + side * 2 * tail, tail), [form])
        assert number is not None
        assert (number > tie.numerator / Decimal(tie.denominator)) == (side > 0)

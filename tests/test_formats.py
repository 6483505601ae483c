"""The formats: rounding, midpoints, ulps and sums, beside numbers that are counted one by one from 0."""

import math
import random
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import index_near, inf, infinite, nan, number, rounded
from oracles import midpoint as middle

from xentcli import words
from xentcli.formats import (
    FORMATS,
    Format,
    agreed,
    exact_sum,
    midpoint,
    nearest,
    round_float,
    stored,
    ulp,
    ulps,
)

every_dtype = pytest.mark.parametrize("dtype", words.DTYPES)
forms = st.sampled_from(list(FORMATS.values()))
signs = st.sampled_from([-1, 1])
WIDE = Context(prec=5000, Emin=-99_999, Emax=99_999)
TINY = Fraction(1, 2**3000)  # below every digit of the numbers here


def decimal(value: Fraction) -> Decimal:
    """Write a multiple of a power of 2 with all its digits."""
    return WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))


@st.composite
def counts(draw: st.DrawFn, form: Format, last: int = 1) -> int:
    """Draw the index of a finite number of a format, edges often, at least ``last`` from infinity."""
    end, binade = infinite(form), 2 ** (form.precision - 1)
    edges = st.sampled_from([0, 1, binade - 1, binade, 2 * binade - 1, 2 * binade, end - last])
    return draw(st.one_of(edges, st.integers(0, end - last)))


def drawn_counts(form: Format, bits: str) -> "np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]":
    """Count all numbers of 16 bits, 500 of more."""
    end = infinite(form)
    if bits == "u2":
        return np.arange(end).astype(bits)
    rng = random.Random(bits)
    return np.array([0, 1, end - 1, *(rng.randrange(end) for _ in range(500))]).astype(bits)


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float16", "u2"), ("bfloat16", "u2"), ("float32", "u4"), ("float64", "u8")]
)
def test_numbers_are_counted_as_their_bits_are(dtype: str, bits: str) -> None:
    form = FORMATS[dtype]
    counted = drawn_counts(form, bits)
    held = counted.view(dtype) if dtype != "bfloat16" else (counted.astype("u4") << np.uint32(16)).view("f4")

    assert [number(int(count), form) for count in counted] == [Fraction(float(value)) for value in held]
    assert form.largest == number(infinite(form) - 1, form)
    assert form.smallest == number(1, form)
    assert form.smallest_normal == number(2 ** (form.precision - 1), form)
    one = index_near(1.0, form)
    assert form.eps == number(one + 1, form) - number(one, form)


@given(st.data(), forms, signs, st.sampled_from([-1, 0, 1]), st.integers(1, 4000))
def test_an_exact_number_rounds_to_the_side_of_its_midpoint(
    data: st.DataObject, form: Format, sign: int, side: int, bits: int
) -> None:
    below = data.draw(counts(form))
    z = sign * (middle(below, form) + Fraction(side, 2 ** (1100 + bits)))
    expected = rounded(z, form.name)

    assert nearest(z, form) == expected
    assert nearest(decimal(z), form) == expected


@given(forms, st.fractions() | st.decimals(allow_nan=False, allow_infinity=False).map(Fraction))
def test_any_fraction_rounds_to_the_nearest_number(form: Format, z: Fraction) -> None:
    assert nearest(z, form) == rounded(z, form.name)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_overflow_starts_at_half_a_step_beyond_the_largest_number(form: Format, sign: int) -> None:
    edge = 2 * (2 - Fraction(1, 2**form.precision)) * Fraction(2) ** (form.emax - 1)

    for z, expected in (
        (edge - TINY, form.largest),
        (edge, inf),  # a tie: infinity counts as even
        (edge + TINY, inf),
    ):
        assert nearest(sign * z, form) == sign * expected
        assert nearest(decimal(sign * z), form) == sign * expected


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_underflow_ends_at_half_the_smallest_number(form: Format, sign: int) -> None:
    edge = Fraction(form.smallest) / 2

    for z, expected in (
        (edge - TINY, 0.0),
        (edge, 0.0),  # a tie: 0 is even
        (edge + TINY, form.smallest),
        (3 * edge - TINY, form.smallest),
        (3 * edge, 2 * form.smallest),
    ):
        assert nearest(sign * z, form) == sign * expected
        assert nearest(decimal(sign * z), form) == sign * expected


@every_dtype
@pytest.mark.parametrize(
    ("z", "expected"),
    [
        ("1.8e308", inf),
        ("-1.8e308", -inf),
        ("1e400", inf),
        ("1e401", inf),
        ("-1e999999999999999999", -inf),
        ("1e-400", 0.0),
        ("-1e-401", 0.0),
        ("1e-999999999999999999", 0.0),
        ("-0", 0.0),
        ("Infinity", inf),
        ("-Infinity", -inf),
        ("NaN", nan),
    ],
)
def test_decimals_of_any_size_have_a_nearest_number(dtype: str, z: str, expected: float) -> None:
    assert np.array_equal(nearest(Decimal(z), FORMATS[dtype]), expected, equal_nan=True)


@every_dtype
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_storing_keeps_the_shape_and_what_has_no_number(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.full(shape, nan)
    values.flags.writeable = False

    assert stored(values, dtype).shape == shape
    assert np.isnan(stored(values, dtype).astype(np.float64)).all()
    assert stored(np.array([inf, -inf]), dtype).astype(np.float64).tolist() == [inf, -inf]


@every_dtype
def test_storing_rounds_every_tie_to_even_and_its_neighbours_to_their_side(dtype: str) -> None:
    form = FORMATS[dtype]
    if dtype == "float64":
        return  # a midpoint of float64 is no float64
    counted = range(infinite(form)) if form.precision < 24 else drawn_counts(form, "u4").tolist()
    ties = np.array([float(middle(count, form)) for count in counted])
    below, above = (np.array([float(number(count + i, form)) for count in counted]) for i in (0, 1))
    above[above > form.largest] = inf
    even = np.where(np.array(counted) % 2 == 0, below, above)

    for sign in (1, -1):
        for values, expected in (
            (ties, even),
            (np.nextafter(ties, 0), below),
            (np.nextafter(ties, np.inf), above),
        ):
            assert np.array_equal(stored(sign * values, dtype).astype(np.float64), sign * expected)
            assert [round_float(v, form) for v in (sign * values).tolist()] == (sign * expected).tolist()


@given(st.floats(), forms)
def test_a_float_is_stored_as_its_exact_value_rounds(x: float, form: Format) -> None:
    expected = x if not math.isfinite(x) else rounded(Fraction(x), form.name)

    for got in (round_float(x, form), float(stored(np.array(x), form.name)), nearest(Decimal(x), form)):
        assert np.array_equal(got, expected, equal_nan=True)


@given(st.data(), forms, signs)
def test_the_midpoint_of_neighbours_is_where_rounding_changes(
    data: st.DataObject, form: Format, sign: int
) -> None:
    count = data.draw(counts(form))
    low, high = (
        float(number(count, form)),
        inf if count + 1 == infinite(form) else float(number(count + 1, form)),
    )
    ends = (low, high) if sign > 0 else (-high, -low)

    assert midpoint(*ends, form) == sign * middle(count, form)


@given(st.data(), forms, signs, st.integers(2, 9))
def test_numbers_that_are_no_neighbours_have_no_midpoint(
    data: st.DataObject, form: Format, sign: int, apart: int
) -> None:
    count = data.draw(counts(form, last=apart))
    high = inf if count + apart == infinite(form) else float(number(count + apart, form))
    ends = (float(number(count, form)), high) if sign > 0 else (-high, -float(number(count, form)))

    assert midpoint(*ends, form) is None


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_midpoints_around_0_a_power_of_2_and_infinity(form: Format) -> None:
    small = form.smallest

    assert midpoint(0.0, small, form) == Fraction(small) / 2
    assert midpoint(-small, -0.0, form) == -Fraction(small) / 2
    assert midpoint(-small, small, form) is None
    assert midpoint(1 - form.eps / 2, 1.0, form) == 1 - Fraction(form.eps) / 4
    assert midpoint(1.0, 1 + form.eps, form) == 1 + Fraction(form.eps) / 2
    assert midpoint(1 - form.eps / 2, 1 + form.eps, form) is None
    assert midpoint(form.largest, inf, form) == Fraction(form.largest) + Fraction(2) ** (
        form.emax - form.precision
    )
    assert midpoint(-inf, -form.largest, form) == -midpoint_of_infinity(form)
    assert midpoint(-inf, inf, form) is None
    assert midpoint(1.0, inf, form) is None


def midpoint_of_infinity(form: Format) -> Fraction:
    return middle(infinite(form) - 1, form)


@given(st.data(), forms, signs, st.fractions(0, 1).filter(lambda f: f < 1))
def test_an_ulp_is_the_step_between_the_numbers_around(
    data: st.DataObject, form: Format, sign: int, part: Fraction
) -> None:
    count = data.draw(counts(form))
    step = number(count + 1, form) - number(count, form)

    assert ulp(sign * (number(count, form) + part * step), form) == step
    assert ulp(sign * (2 + part) * number(infinite(form), form), form) == ulp(Fraction(form.largest), form)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_the_ulp_doubles_at_a_power_of_2(form: Format) -> None:
    eps = Fraction(form.eps)

    for power in (Fraction(1), Fraction(2) ** form.emax, Fraction(2) ** (form.emin + 1)):
        assert ulp(power, form) == eps * power
        assert ulp(power - TINY, form) == eps * power / 2
        assert ulps(float(power), decimal(power + eps * power), form) == 1  # exactly, as thresholds need
        assert ulps(float(power), decimal(power - eps * power), form) == 2


@given(st.data(), forms, signs, signs, st.integers(0, 2**80 - 1))
def test_an_error_is_the_distance_in_steps_of_the_exact_value(
    data: st.DataObject, form: Format, sign: int, other: int, part: int
) -> None:
    count, got = data.draw(counts(form)), data.draw(counts(form))
    step = number(count + 1, form) - number(count, form)
    z, y = sign * (number(count, form) + Fraction(part, 2**80) * step), other * number(got, form)

    error = ulps(float(y), decimal(z), form)

    assert error is not None
    assert abs(Fraction(error) - abs(y - z) / step) <= Fraction(error) / 10**59  # 60 digits are kept


@pytest.mark.parametrize(
    ("got", "true", "dtype", "error"),
    [
        (1.0, "1", "float32", "0"),
        (1.0 + 2**-23, "1", "float32", "1"),
        (1.0 - 2**-24, "1", "float32", "0.5"),  # below a power of two the exact value's ulp still counts
        (2.0, "1.99999988079071044921875", "float32", "1"),
        (1.0 - 2**-24, "0.999999999999999999999999999999", "float32", "1"),  # float64 would round it to 1
        (1.0 + 2**-10, "1", "float16", "1"),
        (1.0 + 2**-7, "1", "bfloat16", "1"),
        (1.0 + 2**-52, "1", "float64", "1"),
        (2.0**-149, "0", "float32", "1"),  # the smallest subnormal
        (2.0**-24, "0", "float16", "1"),
        (2.0**-133, "0", "bfloat16", "1"),
        (2.0**-1074, "0", "float64", "1"),
        (2.0**-149, "1e-1000000", "float32", "1"),
        (0.0, "1.1754943508222875e-38", "float32", "8388608"),  # all digits of the smallest normal lost
        (65504.0, "65536", "float16", "1"),  # past the edge: emax still gives the ulp
        (65504.0, "1e400", "float16", "3.125E+398"),
        (inf, "65520", "float16", "0"),  # rightly infinite
        (-inf, "-65520", "float16", "0"),
        (3.0, "1", "float32", "16777216"),
        (0.0, "1e-1000000", "float32", "7.13623846353E-999956"),
    ],
)
def test_errors_by_hand(got: float, true: str, dtype: str, error: str) -> None:
    measured = ulps(got, Decimal(true), FORMATS[dtype])

    assert measured is not None
    assert Context(prec=12).plus(measured) == Decimal(error)


@pytest.mark.parametrize(
    ("got", "true"),
    [(nan, "1"), (inf, "1"), (1.0, "Infinity"), (1.0, "NaN"), (inf, "-Infinity"), (inf, "65519.99")],
)
def test_there_is_no_error_without_two_numbers(got: float, true: str) -> None:
    assert ulps(got, Decimal(true), FORMATS["float16"]) is None


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_a_sum_is_rounded_once_or_not_at_all(values: list[float]) -> None:
    exact = sum(map(Fraction, values), Fraction(0))

    assert exact_sum(values) in (exact, rounded(exact, "float64"))
    assert nearest(exact_sum(values), FORMATS["float64"]) == rounded(exact, "float64")


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([], 0),
        ([1e308, 1e308], 2 * Fraction(1e308)),
        ([1e308, 1e308, -1e308, -1e308, 5e-324], Fraction(5e-324)),  # partial sums exceed float64
        ([-1e308, -1e308, 1.0], 1 - 2 * Fraction(1e308)),
        ([2.0**1023, 2.0**1023 - 2.0**970], 2**1024 - 2**970),  # the first sum beyond float64
        ([2.0**1023, 2.0**1023 - 2.0**971], 2**1024 - 2**971),  # the largest float64
        ([1.0, 2.0**-60], 1),
    ],
)
def test_sums_of_any_size(values: list[float], total: Fraction) -> None:
    assert exact_sum(iter(values)) == total


def reals() -> st.SearchStrategy[Fraction]:
    """Draw numbers near the midpoints of a format, where float64 is not enough."""
    return st.builds(
        lambda form, count, sign, side: sign * middle(count % infinite(form), form) + side,
        forms,
        st.integers(0, 2**64),
        signs,
        st.sampled_from([Fraction(0), TINY, -TINY, Fraction(1, 10**30), Fraction(-1, 10**30)]),
    )


@given(reals(), forms)
def test_what_float64_decides_is_decided_rightly(z: Fraction, form: Format) -> None:
    near = rounded(z, "float64")

    assert agreed(near, near, form) in {None, rounded(z, form.name)}


@pytest.mark.parametrize("form", [FORMATS[name] for name in ("float16", "bfloat16", "float32")], ids=str)
@pytest.mark.parametrize("move", [lambda x: x, lambda x: -x])
def test_float64_decides_from_two_steps_beside_a_midpoint_on(
    form: Format, move: Callable[[float], float]
) -> None:
    tie = 1 + form.eps / 2
    inside = math.nextafter(tie, 2)
    outside = math.nextafter(inside, 2)

    assert agreed(move(tie), move(tie), form) is None
    assert agreed(move(inside), move(inside), form) is None  # a number that float64 rounds to it may be a tie
    assert agreed(move(outside), move(outside), form) == move(1 + form.eps)
    low, high = sorted([move(outside), move(1.5)])
    assert agreed(low, high, form) is None


def test_float64_decides_itself_where_both_ends_are_one_number() -> None:
    form = FORMATS["float64"]

    assert agreed(1.0, 1.0, form) == 1.0
    assert agreed(1.0, math.nextafter(1.0, 2), form) is None
    assert agreed(inf, inf, form) == inf

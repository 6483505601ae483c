"""Where a loss breaks down: each value against theory by mpmath, and plain NumPy, to the neighbour."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from conftest import first
from hypothesis import given
from hypothesis import strategies as st

from xentcli.formats import FORMATS, Format, dtype, number_at, ordinal
from xentcli.methods.table import select
from xentcli.model import Numerics
from xentcli.sweep import QUANTITIES, Breakdown, Curve, Range, standard_example, sweep
from xentcli.sweep.example import DEFAULTS, DEFAULTS_BESIDE

DTYPES = ("float16", "bfloat16", "float32", "float64")
METHODS = "naive,clipped,dense,sparse,log1p,unshifted,textbook"
in_every_format = pytest.mark.parametrize("name", DTYPES)
# p and emin of each format, by IEEE 754 and by the definition of bfloat16.
# Gaps from where all methods are right to where they fail; of a half format every number between is tried.
UP = {"float16": (2.0, 20.0), "bfloat16": (0.25, 100.0), "float32": (1.0, 120.0), "float64": (1.0, 760.0)}
PRECISION = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126), "float64": (53, -1022)}


@cache
def curve(
    quantity: str, name: str, methods: str = METHODS, low: float | None = None, high: float = 0
) -> Curve:
    row = QUANTITIES[quantity]
    ends = UP[name] if low is None else (low, high)
    settings = {**DEFAULTS, **DEFAULTS_BESIDE.get(quantity, {})}
    example = standard_example(settings, Numerics(name, "numpy"))
    return sweep(example, row, Range(*ends, 121, row.is_log), select(methods))


def down(name: str) -> Curve:
    low, high = UP[name]
    return curve("gap", name, "naive,clipped", -high, -low)


def breakdown(of: Curve, method: str, state: str, *, is_upwards: bool = True) -> Breakdown:
    (found,) = [
        each
        for each in of.breakdowns.rows
        if (each.method, each.state, each.is_upwards) == (method, state, is_upwards)
    ]
    return found


def first_from(value: Any, name: str) -> float:
    """Return the first number of a format that is not below a positive real number: the oracle's own."""
    precision, emin = PRECISION[name]
    exponent = max(int(mpmath.floor(mpmath.log(value, 2))), emin)
    unit = mpmath.mpf(2) ** (exponent - precision + 1)
    return float(mpmath.ceil(value / unit) * unit)


def neighbour(value: float, name: str) -> float:
    """Return the number of the format before a positive one."""
    precision, emin = PRECISION[name]
    mantissa, exponent = math.frexp(value)
    unit = math.ldexp(1, max(exponent - 1, emin) - precision + 1)
    return value - (unit / 2 if mantissa == 0.5 and exponent - 1 > emin else unit)


def real(formula: Callable[[int, int], Any], name: str) -> Any:
    with mpmath.workprec(300):
        return +formula(*PRECISION[name])


@in_every_format
@pytest.mark.parametrize("method", first(1, ["dense", "sparse", "naive", "clipped"]))
def test_log_of_1_plus_t_is_0_from_p_ln_2_to_the_neighbouring_number(method: str, name: str) -> None:
    found = breakdown(curve("gap", name), method, "0")

    with mpmath.workprec(300):
        first = first_from(PRECISION[name][0] * mpmath.ln(2), name)
    assert (found.first, found.last) == (first, neighbour(first, name))


@in_every_format
@pytest.mark.parametrize(("state", "is_upwards"), first(1, [("nan", True), ("inf", False)]))
def test_naive_fails_where_a_probability_underflows(state: str, is_upwards: bool, name: str) -> None:
    of = curve("gap", name) if is_upwards else down(name)
    found = breakdown(of, "naive", state, is_upwards=is_upwards)

    with mpmath.workprec(300):
        first = first_from(sum((PRECISION[name][0], -PRECISION[name][1])) * mpmath.ln(2), name)
    sign = 1 if is_upwards else -1
    assert (found.first, found.last) == (sign * first, sign * neighbour(first, name))


@in_every_format
def test_textbook_fails_where_exp_overflows(name: str) -> None:
    found = breakdown(curve("gap", name), "textbook", "nan")
    precision, emin = PRECISION[name]

    with mpmath.workprec(300):
        limit = mpmath.mpf(2) ** (1 - emin) * (2 - mpmath.mpf(2) ** -precision)
        first = first_from(mpmath.ln(limit), name)
    assert (found.first, found.last) == (first, neighbour(first, name))


@pytest.mark.parametrize("name", ["bfloat16", "float32", "float64"])
def test_clipped_is_capped_from_the_gap_of_its_bound(name: str) -> None:
    found = breakdown(down(name), "clipped", "capped", is_upwards=False)

    bound = float(np.array(1e-36).astype(dtype(name)))
    with mpmath.workprec(300):
        first = first_from(mpmath.ln((1 - mpmath.mpf(bound)) / bound), name)
    assert (-found.first, -(found.last or 0)) == (first, neighbour(first, name))


@pytest.mark.parametrize(
    ("bound", "exact"),
    [(1e-7, "16.118095550958319788"), (1e-12, "27.631021115928548208"), (2.0**-10, "6.9304947659516259")],
)
def test_any_clip_level_is_found(bound: float, exact: str) -> None:
    from xentcli.load import load
    from xentcli.load.sources import Source
    from xentcli.sweep import case_example

    text = f"title: t\ndtype: float64\nlogits: [[1, 0]]\nlabels: [0]\nclip: [{bound!r}, 1.0]\n"
    example = case_example(load(Source("c.yaml", "c", text.encode())), 0, None, QUANTITIES["gap"])
    found = sweep(example, QUANTITIES["gap"], Range(-40, 0, 41, is_log=False), select("clipped"))

    with mpmath.workprec(300):
        value = mpmath.ln((1 - mpmath.mpf(bound)) / mpmath.mpf(bound))
        assert (
            mpmath.nstr(value, 14) == exact[: len(mpmath.nstr(value, 14))]
            or abs(value - mpmath.mpf(exact)) < 1e-6
        )
    capped = breakdown(found, "clipped", "capped", is_upwards=False)
    gaps = np.array([-(capped.last or 0), -capped.first])
    # In plain NumPy the first of the two neighbours leaves p at the bound or above it, the second does not.
    p = np.exp(-gaps) / (1 + np.exp(-gaps))
    assert (p < bound).tolist() == [False, True]
    assert np.nextafter(gaps[0], math.inf) == gaps[1]


def offsets_off(name: str, offsets: Any) -> Any:
    """Say of offsets whether round(o + ln 2) - o, in plain NumPy, is off by more than 1 % and 4 ulps."""
    kind = dtype(name)
    log = np.array(0.6931471805599453, np.float64).astype(kind)
    got = (offsets.astype(kind) + log - offsets.astype(kind)).astype(np.float64)
    precision, _ = PRECISION[name]
    allowed = max(0.01 * math.log(2), 4 * 2.0**-precision)  # ulp(ln 2) is 2^(-1 - (p - 1))
    return np.abs(got - math.log(2)) > allowed


@pytest.mark.parametrize("name", [pytest.param("float16", marks=pytest.mark.slow), "bfloat16"])
def test_unshifted_is_off_from_the_first_offset_of_all(name: str) -> None:
    """Every number of the format from 1 on is tried in plain NumPy."""
    found = breakdown(curve("offset", name, "unshifted", 1, 60_000), "unshifted", "off")
    form = FORMATS[name]
    every = np.array([number_at(at, form) for at in range(ordinal(1, form), ordinal(60_000, form))])

    first = int(offsets_off(name, every).argmax())
    assert (found.first, found.last) == (every[first], every[first - 1])


def test_unshifted_is_off_from_the_first_offset_of_float32() -> None:
    """Every float32 from 2^17 to 2^18 is tried in plain NumPy; below, sums round to steps half as large."""
    found = breakdown(curve("offset", "float32", "unshifted", 1, 1e6), "unshifted", "off")
    every = np.arange(2**17, 2**18, 2.0**-6, dtype=np.float32)

    first = int(offsets_off("float32", every).argmax())
    assert (found.first, found.last) == (every[first], every[first - 1])
    assert found.first == 262143.328125


@pytest.mark.slow
@in_every_format
def test_theory_and_measurement_are_the_same_number(name: str) -> None:
    pairs = [(b, p) for b, p in curve("gap", name).with_theory() if p is not None]
    pairs += [(b, p) for b, p in down(name).with_theory() if p is not None]
    pairs += [(b, p) for b, p in curve("offset", name, "unshifted", 1, 1000).with_theory() if p is not None]

    assert [prediction.apart for _, prediction in pairs] == [0] * len(pairs)
    assert {b.method for b, _ in pairs} >= {"naive", "dense", "sparse", "textbook"}


def test_a_law_that_does_not_hold_is_apart() -> None:
    """Eigen has an exp of its own; without it theory would be that of NumPy: it says nothing there."""
    example = standard_example(dict(DEFAULTS), Numerics("float32", "eigen"))
    found = sweep(example, QUANTITIES["gap"], Range(0, 120, 61, is_log=False), select("dense"))

    assert found.breakdowns.rows
    assert set(found.predictions) == {None}


@pytest.mark.parametrize(
    "name",
    ["float32", "float64", *(pytest.param(n, marks=pytest.mark.slow) for n in ("float16", "bfloat16"))],
)
def test_log1p_is_right_throughout(name: str) -> None:
    low, high = QUANTITIES["gap"].default_range(FORMATS[name])
    found = curve("gap", name, "log1p", low, high)

    states = {each.state for each in found.breakdowns.rows}
    assert states <= {"gradient wrong"}  # of bfloat16, whose rounding is 1 % of a number
    assert name == "bfloat16" or found.breakdowns.right == ("log1p",)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_number_of_a_half_format_is_tried(name: str) -> None:
    """The first gap at which dense is off, as plain NumPy has it: no earlier number is skipped."""
    found = curve("gap", name, "sparse", 0.0625, 8)
    form, kind = FORMATS[name], dtype(name)
    gaps = np.array([number_at(at, form) for at in range(ordinal(0.0625, form), ordinal(8, form))])
    with np.errstate(all="ignore"):
        t = np.exp(-gaps.astype(kind))
        got = np.log((kind.type(1) + t).astype(kind)).astype(np.float64)
    true = np.log1p(np.exp(-gaps))
    unit = 2.0 ** (np.maximum(np.floor(np.log2(true)), form.emin) - form.precision + 1)
    is_off = (np.abs(got - true) > 0.01 * true) & (np.abs(got - true) > 4 * unit) & (got > 0)

    assert found.breakdowns.are_exhaustive
    assert breakdown(found, "sparse", "off").first == gaps[is_off.argmax()]


def test_of_float32_not_all_are_tried_and_that_is_said() -> None:
    assert not curve("gap", "float32").breakdowns.are_exhaustive


@pytest.mark.parametrize(("low", "high"), [(0.0, 120.0), (100.0, 110.0), (16.0, 17.0)])
def test_a_breakdown_does_not_depend_on_the_range(low: float, high: float) -> None:
    """The neighbours are the same wherever the search began; outside the range there is none."""
    wide, narrow = curve("gap", "float32"), curve("gap", "float32", "naive,dense", low, high)

    for method, state in (("dense", "0"), ("naive", "nan")):
        expected = breakdown(wide, method, state)
        inside = [
            b for b in narrow.breakdowns.rows if (b.method, b.state, b.is_upwards) == (method, state, True)
        ]
        is_inside = low <= expected.first <= high and low <= (expected.last or 0) <= high
        assert [(b.first, b.last) for b in inside if b.last is not None] == (
            [(expected.first, expected.last)] if is_inside else []
        )


def test_the_same_sweep_has_the_same_numbers() -> None:
    first, second = curve("gap", "float32"), curve.__wrapped__("gap", "float32")

    assert first.breakdowns == second.breakdowns
    for one, other in zip(first.points.tracks, second.points.tracks, strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_points_are_the_losses_of_mpmath(name: str) -> None:
    points = curve("gap", name).points

    with mpmath.workprec(2000):
        for value, exact in zip(points.values[::7], points.exact[::7], strict=True):
            assert abs(mpmath.mpf(str(exact)) / mpmath.log1p(mpmath.exp(-mpmath.mpf(value))) - 1) < 1e-20
    slopes = points.exact_slopes
    np.testing.assert_allclose(slopes, -1 / (1 + np.exp(points.values)), rtol=FORMATS[name].eps, atol=1e-7)


@given(st.sampled_from(DTYPES), st.integers(-(2**15), 2**15), st.booleans())
def test_places_count_the_numbers_of_a_format(name: str, offset: int, is_large: bool) -> None:
    form = FORMATS[name]
    last = ordinal(form.largest, form)
    place = last - abs(offset) % last if is_large else offset % last
    number = number_at(place, form)

    assert ordinal(number, form) == place
    assert number == np.array(number).astype(dtype(name)).astype(np.float64)
    if name in {"float32", "float64"} and not is_large:
        kind = np.float32 if name == "float32" else np.float64
        assert number_at(place + 1, form) == np.nextafter(kind(number), kind(math.inf))


def test_places_of_a_format_are_as_many_as_its_bits() -> None:
    form: Format = FORMATS["float16"]

    assert (ordinal(form.largest, form), ordinal(0.0, form), ordinal(-form.smallest, form)) == (31743, 0, -1)

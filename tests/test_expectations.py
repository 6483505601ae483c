"""The rule that says whether a printed number came out, and what decides the exit code."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xentcli.judge.expectations import is_reproduced

inf, nan = math.inf, math.nan


@pytest.mark.parametrize(
    ("expected", "got", "reproduced"),
    [
        ("82.89307", 82.89306640625, True),
        ("82.89306", 82.89306640625, False),
        ("82.893070", 82.89306640625, False),  # trailing zeros count
        ("82.8931", 82.89306640625, True),
        ("83", 82.89306640625, True),
        ("8e1", 82.89306640625, True),
        ("6.72853e+30", 6.728529919024428e30, True),
        ("6.72854e+30", 6.728529919024428e30, False),
        ("1.0", 1.0, True),
        ("1.0", 1.04, True),
        ("1.0", 1.06, False),
        ("0.", 4.156e-39, True),
        ("0", -0.0, True),
        ("-0.", 0.0, True),
        ("2.5", 2.45, True),  # 2.45 as float64 lies above the tie
        ("0.2", 0.25, True),  # a tie goes to the even digit
        ("0.3", 0.25, False),
        ("nan", nan, True),
        ("nan", inf, False),
        ("nan", 0.0, False),
        ("0", nan, False),
        ("inf", inf, True),
        ("inf", -inf, False),
        ("-inf", -inf, True),
        ("inf", 1e308, False),
        ("1e308", inf, False),
        ("1e-300", 1e-300, True),
        ("1e400", 1.7e308, False),
        ("1." + "0" * 780, 1.0, True),
        ("1." + "0" * 780, np.nextafter(1.0, 2.0), False),
        ("0." + "0" * 780, 5e-324, False),
        ("1." + "0" * 790, 1e308, False),  # 1,099 digits
    ],
)
def test_rounded_to_the_digits_shown_it_is_the_same_number(
    expected: str, got: float, reproduced: bool
) -> None:
    assert is_reproduced(expected, got) is reproduced


@given(value=st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_the_shortest_digits_of_a_float32_are_reproduced_by_it(value: float) -> None:
    # In scientific notation: positional, NumPy pads 112644568 to 112644570.0 with digits that are none.
    assert is_reproduced(np.format_float_scientific(np.float32(value)), value)


@given(value=st.floats(-1e308, 1e308).filter(bool))
def test_the_shortest_digits_of_a_float64_are_reproduced_by_it_alone(value: float) -> None:
    # 2^-24 is ...0625 in full and ...063 by repr: a tie, which printf rounds to even and repr may not.
    shown, digits = (Decimal(number).as_tuple().digits for number in (repr(value), value))
    is_tie = len(digits) == len(shown) + 1 and digits[-1] == 5
    assert is_reproduced(repr(value), value) or is_tie
    assert not is_reproduced(f"{value:.20e}", float(np.nextafter(value, inf)))


@given(value=st.floats(1e-300, 1e300), digits=st.integers(0, 25))
def test_what_printf_prints_is_reproduced(value: float, digits: int) -> None:
    assert is_reproduced(f"{value:.{digits}e}", value)
    assert is_reproduced(f"{value:.{digits}f}", value)

"""Rounding to float16 and bfloat16, as bulk does it, is that of the formats."""

import math
from typing import Any

import numpy as np
import pytest

from xentcli import bulk, formats

inf, nan = math.inf, math.nan


@pytest.mark.parametrize("form", ["float16", "bfloat16"])
@pytest.mark.parametrize("wide", [np.float32, np.float64])
def test_rounding_to_half_formats_by_bits_is_that_of_the_formats(form: str, wide: Any) -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=4000) * 10.0 ** random.integers(-10, 38, 4000)
    ties = [1 + 2.0**-11, 1 + 3 * 2.0**-11, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 2.0**-25, 3 * 2.0**-25, 2.0**-24]
    x = np.concatenate([x, [0, -0.0, inf, -inf, 65519, 65520, -65520, 3.38e38, 3.4e38, 2.0**-14], ties])
    x = np.concatenate([x, np.nextafter(ties, 0), np.nextafter(ties, 1)]).astype(wide)
    wanted = formats.stored(x.astype(np.float64), form).astype(wide)

    with np.errstate(all="ignore"):
        bulk.round_in_place(form, x)

    assert np.array_equal(x, wanted)
    assert np.array_equal(np.signbit(x), np.signbit(wanted))
    beyond = np.array([formats.FORMATS[form].largest * 1.003], wide)  # more than half an ulp
    for sign in (1, -1):
        array = sign * beyond
        bulk.round_in_place(form, array)
        assert array.tolist() == [sign * inf]


def test_float16_is_rounded_to_as_numpy_rounds() -> None:
    random = np.random.default_rng(8)
    x = random.choice([-1, 1], (50, 3000)) * 2.0 ** random.uniform(-30, 0, (50, 3000))
    x[0, :6] = [0, -0.0, 2.0**-24, 2.0**-25, 3 * 2.0**-25, nan]
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        wanted = x.astype(np.float16)

    got = bulk.to_float16(x)

    assert np.array_equal(got, wanted, equal_nan=True)
    assert np.array_equal(np.signbit(got), np.signbit(wanted))

"""The ulps that a loss may be off as rtol and atol: the table of xent check --tolerances, and its proof."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Xent, assert_golden
from hypothesis import given
from hypothesis import strategies as st

from xentcli.check.tolerance import KNOWN_TOLERANCES, KnownTolerance, Tolerance
from xentcli.formats import FORMATS

NUMPY = {name: np.dtype(name) for name in ("float16", "float32", "float64")}
names = st.sampled_from(list(NUMPY))
ULPS = st.sampled_from([0.5, 1.0, 3.0, 4.0, 16.0])


def passes(tolerance: Tolerance, error: Fraction, true: Fraction) -> bool:
    return error <= tolerance.atol + tolerance.rtol * true


@given(names, ULPS, st.data())
def test_strict_passes_nothing_that_ulps_refuse_and_loose_all_that_they_pass(
    name: str, ulps: float, data: st.DataObject
) -> None:
    info = np.finfo(NUMPY[name])
    unsigned = st.integers(
        1, int(np.frombuffer((info.max / info.dtype.type(2)).tobytes(), f"u{info.bits // 8}")[0])
    )
    true = np.array(data.draw(unsigned), f"u{info.bits // 8}").view(NUMPY[name])[()]  # any exponent alike
    ulp = Fraction(float(np.spacing(true)))
    tail = Fraction(data.draw(st.floats(0, 0.99))) * ulp  # a true loss lies between two numbers
    z = Fraction(float(true)) + tail
    form = FORMATS[name]

    allowed = Fraction(ulps) * ulp
    beyond = allowed * (1 + Fraction(1, 2**60))
    assert not passes(Tolerance.within(ulps, form), beyond, z)
    assert passes(Tolerance.around(ulps, form), allowed, z)


@pytest.mark.parametrize("name", NUMPY)
def test_no_looser_rtol_is_strict_and_no_stricter_one_is_loose(name: str) -> None:
    form, nearly = FORMATS[name], Fraction(1, 2**60)
    strict, loose = Tolerance.within(4, form), Tolerance.around(4, form)
    ulp = Fraction(float(np.finfo(NUMPY[name]).eps))  # of numbers from 1 to 2
    smallest = Fraction(float(np.finfo(NUMPY[name]).smallest_subnormal))

    below_two = 2 - nearly
    assert not passes(strict, 4 * ulp, below_two)
    assert passes(Tolerance(strict.rtol * (1 + 2 * nearly), Fraction(0)), 4 * ulp, below_two)
    assert passes(loose, 4 * ulp, Fraction(1))
    assert not passes(Tolerance(loose.rtol * (1 - 2 * nearly), Fraction(0)), 4 * ulp, Fraction(1))
    assert passes(loose, 4 * smallest, smallest * nearly)
    assert not passes(Tolerance(loose.rtol, loose.atol * (1 - 2 * nearly)), 4 * smallest, smallest * nearly)


@pytest.mark.parametrize("known", KNOWN_TOLERANCES, ids=lambda known: f"{known.whose}-{known.dtype}")
def test_a_tolerance_of_others_is_as_many_ulps_as_is_said_and_hides_as_much(known: KnownTolerance) -> None:
    form, tolerance = FORMATS[known.dtype], known.tolerance
    least, most = tolerance.ulps(form)
    eps = Fraction(form.eps)

    assert least * eps == tolerance.rtol  # of 1, of which an ulp is eps, as it is
    assert most * eps == tolerance.rtol * 2  # of what is just below 2
    assert passes(tolerance, tolerance.lost, tolerance.lost)
    more = tolerance.lost * (1 + Fraction(1, 10**9)) + Fraction(1, 10**30)
    assert not passes(tolerance, more, more)


@pytest.mark.frameworks
def test_the_tolerances_of_torch_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; .ci/run tests with it")
    for known in KNOWN_TOLERANCES:
        if known.whose.startswith("torch"):
            dtype = getattr(torch, known.dtype)
            for share, is_close in ((0.9, True), (1.1, False)):  # at 1000, where rtol is most of it
                one = torch.tensor(1000, dtype=torch.float64)
                off = one * (1 + share * float(known.rtol)) + share * float(known.atol)
                rounded = FORMATS[known.dtype].eps * 1000
                if abs(float(off) - 1000) * abs(share - 1) < rounded:
                    continue  # the dtype has no such number
                try:
                    torch.testing.assert_close(off.to(dtype), one.to(dtype))
                except AssertionError:
                    assert not is_close
                else:
                    assert is_close


def test_numpy_compares_with_the_tolerance_that_the_table_has() -> None:
    (known,) = (
        each for each in KNOWN_TOLERANCES if each.whose.startswith("NumPy") and each.dtype == "float64"
    )
    np.testing.assert_allclose(1 + 0.99 * float(known.rtol), 1.0)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(1 + 1.01 * float(known.rtol), 1.0)


def test_the_table_shows_both_sides_of_the_ulps(xent: Xent) -> None:
    run = xent("check", "--tolerances", "--max-ulps", "bfloat16=1,float32=16")

    assert (run.code, run.err) == (0, "")
    assert_golden("check-tolerances.txt", run.out)
    assert max(len(line) for line in run.out.splitlines() if "://" not in line) <= 80


def test_the_table_is_written_in_every_format(xent: Xent, tmp_path: Path) -> None:
    rows = json.loads(xent("check", "--tolerances", "--max-ulps", "1", "--format", "json").out)
    page = tmp_path / "tolerances.html"

    assert rows[2] == {
        "dtype": "float32",
        "ulps": "1",
        "strict rtol": "5.96e-8",
        "loose rtol": "1.20e-7",
        "loose atol": "1.41e-45",
    }
    assert math.isclose(2.0**-24, 5.96e-8, rel_tol=1e-3)
    assert xent("check", "--tolerances", "--output", page).code == 0
    assert "In float32, 4 ulps are an rtol of 2.38e-7 to 4.77e-7." in page.read_text(encoding="utf-8")

"""docs/accuracy.md has the largest known errors; each row has the error on record, by mpmath."""

import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any

import accuracy_page
import mpmath
import numpy as np
import pytest
from accuracy_page import PAGE, read
from conftest import ROOT, assert_current

from xentcli.digits import format_ulps
from xentcli.formats import FORMATS, ulp
from xentcli.judge.verdicts import judged_dtype
from xentcli.load.build import build_batch
from xentcli.methods.table import METHODS
from xentcli.process import Fields

sys.path.append(str(ROOT / "benchmarks"))
import accuracy

FILE = read()
FOUND: list[Fields] = [*FILE["searched"], *FILE["exhaustive"]]
OURS = {method.name: method.dtype for method in METHODS} | {"xentcli.losses": None}
BINARY = {method.name for method in METHODS if method.binary} | {"torch.bce_with_logits"}
LOWEST = -4000  # exponent of a tail that is nothing beside the smallest number of any format
BITS = 600  # 2^-288, the smallest tail of the search, beside 100, and 200 bits to spare


def true_loss(row: list[float], label: int, *, binary: bool) -> Any:
    """Return log Σ exp(x - x_label) of exact differences."""
    x = [0.0, *row] if binary else row
    with mpmath.workprec(BITS):
        others = [mpmath.exp(mpmath.mpf(each) - x[label]) for at, each in enumerate(x) if at != label]
        return mpmath.log1p(mpmath.fsum(others))


def error(loss: float, true: Any, dtype: str) -> str:
    """Return an error in ulps as the file has it: three digits, rounded up."""
    if not np.isfinite(loss):
        return "inf"
    _, mantissa, exponent, _ = true._mpf_
    exact = int(mantissa) * Fraction(2) ** max(int(exponent), LOWEST)
    units = abs(Fraction(loss) - exact) / ulp(exact, FORMATS[dtype])
    scaled = -(-units.numerator * 10**30 // units.denominator)
    return format_ulps(Decimal(scaled).scaleb(-30))


def row_of(found: Fields) -> tuple[list[float], int]:
    return [float.fromhex(x) for x in found["row"]], found["label"]


def format_of(found: Fields) -> str:
    """Return the format that the losses of a function of ours are judged in."""
    return judged_dtype(OURS.get(found["function"]) or found["dtype"], found["dtype"])


def loss_today(function: accuracy.Function, found: Fields) -> float:
    """Call a function with a row on record."""
    row, label = row_of(found)
    batch = build_batch(row if function.binary else [row], [label], found["dtype"])
    called = function.losses(batch, found["dtype"])
    assert called is not None
    return float(called[0][0])


def test_the_page_is_made_of_the_results() -> None:
    assert_current(PAGE, accuracy_page.written(PAGE.read_text(encoding="utf-8"), FILE))


def test_each_loss_on_record_has_the_error_on_record() -> None:
    for found in FOUND:
        row, label = row_of(found)
        binary = found["function"] in BINARY

        true = true_loss(row, label, binary=binary)

        assert error(float.fromhex(found["loss"]), true, format_of(found)) == found["ulps"], found


def test_each_row_lies_in_the_domain_of_its_measure() -> None:
    domain = FILE["domain"]
    for found in FILE["searched"]:
        row, label = row_of(found)
        assert len(row) in domain["classes"]
        assert max(map(abs, row)) <= domain["largest"]
        assert found["measure"] == "any" or true_loss(row, label, binary=False) >= domain["least loss"]


@pytest.mark.parametrize("name", OURS)
def test_a_method_gives_the_loss_on_record(name: str) -> None:
    """With another NumPy or another processor exp may round the other way: the error is of that size then."""
    (function,) = accuracy.functions(name)
    for found in (each for each in FOUND if each["function"] == name):
        loss, recorded = loss_today(function, found), float.fromhex(found["loss"])
        row, label = row_of(found)
        today = error(loss, true_loss(row, label, binary=function.binary), format_of(found))

        if (found["numpy"], FILE["machine"]) == (np.__version__, accuracy.machine()):
            np.testing.assert_equal(loss, recorded)
        assert float(found["ulps"]) / 2 - 1 <= float(today) <= float(found["ulps"]) * 2 + 1


@pytest.mark.frameworks
@pytest.mark.parametrize("name", sorted({each["function"] for each in FOUND} - set(OURS)))
def test_a_library_gives_the_loss_on_record(name: str) -> None:
    for function in accuracy.functions(name):
        for found in FOUND:
            if (found["function"], found["version"]) == (name, function.version):
                row, label = row_of(found)
                loss = loss_today(function, found)
                today = error(loss, true_loss(row, label, binary=function.binary), found["dtype"])
                assert float(found["ulps"]) / 2 - 1 <= float(today) <= float(found["ulps"]) * 2 + 1


def on_every_row(name: str, dtype: str) -> dict[str, Fields]:
    """Return the entries of a function on all rows of two classes, by measure."""
    about = name, dtype
    return {
        each["measure"]: each for each in FILE["exhaustive"] if (each["function"], each["dtype"]) == about
    }


@pytest.mark.parametrize("name", ["log1p", "bce_with_logits"])
def test_no_row_of_two_classes_in_float16_has_a_larger_error(name: str) -> None:
    """float64 is off by 2^-50 of a loss, 2^-39 ulps of float16: too little to change three digits."""
    (function,) = accuracy.functions(name)
    g, form = accuracy.numbers("float16"), FORMATS["float16"]
    batches = (
        build_batch(g if function.binary else [[0.0, x] for x in g], [k] * len(g), "float16") for k in (0, 1)
    )
    called = [function.losses(batch, "float16") for batch in batches]
    losses = np.concatenate([each[0] for each in called if each is not None])
    true = np.concatenate([np.logaddexp(0, g), np.logaddexp(0, -g)])  # of the label 0, and of 1

    unit = np.ldexp(1.0, np.maximum(np.frexp(true)[1] - 1, form.emin) - form.precision + 1)
    errors = np.abs(losses - true) / unit

    for measure, least in {"ordinary": 1.0, "any": 0.0}.items():
        counts, found = true >= least, on_every_row(name, "float16")[measure]
        assert format_ulps(Decimal(float(errors[counts].max()))) == found["ulps"]
        assert (int(counts.sum()), found["not finite"]) == (found["rows"], 0)


def test_every_row_was_tried_of_every_function() -> None:
    for found in FILE["exhaustive"]:
        numbers = len(accuracy.numbers(found["dtype"]))
        assert found["measure"] != "any" or found["rows"] == 2 * numbers
        assert 0 <= found["not finite"] < found["rows"] <= 2 * numbers


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["dense", "xentcli.losses", "bce_naive"])
def test_every_row_again_has_the_errors_on_record(name: str, dtype: str) -> None:
    (function,) = accuracy.functions(name)

    again = accuracy.exhaustive(function, dtype)

    assert {each["measure"]: each["ulps"] for each in again} == {
        measure: each["ulps"] for measure, each in on_every_row(name, dtype).items()
    }


@pytest.mark.parametrize(("dtype", "count"), [("float16", 63_487), ("bfloat16", 65_279)])
def test_every_finite_number_of_a_half_format_is_tried_once(dtype: str, count: int) -> None:
    g, form = accuracy.numbers(dtype), FORMATS[dtype]

    assert len(g) == len(set(g.tolist())) == count  # one less than the patterns: 0 has two
    assert (g == -g[::-1]).all()
    assert (g[-1], g[g > 0][0]) == (form.largest, form.smallest)


@pytest.mark.parametrize("binary", [False, True])
def test_the_truth_of_every_row_is_that_of_its_label(binary: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "numbers", lambda _: np.arange(-8.0, 8.25, 0.25))
    accuracy.exact_of_gaps.cache_clear()
    rows = accuracy.every_row.__wrapped__("float16", binary=binary)
    accuracy.exact_of_gaps.cache_clear()
    for at in range(len(rows.labels)):
        true = true_loss(rows.logits[at].tolist(), int(rows.labels[at]), binary=binary)
        with mpmath.workprec(BITS):
            known = mpmath.mpf(str(rows.truth.numbers[at]))
            assert abs(known - true) <= true * mpmath.mpf(10) ** -25


def test_a_search_with_the_same_seed_finds_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in {"DRAWN": 64, "KEPT": 4, "ROUNDS": 2}.items():
        monkeypatch.setattr(accuracy, name, number)
    (function,) = accuracy.functions("dense")

    first, again = ([*accuracy.searched(function, "float32")] for _ in range(2))
    accuracy.first_rows.cache_clear()

    assert first == again == accuracy.searched(function, "float32")
    accuracy.first_rows.cache_clear()


@pytest.mark.slow
def test_a_climb_finds_more_than_the_first_rows_have(monkeypatch: pytest.MonkeyPatch) -> None:
    (function,) = accuracy.functions("log1p")
    errors = {}
    for number in (0, 4):
        monkeypatch.setattr(accuracy, "ROUNDS", number)
        _, found = accuracy.searched(function, "float32")
        errors[number] = float(found["ulps"])

    assert errors[0] < errors[4]

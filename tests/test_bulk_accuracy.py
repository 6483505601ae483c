"""Losses of large arrays are at most 1 ulp from Arb's on rows made to be hard, at every number of classes."""

import math
from typing import Any

import flint
import numpy as np
import pytest
from bulk_backends import backend  # noqa: F401 - a fixture of all tests here
from conftest import first

from xentcli import bulk, formats

CLASSES = (1, 2, 3, 10, 50, 256, 257, 1000, 4097, 32_000, 131_072, 262_144)
# How far the label is ahead, of all, or of one; the others are further below.
GAPS = (
    -600.0,
    -80.0,
    -9.0,
    -3.0,
    0.0,
    0.5,
    2.0,
    6.0,
    12.0,
    17.0,
    30.0,
    60.0,
    87.0,
    95.0,
    103.0,
    700.0,
    744.0,
)
SPREADS = (0.0, 2.0**-9, 1.5, 8.0, 25.0)  # 0: equal logits
OFFSETS = (0.0, 0.0, -3.25, 56.0, 58.0, -57.5, 299.0, -301.0, 1000.0, -3e4)


def hard_rows(dtype: str, classes: int, count: int) -> tuple[Any, Any]:
    """Draw rows of at most six different logits, so that a true sum has six terms however many classes."""
    random = np.random.default_rng(classes)
    x = np.empty((count, classes))
    k = random.integers(0, classes, count)
    for row, label in zip(x, k, strict=True):  # a view, to write to
        gap = random.choice(GAPS) * random.choice([1, 1, random.random()])
        below = -gap - math.log(classes) * random.choice([0, 1]) * random.random()
        values = below - random.choice(SPREADS) * random.random(random.integers(1, 6))
        values[0] = below
        row[:] = random.choice(values, classes, p=random.dirichlet(np.full(len(values), 0.3)))
        row[label] = 0
    x += random.choice(OFFSETS, (count, 1))
    with np.errstate(all="ignore"):
        return formats.stored(x, dtype), k


def true_losses(x: Any, k: Any) -> list[Any]:
    """Evaluate log1p(Σ n_i exp(v_i - x_k)) over the different logits v_i of a row, at 300 bits."""
    flint.ctx.prec = 300
    found = []
    for row, label in zip(x.astype(np.float64), k.tolist(), strict=True):
        others = np.delete(row, label)
        terms = [
            number * (flint.arb(value) - flint.arb(row[label])).exp()
            for value, number in zip(
                *map(np.ndarray.tolist, np.unique(others, return_counts=True)), strict=True
            )
        ]
        found.append(sum(terms, flint.arb(0)).log1p())
    return found


def errors(got: Any, wanted: list[Any], dtype: str) -> list[float]:
    """Return errors in ulps; those of numbers that round to 0 as well, in the smallest ones."""
    form, found = formats.FORMATS[dtype], []
    for value, true in zip(got.astype(np.float64).tolist(), wanted, strict=True):
        exponent = math.frexp(float(true))[1] - 1 if float(true) else form.emin
        exponent = max(exponent, form.emin) - form.precision + 1
        off = abs(flint.arb(value) - true) * flint.arb(2) ** -exponent
        found.append(float(off) if math.isfinite(value) else math.inf)
    return found


@pytest.mark.parametrize("classes", first(1, CLASSES))
@pytest.mark.parametrize(
    ("dtype", "bound"), [("float16", 0.55), ("bfloat16", 0.51), ("float32", 0.501), ("float64", 0.9)]
)
def test_errors_are_within_the_bound_that_is_proved(dtype: str, bound: float, classes: int) -> None:
    x, k = hard_rows(dtype, classes, 150 if classes <= 1000 else 2**18 // classes + 12)
    got = bulk.losses(x, k)
    wanted = true_losses(x, k)

    assert max(errors(got, wanted, dtype)) <= bound
    for value, true in zip(got.astype(np.float64).tolist(), wanted, strict=True):
        assert value > 0 or float(true) < formats.FORMATS[dtype].smallest


@pytest.mark.parametrize("classes", [10, 57, 300, 2000])
@pytest.mark.parametrize(
    ("dtype", "bound"), [("float16", 1), ("bfloat16", 1), ("float32", 1), ("float64", 4)]
)
def test_gradients_are_within_the_bound_that_is_said(dtype: str, bound: float, classes: int) -> None:
    random = np.random.default_rng(classes)
    x = formats.stored(random.normal(0, 2.5, (3, classes)), dtype)
    k = random.integers(0, classes, 3)
    _, gradient = bulk.losses_and_gradient(x, k)
    flint.ctx.prec = 300
    for row, label, got in zip(x.astype(np.float64).tolist(), k.tolist(), gradient, strict=True):
        terms = [(flint.arb(value) - flint.arb(row[label])).exp() for value in row]
        total = sum(terms, flint.arb(0))
        terms[label] -= total
        true = [abs(term / total) for term in terms]

        assert max(errors(np.abs(got), true, dtype)) <= bound

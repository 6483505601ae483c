"""The first stage of the exact loss: double-double within its bounds, decisions that are never wrong."""

import math
import random
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import flint
import hard_batches
import numpy as np
import pytest
from conftest import first
from flint import arb

from xentcli import words
from xentcli.enclosures import Enclosure
from xentcli.formats import EXTREME, FORMATS, nearest
from xentcli.judge import double_double as dd
from xentcli.judge import exact
from xentcli.judge.double_double import Pair
from xentcli.judge.first_stage import FirstStage, _rounded, first_stage
from xentcli.load.build import build_batch
from xentcli.model import Batch

U = Fraction(1, 2**53)
RANDOM = np.random.default_rng(0)


def pairs(number: int, low: float, high: float) -> Pair:
    """Draw pairs whose sizes lie between powers of two."""
    big = RANDOM.uniform(-1, 1, number) * 2.0 ** RANDOM.uniform(low, high, number)
    return dd.two_sum(big, big * 2.0**-54 * RANDOM.uniform(-1, 1, number))


def fractions(a: Pair) -> list[Fraction]:
    return [Fraction(high) + Fraction(low) for high, low in zip(a.high.tolist(), a.low.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("operation", "truth", "bound"),
    [
        (dd.add, lambda a, b: a + b, lambda a, b: 4 * U**2 * (abs(a) + abs(b))),
        (dd.multiply, lambda a, b: a * b, lambda a, b: 7 * U**2 * abs(a * b)),
        (lambda a, _: dd.inverse(a), lambda a, _: 1 / a, lambda a, _: Fraction(1, 2**101) / abs(a)),
    ],
    ids=["add", "multiply", "inverse"],
)
def test_operations_keep_their_bounds(
    operation: Callable[..., Pair], truth: Callable[..., Fraction], bound: Callable[..., Fraction]
) -> None:
    for spread in (0.0, 1.0, 60.0):
        a, b = pairs(400, -spread, spread), pairs(400, -spread, spread)
        b.high[:50], b.low[:50] = -a.high[:50] * (1 + 2.0**-30), a.low[:50]  # nearly cancels
        for found, x, y in zip(fractions(operation(a, b)), fractions(a), fractions(b), strict=True):
            assert abs(found - truth(x, y)) <= bound(x, y)


@pytest.mark.parametrize("classes", [1, 2, 3, 100, 4097])
def test_totals_keep_their_bound(classes: int) -> None:
    a = pairs(3 * classes, -40, 0)
    a = Pair(*(np.abs(a.high).reshape(3, -1), (np.sign(a.high) * a.low).reshape(3, -1)))

    for row, found in enumerate(fractions(dd.total(a))):
        true = sum(fractions(a.at(row)), Fraction(0))
        assert abs(found - true) <= true / 2**96


def test_exp_keeps_its_bound() -> None:
    flint.ctx.prec = 300
    sizes: list[Any] = [
        -(10.0 ** RANDOM.uniform(-18, 2.8, 1500)),
        -RANDOM.uniform(0, 660, 1500),
        [0.0, -math.log(2) / 128],
    ]
    high: Any = np.concatenate(sizes)
    d = dd.two_sum(high, high * 2.0**-54 * RANDOM.uniform(-1, 1, len(high)))

    for x, y in zip(fractions(d), fractions(dd.exp(d)), strict=True):
        true = (arb(x.numerator) / x.denominator).exp()
        assert abs(arb(y.numerator) / y.denominator - true) < true * arb(dd.EXP_ERROR)


def test_exp_of_less_than_the_lowest_is_0() -> None:
    low = np.array([dd.LOWEST, np.nextafter(dd.LOWEST, -np.inf), -np.inf, -1e300])

    assert (dd.exp(Pair(low, np.zeros(4))).high[1:] == 0).all()
    assert dd.exp(Pair(np.array([-740.0]), np.zeros(1))).high[0] > 0


def nothing_decided(batch: Batch, rows: Any, form: Any) -> FirstStage:
    """Stand in for a first stage that knows nothing."""
    found = first_stage(batch, rows, form)
    return FirstStage((None,) * len(rows), found.gradients * np.nan, found.decided & False, found.usual)


@pytest.mark.parametrize("dtype", first(1, words.DTYPES))
def test_what_it_decides_is_what_the_enclosures_decide(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, forms = random.Random(dtype), FORMATS.values()
    examples = [hard_batches.example(rng, dtype) for _ in range(150)]
    first = [exact.compute_exact(batch, dtype, reduction) for batch, reduction in examples]
    monkeypatch.setattr("xentcli.judge.exact.first_stage", nothing_decided)

    for (batch, reduction), quick in zip(examples, first, strict=True):
        slow = exact.compute_exact(batch, dtype, reduction)
        for one, other in zip(
            (*quick.losses, quick.loss or Decimal(0)), (*slow.losses, slow.loss or Decimal(0)), strict=True
        ):
            for form in forms:
                assert np.array_equal(nearest(one, form), nearest(other, form), equal_nan=True)
        for gradient, true in zip(quick.gradients, slow.gradients, strict=True):
            assert np.array_equal(gradient, true, equal_nan=True)
            assert not (np.signbit(gradient) & (gradient == 0)).any()


@pytest.mark.parametrize("weight", [1.0, 4.0, 1024.0, 2.0**19])
@pytest.mark.parametrize(
    "gap", [-700.0, -744.0, -745.1, -745.2, -746.0, -750.0, -757.0, -759.9, -760.1, -800.0]
)
def test_a_weight_that_brings_back_an_exp_that_underflows_agrees_with_arb(gap: float, weight: float) -> None:
    flint.ctx.prec = 200
    batch = build_batch([[0.0, -1.0, gap]], [0], "float64", class_weights=[weight, 1, 1])
    z = 1 + arb(-1).exp() + arb(gap).exp()
    true = weight * arb(gap).exp() / z

    truth = exact.compute_exact(batch, "float64", "none").gradients[0][2]

    units = true / arb(2) ** -1074  # of the smallest number, to the nearest one
    assert (
        truth / 5e-324 == float((units + 0.5).floor().mid())
        if truth < 2.0**-1022
        else truth == float(true.mid())
    )
    decided = first_stage(batch, np.arange(1), FORMATS["float64"]).decided[0, 2]
    assert decided == (gap < dd.LOWEST or (weight == 1 and gap < -745.14))


LABELS = ("indices", "soft", "smoothed", "weighted", "binary")


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("dtype", words.DTYPES)
def test_ordinary_rows_are_all_decided(dtype: str, labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network makes them: no loss and no gradient is left to decimals, nor is their mean."""
    monkeypatch.setattr("xentcli.judge.exact._Example", None)
    x, k = RANDOM.normal(size=(20, 30)) * 3, RANDOM.integers(0, 30, 20)
    more: dict[str, Any] = {
        "smoothed": {"label_smoothing": 0.1},
        "weighted": {"class_weights": RANDOM.random(30)},
    }
    y: Any = RANDOM.dirichlet(np.ones(30), 20) if labels == "soft" else k
    if labels == "binary":
        x, y = x[:, 0], RANDOM.integers(0, 2, 20)

    truth = exact.compute_exact(build_batch(x, y, dtype, **more.get(labels, {})), dtype, "mean")

    assert len(truth.rows) == 20
    assert truth.loss is not None


@pytest.mark.parametrize("name", ["float64", "float32", "float16"])
def test_a_number_is_decided_just_short_of_where_an_error_reaches_a_midpoint(name: str) -> None:
    form = FORMATS[name]
    half = form.eps / 2
    value = (
        Pair(np.array([1 + half * 0.5]), np.zeros(1))
        if name != "float64"
        else Pair(np.ones(1), np.array([half / 2]))
    )
    inside, outside = (_rounded(value, np.array([half * share]), form) for share in (0.2, 0.3))

    assert (inside[0][0], inside[1][0]) == (1.0, True)
    assert not outside[1][0]


@pytest.mark.parametrize(("errors", "is_settled"), [(2**20 + 1, True), (2**20 - 1, False)])
def test_a_loss_is_settled_that_far_from_its_neighbour(errors: int, is_settled: bool) -> None:
    with localcontext(EXTREME):
        width = Decimal(2) ** -90
        middle = Decimal(3) + errors * width
        settled = exact._settled(Enclosure(middle - width / 2, middle + width / 2))  # noqa: SLF001 - its bound

    assert (settled is not None) is is_settled


def test_large_rows_agree_with_arb() -> None:
    flint.ctx.prec = 250
    x = (RANDOM.normal(size=20_000) * 4).astype(np.float32)
    x[7] += 20
    truth = exact.compute_exact(build_batch(x[None], np.array([7]), "float32"), "float32", "mean")
    top = arb(float(x.max()))
    e = [(arb(value) - top).exp() for value in x.astype(float).tolist()]
    z = sum(e, arb(0))

    assert float(truth.losses[0]) == float((top - arb(float(x[7])) + z.log()).mid())
    for j in [7, *RANDOM.integers(0, 20_000, 300).tolist()]:
        true = (e[j] - z) / z if j == 7 else e[j] / z
        assert truth.gradients[0][j] == float(np.float32(float(true.mid())))

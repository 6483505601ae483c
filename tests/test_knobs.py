"""Softcap, temperature, scale, z-loss and padding: truth, kernels and gradients against mpmath."""

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from conftest import first
from hypothesis import given
from hypothesis import strategies as st
from oracles import rounded
from test_load import read

from xentcli.formats import FORMATS, nearest, stored
from xentcli.judge import Result
from xentcli.judge.exact import compute_exact, losses_to_digits
from xentcli.load.build import build_batch
from xentcli.methods.knobs import METHODS
from xentcli.methods.table import select
from xentcli.model import Batch
from xentcli.run import evaluate
from xentcli.show.sentences import what_happened

inf, nan = math.inf, math.nan
ROW = [2.5, -1.0, 0.25, 40.0]
KNOBS: list[dict[str, Any]] = [
    {"softcap": 30.0},
    {"softcap": 0.5},
    {"temperature": 0.6},
    {"scale": 0.0625},
    {"scale": 3.0, "softcap": 5.0, "temperature": 0.25},
    {"scale": 3.0, "softcap": 5.0, "temperature": 0.25, "order": ("softcap", "temperature", "scale")},
    {"z_loss": 1e-4},
    {"z_loss": 0.5, "softcap": 10.0},
    {"z_loss": 1e-3, "temperature": 2.0, "label_smoothing": 0.1},
    {"softcap": 20.0, "label_smoothing": 0.2, "smoothing_over": "others"},
]
ids = [", ".join(map(str, each)) for each in KNOBS]


def final(x: Any, knobs: dict[str, Any]) -> Any:
    """Return a logit after its knobs, by the definition."""
    for name in knobs.get("order", ("scale", "softcap", "temperature")):
        value = knobs.get(name)
        if value is None:
            continue
        if name == "scale":
            x = x * value
        elif name == "temperature":
            x = x / mpmath.mpf(value)
        else:
            x = value * mpmath.tanh(x / mpmath.mpf(value))
    return x


def loss_of(x: list[Any], label: int, knobs: dict[str, Any]) -> Any:
    """Return the loss of logits (mpmath numbers) by the definition, with z-loss and smoothing."""
    finals = [final(each, knobs) for each in x]
    size = mpmath.log(mpmath.fsum(map(mpmath.exp, finals)))
    smoothing, classes = mpmath.mpf(knobs.get("label_smoothing", 0)), len(x)
    over_others = knobs.get("smoothing_over") == "others"
    each = smoothing / (classes - over_others)
    own = 1 - smoothing + (0 if over_others else each)
    terms = [(own if k == label else each) * (size - y) for k, y in enumerate(finals)]
    return mpmath.fsum(terms) + mpmath.mpf(knobs.get("z_loss", 0)) * size * size


def slopes_of(x: list[Any], label: int, knobs: dict[str, Any]) -> list[Any]:
    """Return the derivative of the loss by each logit."""

    def slope(k: int) -> Any:
        return mpmath.diff(lambda v: loss_of([*x[:k], v, *x[k + 1 :]], label, knobs), x[k])

    return [slope(k) for k in range(len(x))]


def batch(row: list[float], label: int, dtype: str, knobs: dict[str, Any]) -> Batch:
    return build_batch([row], [label], dtype, **knobs)


@pytest.mark.parametrize("dtype", first(2, ["float16", "bfloat16", "float32", "float64"]))
@pytest.mark.parametrize("knobs", KNOBS, ids=ids)
def test_the_truth_is_that_of_mpmath_to_the_last_bit(knobs: dict[str, Any], dtype: str) -> None:
    for label in range(len(ROW)):
        given = batch(ROW, label, dtype, knobs)
        exact = compute_exact(given, dtype, "mean")
        with mpmath.workprec(400):
            x = [mpmath.mpf(float(each)) for each in given.logits[0]]
            loss = loss_of(x, label, knobs)
            slopes = slopes_of(x, label, knobs)
            expected = [rounded(slope, dtype) for slope in slopes]
            digits = mpmath.nstr(loss, 40)

        assert nearest(exact.losses[0], FORMATS[dtype]) == rounded(loss, dtype)
        assert nearest(exact.loss or exact.losses[0], FORMATS[dtype]) == rounded(loss, dtype)
        # mpmath's derivative is one of differences, right to half of its 120 digits
        assert exact.gradients[0].tolist() == pytest.approx(expected, rel=1e-30, abs=FORMATS[dtype].smallest)
        assert mpmath.mpf(str(losses_to_digits(given, [0], 30)[0])) == pytest.approx(
            mpmath.mpf(digits), rel=1e-29
        )


@pytest.mark.slow
@given(
    row=st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=6),
    softcap=st.none() | st.floats(0.25, 100, width=32),
    temperature=st.none() | st.floats(2.0**-7, 10, width=32),
    z_loss=st.sampled_from([0.0, 1e-4, 0.1]),
)
def test_the_truth_of_any_knobs_is_that_of_mpmath(
    row: list[float], softcap: float | None, temperature: float | None, z_loss: float
) -> None:
    knobs = {"softcap": softcap, "temperature": temperature, "z_loss": z_loss}
    exact = compute_exact(batch(row, 0, "float64", knobs), "float64", "sum")
    with mpmath.workprec(6000):  # a tail of exp(-4e4) beside 1
        expected = rounded(loss_of(list(map(mpmath.mpf, row)), 0, knobs), "float64")

    assert nearest(exact.losses[0], FORMATS["float64"]) == expected


@pytest.mark.parametrize(
    ("row", "knobs", "loss", "gradient"),
    [
        ([inf, 0.0], {"softcap": 2.0}, math.log1p(math.exp(-2)), [0.0, 0.11920292202211756]),  # 1 / (1 + e²)
        ([-inf, 0.0], {"temperature": 2.0}, inf, [-0.5, 0.5]),
        ([0.0, -inf], {"temperature": 2.0}, 0.0, [0.0, 0.0]),
        ([inf, 0.0], {"temperature": 2.0}, 0.0, [0.0, 0.0]),
        ([inf, 0.0], {"z_loss": 1.0}, inf, [nan, nan]),
        ([nan, 0.0], {"softcap": 2.0}, nan, [nan, nan]),
        ([-inf, -inf], {"scale": 2.0}, nan, [nan, nan]),
        ([-inf, -inf], {"softcap": 2.0}, math.log(2), [0.0, 0.0]),
        ([3.0], {"softcap": 2.0}, 0.0, [0.0]),
        ([3.0], {"z_loss": 0.25}, 2.25, [1.5]),  # z x², and 2 z x
        ([0.0], {"z_loss": 0.25, "softcap": 2.0}, 0.0, [0.0]),
        ([1e31, 2e31], {"softcap": 30.0}, math.log(2), [0.0, 0.0]),  # tanh rounds to 1 at any digits
        ([1e31, 0.0], {"temperature": 0.5}, 0.0, [0.0, 0.0]),
        ([5.0, 5.0], {"softcap": 1e-3}, math.log(2), [0.0, 0.0]),
    ],
)
def test_limits_and_what_is_rational_are_found(
    row: list[float], knobs: dict[str, Any], loss: float, gradient: list[float]
) -> None:
    exact = compute_exact(batch(row, 0, "float64", knobs), "float64", "mean")

    assert np.array_equal(nearest(exact.losses[0], FORMATS["float64"]), loss, equal_nan=True)
    assert np.array_equal(exact.gradients[0], gradient, equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_a_rational_number_in_the_middle_is_rounded_to_even(dtype: str) -> None:
    """One class has the loss z x² and the gradient 2 z x, which may lie in the middle of two numbers."""
    form = FORMATS[dtype]
    for last in (1, 3):  # x = 1 + last · eps, times 3 / 2 twice: 9 / 4 + 9 / 4 last eps
        x = 1 + last * form.eps
        given = batch([x], 0, dtype, {"z_loss": 0.5, "scale": 1.5})
        exact = compute_exact(given, dtype, "mean")

        slope = Fraction(x) * Fraction(9, 4)
        assert exact.gradients[0].tolist() == [nearest(slope, form)]
        assert nearest(exact.losses[0], form) == nearest(Fraction(x) ** 2 * Fraction(9, 8), form)
        assert exact.loss == exact.losses[0]
    digits = losses_to_digits(batch([3.0], 0, "float64", {"z_loss": 0.1}), [0], 20)[0]
    assert digits == Decimal("0.90000000000000004996")  # 9 · 0.1 as float64 holds it


@pytest.mark.parametrize("knobs", KNOBS, ids=ids)
@pytest.mark.parametrize("name", ["log1p", "sparse", "dense", "naive", "unshifted", "online"])
def test_a_right_formula_has_every_knob_to_a_few_roundings(name: str, knobs: dict[str, Any]) -> None:
    keys = {key: list(value) if key == "order" else value for key, value in knobs.items()}
    lines = "".join(f"{key}: {value}\n" for key, value in keys.items())
    case = read(f"title: t\ndtype: float64\nlogits: [[1.5, -1, 0.25, 2]]\nlabels: [1]\n{lines}")
    (judgement,) = evaluate(case, select(name)).judgements

    assert judgement is not None
    assert judgement.verdict == "accurate"
    assert judgement.gradient is not None
    assert judgement.gradient.state == "alive"
    assert judgement.gradient.error is not None
    assert judgement.gradient.error <= 2.0**-46  # of the largest entry: some sixty roundings


def test_each_operation_is_rounded_to_the_dtype() -> None:
    case = read("title: t\ndtype: bfloat16\nlogits: [[10, 3]]\nlabels: [1]\nsoftcap: 30\ntemperature: 0.6\n")
    (outcome,) = evaluate(case, select("sparse")).outcomes
    steps = {step.name: np.asarray(step.result, np.float64).tolist() for step in outcome.steps}

    def to_bfloat16(values: Any) -> list[list[float]]:
        return stored(np.array(values, np.float64), "bfloat16").astype(np.float64).tolist()

    over = to_bfloat16([[10 / 30, 3 / 30]])
    tanh = to_bfloat16(np.tanh(np.array(over)))
    capped = to_bfloat16(30 * np.array(tanh))
    assert steps["quotient"] == over
    assert steps["tanh"] == tanh
    assert steps["scaled"] == capped
    assert steps["final logits"] == steps["quotient 2"] == to_bfloat16(np.array(capped) / 0.6)


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_the_gradient_of_a_wrong_knob_is_that_of_its_own_loss(name: str) -> None:
    knobs = "scale: 0.5\nsoftcap: 5\ntemperature: 0.8\nz_loss: 0.01\npadding: 1\nlabel_smoothing: 0.1\n"
    row, step = [1.5, -1.0, 0.25, 2.0, 0.5], 2.0**-18
    text = "title: t\ndtype: float64\nlogits: [{}]\nlabels: [1]\n" + knobs

    def evaluated(values: list[float]) -> Result:
        return evaluate(read(text.format(values)), select(name))

    (outcome,) = evaluated(row).outcomes
    assert outcome.gradient is not None
    assert outcome.gradient.shape == (1, 4)
    for k in range(4):
        moved = [[each + sign * step * (at == k) for at, each in enumerate(row)] for sign in (1, -1)]
        above, below = (evaluated(each).outcomes[0].losses[0] for each in moved)
        # step² / 6 of a third derivative of a few units, and 2^-52 / step
        assert outcome.gradient[0, k] == pytest.approx((above - below) / (2 * step), abs=2e-10)


def test_padding_is_no_class_for_anything() -> None:
    keys = "labels: [0, 1]\nlabel_smoothing: 0.1\nclass_weights: [1, 3]\n"
    whole = read(f"title: t\nlogits: [[1, 1, 9], [0, 50, 7]]\npadding: 1\n{keys}")
    cut = read(f"title: t\nlogits: [[1, 1], [0, 50]]\n{keys}")
    one, other = (evaluate(case, select("naive,dense,sparse,log1p")) for case in (whole, cut))

    assert whole.batch.logits.shape == (2, 2)
    assert [each.losses for each in one.outcomes] == [each.losses for each in other.outcomes]
    assert (one.exact.losses, one.exact.loss) == (other.exact.losses, other.exact.loss)


def test_a_knob_that_is_off_changes_no_bit() -> None:
    plain = read("title: t\nlogits: [[1.1, -2.3, 0.7], [3, 2, 1]]\nlabels: [0, 2]\n")
    knobs = "scale: 1\ntemperature: 1\nz_loss: 0\n"
    off = read(f"title: t\nlogits: [[1.1, -2.3, 0.7], [3, 2, 1]]\nlabels: [0, 2]\n{knobs}")
    one, other = evaluate(plain, select("all")), evaluate(off, select("all"))
    theirs = {outcome.method: outcome.losses for outcome in other.outcomes}

    assert all(theirs[outcome.method] == outcome.losses for outcome in one.outcomes)
    assert [str(loss) for loss in one.exact.losses] != []
    assert [nearest(x, FORMATS["float64"]) for x in one.exact.losses] == [
        nearest(x, FORMATS["float64"]) for x in other.exact.losses
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "logits: [[60, 0]]\nlabels: [1]\nsoftcap: 30",
            "softcap_left_out is off because the softcap was left out",
        ),
        (
            "logits: [[1, 0]]\nlabels: [0]\ntemperature: 0.6",
            "because log-probabilities were divided by the temp",
        ),
        (
            "logits: [[12, 0]]\nlabels: [0]\nz_loss: 1e-4",
            "z_loss_left_out is off because the z-loss is not in it",
        ),
        (
            "logits: [[1, 0, 0]]\nlabels: [0]\npadding: 1",
            "padding_counted is off because padding is in the sum",
        ),
    ],
)
def test_what_is_wrong_with_a_knob_is_said(text: str, sentence: str) -> None:
    assert sentence in what_happened(evaluate(read(f"title: t\n{text}\n")))


def test_a_cap_that_changes_nothing_is_not_missed() -> None:
    case = read("title: t\nlogits: [[1e-3, 0]]\nlabels: [0]\nsoftcap: 30\n")
    (judgement,) = evaluate(case, select("softcap_left_out")).judgements

    assert judgement is not None
    assert (judgement.verdict, judgement.all_findings) == ("accurate", ())


@pytest.mark.slow
def test_a_sample_of_many_rows_is_evaluated() -> None:
    rows = build_batch(np.zeros((3000, 3)), np.zeros(3000, int), "float32", softcap=30.0)
    exact = compute_exact(rows, "float32", "mean")

    assert 0 < len(exact.rows) < 3000
    assert exact.loss is None
    whole = compute_exact(replace(rows, knobs=replace(rows.knobs, steps=())), "float32", "mean")
    assert len(whole.rows) == 3000

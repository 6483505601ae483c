"""All rows of a batch are judged at once: as one by one, and each number as by itself."""

import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hard_batches
import numpy as np
import pytest
from conftest import first

from xentcli.formats import EXTREME, FORMATS, Decimals, float_sums, nearest, ulps
from xentcli.judge.exact import compute_exact
from xentcli.judge.verdicts import judge_losses, judge_outcomes
from xentcli.load.build import build_batch
from xentcli.methods.table import METHODS
from xentcli.model import About, Batch, Case, Exact, Numerics, Outcome
from xentcli.run import run

ROWS = 12
LABELS = ("indices", "ignored", "invalid", "soft", "weighted", "binary")


def batch(rng: random.Random, dtype: str, kind: str) -> Batch:
    classes, form = 1 if kind == "binary" else rng.randint(1, 6), FORMATS[dtype]
    wide = [hard_batches.logits(rng, classes, form) for _ in range(ROWS // 2)]
    x = np.array(wide + [[rng.gauss(0, 40) for _ in range(classes)] for _ in range(ROWS - len(wide))])
    y: Any = [rng.randrange(classes) for _ in range(ROWS)]
    keys: dict[str, Any] = {}
    if kind == "ignored":
        keys["ignore_index"] = rng.choice([0, -100])
        y[:3] = [keys["ignore_index"]] * 3
    elif kind == "invalid":
        y[0] = classes
    elif kind == "soft":
        y = np.array([hard_batches.soft(rng, classes, form)[:classes] for _ in range(ROWS)])
    elif kind == "weighted":
        keys = {"class_weights": [rng.choice([0, 0.5, 3]) for _ in range(classes)], "label_smoothing": 0.1}
    elif kind == "binary":
        return build_batch(x[:, 0], [rng.choice([0, 1, 0.3, 2]) for _ in range(ROWS)], dtype)
    return build_batch(x, y, dtype, tile=2, **keys)


def moved(rng: random.Random, outcome: Outcome) -> Outcome:
    """Move losses by a few ulps, so that some lie beside the bar."""
    eps = FORMATS[outcome.dtype].eps
    with np.errstate(all="ignore"):
        losses = [float(loss * (1 + rng.choice([0, 0, 3, 4, 5, 9]) * eps)) for loss in outcome.losses]
    return replace(outcome, losses=tuple(losses))


@pytest.mark.parametrize("kind", first(1, LABELS))
@pytest.mark.parametrize("dtype", FORMATS)
def test_a_batch_is_judged_as_its_rows_one_by_one(
    monkeypatch: pytest.MonkeyPatch, dtype: str, kind: str
) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    monkeypatch.setattr("xentcli.judge.evidence._AT_ONCE", 20)  # numbers: several parts
    rng = random.Random(f"{dtype} {kind}")
    given = batch(rng, dtype, kind)
    case = Case("", "", About(""), Numerics(dtype, "numpy"), "none", given, (), ())
    exact = compute_exact(given, dtype, "none")
    for outcome in (moved(rng, each) for each in run(case, METHODS) if each.failure is None):
        (whole,) = judge_outcomes(case, [outcome], exact)
        each = [
            judge_outcomes(case, [outcome], Exact((row,), (loss,), (gradient,), None))[0]
            for row, loss, gradient in zip(exact.rows, exact.losses, exact.gradients, strict=True)
        ]
        rows = [judgement for judgement in each if judgement is not None]

        assert whole is not None
        assert whole.findings == tuple(judgement.findings[0] for judgement in rows)
        assert whole.verdicts == tuple(judgement.verdict for judgement in rows)
        errors = [judgement.ulps for judgement in rows]
        assert whole.ulps == (None if None in errors else max(error for error in errors if error is not None))
        if whole.gradient is not None:
            states = [judgement.gradient for judgement in rows if judgement.gradient is not None]
            assert whole.gradient.states == tuple(gradient.state for gradient in states)
            sizes = [gradient.error for gradient in states]
            assert whole.gradient.error == (
                None if None in sizes else max(size for size in sizes if size is not None)
            )


def truths(form_name: str) -> list[Decimal]:
    """Numbers, midpoints and powers of two, each by itself and with a tail that float64 does not hold."""
    form = FORMATS[form_name]
    ends = (form.smallest, form.smallest_normal, 1.0, 3.0, form.largest)
    exact = [Decimal(end) * factor for end in ends for factor in (1, Decimal("0.5"), Decimal("1.5"), 2)]
    exact += [Decimal(1) + Decimal(form.eps) * half / 2 for half in (1, 3, 5)]
    tails = [Decimal(f"{sign}1e-40") for sign in "+-"]
    near = [EXTREME.multiply(z, EXTREME.add(1, tail)) for z in exact for tail in tails]
    return [*exact, *near, *map(Decimal, ("0", "1e-5000", "1e5000", "inf", "nan"))]


@pytest.mark.parametrize("dtype", FORMATS)
def test_numbers_are_rounded_and_compared_at_once_as_one_by_one(dtype: str) -> None:
    form, numbers = FORMATS[dtype], truths(dtype)
    true = Decimals.of(tuple(numbers))
    rounded = true.nearest(form)

    assert np.array_equal(rounded, [nearest(z, form) for z in numbers], equal_nan=True)
    assert np.array_equal(true.is_finite, [z.is_finite() for z in numbers])
    for steps in (0, 1, 3, 4, 5, 7):
        losses = np.minimum(rounded, form.largest / 2) * (1 + steps * form.eps)
        errors = true.ulps(losses, form)
        words = judge_losses(losses, true, dtype)
        for loss, z, error, word in zip(losses.tolist(), numbers, errors.tolist(), words, strict=True):
            exact = ulps(loss, z, form)
            if exact is not None and not np.isnan(error):
                assert abs(Decimal(error) - exact) <= Decimal("0.51") + exact * Decimal(2) ** -52
            if exact is not None and loss > 0:
                assert word == ("accurate" if exact <= 4 else "off")


def test_sums_are_rounded_once_even_beyond_float64() -> None:
    rows = np.array([[1e16, 1.0, -1e16], [1.7e308, 1.7e308, -1.7e308], [1.7e308, 1.7e308, 1.0]])

    assert float_sums(rows).tolist() == [1.0, 1.7e308, np.inf]
    assert float_sums(rows[:1]).tolist() == [float(sum(map(Fraction, rows[0].tolist())))]

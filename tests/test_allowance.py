"""docs/check-allowance.md proves by how much a loss may be off: its bounds hold, and half of them would not.

The loss is the one of the proof: each operation is rounded to the dtype, exp and log1p correctly (float64 has
29 digits more than float32 has), the sum is pairwise. The truth is mpmath's.
"""

import math
import re
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from conftest import ROOT
from numpy.typing import NDArray

from xentcli.check.probes import Probe
from xentcli.check.tolerance import MaxUlps
from xentcli.formats import FORMATS, Format, rounded, ulp
from xentcli.frameworks.conventions import CONVENTIONS

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

PAGE = ROOT / "docs" / "check-allowance.md"
DTYPES = ("float16", "bfloat16", "float32")
# Classes and rows of them: C - 1 terms are a power of two, one more, and one less.
SIZES = ((2, 40), (3, 40), (6, 20), (9, 10), (18, 8), (129, 2), (130, 2))
SCALES = (0.5, 5.0, 40.0)
HALF = [0.25, -67.0, -67.0, -67.0, -67.0]  # in bfloat16 all four differences are ties, rounded the same way


class Row(NamedTuple):
    """An example: the error of its loss, what the proof bounds it by, and what is allowed, in ulps."""

    logits: Floats
    error: float
    proved: float
    allowed: float


def pairwise(terms: Floats, form: Format) -> Floats:
    """Add terms (N, n) two by two."""
    while terms.shape[1] > 1:
        even = terms.shape[1] // 2 * 2
        sums = rounded(terms[:, 0:even:2] + terms[:, 1:even:2], form)
        terms = np.concatenate([sums, terms[:, even:]], axis=1)
    return terms[:, 0]


def losses_of(x: Floats, labels: Ints, form: Format) -> Floats:
    """Return the losses (N,) of logits (N, C), every operation in the format."""
    rows, top = np.arange(len(x)), x.argmax(axis=1)
    largest = x[rows, top]
    terms = rounded(np.exp(rounded(x - largest[:, None], form)), form)
    others = np.arange(x.shape[1]) != top[:, None]
    tails = rounded(np.log1p(pairwise(terms[others].reshape(len(x), -1), form)), form)
    return rounded(tails + rounded(largest - x[rows, labels], form), form)


def measured(x: Floats, labels: Ints, dtype: str) -> list[Row]:
    """Compare the losses of logits (N, C) with the true ones."""
    form = FORMATS[dtype]
    eta, max_ulps = 2.0**-form.precision, MaxUlps()
    probe = Probe.build(CONVENTIONS["numpy"], x, labels, dtype)
    k = 1 + math.ceil(math.log2(x.shape[1] - 1))
    measured = []
    for number, (logits, loss) in enumerate(zip(x, losses_of(x, labels, form).tolist(), strict=True)):
        with mpmath.workprec(120):
            gaps = [mpmath.mpf(logits.max()) - mpmath.mpf(value) for value in logits.tolist()]
            terms = [mpmath.exp(-gap) for gap in gaps]
            tail = mpmath.fsum(sorted(terms)[:-1])
            true = mpmath.log1p(tail) + gaps[labels[number]]
            exact = Decimal(mpmath.nstr(true, 40))
            unit = mpmath.mpf(float(ulp(Fraction(exact), form)))
            spread = mpmath.fdot(terms, gaps) / (1 + tail)
            q = tail / (1 + tail)
            bound = (1 + eta) ** 2 * (1.5 * spread + k * q + eta * k**2 * q) + (2 + eta) * true
            error, proved = float(abs(loss - true) / unit), float(eta * bound / unit)
        measured.append(Row(logits, error, proved, probe.allowance(number, exact, max_ulps)))
    return measured


@cache
def rows_of(dtype: str) -> tuple[Row, ...]:
    """Draw rows whose exponentials are normal numbers; labels are the largest, the smallest or any."""
    form, random = FORMATS[dtype], np.random.default_rng(0)
    depth = -math.log(form.smallest_normal) - 1
    rows = []
    for classes, examples in SIZES:
        for scale in SCALES:
            x = rounded(random.normal(scale=scale, size=(examples, classes)), form)
            x = rounded(np.maximum(x, x.max(axis=1, keepdims=True) - depth), form)
            labels = random.integers(0, classes, examples)
            labels[::3], labels[1::3] = x.argmax(axis=1)[::3], x.argmin(axis=1)[1::3]
            rows += measured(x, labels, dtype)
    return (*rows, *measured(np.array([HALF]), np.array([0]), dtype)) if dtype == "bfloat16" else tuple(rows)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loss_of_the_dtype_is_within_what_is_proved_and_that_within_what_is_allowed(dtype: str) -> None:
    for row in rows_of(dtype):
        assert row.error <= row.proved < row.allowed, row


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_of_what_is_proved_would_not_be_enough(dtype: str) -> None:
    assert max(row.error / row.proved for row in rows_of(dtype)) > 0.5


def test_half_of_what_is_allowed_would_not_be_enough() -> None:
    (row,) = measured(np.array([HALF]), np.array([0]), "bfloat16")

    assert row.error > row.allowed / 2
    assert f"{row.error:.1f} of {row.allowed:.1f}" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_the_condition_right_losses_would_be_off(dtype: str) -> None:
    assert any(row.error > 4 + math.log2(len(row.logits)) for row in rows_of(dtype))


@pytest.mark.parametrize(
    ("dtype", "logit", "others"), [("float16", -15.3828125, 83), ("float32", -103.97207641601562, 449)]
)
def test_subnormal_terms_cost_half_of_the_smallest_number_each(dtype: str, logit: float, others: int) -> None:
    (row,) = measured(np.array([[0.0] + [logit] * others]), np.array([0]), dtype)
    page = PAGE.read_text(encoding="utf-8")

    assert row.allowed - others / 2 < row.error < row.allowed < 2 * row.error
    assert f"[0, {logit:.10g} × {others}]" in page
    assert f"{row.error:.1f}" in page
    assert f"{row.allowed:.1f}" in page


def test_terms_that_are_lost_cost_themselves() -> None:
    (row,) = measured(np.array([[0.0, -8.0] + [-60.0] * 8190]), np.array([0]), "float16")

    assert row.error < row.allowed < 4 + 13 + 2 * 8 + 1e-9


def test_what_is_allowed_leaves_room_for_1_6_units_to_first_order() -> None:
    """Scan rows of which some classes are near and the rest is further, and the label is any."""
    gaps = np.concatenate([np.linspace(0, 4, 81), np.linspace(5, 80, 16)])
    near, further, label = np.meshgrid(gaps, [0.0, 5.0, 80.0], [0, 1, 2], indexing="ij")
    far = near + further
    least = math.inf
    for classes in (2, 3, 4, 6, 9, 10, 18, 34, 66, 130, 1026):
        for count in {1, 2, (classes - 1) // 2, classes - 1} - {0}:
            if count >= classes:
                continue
            rest = classes - 1 - count
            tail = count * np.exp(-near) + rest * np.exp(-far)
            spread = (count * near * np.exp(-near) + rest * far * np.exp(-far)) / (1 + tail)
            gap = np.select([label == 0, label == 1], [0 * near, near], far if rest else near)
            loss, k = np.log1p(tail) + gap, 1 + math.ceil(math.log2(classes - 1))
            allowed = 4 + math.log2(classes) + 2 * (spread + gap) / loss
            needed = (spread + k * tail / (1 + tail)) / loss + 2
            least = min(least, float((allowed - needed).min()))

    assert 1.6 <= least < 1.8


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_of_the_dtype_is_within_what_is_allowed(dtype: str) -> None:
    form, random = FORMATS[dtype], np.random.default_rng(1)
    shares = []
    for classes, examples in ((2, 30), (10, 12), (33, 5)):
        for scale, offset in ((0.5, 0.0), (2.0, 0.0), (2.0, 8.0)):
            x = rounded(random.normal(scale=scale, size=(examples, classes)) + offset, form)
            labels = random.integers(0, classes, examples)
            largest, one_hot = x.max(axis=1, keepdims=True), np.eye(classes)[labels]
            total = pairwise(rounded(np.exp(rounded(x - largest, form)), form), form)[:, None]
            normaliser = rounded(largest + rounded(np.log(total), form), form)
            entries = rounded(rounded(np.exp(rounded(x - normaliser, form)), form) - one_hot, form)
            probe = Probe.build(CONVENTIONS["numpy"], x, labels, dtype)
            for row, logits in enumerate(x.tolist()):
                with mpmath.workprec(80):
                    terms = [mpmath.exp(value) for value in logits]
                    p = np.array([float(term / mpmath.fsum(terms)) for term in terms])
                error = np.abs(entries[row] - (p - one_hot[row])).max()
                shares.append(error / probe.gradient_allowance(row, MaxUlps()))

    assert 1 / 16 < max(shares) < 1


def test_the_page_has_what_is_allowed_for_its_examples() -> None:
    rows = re.findall(
        r"^\| \[([\d, ]+)\] \| (\d) \| ([\w, ]+) \| ([\d.]+) \|", PAGE.read_text("utf-8"), re.MULTILINE
    )

    assert len(rows) > 3
    for logits, label, dtypes, allowed in rows:
        x = [[float(value) for value in logits.split(",")]]
        for dtype in FORMATS if dtypes == "any" else dtypes.split(", "):
            probe = Probe.build(CONVENTIONS["numpy"], x, [int(label)], dtype)
            (true,) = probe.truth.losses
            assert f"{probe.allowance(0, true, MaxUlps()):.2f}".rstrip("0").rstrip(".") == allowed

"""The truth against mpmath at 300 bits, and the ulp against values worked out by hand."""

import math
import random
from decimal import Decimal
from fractions import Fraction
from itertools import islice

import mpmath
import numpy as np
import pytest

from xentcli import words
from xentcli.formats import FORMATS, nearest, stored, ulps
from xentcli.judge.exact import exact, rows_of
from xentcli.load.build import build_batch
from xentcli.model import Batch

inf, nan = math.inf, math.nan
every_dtype = pytest.mark.parametrize("dtype", words.DTYPES)


def batch(logits: list[float], labels: list[float], dtype: str) -> Batch:
    return build_batch([logits], [labels], dtype)


def adversarial(rng: random.Random) -> tuple[list[float], list[float]]:
    """Make an example: huge, tiny, tied or masked logits; one-hot, soft or unnormalised labels."""
    classes = rng.randint(1, 8)
    scale = rng.choice([1e-30, 1e-3, 1.0, 30.0, 3e4, 1e31])
    logits = [rng.gauss(0, 1) * scale for _ in range(classes)]
    if rng.random() < 0.3:
        logits = [rng.choice(logits) for _ in logits]  # ties
    if rng.random() < 0.2:
        logits[rng.randrange(classes)] = -inf
    if rng.random() < 0.2:
        logits[0] = logits[-1] + rng.choice([1e-6, 16.7, 40.0, 103.0, 800.0])
    labels = [0.0] * classes
    labels[rng.randrange(classes)] = 1.0
    if rng.random() < 0.4:
        labels = [rng.choice([0.0, rng.random(), 1e-8, 2.0]) for _ in range(classes)]
    return logits, labels


def with_mpmath(given: Batch) -> tuple[mpmath.mpf, list[mpmath.mpf]]:
    """Evaluate loss and gradient at 300 bits, in the form that subtracts no nearly equal numbers."""
    x, y = given.logits[0].tolist(), given.labels[0].tolist()
    largest = x.index(max(x))
    with mpmath.workprec(300):
        below = [mpmath.mpf(v) - mpmath.mpf(x[largest]) for v in x]
        exps = [mpmath.exp(v) for v in below]
        tail = mpmath.fsum(exps[:largest] + exps[largest + 1 :])
        lost = [mpmath.log1p(tail) - v for v in below]
        loss = mpmath.fsum(mpmath.mpf(label) * v for label, v in zip(y, lost, strict=True) if label)
        gradient = []
        for index, (label, e) in enumerate(zip(y, exps, strict=True)):
            others = mpmath.fsum(map(mpmath.mpf, y[:index] + y[index + 1 :]))
            rest = tail if index == largest else 1 + tail - e
            gradient.append((others * e - mpmath.mpf(label) * rest) / (1 + tail))
        return loss, gradient


def rounded(value: mpmath.mpf, dtype: str) -> float:
    """Round to a format with integers alone: an oracle of its own."""
    form = FORMATS[dtype]
    if mpmath.isinf(value) or value == 0:
        return float(value)
    sign, mantissa, exponent, _ = value._mpf_  # exact; any operation outside workprec would round
    top = int(mantissa).bit_length() + exponent - 1  # floor(log2 |value|)
    if top > form.emax + 1:
        return -inf if sign else inf
    if top < form.emin - form.precision - 1:
        return 0.0
    unit = max(top, form.emin) - (form.precision - 1)
    scaled = Fraction(int(mantissa)) * Fraction(2) ** (exponent - unit)
    result = math.floor(scaled + Fraction(1, 2))
    if scaled + Fraction(1, 2) == result and result % 2:
        result -= 1
    number = Fraction(result) * Fraction(2) ** unit
    magnitude = inf if number > Fraction(form.largest) else float(number)
    return -magnitude if sign else magnitude


@every_dtype
def test_agrees_with_mpmath_to_the_last_bit_on_500_examples_a_format(dtype: str) -> None:
    rng = random.Random(dtype)
    differing = []
    examples = (batch(*adversarial(rng), dtype) for _ in range(5000))
    defined = (g for g in examples if np.isfinite(g.logits).any() and not np.isposinf(g.logits).any())
    evaluated = list(islice(defined, 500))
    assert len(evaluated) == 500
    for given in evaluated:
        truth = exact(given, dtype, "sum")
        loss, gradient = with_mpmath(given)
        got = [nearest(truth.losses[0], FORMATS[dtype]), *truth.gradients[0].tolist()]
        if got != [rounded(value, dtype) for value in (loss, *gradient)]:
            differing.append(given)

    assert differing == []


@pytest.mark.parametrize(
    ("logits", "labels", "loss", "gradient"),
    [
        ([0.0, 30.0], [1.0, 0.0], 30.000000000000092, [-0.9999999999999064, 0.9999999999999064]),
        ([-inf, 0.0], [0.0, 1.0], 0.0, [0.0, 0.0]),
        ([-inf, 0.0], [1.0, 0.0], inf, [-1.0, 1.0]),
        ([inf, 0.0], [1.0, 0.0], 0.0, [0.0, 0.0]),  # the limit
        ([inf, 0.0], [0.0, 1.0], inf, [1.0, -1.0]),
        ([1e31, 0.0], [0.0, 1.0], 1e31, [1.0, -1.0]),
        ([5.0], [1.0], 0.0, [0.0]),
        ([0.0, 0.0], [0.0, 0.0], 0.0, [0.0, 0.0]),
        ([inf, inf], [1.0, 0.0], nan, [nan, nan]),
        ([-inf, -inf], [1.0, 0.0], nan, [nan, nan]),
        ([nan, 0.0], [1.0, 0.0], nan, [nan, nan]),
    ],
)
def test_unusual_examples(
    logits: list[float], labels: list[float], loss: float, gradient: list[float]
) -> None:
    truth = exact(batch(logits, labels, "float64"), "float64", "mean")

    got = [nearest(truth.losses[0], FORMATS["float64"])]
    got += truth.gradients[0].tolist()
    assert np.array_equal(got, [loss, *gradient], equal_nan=True)


@pytest.mark.parametrize(
    ("gap", "labels"), [(200, [0.5, 0.5, 0.0]), (500, [0.5, 0.5, 0.0]), (200, [1.0, 1.0, 0.0])]
)
def test_a_gradient_that_cancels_keeps_its_digits(gap: int, labels: list[float]) -> None:
    truth = exact(batch([0.0, 0.0, -float(gap)], labels, "float64"), "float64", "mean")

    with mpmath.workprec(3000):
        e = mpmath.exp(-gap)
        total = math.fsum(labels)
        wanted = [total / (2 + e) - labels[0]] * 2 + [total * e / (2 + e)]
    got = truth.gradients[0].tolist()
    assert got == [rounded(value, "float64") for value in wanted]


def test_the_batch_is_summed_before_it_is_rounded() -> None:
    truth = exact(build_batch([[16.0, 0.0]] * 3, [0] * 3, "float32"), "float32", "mean")

    assert truth.loss is not None
    assert abs(truth.loss - truth.losses[0]) < Decimal("1e-70")  # not the mean of three rounded losses


def test_large_batches_are_sampled_by_rows_alike_each_time() -> None:
    assert rows_of(100, 10) == tuple(range(100))
    assert rows_of(5000, 1000) == rows_of(5000, 1000)
    assert len(set(rows_of(5000, 1000))) == 5
    assert rows_of(3, 10**6) == rows_of(3, 10**6) != ()


@pytest.mark.parametrize(
    ("got", "true", "dtype", "error"),
    [
        (1.0, "1", "float32", "0"),
        (1.0 + 2**-23, "1", "float32", "1"),
        (1.0 - 2**-24, "1", "float32", "0.5"),  # below a power of two the exact value's ulp still counts
        (2.0, "1.99999988079071044921875", "float32", "1"),
        (1.0 - 2**-24, "0.999999999999999999999999999999", "float32", "1"),  # float64 would round it to 1
        (1.0 + 2**-10, "1", "float16", "1"),
        (1.0 + 2**-7, "1", "bfloat16", "1"),
        (1.0 + 2**-52, "1", "float64", "1"),
        (2.0**-149, "0", "float32", "1"),  # the smallest subnormal
        (2.0**-24, "0", "float16", "1"),
        (2.0**-133, "0", "bfloat16", "1"),
        (2.0**-1074, "0", "float64", "1"),
        (0.0, "1.1754943508222875e-38", "float32", "8388608"),  # all digits of the smallest normal lost
        (65504.0, "65536", "float16", "1"),  # past the edge: emax still gives the ulp
        (inf, "65520", "float16", "0"),  # rightly infinite
        (3.0, "1", "float32", "16777216"),
        (0.0, "1e-1000000", "float32", "0"),
    ],
)
def test_ulps_by_hand(got: float, true: str, dtype: str, error: str) -> None:
    measured = ulps(got, Decimal(true), FORMATS[dtype])

    assert measured is not None
    assert round(measured, 6) == Decimal(error)


@pytest.mark.parametrize(("got", "true"), [(nan, "1"), (inf, "1"), (1.0, "Infinity"), (1.0, "NaN")])
def test_there_is_no_error_without_two_numbers(got: float, true: str) -> None:
    assert ulps(got, Decimal(true), FORMATS["float32"]) is None


@every_dtype
def test_storing_rounds_once_to_even(dtype: str) -> None:
    rng = random.Random(0)
    form = FORMATS[dtype]
    values = [
        rng.choice([-1, 1]) * rng.uniform(1, 2) * 2.0 ** rng.randint(form.emin - 30, form.emax)
        for _ in range(300)
    ]
    values = [v for v in values if abs(v) < 1e308]
    edge = [form.largest, 0.0, -0.0, inf, -inf, 1 + 2.0**-form.precision, 1 + 3 * 2.0**-form.precision]

    got = stored(np.array(values + edge), dtype).astype(np.float64)

    assert got.tolist() == [nearest(Decimal(v), form) for v in values + edge]

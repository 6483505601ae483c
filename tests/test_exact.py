"""The truth beside two oracles, mpmath and Arb: every loss, gradient and reduced loss to the last bit."""

import math
import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from conftest import Xent
from hard_batches import examples
from oracle_arb import arb_loss_of_probabilities, arb_truth
from oracle_mpmath import mpmath_loss_of_probabilities, mpmath_truth
from oracles import Real, Truth, inf, nan, rounded

from xentcli import words
from xentcli.formats import FORMATS, nearest, ulps
from xentcli.judge.exact import compute_exact, compute_from_probabilities, rows_of
from xentcli.load.build import build_batch
from xentcli.model import Batch

every_dtype = pytest.mark.parametrize("dtype", words.DTYPES)
Oracle = Callable[[Batch, str], Truth]
every_oracle = pytest.mark.parametrize("oracle", [mpmath_truth, arb_truth])


def is_rounded(value: Decimal, true: Real) -> bool:
    """Whether a decimal rounds to every format as the true number does."""
    pairs = [(nearest(value, form), rounded(true, name)) for name, form in FORMATS.items()]
    return all(np.array_equal(*pair, equal_nan=True) for pair in pairs)


def differences(batch: Batch, dtype: str, reduction: str, oracle: Oracle) -> list[str]:
    """Name what differs from an oracle: losses and the loss in any format, gradients in the dtype."""
    truth, expected = compute_exact(batch, dtype, reduction), oracle(batch, reduction)
    named = [
        f"loss {row}"
        for row, pair in enumerate(zip(truth.losses, expected.losses, strict=True))
        if not is_rounded(*pair)
    ]
    if truth.loss is not None and expected.loss is not None:
        named += [] if is_rounded(truth.loss, expected.loss) else [reduction]
    elif (truth.loss is None) != (expected.loss is None):
        named.append("no loss")
    for row, (got, true) in enumerate(zip(truth.gradients, expected.gradients, strict=True)):
        if not np.array_equal(got, [rounded(value, dtype) for value in true], equal_nan=True):
            named.append(f"gradient {row}")
    return named


@pytest.mark.slow
@every_oracle
@every_dtype
def test_agrees_with_both_oracles_to_the_last_bit(dtype: str, oracle: Oracle) -> None:
    assert [
        named for drawn in examples(dtype, 50) if (named := differences(drawn[0], dtype, drawn[1], oracle))
    ] == []


@pytest.mark.slow
@every_oracle
@every_dtype
def test_agrees_with_both_oracles_on_5000_examples(dtype: str, oracle: Oracle) -> None:
    many = examples(dtype, 1250, "slow")

    assert [named for drawn in many if (named := differences(drawn[0], dtype, drawn[1], oracle))] == []


PROBABILITIES = (0.0, 1.0, 0.5, 0.1, 1 - 2**-24, 1 - 2**-53, 2**-149, 5e-324, 1e-30)


@pytest.mark.parametrize("oracle", [mpmath_loss_of_probabilities, arb_loss_of_probabilities])
@every_dtype
def test_losses_of_probabilities_agree_with_both_oracles(dtype: str, oracle: Callable[..., Any]) -> None:
    rng = random.Random(dtype)
    for batch, reduction in examples(dtype, 30):
        if batch.binary:
            continue
        drawn = [rng.choice([*PROBABILITIES, *PROBABILITIES, 1.5, nan]) for _ in range(batch.logits.size)]
        p = np.array(drawn).reshape(batch.logits.shape).astype(batch.logits.dtype)
        truth = compute_from_probabilities(batch, p, reduction)
        losses, loss = oracle(batch, p, reduction)

        assert all(is_rounded(*pair) for pair in zip(truth.losses, losses, strict=True))
        assert (truth.loss is None) == (loss is None)
        assert truth.loss is None or loss is None or is_rounded(truth.loss, loss)


# Named numbers


def single(x: list[float], y: Any, dtype: str, **more: Any) -> Batch:
    return build_batch([x], [y], dtype, **more)


def loss_of(batch: Batch, dtype: str, reduction: str = "mean") -> float:
    loss = compute_exact(batch, dtype, reduction).loss
    assert loss is not None
    return nearest(loss, FORMATS[dtype])


@pytest.mark.parametrize(
    ("batch", "dtype", "loss"),
    [
        (single([1, -16777216], 1, "float32"), "float32", 16777218.0),  # 16777217 and exp(-16777217)
        (single([1, -16777218], 1, "float32"), "float32", 16777220.0),
        (single([2**54 - 2, -4], 1, "float64"), "float64", 2.0**54 + 4),  # 2^54 + 2 is a tie, to even 2^54
        (single([1e80, -1e80], 1, "float64"), "float64", 2e80),
        (single([1e308, -1e308], 1, "float64"), "float64", inf),
        (single([1e308, -1e308], 0, "float64"), "float64", 0.0),
        (single([2.0**1023, -(2.0**1023 - 2.0**970)], 1, "float64"), "float64", inf),  # the last tie of all
        (single([2.0**1023, -(2.0**1023 - 2.0**971)], 1, "float64"), "float64", FORMATS["float64"].largest),
        (
            build_batch([[0, 0, 0]] * 2, [0, 1], "float64", class_weights=[0.1, 0.2, 0.7]),
            "float64",
            1.0986122886681098,
        ),
        (build_batch([[0, 0]] * 2, [0, 1], "float64", class_weights=[1e308] * 2), "float64", math.log(2)),
        (
            build_batch([[0, 0]] * 2, [[1e308, 1], [1e308, 1e308]], "float64"),
            "float64",
            1.039720770839918e308,
        ),
    ],
)
def test_losses_by_hand(batch: Batch, dtype: str, loss: float) -> None:
    assert loss_of(batch, dtype) == loss
    assert rounded(mpmath_truth(batch, "mean").loss, dtype) == loss
    assert rounded(arb_truth(batch, "mean").loss, dtype) == loss


@pytest.mark.parametrize(("dtype", "scale", "size"), [("float32", 3e4, 3000), ("float64", 1e80, 300)])
@pytest.mark.parametrize("oracle", [arb_truth, pytest.param(mpmath_truth, marks=pytest.mark.slow)])
def test_a_tie_but_for_its_tail_is_rounded_up(dtype: str, scale: float, size: int, oracle: Oracle) -> None:
    form, rng = FORMATS[dtype], random.Random(0)
    rows = [sorted([rng.gauss(0, scale), rng.gauss(0, scale)]) for _ in range(size)]
    ties = wrong_to_even = 0
    for some in (rows[:1500], rows[1500:]):  # all of a batch of at most 5,000 logits is evaluated
        batch = build_batch(some, [0] * len(some), dtype)
        truth, expected = compute_exact(batch, dtype, "none"), oracle(batch, "none")
        losses = [nearest(loss, form) for loss in truth.losses]
        assert losses == [rounded(loss, dtype) for loss in expected.losses]
        for (low, high), loss in zip(batch.logits.tolist(), losses, strict=True):
            gap = Fraction(high) - Fraction(low)
            ties += len({nearest(gap + side * Fraction(1, 10**99), form) for side in (-1, 1)}) == 2
            wrong_to_even += nearest(gap, form) != loss
    assert ties > size // 6
    assert wrong_to_even > size // 12


def test_every_row_of_midpoints_in_the_mean_is_decided_by_the_sum_of_the_tails() -> None:
    batch = build_batch([[1, -16777216]] * 4, [1] * 4, "float32")

    assert loss_of(batch, "float32", "mean") == 16777218.0
    assert loss_of(batch, "float32", "sum") == 4 * 16777218.0


@pytest.mark.parametrize(
    ("x", "y", "loss", "gradient"),
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
def test_unusual_examples(x: list[float], y: list[float], loss: float, gradient: list[float]) -> None:
    truth = compute_exact(single(x, y, "float64"), "float64", "mean")

    got = [nearest(truth.losses[0], FORMATS["float64"]), *truth.gradients[0].tolist()]
    assert np.array_equal(got, [loss, *gradient], equal_nan=True)


@every_oracle
@pytest.mark.parametrize(
    "gap", [1e-300, 5e-324, 1e-160, 1e-9, 0.9999999999999999, 1.0, 1.0000000000000002, 200.0, 500.0]
)
@pytest.mark.parametrize(
    "y", [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.25, 0.5, 0.25], [0.5, 0.0, 0.5]]
)
def test_gradients_that_cancel_keep_their_digits(gap: float, y: list[float], oracle: Oracle) -> None:
    for x in ([0.0, 0.0, -gap], [gap, 0.0, -gap], [1.0, gap, 0.0]):
        assert differences(single(x, y, "float64"), "float64", "none", oracle) == []


@every_oracle
@pytest.mark.parametrize("gap", [1e-100, 5e-324])
def test_digits_are_doubled_until_the_square_of_a_gap_is_seen(gap: float, oracle: Oracle) -> None:
    """The gradient of the second class of four is -gap²/16, beside terms of the size of the gap."""
    batch = single([gap, 0.0, 0.0, -gap], [0.25] * 4, "float64")

    assert differences(batch, "float64", "none", oracle) == []
    assert compute_exact(batch, "float64", "none").gradients[0][1] == (
        -(gap**2) / 16 if gap > 1e-150 else 0.0
    )


@every_oracle
@pytest.mark.parametrize("side", [-1, 1])
def test_a_gradient_beside_a_midpoint_is_decided_by_its_tail(side: int, oracle: Oracle) -> None:
    """The target (1 + 2^-12)² is a midpoint of float32; p of the class is exp(-16777216), or 1 less that."""
    weight = 1 + 2.0**-12
    x, y = ([0.0, -16777216.0], [0.0, weight]) if side > 0 else ([0.0, -16777216.0], [weight, 0.0])
    batch = single(x, y, "float32", class_weights=[weight, weight])

    assert differences(batch, "float32", "none", oracle) == []
    if side > 0:
        assert compute_exact(batch, "float32", "none").gradients[0][1] == -(1 + 2.0**-11)


@every_oracle
def test_equal_logits_at_a_midpoint_are_decided_beside_one_that_vanishes(oracle: Oracle) -> None:
    """(y_1 + y_2 - y_0) / 2 is a midpoint; exp of the third logit is below all that Decimal holds."""
    tenth, labels = float(np.float32(0.1)), [0.0, 1 + 2.0**-23, 2.0**-24]
    batch = single([tenth, tenth, -1e24], labels, "float32")

    assert differences(batch, "float32", "none", oracle) == []
    assert compute_exact(batch, "float32", "none").gradients[0][0] == 0.5 + 2.0**-24


def ties(dtype: str) -> list[tuple[int, Fraction]]:
    """Return the midpoints beside 1 of a format, and the side of 1 that they lie on."""
    precision = FORMATS[dtype].precision
    return [(1, 1 + Fraction(1, 2**precision)), (-1, 1 - Fraction(1, 2 ** (precision + 1)))]


def floats(value: Any, side: int) -> list[float]:
    """Return four floats whose sum lies beside a positive number of mpmath, by 10^-64 of it or so."""
    parts: list[float] = []
    for _ in range(4):
        parts.append(math.nextafter(float(value), 0))
        value -= parts[-1]
    parts[-1] += 2 * math.ulp(parts[-1]) if side > 0 else 0.0
    return parts


@every_dtype
def test_a_loss_that_agrees_with_a_midpoint_to_60_digits_is_on_its_side(dtype: str) -> None:
    """The loss is (1 + t) ln Z + 1000 t with Z = 1 + exp(-30) + 4 exp(-1000), t the sum of four floats."""
    for side, tie in ties(dtype):
        with mpmath.workprec(500):
            log_z = mpmath.log1p(mpmath.exp(-30) + 4 * mpmath.exp(-1000))
            targets = floats((mpmath.mpf(tie.numerator) / tie.denominator - log_z) / (1000 + log_z), side)
        batch = single([0.0, -30.0] + [-1000.0] * 4, [1, 0, *targets], "float64")
        loss = compute_exact(batch, "float64", "mean").loss

        assert loss is not None
        assert 0 < side * (Fraction(loss) - tie) < Fraction(1, 10**60)
        for oracle in (mpmath_truth, arb_truth):
            assert differences(batch, "float64", "mean", oracle) == []


@every_dtype
def test_so_is_a_loss_of_probabilities(dtype: str) -> None:
    """The loss is 1000 t ln 2."""
    for side, tie in ties(dtype):
        with mpmath.workprec(500):
            targets = floats(mpmath.mpf(tie.numerator) / tie.denominator / (1000 * mpmath.log(2)), side)
        batch = single([0.0] * 4, targets, "float64")
        p = np.full((1, 4), 2.0**-1000)
        (loss,) = compute_from_probabilities(batch, p, "none").losses

        assert 0 < side * (Fraction(loss) - tie) < Fraction(1, 10**60)
        for oracle in (mpmath_loss_of_probabilities, arb_loss_of_probabilities):
            assert is_rounded(loss, oracle(batch, p, "none")[0][0])


def test_a_far_tail_stays_in_the_decimal() -> None:
    loss = compute_exact(single([0.0, -5000.0], 1, "float64"), "float64", "mean").losses[0]
    error = ulps(5000.0, loss, FORMATS["float64"])

    assert error is not None
    assert Decimal("3.7e-2160") < error < Decimal("3.8e-2160")  # exp(-5000) in units of 2^-40


def test_what_is_rational_is_exact_and_0_has_no_sign() -> None:
    one_class = compute_exact(build_batch([[5.0], [-inf]], [[2.0], [0.0]], "float64"), "float64", "sum")
    no_target = compute_exact(single([0.0, 1.0], [0.0, 0.0], "float64"), "float64", "mean")
    tiny = compute_exact(single([0.0, -1e308], 0, "float64"), "float64", "mean")

    assert (*no_target.losses, no_target.loss) == (Decimal(0), Decimal(0))
    assert one_class.losses[0] == 0
    assert math.isnan(one_class.losses[1])
    assert not any(np.signbit(entry) for truth in (no_target, tiny) for entry in truth.gradients[0])


def test_the_batch_is_summed_before_it_is_rounded() -> None:
    truth = compute_exact(build_batch([[16.0, 0.0]] * 3, [0] * 3, "float32"), "float32", "mean")

    assert truth.loss is not None
    assert abs(truth.loss - truth.losses[0]) < Decimal(
        "1e-38"
    )  # 1.1e-7 to 33 digits, not three float32 numbers


def test_large_batches_are_sampled_by_rows_alike_each_time() -> None:
    assert rows_of(100, 10, 5000) == tuple(range(100))
    assert rows_of(500, 10, 5000) == tuple(range(500))
    assert len(rows_of(501, 10, 5000)) == 500
    assert rows_of(5000, 1000, 5000) == rows_of(5000, 1000, 5000)
    assert len(set(rows_of(5000, 1000, 5000))) == 5
    assert rows_of(3, 10**6, 5000) == rows_of(3, 10**6, 5000) != ()
    assert len(rows_of(2**17, 2, 10**6)) == len(rows_of(2**17 + 1, 2, 10**6)) == 2**17


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_sampled_batch_has_no_loss(monkeypatch: pytest.MonkeyPatch, is_slow: bool) -> None:
    """Sampled are millions of numbers, and thousands that double-double leaves open, as tails of e^-1000."""
    if not is_slow:
        monkeypatch.setattr("xentcli.judge.exact._MOST_NUMBERS", 5000)
    x, y = [[0.0] + [-1000.0 * is_slow] * 99] * 51, [0] * 51

    assert compute_exact(build_batch(x, y, "float32"), "float32", "mean").loss is None
    assert compute_exact(build_batch(x[:-1], y[:-1], "float32"), "float32", "mean").loss is not None


@pytest.mark.parametrize("step", [1e-20, 5e-324, 1e-160, 1e-3])
@pytest.mark.parametrize("classes", [50, 64])
def test_gradients_of_many_nearly_equal_logits_keep_their_digits(classes: int, step: float) -> None:
    """Soft labels 1/C: all that is left of a gradient is of the size of a step, or of its square."""
    x, y = [index * step for index in range(classes)], [1 / classes] * classes

    assert differences(single(x, y, "float64"), "float64", "mean", arb_truth) == []


# The command line


@pytest.mark.parametrize("command", ["run", "compare", "explain"])
@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("logits: [[1e308, -1e308]]\nlabels: [1]", "inf"),
        ("logits: [[0, -1e308]]\nlabels: [0]", "0.0"),
        ("logits: [[0, 0], [0, 1]]\nlabels: [0, 1]\nclass_weights: [1e308, 1e308]", "0.5032044340390841"),
        ("logits: [[0, 0], [0, 1]]\nlabels: [[1e308, 1], [1e308, 1e308]]", "1.1598352777981955e+308"),
    ],
)
def test_numbers_beyond_float64_are_no_traceback(
    xent: Xent, tmp_path: Path, command: str, text: str, loss: str
) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(f"title: t\n{text}\ndtype: float64\n", encoding="utf-8")

    result = xent(command, path)

    assert result.code == 0
    assert "Traceback" not in result.err
    assert loss in result.out or command == "explain"

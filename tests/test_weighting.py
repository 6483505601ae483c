"""Weights, smoothing, ignored rows, orders of addition, flushing: every key against its definition."""

import math
import random
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from conftest import first
from oracles import rounded

from xentcli import formats, load, run
from xentcli.judge import Result
from xentcli.load.sources import Source
from xentcli.methods import arithmetic
from xentcli.methods.table import METHODS, select

inf, nan = math.inf, math.nan
SPARSE = ["sparse", "unshifted", "online", "log1p"]
SOFTMAX = [method.name for method in METHODS if not (method.binary or method.parts or method.needs)]


def result_of(text: str, methods: str = "all") -> Result:
    case = load.load(Source("case.yaml", "case", text.encode()))
    return run.evaluate(case, select(methods))


def loss_of(text: str, method: str) -> float:
    loss = result_of(text, method).outcomes[0].loss
    assert loss is not None
    return loss


def defined(rows: list[list[float]], labels: list[int], weights: list[float], smoothing: float) -> mpmath.mpf:
    """Evaluate PyTorch's published definition of the mean at 300 bits; -100 is ignored."""
    with mpmath.workprec(300):
        share = mpmath.mpf(smoothing)
        total, divisor = mpmath.mpf(0), mpmath.mpf(0)
        for row, label in zip(rows, labels, strict=True):
            if label == -100:
                continue
            log_sum = mpmath.log(mpmath.fsum(mpmath.exp(x) for x in row))
            lost = [mpmath.mpf(w) * (log_sum - x) for w, x in zip(weights, row, strict=True)]
            total += (1 - share) * lost[label] + share / len(row) * mpmath.fsum(lost)
            divisor += mpmath.mpf(weights[label])
        return total / divisor


def examples() -> list[tuple[list[list[float]], list[int], list[float], float]]:
    rng = random.Random(0)
    made = []
    for _ in range(60):
        classes, rows = rng.randint(2, 5), rng.randint(1, 4)
        logits = [[round(rng.gauss(0, 3), 3) for _ in range(classes)] for _ in range(rows)]
        labels = [rng.choice([-100, *range(classes)]) for _ in range(rows)]
        labels[0] = 0
        weights = [rng.choice([0.25, 1.0, 1.5, 20.0]) for _ in range(classes)]
        made.append((logits, labels, weights, rng.choice([0.0, 0.1, 0.5, 1.0])))
    return made


def written(logits: object, labels: object, weights: object, smoothing: float) -> str:
    return (
        f"title: t\ndtype: float64\nlogits: {logits}\nlabels: {labels}\nclass_weights: {weights}\n"
        f"label_smoothing: {smoothing}\nignore_index: -100\n"
    )


@pytest.mark.parametrize("example", examples(), ids=str)
def test_the_truth_is_the_published_definition(
    example: tuple[list[list[float]], list[int], list[float], float],
) -> None:
    exact = result_of(written(*example), "sparse").exact.loss

    assert exact is not None
    assert formats.nearest(exact, formats.FORMATS["float64"]) == rounded(defined(*example), "float64")


@pytest.mark.parametrize("name", first(3, [name for name in SOFTMAX if name != "clipped"]))
def test_every_method_computes_the_published_definition(name: str) -> None:
    for example in examples():
        loss = loss_of(written(*example), name)
        wanted = defined(*example)
        # Sums of at most 4 rows of 5 classes of terms below 15 · 20, 32 roundings deep at most.
        assert abs(loss - wanted) <= 32 * 2.0**-53 * 300 * max(1, wanted), example


@pytest.mark.parametrize("name", [*SPARSE, "dense"])
def test_gradients_of_weighted_smoothed_labels_are_those_of_the_definition(name: str) -> None:
    for example in examples():
        result = result_of(written(*example), name)
        gradient = result.outcomes[0].gradient
        assert gradient is not None
        for got, true in zip(gradient, result.exact.gradients, strict=True):
            # A softmax, a sum of at most 5 targets below 20 and a difference: a dozen roundings of that size.
            assert np.abs(got - true).max() <= 12 * 2.0**-53 * 100, example


@pytest.mark.parametrize("name", SPARSE)
def test_an_ignored_row_of_masks_is_left_out_by_methods_of_one_class(name: str) -> None:
    text = "title: t\nlogits: [[-inf, -inf], [1, 1]]\nlabels: [7, 0]\nignore_index: 7\n"

    outcome = result_of(text, name).outcomes[0]

    assert outcome.losses[0] == 0
    assert outcome.loss is not None
    error = formats.ulps(outcome.loss, Decimal(2).ln(), formats.FORMATS["float32"])
    assert error is not None
    assert error <= 1
    assert outcome.gradient is not None
    assert np.isnan(outcome.gradient[0]).all() == (name != "log1p")


def test_the_mean_over_nothing_is_nan_and_the_sum_is_0() -> None:
    text = "title: t\nlogits: [[1, 2]]\nlabels: [-100]\nignore_index: -100\n"

    for name in SPARSE:
        assert math.isnan(loss_of(text, name))
        assert loss_of(text + "reduction: sum\n", name) == 0
    result = result_of(text, "sparse")
    assert result.judgements[0] is not None
    assert result.judgements[0].verdict == "undefined"
    assert result.judgements[0].all_findings == ("empty-mean",)


def test_weights_decide_what_a_mean_divides_by_for_indices_and_not_for_rows() -> None:
    keys = "title: t\nlogits: [[-100, 100], [-100, 100]]\nclass_weights: [20, 10]\n"

    assert loss_of(f"{keys}labels: [0, 1]\n", "sparse") == float(np.float32(4000 / 30))
    assert loss_of(f"{keys}labels: [[1, 0], [0, 1]]\n", "dense") == 4000 / 2


def test_accumulate_keeps_what_follows_a_sum_in_its_format() -> None:
    text = "title: t\ndtype: float16\nlogits: [[0 x 3]]\nlabels: [0]\n"

    narrow, wide = (result_of(text + more, "sparse").outcomes[0] for more in ("", "accumulate: float32\n"))

    assert (narrow.dtype, narrow.loss) == ("float16", float(np.float16(math.log(3))))
    assert (wide.dtype, wide.loss) == ("float32", float(np.float32(math.log(3))))


@pytest.mark.parametrize(
    ("dtype", "classes", "stops"), [("float16", 4096, 2048), ("bfloat16", 512, 256), ("float32", 512, 512)]
)
def test_a_sum_in_order_stops_where_1_is_half_an_ulp(dtype: str, classes: int, stops: int) -> None:
    ones = np.ones((1, classes), formats.dtype(dtype))

    assert arithmetic.get("numpy", dtype, sequential=True).sum(ones).item() == stops
    assert arithmetic.get("numpy", dtype).sum(ones).item() == classes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_flushing_takes_subnormal_numbers_for_0(dtype: str) -> None:
    tiny = Fraction(2) ** formats.FORMATS[dtype].emin
    x = formats.stored(np.array([[float(tiny), float(tiny / 2), -float(tiny / 2)]]), dtype)
    ar = arithmetic.get("numpy", dtype, flush_subnormals=True)

    with np.errstate(divide="ignore"):
        logs = ar.log(ar.maximum(x, x * 0)).astype(np.float64)

    assert np.isfinite(logs[0, 0])
    assert logs[0, 1] == logs[0, 2] == -inf
    assert np.signbit(formats.flush(x).astype(np.float64)[0, 2])


def test_flushing_takes_subnormal_results_for_0_too() -> None:
    ar = arithmetic.get("numpy", "float32", flush_subnormals=True)
    small = np.array([[2.0**-100]], np.float32)

    assert ar.multiply(small, small * np.float32(2**-30)).item() == 0


def test_the_gradient_of_a_wider_loss_is_judged_in_its_format() -> None:
    text = "title: t\ndtype: float16\naccumulate: float32\nlogits: [[0.1, 0]]\nlabels: [0]\n"

    (true,) = result_of(text, "sparse").exact.gradients

    assert not np.array_equal(true, true.astype(np.float16))


def test_a_repeated_number_stands_as_often_as_it_says() -> None:
    case = load.load(Source("case.yaml", "case", b"title: t\nlogits: [[27, 0 x 32127]]\nlabels: [0]\n"))

    assert case.batch.logits.shape == (1, 32128)


def test_online_takes_the_tile_of_the_case() -> None:
    text = "title: t\nlogits: [[-inf, -inf, 10]]\nlabels: [2]\n"

    assert math.isnan(loss_of(f"{text}tile: 2\n", "online"))
    assert loss_of(f"{text}tile: 3\n", "online") == loss_of(text, "online") == 0


@pytest.mark.parametrize(
    ("bad", "label", "sparse"),
    [("nan", 3, nan), ("nan", -1, nan), ("wrap", -1, 0.4076), ("wrap", -3, 2.4076), ("wrap", -4, nan)],
)
def test_a_bad_label_is_nan_or_counted_from_the_end(bad: str, label: int, sparse: float) -> None:
    text = f"title: t\nlogits: [[1, 2, 3]]\nlabels: [{label}]\nbad_labels: {bad}\n"

    result = result_of(text, "dense,sparse")

    assert result.outcomes[0].losses == (0.0,)  # a one-hot row of zeros
    assert np.array_equal(np.round(result.outcomes[1].losses, 4), [sparse], equal_nan=True)
    assert [judgement and judgement.verdict for judgement in result.judgements] == ["undefined"] * 2


# What weights, masks and reductions must not hide


def test_a_mean_over_weights_of_0_is_nan_even_where_smoothing_loses_something() -> None:
    text = "title: t\nlogits: [[100, 1, 2]]\nlabels: [1]\nclass_weights: [2, 0, 0.5]\nlabel_smoothing: 0.5\n"

    assert all(outcome.loss is not None and math.isnan(outcome.loss) for outcome in result_of(text).outcomes)


@pytest.mark.parametrize(
    ("logits", "weights", "method", "found"),
    [
        ("[[17, 0]]", "[1e8, 1]", "sparse", "tail-collapse"),
        ("[[1e4, 1e4, 1e4]]", "[1000, 1, 1]", "unshifted", "offset-cancellation"),
        ("[[-inf, 0]]", "[0, 1]", "sparse", "masked-infinity"),
    ],
)
def test_a_class_weight_does_not_change_the_cause(logits: str, weights: str, method: str, found: str) -> None:
    text = f"title: t\nlogits: {logits}\nlabels: [0]\nclass_weights: {weights}\nreduction: sum\n"

    (judgement,) = result_of(text, method).judgements

    assert judgement is not None
    assert judgement.all_findings[0] == found


@pytest.mark.parametrize(("rows", "reduction"), [(2400, "sum"), (4096, "mean")])
def test_losses_lost_in_their_sum_are_found_in_sampled_batches_too(rows: int, reduction: str) -> None:
    logits = "[" + "[0, 0], " * rows + "]"
    text = f"title: t\ndtype: float16\naccumulate: sequential\nlogits: {logits}\nlabels: [0 x {rows}]\n"

    (judgement,) = result_of(f"{text}reduction: {reduction}\n", "sparse").judgements

    assert judgement is not None
    assert judgement.verdict == "off"
    assert judgement.all_findings == ("low-precision-sum",)


def test_a_subnormal_probability_as_printed_is_that_of_the_softmax() -> None:
    text = "title: t\nlogits: [[0, 103]]\nlabels: [0]\nprobabilities: [[1.4e-45, 1.0]]\n"

    (judgement,) = result_of(text, "naive").judgements

    assert judgement is not None
    assert "other-probabilities" not in judgement.all_findings


@pytest.mark.parametrize(
    ("logits", "dtype", "found"),
    [
        ("0, .inf", "float32", False),  # no softmax to hold them to
        ("-.inf, -.inf", "float32", False),
        (".nan, 0", "float32", False),
        ("1e308, -1e308", "float64", True),  # further apart than float64 reaches, and the softmax is [1, 0]
    ],
)
def test_probabilities_are_held_to_a_softmax_only_where_there_is_one(
    logits: str, dtype: str, found: bool
) -> None:
    text = f"title: t\ndtype: {dtype}\nlogits: [[{logits}]]\nlabels: [0]\nprobabilities: [[0.5, 0.5]]\n"

    (judgement,) = result_of(text, "naive").judgements

    assert judgement is not None
    assert ("other-probabilities" in judgement.all_findings) is found


@pytest.mark.parametrize("accumulate", ["sequential", None], ids=str)
def test_a_sum_whose_partial_sums_overflow_is_found(accumulate: str | None) -> None:
    large, small = ", ".join(["22026"] * 2), ", ".join(["0.0000454"] * 2)  # e^10 and e^-10
    text = f"""
title: t
dtype: float16
logits: [[0 x 16]]
labels: [[6000 x 16]]
probabilities: [[{", ".join([large, small] * 4)}]]
""" + (f"accumulate: {accumulate}\n" if accumulate else "")

    (judgement,) = result_of(text, "naive").judgements

    assert judgement is not None
    assert "low-precision-sum" in judgement.all_findings

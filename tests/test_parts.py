"""Batches in parts: means over parts and sums over shards, by their definitions in exact arithmetic."""

import itertools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_load import read

from xentcli.formats import FORMATS
from xentcli.judge import Result
from xentcli.judge.evidence import Reduction
from xentcli.judge.exact import compute_exact
from xentcli.judge.findings import denominators
from xentcli.load.build import build_batch
from xentcli.methods.parts import MEANS, METHODS, SHARDED
from xentcli.methods.table import select
from xentcli.model import Batch
from xentcli.run import evaluate
from xentcli.show.sentences import what_happened

LABELS = [0, 1, -100, 2, 1, -100, 0]
LOGITS = np.array([[k % 3, (k * 7) % 5, (k * 3) % 4] for k in range(7)], float)
WEIGHTS = [1, 3, 0.5]


@dataclass(frozen=True)
class Sums:
    """The sum of the losses, the weights that count and the size of each part."""

    s: list[Fraction]
    w: list[Fraction]
    n: list[Fraction]

    @property
    def means(self) -> list[Fraction]:
        """The mean of each part."""
        return [s / w for s, w in zip(self.s, self.w, strict=True)]


# What each mean is, in exact arithmetic.
DEFINED: dict[str, Callable[[Sums], Fraction]] = {
    "mean_over_all": lambda parts: total(parts.s) / total(parts.w),
    "mean_of_means": lambda parts: total(parts.means) / len(parts.s),
    "sum_of_means": lambda parts: total(parts.means),
    "means_by_size": lambda parts: total(map(operator.mul, parts.n, parts.means)) / total(parts.n),
    "divided_by_all": lambda parts: total(parts.s) / total(parts.n),
    "divided_again": lambda parts: total(parts.s) / total(parts.w) / len(parts.s),
}


def total(numbers: Iterable[Fraction]) -> Fraction:
    return sum(numbers, Fraction(0))


def text(**keys: Any) -> str:
    given = {"dtype": "float64", "logits": LOGITS.tolist(), "labels": LABELS, "ignore_index": -100, **keys}
    return "title: t\n" + "".join(f"{key}: {value}\n" for key, value in given.items())


def evaluated(methods: str, **keys: Any) -> Result:
    return evaluate(read(text(**keys)), select(methods))


def weight(label: int) -> Fraction:
    return Fraction(0) if label < 0 else Fraction(WEIGHTS[label])


def exact_losses(batch: Batch) -> list[Fraction]:
    with mpmath.workprec(200):
        rows = [mpmath.log(mpmath.fsum(map(mpmath.exp, row))) for row in batch.logits.tolist()]
        return [
            Fraction(0) if k < 0 else weight(k) * Fraction(float(total - row[k]))
            for total, row, k in zip(rows, batch.logits.tolist(), LABELS, strict=True)
        ]


@pytest.mark.parametrize("sizes", [[7], [3, 4], [1, 1, 5], [4, 3]])
@pytest.mark.parametrize("name", DEFINED)
def test_a_mean_over_parts_is_that_of_its_definition(name: str, sizes: list[int]) -> None:
    (outcome,) = (result := evaluated(name, class_weights=WEIGHTS, parts=sizes)).outcomes
    losses, ends = exact_losses(result.case.batch), np.cumsum([0, *sizes])
    parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
    s = [total(losses[part]) for part in parts]
    w = [total(map(weight, LABELS[part])) for part in parts]
    if not all(w):
        assert outcome.loss is not None
        assert np.isnan(outcome.loss) == (name in {"mean_of_means", "sum_of_means", "means_by_size"})
        return
    expected = DEFINED[name](Sums(s, w, [Fraction(size) for size in sizes]))

    assert outcome.loss is not None
    # seven losses, each within 2 ulps, two sums and two divisions
    assert abs(Fraction(outcome.loss) - expected) <= 8 * Fraction(2) ** -52 * expected


def test_every_mean_has_a_definition_here() -> None:
    assert [method.name for method in MEANS] == list(DEFINED)


@pytest.mark.parametrize("along", ["examples", "copies"])
def test_the_gradient_of_a_mean_is_the_difference_quotient_of_its_loss(along: str) -> None:
    logits, step = [[0.5, 1, 0], [2, 0, 1], [0, 0.25, 3]], 2.0**-20
    options = {"logits": logits, "labels": [0, 1, 2], "parts": f"{{along: {along}, sizes: 2}}"}
    names = ",".join(method.name for method in MEANS if along in method.parts)
    result = evaluated(names, **options)
    for at, outcome in enumerate(result.outcomes):
        for row, column in [(0, 0), (1, 2), (2, 1)]:
            losses = []
            for sign in (1, -1):
                moved = np.array(logits)
                moved[row, column] += sign * step
                losses.append(
                    evaluated(names, **options | {"logits": moved.tolist()}).outcomes[at].loss or 0.0
                )
            slope = (losses[0] - losses[1]) / (2 * step)
            assert outcome.gradient is not None
            # the factor of the right mean, 1 / 3, is left out; step² / 6 and 2^-52 / step are below 1e-9
            assert outcome.gradient[row, column] / 3 == pytest.approx(slope, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vocab_parallel", "online_shards"])
@given(
    logits=st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=9),
    shards=st.integers(1, 4),
    offset=st.sampled_from([0.0, 1e4, -3e4]),
)
def test_shards_make_the_loss_of_all_classes(
    name: str, logits: list[float], shards: int, offset: float
) -> None:
    row, label = [x + offset for x in logits], len(logits) // 2
    parts = f"{{along: classes, sizes: {min(shards, len(row))}}}"
    result = evaluated(name, logits=[row], labels=[label], parts=parts)
    (outcome,) = result.outcomes
    with mpmath.workprec(300):
        shifted = [mpmath.mpf(x) - row[label] for x in row]
        true = mpmath.log(mpmath.fsum(map(mpmath.exp, shifted)))

    # log rounds sums near 1, and x - m is rounded at the size of the gap, of 100 at most
    assert abs(mpmath.mpf(outcome.losses[0]) - true) <= 2.0**-52 * (200 + 8 * abs(true))


def test_one_shard_of_minus_infinity_is_nan_online_and_right_in_two_passes() -> None:
    options = {"logits": "[[-inf, -inf, 0, 1]]", "labels": [3], "parts": "{along: classes, sizes: 2}"}
    result = evaluated("vocab_parallel,online_shards", **options)
    two_passes, online = result.judgements

    assert two_passes is not None
    assert two_passes.verdict == "accurate"
    assert online is not None
    assert (online.verdict, online.all_findings) == ("nan", ("nan-gradient", "empty-tile"))


@pytest.mark.parametrize("over", ["classes", "others"])
def test_each_rank_smooths_over_its_own_shard(over: str) -> None:
    row, smoothing, label = [2.0, 1.0, 0.0, -1.0, 0.5], 0.2, 3
    options = {"logits": [row], "labels": [label], "label_smoothing": smoothing, "smoothing_over": over}
    parts = "{along: classes, sizes: [2, 3]}"
    case = read(text(**options, parts=parts, derived="{shard_losses: [[0, 0]]}"))
    (comparison,) = evaluate(case).comparisons
    with mpmath.workprec(100):
        total = mpmath.log(mpmath.fsum(map(mpmath.exp, row)))
        expected = []
        for shard in (row[:2], row[2:]):
            each = mpmath.mpf(smoothing) / (len(shard) - (over == "others"))
            own = 1 - mpmath.mpf(smoothing) - (each if over == "others" else 0)
            terms = mpmath.fsum(total - x for x in shard)
            expected.append(float(own * (total - row[label]) + each * terms))

    assert comparison.values == pytest.approx(expected, rel=4 * 2.0**-52)  # a sum of four terms


@pytest.mark.parametrize(("smoothing", "classes"), [(0.1, 4), (0.9, 3), (1.0, 2), (0.5, 1), (0.75, 4)])
def test_the_truth_of_smoothing_over_the_others_is_that_of_mpmath(smoothing: float, classes: int) -> None:
    row = [0.5 * k * k - k for k in range(classes)]
    batch = build_batch([row], [classes - 1], "float64", label_smoothing=smoothing, smoothing_over="others")
    exact = compute_exact(batch, "float64", "mean")
    with mpmath.workprec(300):
        total = mpmath.log(mpmath.fsum(map(mpmath.exp, row)))
        each = mpmath.mpf(smoothing) / max(1, classes - 1)
        targets = [each] * (classes - 1) + [1 - mpmath.mpf(smoothing) if classes > 1 else mpmath.mpf(1)]
        loss = mpmath.fsum(t * (total - x) for t, x in zip(targets, row, strict=True))
        gradient = [float(mpmath.exp(x - total) - t) for t, x in zip(targets, row, strict=True)]

    assert float(exact.losses[0]) == float(loss)
    assert exact.gradients[0].tolist() == gradient


# What is found, and how it is said


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"labels": [0, 1, 2, 0], "parts": 2},
            "sum_of_means and its gradient are 2 × the truth because the parts' means were added",
        ),
        (
            {"labels": [0, 1, 2, 0], "parts": [3, 1]},
            "sum_of_means is 2.201 × the truth because the parts' means were added, not averaged",
        ),
        (
            {"labels": [0, 1, 2, 0], "parts": 4},
            "divided_again and its gradient are 1/4 of the truth because the mean was divided by the number",
        ),
        (
            {"labels": [0, -100, 2, 0], "parts": 1},
            "divided_by_all and its gradient are 3/4 of the truth because the sum was divided by the number",
        ),
        (
            {"labels": [0, 1, 2, 0], "parts": "{along: copies, sizes: 3}"},
            "sum_of_means and its gradient are 3 × the truth",
        ),
        (
            {"labels": [0, 1, 2, 0], "parts": "{along: copies, sizes: 3}"},
            "gathered_again is ln 3 more than the truth because each class is in the sum several times",
        ),
    ],
)
def test_the_ratio_is_in_the_sentence(keys: dict[str, Any], sentence: str) -> None:
    logits = [[0, 1, 2], [2, 0, 0.5], [1, 1, 0], [0, 3, 1]]

    assert sentence in what_happened(evaluate(read(text(logits=logits, **keys))))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize(("ulps_off", "found"), [(4, True), (6, False)])
def test_a_mean_of_means_is_one_to_4_ulps(dtype: str, ulps_off: int, found: bool) -> None:
    case = read(text(dtype=dtype, logits=[[0, 3], [3, 0], [0, 0]], labels=[0, 0, 0], parts=[1, 2]))
    form, losses = FORMATS[dtype], (3.0, 0.0625, 0.6875)
    value = (3.0 + 0.375) / 2
    unit = 2.0 ** (1 - form.precision)  # value lies between 1 and 2
    for sign in (1, -1):
        reduced = Reduction(losses, value + sign * ulps_off * unit, Fraction(3), dtype, None, case.batch)
        assert denominators.mean_of_means.detect_in_reduction(reduced) is found
        assert denominators.is_explained(reduced) is found


def test_a_right_mean_is_no_finding_however_the_batch_is_divided() -> None:
    for parts in (1, 2, [1, 6], "{along: copies, sizes: 5}"):
        result = evaluated("mean_over_all", parts=parts)
        (judgement,) = result.judgements
        assert judgement is not None
        assert (judgement.verdict, judgement.all_findings, judgement.ratio) == ("accurate", (), None)


def test_methods_for_parts_run_on_parts_and_no_others() -> None:
    plain = evaluate(read(text()))
    parts = evaluate(read(text(parts=2)))
    shards = evaluate(read(text(parts="{along: classes, sizes: 2}")))

    assert not {o.method for o in plain.outcomes} & {m.name for m in METHODS}
    assert [o.method for o in parts.outcomes] == [m.name for m in MEANS]
    assert {o.method for o in shards.outcomes} < {m.name for m in SHARDED}
    (outcome,) = evaluated("sum_of_means").outcomes
    assert outcome.inapplicable == "expects parts along the examples or copies"


def test_a_sum_has_no_mean_over_parts() -> None:
    case = replace(read(text(parts=2)), reduction="sum")
    (outcome,) = evaluate(case, select("sum_of_means")).outcomes

    assert outcome.inapplicable == "reduces to a mean, not to a sum"

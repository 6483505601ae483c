"""Summaries of parts: exact, and the same in whatever parts a dump is read and in any order of merging."""

import math
from fractions import Fraction
from functools import reduce
from random import Random
from typing import Any

import numpy as np
import pytest
from conftest import first
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rules import rows_of

from xentcli import show
from xentcli.diagnose import distribution, survey
from xentcli.diagnose.diagnosis import diagnosis_of
from xentcli.diagnose.distribution import Distribution, distribution_of, exact_mean, exact_sum
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.loss import method_loss
from xentcli.diagnose.rules import rules_for
from xentcli.diagnose.summary import Question, Summary, merge, summarise
from xentcli.diagnose.survey import Survey
from xentcli.methods.table import select
from xentcli.show.screen import Screen

finite = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(finite, max_size=30)
SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)


@given(lists)
def test_a_sum_has_no_error(values: list[float]) -> None:
    assert Fraction(exact_sum(np.array(values, np.float64)), 2**1126) == sum(map(Fraction, values))


@given(st.lists(finite, min_size=1, max_size=30))
def test_a_mean_is_rounded_once(values: list[float]) -> None:
    true = sum(map(Fraction, values)) / len(values)

    assert exact_mean(exact_sum(np.array(values, np.float64)), len(values)) == float(true)


def test_a_mean_beyond_float64_is_infinite() -> None:
    assert exact_mean(exact_sum(np.full(2, 1.7e308)), 1) == math.inf
    assert exact_mean(exact_sum(np.full(2, -1.7e308)), 1) == -math.inf


def merged(parts: list[list[float]]) -> Distribution:
    return reduce(Distribution.merge, (distribution_of(np.array(part, np.float64)) for part in parts))


@given(st.lists(lists, min_size=1, max_size=5), st.randoms(use_true_random=False), st.sampled_from([0, 20]))
@settings(deadline=None, max_examples=15)
def test_quantiles_do_not_depend_on_the_parts(parts: list[list[float]], random: Any, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "MOST_VALUES", most)
        together = [value for part in parts for value in part]
        expected = merged([together, []]).quantiles(SHARES)
        random.shuffle(parts)
        backwards = [list(reversed(part)) for part in parts]

        assert np.array_equal(merged([*backwards, []]).quantiles(SHARES), expected, equal_nan=True)


@given(st.lists(finite, min_size=1, max_size=99))
@settings(deadline=None, max_examples=15)
def test_counted_quantiles_are_off_by_at_most_the_error_that_is_said(values: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "MOST_VALUES", 0)
        found = merged([values, []])
        numbers = np.array(values, np.float64)
        true = np.quantile(numbers, SHARES, method="nearest")

        assert found.is_counted
        assert found.quantiles(SHARES)[0] == numbers.min()
        assert found.quantiles(SHARES)[-1] == numbers.max()
        # A cell of subnormal numbers is as wide as those numbers are large; it is 2^-1030.
        error = np.abs(np.array(found.quantiles(SHARES)) - true) - distribution.COUNTED_ERROR * np.abs(true)
        assert (error <= 2.0**-1030).all()


def test_ten_million_numbers_are_kept_and_one_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distribution.MOST_VALUES == 1_000_000
    monkeypatch.setattr(distribution, "MOST_VALUES", 10)

    assert not merged([[1.0] * 4, [2.0] * 6]).is_counted
    assert merged([[1.0] * 4, [2.0] * 7]).is_counted


def dump() -> list[Shard]:
    """Return rows of all kinds: near every limit, infinite, nan, masked, with invalid and ignored labels."""
    x, k = (array.copy() for array in rows_of("float32", 30, 400))
    x[7, 3], x[301, 5], x[77] = math.inf, math.nan, -math.inf
    k[[9, 333]], k[50:60] = 30, 4
    return [Shard("a", x[:150], k[:150]), Shard("b", x[150:], k[150:], first=150)]


def report(found: Summary, question: Question) -> str:
    return show.diagnose(diagnosis_of(Survey(dump(), True, question, found, True)), "json", Screen())


@pytest.mark.parametrize(
    ("method", "ignore_index"),
    first(1, [(None, -100), (None, 4), ("naive", -100), ("clipped", 4), ("textbook", 4)]),
)
def test_a_dump_says_the_same_in_any_parts_merged_in_any_order(method: str | None, ignore_index: int) -> None:
    loss = None if method is None else method_loss(select(method)[0], "float32", ignore_index, None)
    question = Question(rules_for("float32"), ignore_index, 7, loss)
    whole = [summarise(shard, slice(0, len(shard.logits)), question) for shard in dump()]
    expected = report(merge(*whole), question)
    random = Random(0)
    for step in (1, 60):
        slices = [
            (shard, slice(start, start + step))
            for shard in dump()
            for start in range(0, len(shard.logits), step)
        ]
        random.shuffle(slices)
        parts = [summarise(shard, rows, question) for shard, rows in slices]

        assert report(reduce(lambda one, other: merge(other, one), parts), question) == expected
        half = len(parts) // 2
        grouped = merge(reduce(merge, parts[half:]), reduce(merge, parts[:half]))
        assert report(grouped, question) == expected


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_dump_says_the_same_with_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr("xentcli.threads.processors", lambda: threads)
    monkeypatch.setattr(survey, "_PART_ROWS", 11)
    one, many = (diagnosis_of(survey.survey(dump(), -100)) for _ in range(2))
    monkeypatch.setattr(survey, "_PART_ROWS", 2**17)
    whole = diagnosis_of(survey.survey(dump(), -100))

    assert len({show.diagnose(each, "json", Screen()) for each in (one, many, whole)}) == 1

"""The profile of a dump: gaps and places, the same in whatever parts it is read and merged."""

from functools import reduce
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from test_rules import rows_of

from xentcli.diagnose.distribution import distribution_of
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.profile import ALL, NO_PROFILE, Profile, gaps_of, parts_of
from xentcli.diagnose.rules import rules_for
from xentcli.diagnose.summary import Question, summarise

NONE_IGNORED = np.zeros(4, bool)


def same(one: Profile, other: Profile) -> bool:
    def plain(profile: Profile) -> Any:
        values = sorted(float(value) for some in profile.gaps.values for value in some)
        places = {name: (p.first, p.last, p.counts.tolist()) for name, p in profile.places.items()}
        return values, places

    return plain(one) == plain(other)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("classes", [1, 2, 7, 256, 257, 1000])
def test_a_gap_is_the_largest_other_logit_less_the_labels(dtype: str, classes: int) -> None:
    random = np.random.default_rng(classes)
    logits = random.normal(0, 9, (50, classes)).astype(dtype)
    labels = random.integers(0, classes, 50)
    wide = logits.astype(np.float64)
    others = [max(np.delete(row, label), default=-np.inf) for row, label in zip(wide, labels, strict=True)]

    gaps = gaps_of(logits, labels, np.zeros(50, bool), "indices")

    assert gaps.tolist() == [
        other - row[label] for other, row, label in zip(others, wide, labels, strict=True)
    ]


def test_a_row_without_a_class_has_no_gap() -> None:
    ignored = np.array([False, False, False, True])
    gaps = gaps_of(np.eye(4), np.array([0, -1, 4, 3]), ignored, "indices")

    assert gaps[0] == -1
    assert np.isnan(gaps[1:]).all()
    assert np.isnan(gaps_of(np.eye(4), None, NONE_IGNORED, "indices")).all()
    assert np.isnan(gaps_of(np.eye(4), np.eye(4), NONE_IGNORED, "rows")).all()


def test_the_gap_of_a_binary_row_is_that_of_its_other_class() -> None:
    gaps = gaps_of(
        np.array([[2.0], [2.0], [-3.0], [1.0]]), np.array([0.0, 1, 1, 0.5]), NONE_IGNORED, "binary"
    )

    np.testing.assert_array_equal(gaps, [2, -2, 3, np.nan])


@pytest.mark.parametrize("total", [1, 7, 99, 100, 101, 12345])
def test_parts_are_equal_but_for_a_row_and_hold_every_row_once(total: int) -> None:
    parts = parts_of(total)

    lengths = {part.stop - part.start for part in parts}
    assert max(lengths) - min(lengths) <= 1
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(total))
    assert len(parts) == min(100, total)


def test_a_dump_of_no_rows_has_no_parts() -> None:
    assert parts_of(0) == []


def profiles(sizes: list[int]) -> list[Profile]:
    """Return the profiles of consecutive parts of one dump, of so many rows."""
    logits, labels = rows_of("float32", 10, sum(sizes))
    total = sum(sizes)
    question, starts = Question(rules_for("float32"), -100, 5, profiled=total), np.cumsum([0, *sizes])
    shard = Shard("", logits, labels)
    return [
        summarise(shard, slice(start, start + size), question).profile
        for start, size in zip(starts.tolist(), sizes, strict=False)
    ]


def test_profiles_merge_in_any_order_and_grouping() -> None:
    (whole,) = profiles([300])
    parts = profiles([40, 1, 159, 100])
    shuffled = parts.copy()
    Random(1).shuffle(shuffled)

    assert len(whole.places) > 3
    assert same(reduce(Profile.merge, parts, NO_PROFILE), whole)
    assert same(reduce(Profile.merge, shuffled), whole)
    assert same(parts[0].merge(parts[1].merge(parts[2].merge(parts[3]))), whole)


def test_a_place_lies_in_the_part_that_has_its_row() -> None:
    (whole,) = profiles([300])

    every = whole.places[ALL]
    assert (every.first, every.last) == (0, 299)
    assert every.counts.tolist() == [part.stop - part.start for part in parts_of(300)]


def test_counted_gaps_have_the_histogram_of_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(0, 10, 5000)
    edges = (-64.0, -8.0, -1.0, 0.0, 0.5, 4.0, 64.0)  # of cells, so that none is cut
    expected = [((values >= low) & (values < high)).sum() for low, high in pairwise(edges)]

    kept = distribution_of(values).histogram(edges)
    monkeypatch.setattr("xentcli.diagnose.distribution.MOST_VALUES", 100)
    counted = distribution_of(values[:900]).merge(distribution_of(values[900:]))

    assert counted.is_counted
    assert kept == counted.histogram(edges) == expected

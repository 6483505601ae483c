"""What a survey says of all rows of a dump: its numbers, its losses, where a row lies."""

import numpy as np
import pytest
from test_rules import every_dtype, found_in, inf, nan, rows_of, stored

from xentcli import bulk
from xentcli.diagnose.diagnosis import diagnosis_of
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.survey import survey


def test_numbers_of_all_rows_are_those_of_numpy() -> None:
    random = np.random.default_rng(1)
    x, k = random.normal(scale=4, size=(500, 30)).astype(np.float32), random.integers(0, 30, 500)
    x[3, 4], x[5, 6] = -inf, inf
    k[7] = -100
    diagnosis = diagnosis_of(survey([Shard("a", x[:200], k[:200]), Shard("b", x[200:], k[200:])], -100))
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        loss = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(500), np.maximum(k, 0)]
    loss = np.delete(loss, [5, 7])
    summary, summed = diagnosis.survey.summary, diagnosis.losses

    assert summed is not None
    assert summed.number == 498
    # A loss is to an ulp of float32, 2^-23 of it; NumPy here loses no more.
    assert summed.mean == pytest.approx(loss.mean(), rel=2e-7)
    assert summed.quantiles == pytest.approx(np.quantile(loss, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]), rel=2e-7)
    assert (summary.smallest, summary.largest) == (x[np.isfinite(x)].min(), x[np.isfinite(x)].max())
    assert summary.ignored == 1
    assert summed.ulps is not None
    assert summed.ulps <= 1
    assert [(row.path, row.row) for row in diagnosis.rows if "infinite-logit" in row.findings] == [("a", 5)]


def test_offset_and_spread_are_those_of_the_finite_logits() -> None:
    x = np.array([[-inf, 2, 6], [-inf, 2, 6], [nan, 0, 0]], np.float32)
    diagnosis = diagnosis_of(survey([Shard("a", x, np.ones(3, np.int64))], -100))

    assert (diagnosis.offset, diagnosis.spread) == (4, 4)
    assert (diagnosis.survey.summary.smallest, diagnosis.survey.summary.largest) == (0, 6)


@every_dtype
def test_the_losses_of_a_survey_are_those_of_bulk_and_of_each_row_alone(dtype: str) -> None:
    x, k = rows_of(dtype, 30, 400)
    with np.errstate(all="ignore"):
        rounded = stored(found_in(x, k, dtype).columns.loss, dtype)

    assert np.array_equal(rounded, bulk.losses(x, k, backend="numpy"), equal_nan=True)
    for row in range(0, 400, 7):
        assert np.array_equal(
            bulk.losses(x[[row]], k[[row]], backend="numpy"), rounded[[row]], equal_nan=True
        )


def test_rows_are_counted_from_their_own_file() -> None:
    x, k = np.zeros((9, 3), np.float32), np.zeros(9, np.int64)
    k[[2, 7]] = 5
    parts = [(x[:3], k[:3]), (x[:0], k[:0]), (x[3:], k[3:])]
    shards = [Shard(name, *part) for name, part in zip("abc", parts, strict=True)]

    assert [(row.path, row.row, row.label) for row in diagnosis_of(survey(shards, -100)).rows] == [
        ("a", 2, 5),
        ("c", 4, 5),
    ]

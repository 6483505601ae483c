"""What spoils a row: every rule against the method itself, and the numbers of all rows."""

import math
from typing import Any

import numpy as np
import pytest

from xentcli import formats
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.spoilers import SPOILERS
from xentcli.diagnose.summary import summarise
from xentcli.diagnose.survey import Survey, survey
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic, kernels

inf, nan = math.inf, math.nan


def surveyed(x: Any, k: Any, dtype: str = "float32", ignore_index: int = -100) -> Survey:
    logits = formats.stored(np.asarray(x, np.float64), dtype)
    return survey([Shard("memory", logits, None if k is None else np.asarray(k), ())], ignore_index)


def spoiled(x: Any, k: Any, dtype: str = "float32") -> list[set[str]]:
    found = surveyed(x, k, dtype)
    return [set(found.names(row)) for row in range(found.rows)]


def rows_of(dtype: str) -> tuple[Any, Any]:
    """Draw rows of many gaps, offsets and masks, a label each."""
    random = np.random.default_rng(7)
    largest = {"float16": 30, "bfloat16": 200, "float32": 200, "float64": 1500}[dtype]
    x = random.normal(size=(3000, 5)) * random.choice([0.1, 2.0, 10.0], (3000, 1))
    x[np.arange(3000), random.integers(0, 5, 3000)] += random.uniform(
        -largest, largest, 3000
    ) * random.integers(0, 2, 3000)
    x += (random.choice([0, 1, 1e3, 1e6], 3000) * random.normal(size=3000) * (dtype != "float16"))[:, None]
    x[random.random(3000) < 0.1, 2] = -inf
    return formats.stored(x, dtype), random.integers(0, 5, 3000)


def losses(kernel: Any, x: Any, k: Any, clip: float = 1e-36) -> Any:
    dtype = str(x.dtype)
    batch = build_batch(x, k, dtype, clip=(clip, 1.0))
    with np.errstate(all="ignore"):
        return np.asarray(kernel(arithmetic.get("numpy", dtype), batch)).astype(np.float64).ravel()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_rules_say_what_the_methods_do(dtype: str) -> None:
    x, k = rows_of(dtype)
    found = survey([Shard("memory", x, k, ())], -100)
    finite = np.isfinite(found.loss)
    with np.errstate(all="ignore"):
        apart = np.abs(losses(kernels.unshifted, x, k) - found.loss) / np.maximum(found.loss, 5e-324)
    off = {
        "naive": ~np.isfinite(losses(kernels.naive, x, k)),
        "textbook": ~np.isfinite(losses(kernels.textbook, x, k)),
        "guarded": np.isinf(losses(kernels.guarded, x, k)) & finite,
        "dense": np.isnan(losses(kernels.dense, x, k)),
        "sparse": (losses(kernels.sparse, x, k) == 0) & (found.loss > 0) & finite,
        "unshifted": finite & ~(apart <= 0.01),
    }

    for name, really in off.items():
        said = np.zeros(len(x), bool)
        said[found.spoiled(name)] = True
        # A row at the very threshold may round either way; of 3,000 a few lie there.
        assert (said != really).sum() <= 30, name
        assert 20 < really.sum() < len(x) - 20, name


@pytest.mark.parametrize("bound", ["1e-7", "1e-8", "1e-12", "1e-15", "1e-36"])
def test_a_clip_is_active_where_it_changes_the_loss(bound: str) -> None:
    x, k = rows_of("float64")
    found = survey([Shard("memory", x, k, ())], -100)
    changed = losses(kernels.clipped, x, k, float(bound)) < found.loss * (1 - 1e-9)  # not by rounding
    said = np.zeros(len(x), bool)
    said[found.spoiled(f"clip {bound}")] = True

    assert np.array_equal(said, changed & np.isfinite(found.loss) & (found.loss > 1))
    assert said.any()


@pytest.mark.parametrize(
    ("row", "label", "names"),
    [
        ([1, nan, 2], 0, {"nan-logit"}),
        ([1, inf, 2], 0, {"infinite-logit"}),
        ([-inf, -inf, -inf], 0, {"all-masked"}),
        ([1, 2, 3], 3, {"bad-label"}),
        ([1, 2, 3], -1, {"bad-label"}),
        ([1, 2, 3], -100, set()),
        ([nan, 2, 3], -100, {"nan-logit"}),
        ([1, -inf, 3], 1, {"masked-label", "naive", "textbook"}),
        ([1, -inf, 3], 0, {"naive", "dense", "textbook"}),
        ([20, 0, 0], 0, {"sparse", "unshifted"}),
        ([16.5, 0, -80], 0, {"unshifted"}),  # e^-16.5 is above 2^-24
        ([16.75, 0, -80], 0, {"sparse", "unshifted"}),  # and e^-16.75 below
        ([1e8, 1e8, 1e8], 0, {"unshifted", "textbook", "float16"}),
        ([90, 90, 90], 0, {"textbook"}),
        ([-200, -200, -200], 0, {"textbook"}),
        ([0, 17, 0], 0, {"clip 1e-7", "clip eps"}),
        (
            [0, 100, 0],
            0,
            {
                "clip 1e-7",
                "clip 1e-8",
                "clip 1e-12",
                "clip 1e-15",
                "clip 1e-36",
                "clip FLT_MIN",
                "clip eps",
                "textbook",
            },
        ),
        ([2049, 2048, 0], 1, {"float16", "bfloat16", "textbook", "naive"}),
        ([1, 2, 3], 0, set()),
    ],
)
def test_a_row_is_spoiled_by_exactly_this(row: list[float], label: int, names: set[str]) -> None:
    assert spoiled([row], [label]) == [names]


def test_a_sum_that_stops_growing_is_told_by_its_size() -> None:
    assert "sum in bfloat16" in spoiled(np.zeros((1, 256)), [0])[0]
    assert "sum in bfloat16" not in spoiled(np.zeros((1, 255)), [0])[0]
    assert "sum in float16" in spoiled(np.zeros((1, 2048)), [0])[0]
    assert "sum in float16" not in spoiled(np.zeros((1, 2047)), [0])[0]


def test_without_labels_what_needs_them_is_left_out() -> None:
    found = surveyed([[0, 200, 0], [nan, 0, 0], [20, 0, 0]], None)

    assert [set(found.names(row)) for row in range(3)] == [{"naive", "textbook"}, {"nan-logit"}, set()]
    assert summarise(found).losses is None


def test_numbers_of_all_rows_are_those_of_numpy() -> None:
    random = np.random.default_rng(1)
    x, k = random.normal(scale=4, size=(500, 30)).astype(np.float32), random.integers(0, 30, 500)
    x[3, 4], x[5, 6] = -inf, inf
    k[7] = -100
    diagnosis = summarise(survey([Shard("a", x[:200], k[:200], ()), Shard("b", x[200:], k[200:], ())], -100))
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        loss = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(500), np.maximum(k, 0)]
    loss = np.delete(loss, [5, 7])
    summed = diagnosis.losses

    assert summed is not None
    assert summed.number == 498
    # A loss is to an ulp of float32, 2^-23 of it; NumPy here loses no more.
    assert summed.mean == pytest.approx(loss.mean(), rel=2e-7)
    assert summed.quantiles == pytest.approx(np.quantile(loss, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]), rel=2e-7)
    assert (diagnosis.survey.low, diagnosis.survey.top) == (x[np.isfinite(x)].min(), x[np.isfinite(x)].max())
    assert diagnosis.survey.ignored == 1
    assert summed.ulps is not None
    assert summed.ulps <= 1
    assert [(row.path, row.row) for row in diagnosis.rows if "infinite-logit" in row.names] == [("a", 5)]


def test_rows_are_counted_from_their_own_file() -> None:
    x, k = np.zeros((9, 3), np.float32), np.zeros(9, np.int64)
    k[[2, 7]] = 5
    diagnosis = summarise(survey([Shard("a", x[:3], k[:3], ()), Shard("b", x[3:], k[3:], ())], -100))

    assert [(row.path, row.row, row.label) for row in diagnosis.rows] == [("a", 2, 5), ("b", 4, 5)]


def test_rounding_to_half_formats_is_that_of_the_formats() -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=500) * 10.0 ** random.integers(-3, 38, 500)
    x = np.concatenate(
        [x, [0, -0.0, inf, -inf, 65519, 65520, -65520, 3.4e38, 1 + 2.0**-11, 1 + 3 * 2.0**-11]]
    )
    x = x.astype(np.float32)[np.abs(x) > 2.0**-14]  # below, float16 is left its digits
    for form in ("float16", "bfloat16"):
        for wide in (x, x.astype(np.float64)):
            with np.errstate(all="ignore"):
                rounded = wide.copy()
                formats.round_in_place(form, rounded)
            assert np.array_equal(rounded, formats.stored(wide.astype(np.float64), form).astype(wide.dtype))


def test_names_are_distinct_and_the_bits_suffice() -> None:
    names = [spoiler.name for spoiler in SPOILERS]

    assert len(set(names)) == len(names) < 31

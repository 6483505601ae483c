"""Top-k dumps: what is said of a loss is that of the logits that they were cut from, or a bound of it."""

import json
from functools import reduce
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import mpmath as mp
import numpy as np
import pytest
from conftest import Xent
from top_k_dumps import (
    QUESTION,
    ROWS,
    Arrays,
    K,
    cut,
    described,
    dtypes,
    exact_logsumexp,
    found_in,
    inf,
    nan,
    one_by_one,
    saved,
    shard_of,
    without,
)

from xentcli.diagnose import survey as surveys
from xentcli.diagnose.top_k import BROKEN, TopK
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable


@dtypes
def test_a_loss_is_the_true_one_to_the_rounding_that_is_said(dtype: str) -> None:
    arrays, losses = cut(dtype)
    seen = 0
    for summary, loss in zip(one_by_one(arrays), losses, strict=True):
        seen += summary.inside.number
        with mp.workdps(40):
            if summary.inside.number:  # a difference of float64 is rounded, by 2^-53 of itself
                assert abs(summary.mean - loss) <= summary.rounding + abs(loss) * 2.0**-53
                assert summary.inside.smallest == summary.mean
            else:  # normalisers up to 16 are rounded by 16 eps / 2
                assert summary.mean <= loss + 8 * FORMATS[dtype].eps

    assert 20 < seen < 100


@dtypes
def test_without_normalisers_no_bound_is_above_the_true_loss(dtype: str) -> None:
    arrays, losses = cut(dtype, seed=2)
    for summary, loss in zip(one_by_one(without(arrays, "logsumexp")), losses, strict=True):
        assert summary.mean <= loss
        assert summary.mean > 0


def test_no_larger_bound_holds() -> None:
    # Where the other classes are masked by -inf, but for the label, which is as large as may be, the bounds
    # are the losses. They are lowered by (4 + 5) 2^-52 and 2^-51 of a loss below 16, and rounded.
    arrays, _ = cut("float64", seed=3)
    arrays = without(arrays, "logsumexp")
    arrays["labels"] = np.where(np.arange(ROWS) % 2, 99, arrays["indices"][:, 0])
    for summary, values, label in zip(one_by_one(arrays), arrays["values"], arrays["labels"], strict=True):
        own = values.min() if label == 99 else values[0]
        true = exact_logsumexp([*values, *([own] if label == 99 else [])]) - mp.mpf(float(own))

        assert 0 <= true - summary.mean <= (9 + 2 * 16 + 16) * 2.0**-52


def test_a_bound_with_a_normaliser_is_no_less_than_without() -> None:
    arrays, _ = cut("float64", seed=4)
    arrays["logsumexp"] = np.array(
        [float(exact_logsumexp(row)) for row in arrays["values"]]
    )  # the least it is
    arrays["labels"][:] = 99

    assert found_in(arrays).mean_outside >= found_in(without(arrays, "logsumexp")).mean_outside


def test_the_normaliser_tells_how_far_below_the_smallest_value_a_label_may_be() -> None:
    arrays, _ = cut("float64", seed=4)
    arrays["labels"][:], arrays["logsumexp"] = 99, arrays["logsumexp"] + 5
    for summary, lse, values in zip(one_by_one(arrays), arrays["logsumexp"], arrays["values"], strict=True):
        true = mp.mpf(float(lse)) - mp.mpf(float(values.min()))

        assert 0 <= true - summary.mean <= (9 + 2 * 32 + 32) * 2.0**-52  # below 32, as above


def test_the_normaliser_tells_what_is_left_for_other_labels() -> None:
    # Of 0.5 and 0.3 a label outside has 0.2 at most: the rounding that is allowed for is (2 + 4) 2^-23, 2^-14
    # of a normaliser of 0, and 2^-23 of the values.
    for lse, allowed in ((0.0, 2.0**-13), (2.0, 2.0**-19)):
        values = np.log([[0.5, 0.3]]) + lse
        arrays = {"values": values, "indices": np.array([[4, 2]]), "labels": np.array([9])}
        arrays["logsumexp"] = np.array([lse])
        bound = found_in(arrays).mean_outside

        assert 0 <= float(-mp.log(mp.mpf("0.2"))) - bound < 4 * allowed  # d of -log(1 - exp(-g)) is 4 there


def test_a_mean_is_that_of_the_differences_before_they_are_rounded() -> None:
    arrays = {
        "values": np.array([[1.0, 0], [0, 0]]),
        "indices": np.tile(np.arange(2), (2, 1)),
        "labels": np.zeros(2, np.int64),
        "logsumexp": np.array([1e16, 3]),  # 1e16 - 1 is no float64
    }

    assert found_in(arrays).mean_inside == 5e15 + 1


def test_parts_are_merged_in_any_order_to_the_same_report() -> None:
    arrays, _ = cut()
    arrays["values"][7, 0], arrays["labels"][90], arrays["labels"][5] = nan, -3, -100
    parts = [
        QUESTION.summarise(shard_of(arrays), rows) for rows in (slice(0, 1), slice(1, 80), slice(80, 120))
    ]
    whole = found_in(arrays)
    for order in permutations(parts):
        merged = reduce(TopK.merge, order, QUESTION.nothing())

        assert described(merged) == described(whole)
        assert described(order[0].merge(order[1].merge(order[2]))) == described(whole)


@pytest.mark.parametrize("threads", [1, 5])
def test_files_and_threads_do_not_change_the_screen(
    threads: int, xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, _ = cut()
    whole = saved(tmp_path / "a.npz", arrays)
    expected = json.loads(xent("diagnose", whole, "--format", "json").out)
    parts = [
        saved(tmp_path / f"b{at}.npz", {name: array[rows] for name, array in arrays.items()})
        for at, rows in enumerate([slice(0, 50), slice(50, 50), slice(50, 120)])
    ]
    monkeypatch.setattr(surveys, "_EVALUATED", 7 * K)
    monkeypatch.setattr("xentcli.threads.processors", lambda: threads)

    shown = json.loads(xent("diagnose", *parts[::-1], "--format", "json").out)

    assert {**shown, "files": None} == {**expected, "files": None}


def broken_by(name: str, arrays: Arrays) -> None:
    """Break row 3."""
    values, indices, labels, lse = (
        arrays[each][3:4] for each in ("values", "indices", "labels", "logsumexp")
    )
    labels[:] = indices[:, 1]
    breaks: dict[str, Callable[[], None]] = {
        "nan-logit": lambda: values.put(0, nan),
        "infinite-logit": lambda: values.put(2, inf),
        "undefined-softmax": lambda: values.fill(-inf),
        "negative-index": lambda: indices.put(2, -1),
        "repeated-index": lambda: indices.put(3, indices[0, 0]),
        "infinite-logsumexp": lambda: lse.fill(nan),
        "small-logsumexp": lambda: lse.put(0, lse[0] - 5),
        "label-out-of-range": lambda: labels.fill(-1),
        "infinite-loss": lambda: values.put(1, -inf),
    }
    breaks[name]()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_named_and_does_not_count(name: str, xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    broken_by(name, arrays)

    run = xent("diagnose", saved(tmp_path / "a.npz", arrays))
    document = json.loads(xent("diagnose", tmp_path / "a.npz", "--format", "json").out)

    assert run.code == 1
    start = (
        f"1 of 120 rows is broken: row 3 ({BROKEN[name]}). Of 119 rows that count the label is among the 4"
    )
    assert " ".join(run.out.split()).startswith(start)
    assert [(each["name"], each["rows"]) for each in document["broken"]] == [(name, 1)]
    assert [(each["row"], each["name"]) for each in document["first"]] == [(3, name)]
    assert document["inside"]["number"] + document["outside"]["number"] == 119


@pytest.mark.parametrize("scale", [0.01, 3, 100, 3000])
@pytest.mark.parametrize(("dtype", "stored"), [("float32", "float16"), ("float32", "float32")])
def test_normalisers_of_all_the_mass_are_never_too_small(scale: float, dtype: str, stored: str) -> None:
    # All classes are stored: L and S are the same, but L is evaluated in float32, and all is stored rounded.
    random = np.random.default_rng(5)
    x = random.normal(scale=scale, size=(4000, 16)).astype(dtype)
    largest = x.max(axis=1, keepdims=True)
    lse = np.log(np.exp(x - largest).sum(axis=1)) + largest[:, 0]
    arrays = {
        "values": x.astype(stored),
        "indices": np.tile(np.arange(16), (4000, 1)),
        "labels": random.integers(0, 16, 4000),
        "logsumexp": lse.astype(stored),
    }

    assert found_in(arrays).why == {}
    if scale <= 100:  # L is up to 1024
        values, zeros = (x - lse[:, None]).astype(stored), np.zeros(len(x))
        assert found_in({**arrays, "values": values, "logsumexp": zeros}).why == {}


@pytest.mark.parametrize(
    ("dtype", "value", "off", "rows"),
    [
        ("float32", 10, 2e-6, 0),
        ("float32", 10, 6e-6, 1),
        ("float16", 10, 9e-3, 0),
        ("float16", 10, 4e-2, 1),
        ("float32", 0, 8e-7, 0),
        ("float32", 0, 2e-6, 1),
    ],
)
def test_a_normaliser_is_too_small_beyond_rounding_alone(
    dtype: str, value: float, off: float, rows: int
) -> None:
    # Of 4 values near 10 eps (10 + 11.4) is 2.6e-6 in float32 and 2.1e-2 in float16; (4 + 4) 2^-23 is 1e-6.
    true = float(exact_logsumexp([value] * 4))
    arrays = {
        "values": np.full((1, 4), value, dtype),
        "indices": np.arange(4)[None],
        "labels": np.zeros(1, np.int64),
        "logsumexp": np.array([true - off]).astype(dtype),
    }

    assert found_in(arrays).why.get("small-logsumexp", 0) == rows


def test_a_masked_value_does_not_hide_that_a_normaliser_is_too_small() -> None:
    arrays, _ = cut()
    arrays["values"][3, 0], arrays["labels"][3] = -inf, arrays["indices"][3, 1]
    arrays["logsumexp"][3] -= 5

    assert found_in(arrays).why == {"small-logsumexp": 1}


def test_a_masked_value_breaks_no_row_of_itself() -> None:
    arrays, _ = cut()
    arrays["values"][3, 0], arrays["labels"][3] = -inf, arrays["indices"][3, 1]

    assert found_in(arrays).why == found_in(without(arrays, "labels")).why == {}


def test_ignored_rows_do_not_count_whatever_is_in_them(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    arrays["labels"][[2, 4]] = 7, 7
    expected = found_in({name: np.delete(array, [2, 4], axis=0) for name, array in arrays.items()})
    arrays["labels"][[2, 4]] = -5
    arrays["values"][2], arrays["indices"][4] = nan, -1
    saved(tmp_path / "a.npz", arrays)

    run = xent("diagnose", tmp_path / "a.npz", "--ignore-index", "-5", "--format", "json")

    assert run.code == 0
    assert [json.loads(run.out)[key] for key in ("ignored", "mean", "rows")] == [2, expected.mean, 120]


def test_where_every_label_is_ignored_there_is_no_loss(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    arrays["labels"][:] = -100

    run = xent("diagnose", saved(tmp_path / "a.npz", arrays))

    assert (run.code, run.out.splitlines()[0]) == (1, "Every label is ignored (-100): there is no loss.")


def test_without_labels_rows_are_looked_at(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()

    run = xent("diagnose", saved(tmp_path / "a.npz", without(arrays, "labels")))

    assert run.code == 0
    assert run.out.startswith("No row of 120 is broken. Labels are unknown")


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_and_one_value_are_a_dump(rows: int, xent: Xent, tmp_path: Path) -> None:
    indices, labels = np.zeros((rows, 1), np.uint64), np.zeros(rows, np.int64)
    arrays = {"values": np.zeros((rows, 1)), "indices": indices, "labels": labels}

    run = xent("diagnose", saved(tmp_path / "a.npz", arrays))

    assert run.code == 0
    said = "Of 1 row the label is among the 1 largest in it; the mean loss is at least 0."
    assert run.out.splitlines()[0] == (said if rows else "The dump has no rows.")


def test_numbers_that_no_int64_holds_are_no_class() -> None:
    arrays, _ = cut()
    arrays["indices"], arrays["labels"] = (
        arrays["indices"].astype(np.uint64),
        arrays["labels"].astype(np.uint64),
    )
    arrays["indices"][3, 0], arrays["labels"][4] = 2**64 - 1, 2**64 - 100

    assert found_in(arrays).why == {"negative-index": 1, "label-out-of-range": 1}


def test_log_probabilities_have_normalisers_of_0(xent: Xent, tmp_path: Path) -> None:
    arrays, losses = cut("float64")
    arrays["values"] -= arrays["logsumexp"][:, None]
    named = {"logprobs": arrays["values"], **without(arrays, "values", "logsumexp")}
    saved(tmp_path / "a.npz", named)
    saved(tmp_path / "b.npz", without(arrays, "logsumexp"))

    shown = [
        json.loads(xent("diagnose", *arguments, "--format", "json").out)
        for arguments in ((tmp_path / "a.npz",), (tmp_path / "b.npz", "--logsumexp", "0"))
    ]

    inside = [
        loss
        for loss, row, label in zip(losses, arrays["indices"], arrays["labels"], strict=True)
        if label in row
    ]
    for document in shown:
        assert document["inside"]["exact"]
        true = mp.fsum(inside) / len(inside)

        assert abs(document["inside"]["mean"] - true) <= document["inside"]["rounding"] + true * 2.0**-53

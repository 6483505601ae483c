"""Files of top-k dumps: which are some, what their arrays are, and who goes through them."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import Xent
from top_k_dumps import (
    CLASSES,
    QUESTION,
    ROWS,
    Arrays,
    K,
    cut,
    described,
    found_in,
    nan,
    saved,
    shard_of,
    without,
)

import xentcli
from xentcli.diagnose import dumps
from xentcli.diagnose.cluster import _summarise
from xentcli.diagnose.survey import TopKSurvey, by_threads, go_through
from xentcli.diagnose.top_k import TopKQuestion
from xentcli.errors import XentError


def test_npy_files_are_given_by_options(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    saved(tmp_path / "a.npz", arrays)
    options = [
        part
        for name in ("indices", "logsumexp", "labels")
        for part in (f"--{name}", tmp_path / f"{name}.npy")
    ]

    apart = json.loads(xent("diagnose", tmp_path / "values.npy", *options, "--format", "json").out)
    together = json.loads(xent("diagnose", tmp_path / "a.npz", "--format", "json").out)

    assert {**apart, "files": None} == {**together, "files": None}


def test_sequences_and_other_names_are_read(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    expected = found_in(arrays)
    shaped = {name: array.reshape(6, 20, *array.shape[1:]) for name, array in arrays.items()}
    named = {{"values": "teacher", "indices": "ids"}.get(name, name): array for name, array in shaped.items()}
    saved(tmp_path / "a.npz", {**named, "mask": np.zeros((6, 20))})

    assert (
        json.loads(xent("diagnose", tmp_path / "a.npz", "--top-k", "--format", "json").out)["mean"]
        == expected.mean
    )
    assert "top" not in xent("diagnose", tmp_path / "a.npz", "--logits-name", "teacher").out


def test_a_file_that_has_all_logits_too_is_no_top_k_dump(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    saved(tmp_path / "a.npz", {"logits": np.zeros((ROWS, CLASSES), np.float32), **arrays})

    plain = json.loads(xent("diagnose", tmp_path / "a.npz", "--format", "json").out)
    asked = json.loads(xent("diagnose", tmp_path / "a.npz", "--top-k", "--format", "json").out)

    assert (plain["schema"], asked["schema"]) == ("xent.diagnose/2", "xent.diagnose-top-k/1")


def test_what_needs_all_logits_is_refused_in_one_message(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    path = saved(tmp_path / "a.npz", arrays)
    np.save(tmp_path / "l.npy", np.zeros(ROWS))
    needs: dict[str, list[str | Path]] = {
        "--method": ["naive"],
        "--loss": ["mine.py:loss"],
        "--observed": ["nan"],
        "--losses": [tmp_path / "l.npy"],
        "--class-axis": ["1"],
        "--shift": [],
        "--binary": [],
        "--extract": [tmp_path / "w.yaml"],
    }
    for name, value in needs.items():
        run = xent("diagnose", path, name, *value)

        message = f"{path}: is a top-k dump, and {name} needs the logits of all classes; leave it out,"
        assert (run.code, run.out, run.err) == (2, "", f"{message} or save all logits\n")
    both = xent("diagnose", path, "--method", "naive", "--shift")
    assert "--method, --shift need the logits of all classes; leave them out" in both.err
    assert not (tmp_path / "w.yaml").exists()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"logsumexp": np.zeros(3)}, (), "logsumexp is float64 of shape (3,); expected floats, one for each"),
        ({"logsumexp": np.zeros(ROWS, int)}, (), "logsumexp is int64 of shape (120,); expected floats"),
        ({"labels": np.zeros((ROWS, K))}, (), "labels are of shape (120, 4); a top-k dump has class indices"),
        ({"labels": np.zeros(3, int)}, (), "3 labels for 120 rows of logits"),
        (
            {"indices": np.zeros((ROWS, 3), int)},
            (),
            "indices are int64 of shape (120, 3); expected integers of the shape of values, (120, 4)",
        ),
        (
            {"indices": np.zeros((ROWS, K))},
            ("--top-k",),
            "indices are float64 of shape (120, 4); expected integers of the shape of values, (120, 4)",
        ),
        ({"ids": np.zeros((ROWS, K), int), "indices": np.zeros(3)}, (), None),
        ({"values": np.zeros((ROWS, K), complex)}, ("--top-k",), "a top-k dump has values (N, k)"),
        (
            {"values": np.zeros((ROWS, 0)), "indices": np.zeros((ROWS, 0), int)},
            (),
            "logits are of shape (120, 0",
        ),
    ],
)
def test_files_that_are_none_are_refused(
    change: Arrays, options: tuple[str, ...], said: str | None, xent: Xent, tmp_path: Path
) -> None:
    arrays, _ = cut()

    run = xent("diagnose", saved(tmp_path / "a.npz", arrays | change), *options)

    if said is None:
        assert "largest" not in run.out
        return
    assert (run.code, run.out) == (2, "")
    assert said in run.err


def test_two_arrays_that_may_be_the_indices_are_not_guessed_between(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    named = {"ids": arrays["indices"], "ranks": arrays["indices"], **without(arrays, "indices")}

    assert xent("diagnose", saved(tmp_path / "a.npz", named), "--top-k").code == 2


def test_shards_are_alike(xent: Xent, tmp_path: Path) -> None:
    arrays, _ = cut()
    first, second = saved(tmp_path / "a.npz", arrays), saved(tmp_path / "b.npz", without(arrays, "logsumexp"))

    run = xent("diagnose", first, second)

    assert run.code == 2
    assert "logits are float32 of the 4 largest without logsumexp" in run.err


def test_finished_shards_are_not_read_again(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, _ = cut()
    arrays["values"][3, 0], arrays["labels"][4] = nan, -100
    path, resume = saved(tmp_path / "a.npz", arrays), tmp_path / "done"

    first = xent("diagnose", path, "--resume", resume)
    monkeypatch.setattr(TopKQuestion, "summarise", None)

    assert xent("diagnose", path, "--resume", resume) == first


def test_a_worker_sums_up_what_a_thread_does(tmp_path: Path) -> None:
    arrays, _ = cut()
    (shard,) = dumps.shards([str(saved(tmp_path / "a.npz", arrays))], [])
    asked = pickle.loads(pickle.dumps([(shard.opened_by, [slice(0, 50), slice(50, 120)])]))  # noqa: S301 - what a cluster does

    (found,), _ = _summarise(asked, pickle.dumps(QUESTION))

    assert described(found) == described(found_in(arrays))


def test_a_pass_may_be_made_by_threads_of_any_number() -> None:
    arrays, _ = cut()
    found = go_through(TopKSurvey, [shard_of(arrays)], QUESTION, engine=by_threads(3))

    assert described(found.summary) == described(found_in(arrays))


def test_python_says_that_the_command_reads_it(tmp_path: Path) -> None:
    arrays, _ = cut()

    with pytest.raises(XentError, match="is a top-k dump; xent diagnose reads it"):
        xentcli.diagnose_logits(str(saved(tmp_path / "a.npz", arrays)))

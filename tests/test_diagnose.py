"""xent diagnose: every rule against the method itself, every kind of file, the worst rows as a case."""

import json
import math
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, Xent, assert_golden

from xentcli import arithmetic, formats, kernels, load
from xentcli.diagnose import dumps
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.spoilers import SPOILERS
from xentcli.diagnose.summary import summarise
from xentcli.diagnose.survey import Survey, survey
from xentcli.errors import XentError
from xentcli.model import Batch
from xentcli.sources import Source

inf, nan = math.inf, math.nan
NAMES = [spoiler.name for spoiler in SPOILERS]


def surveyed(x: Any, k: Any, dtype: str = "float32", ignore_index: int = -100) -> Survey:
    logits = formats.stored(np.asarray(x, np.float64), dtype)
    return survey([Shard("memory", logits, None if k is None else np.asarray(k), ())], ignore_index)


def spoiled(x: Any, k: Any, dtype: str = "float32") -> list[set[str]]:
    found = surveyed(x, k, dtype)
    return [set(found.names(row)) for row in range(found.rows)]


# The rules


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
    labels = formats.stored(np.eye(x.shape[1])[k], dtype)
    batch = Batch(x, labels, k, None, (clip, 1.0))
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
    assert summed.mean == pytest.approx(loss.mean(), rel=2e-7)  # a loss is to an ulp of float32
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


# Files


def poisoned(folder: Path, rows: int = 2000, classes: int = 20) -> tuple[Path, Path]:
    """Write a dump in which three rows are poisoned."""
    random = np.random.default_rng(0)
    x, k = random.normal(size=(rows, classes)).astype(np.float32), random.integers(0, classes, rows)
    x[17, 3], k[1500], x[901, 5] = inf, classes, -200
    np.save(folder / "logits.npy", x)
    np.save(folder / "labels.npy", k)
    return folder / "logits.npy", folder / "labels.npy"


def test_three_poisoned_rows_are_found_extracted_and_reproduced(xent: Xent, tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)
    worst = tmp_path / "worst.yaml"

    run = xent("diagnose", logits, "--labels", labels, "--extract", worst, "--rows", "3")
    case = load.load(Source("worst.yaml", "worst", worst.read_bytes()))
    shown = xent("run", worst, "--format", "json")
    (method,) = [m for m in json.loads(shown.out)["cases"][0]["methods"] if m["method"] == "naive"]

    assert run.code == 1
    assert run.err == (
        f"wrote {worst}; 'xent run {worst} --methods all' runs it\n"
        "2000 rows of 20 classes; broken: infinite-logit 1, bad-label 1\n"
    )
    assert case.batch.logits.shape[0] == 3
    assert case.batch.logits.shape[1] <= 5
    assert case.about.sources[0].url.startswith("rows logits.npy 17, 1500, 901; ")
    stored = np.load(logits)
    assert set(case.batch.logits.ravel().tolist()) <= set(stored[[17, 1500, 901]].ravel().tolist())
    assert shown.code == 0
    assert {"infinite-logit", "label-out-of-range", "zero-times-infinity"} <= {*method["findings"]}
    assert "zero-times-infinity" in xent("explain", worst, "--method", "naive", "--example", "2").out


def test_the_result_is_a_table_and_a_remedy(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert_golden("diagnose.txt", xent("diagnose", "logits.npy", "--labels", "labels.npy").out)


def test_json_has_it_all(xent: Xent, tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)

    given = json.loads(xent("diagnose", logits, "--labels", labels, "--format", "json").out)

    assert (given["schema"], given["complete"], given["dtype"]) == ("xent.diagnose/1", True, "float32")
    assert (given["shape"], given["rows"], given["labelled"]) == ([2000, 20], 2000, True)
    assert {each["name"]: each["rows"] for each in given["spoiled"] if each["broken"]} == {
        "infinite-logit": 1,
        "bad-label": 1,
    }
    assert given["worst"][0] == {
        "file": str(logits),
        "row": 17,
        "label": int(np.load(labels)[17]),
        "loss": "nan",
        "smallest": float(np.load(logits)[17].min()),
        "largest": "inf",
        "spoiled_by": ["infinite-logit"],
    }


def written(folder: Path, how: str) -> list[str]:
    """Write the poisoned dump in another way; return the arguments that read it."""
    logits, labels = poisoned(folder)
    x, k = np.load(logits), np.load(labels)
    if how == "shards":
        for at in range(4):
            np.save(folder / f"x{at}.npy", x[500 * at : 500 * at + 500])
            np.save(folder / f"k{at}.npy", k[500 * at : 500 * at + 500])
        return [f"{folder}/x*.npy", "--labels", f"{folder}/k?.npy"]
    if how == "npz":
        np.savez(folder / "both.npz", logits=x, labels=k)
        return [f"{folder}/both.npz"]
    if how == "safetensors":
        write_safetensors(folder / "both.safetensors", {"logits": ("F32", x), "labels": ("I64", k)})
        return [f"{folder}/both.safetensors"]
    changed = {
        "fortran": np.asfortranarray(x),
        "big-endian": x.astype(">f4"),
        "batched": x.reshape(40, 50, 20),
        "float64": x.astype(np.float64),
    }[how]
    np.save(logits, changed)
    if how == "batched":
        np.save(labels, k.reshape(40, 50).astype(np.uint16))
    return [str(logits), "--labels", str(labels)]


def write_safetensors(path: Path, arrays: dict[str, tuple[str, Any]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"made": "by hand"}}
    data = b""
    for name, (dtype, array) in arrays.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    "how", ["shards", "npz", "safetensors", "fortran", "big-endian", "batched", "float64"]
)
def test_any_file_of_the_same_numbers_says_the_same(xent: Xent, tmp_path: Path, how: str) -> None:
    (tmp_path / "plain").mkdir()
    logits, labels = poisoned(tmp_path / "plain")
    plain = json.loads(xent("diagnose", logits, "--labels", labels, "--format", "json").out)

    given = json.loads(xent("diagnose", *written(tmp_path, how), "--format", "json").out)

    broken = {each["name"]: each["rows"] for each in plain["spoiled"] if each["broken"]}
    assert {each["name"]: each["rows"] for each in given["spoiled"] if each["name"] in broken} == broken
    assert given["losses"]["quantiles"][3] == pytest.approx(
        plain["losses"]["quantiles"][3], rel=1e-6
    )  # of float32
    assert given["rows"] == 2000


def test_bfloat16_comes_out_of_both_kinds_of_file(xent: Xent, tmp_path: Path) -> None:
    import ml_dtypes

    x = np.array([[1, 2, 3], [inf, 0, 0]], ml_dtypes.bfloat16)
    np.save(tmp_path / "x.npy", x)
    write_safetensors(tmp_path / "x.safetensors", {"logits": ("BF16", x.view(np.uint16))})

    for name in ("x.npy", "x.safetensors"):
        given = json.loads(xent("diagnose", tmp_path / name, "--format", "json").out)
        assert given["dtype"] == "bfloat16"
        assert [each["name"] for each in given["spoiled"]] == ["infinite-logit"]


def test_no_rows_are_no_trouble(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((0, 3), np.float32))
    np.save(tmp_path / "k.npy", np.zeros(0, np.int64))

    run = xent("diagnose", tmp_path / "x.npy", "--labels", tmp_path / "k.npy")

    assert (run.code, run.err) == (0, "0 rows of 3 classes; none of them is broken\n")


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


def bad_files(folder: Path) -> None:
    np.save(folder / "ok.npy", np.zeros((4, 3), np.float32))
    np.save(folder / "labels.npy", np.zeros(4, np.int64))
    np.save(folder / "three.npy", np.zeros(3, np.int64))
    np.save(folder / "float-labels.npy", np.zeros(4))
    np.save(folder / "ints.npy", np.zeros((4, 3), np.int64))
    np.save(folder / "complex.npy", np.zeros((4, 3), complex))
    np.save(folder / "flat.npy", np.zeros(4))
    np.save(folder / "none.npy", np.zeros((4, 0)))
    np.save(folder / "wide.npy", np.zeros((4, 5), np.float32))
    np.save(folder / "double.npy", np.zeros((4, 3)))
    np.save(folder / "objects.npy", np.array([_Harmful()], object), allow_pickle=True)
    (folder / "pickle.npz").write_bytes(pickle.dumps(_Harmful()))
    np.savez(folder / "objects.npz", logits=np.array([_Harmful()], object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "ok.npy").read_bytes()[:-8])
    (folder / "junk.npy").write_bytes(b"junk")
    (folder / "empty.npy").write_bytes(b"")
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    np.savez(folder / "others.npz", a=np.zeros(3), b=np.zeros(3))
    (folder / "long.safetensors").write_bytes(struct.pack("<Q", 10**6) + b"{}")
    write_safetensors(folder / "cut.safetensors", {"logits": ("F32", np.zeros((4, 3), np.float32))})
    (folder / "cut.safetensors").write_bytes((folder / "cut.safetensors").read_bytes()[:-8])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.npy"], "gone.npy: cannot be read: No such file or directory"),
        (["gone*.npy"], "gone*.npy: no file fits"),
        (["notes.txt"], "notes.txt: is none of .npy, .npz, .safetensors"),
        (["ints.npy"], "ints.npy: logits are int64; wanted are float16, bfloat16, float32, float64"),
        (["complex.npy"], "complex.npy: logits are complex128; wanted are"),
        (["flat.npy"], "flat.npy: logits are of shape (4,); wanted is (N, C), or (…, C)"),
        (["none.npy"], "none.npy: logits are of shape (4, 0); wanted is"),
        (["objects.npy"], "objects.npy: is no .npy of plain arrays, or not all of it: "),
        (["objects.npz"], "objects.npz: is no .npz of plain arrays, or not all of it: "),
        (["pickle.npz"], "pickle.npz: is no .npz of plain arrays, or not all of it: "),
        (
            ["cut.npy"],
            "cut.npy: is no .npy of plain arrays, or not all of it: mmap length is greater than file",
        ),
        (["junk.npy"], "junk.npy: is no .npy of plain arrays, or not all of it: "),
        (["empty.npy"], "empty.npy: is no .npy of plain arrays, or not all of it: "),
        (["others.npz"], "others.npz: has no array 'logits', but a, b"),
        (["long.safetensors"], "is no .safetensors of plain arrays, or not all of it: the header is longer"),
        (["cut.safetensors"], "is no .safetensors of plain arrays, or not all of it: mmap length is greater"),
        (["ok.npy", "--labels", "three.npy"], "three.npy: 3 labels for 4 rows of logits; give one a row"),
        (
            ["ok.npy", "--labels", "float-labels.npy"],
            "float-labels.npy: labels are float64; wanted are class",
        ),
        (
            ["ok.npy", "ok.npy", "--labels", "labels.npy"],
            "2 files of logits, 1 of labels; give one of labels for each",
        ),
        (["ok.npy", "wide.npy"], "wide.npy: logits are float32 of 5 classes, those of ok.npy float32 of 3"),
        (
            ["ok.npy", "double.npy"],
            "double.npy: logits are float64 of 3 classes, those of ok.npy float32 of 3",
        ),
        (["ok.npy", "-o", "ok.npy"], "ok.npy: is one of the dumps; write the results elsewhere"),
        (["ok.npy", "--extract", "labels.npy", "--labels", "labels.npy"], "labels.npy: is one of the dumps"),
        (
            ["ok.npy", "--labels", "labels.npy", "--extract", "w.yaml"],
            "nothing spoils any row: there is nothing to",
        ),
        (["ok.npy", "--case", "cases"], "cases"),
    ],
)
def test_a_bad_file_gets_one_message(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    bad_files(tmp_path)
    monkeypatch.chdir(tmp_path)

    run = xent("diagnose", *arguments)

    assert run.code == 2
    assert run.out == "" or "--extract" in arguments  # what was found is shown, though no row is guilty
    assert message in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "unpickled").exists()
    assert not (tmp_path / "w.yaml").exists()


def test_a_file_that_changes_underneath_is_refused(tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)
    found = dumps.shards([str(logits)], [str(labels)])
    np.save(labels, np.zeros(2000, np.int64))
    os.utime(labels, (1, 1))

    with pytest.raises(XentError, match=r"labels\.npy: changed while it was read"):
        survey(found, -100)


def test_a_case_gives_its_clip_and_what_it_ignores(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0, 5, 0], [0, 5, 0]], np.float32))
    np.save(tmp_path / "k.npy", np.array([0, 255]))
    (tmp_path / "c.yaml").write_text(
        "{title: t, logits: [[1, 2]], labels: [0], ignore_index: 255, clip: [0.01, 1]}", encoding="utf-8"
    )

    run = xent(
        "diagnose",
        tmp_path / "x.npy",
        "--labels",
        tmp_path / "k.npy",
        "--case",
        tmp_path / "c.yaml",
        "--format",
        "json",
    )
    given = json.loads(run.out)

    assert given["ignored"] == 1
    assert {each["name"]: each["rows"] for each in given["spoiled"]} == {"clip 0.01": 1}


def test_a_clip_of_a_case_stays_active_in_what_is_extracted(xent: Xent, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.normal(size=(50, 40)).astype(np.float32))
    np.save(tmp_path / "k.npy", np.zeros(50, np.int64))
    (tmp_path / "c.yaml").write_text(
        "{title: t, logits: [[1, 2]], labels: [0], clip: [0.01, 1]}", encoding="utf-8"
    )
    arguments = ("--labels", tmp_path / "k.npy", "--case", tmp_path / "c.yaml")

    xent("diagnose", tmp_path / "x.npy", *arguments, "--extract", tmp_path / "w.yaml", "--rows", "2")
    case = load.load(Source("w.yaml", "w", (tmp_path / "w.yaml").read_bytes()))

    assert case.batch.logits.shape[1] < 40
    assert case.batch.clip == (0.01, 1.0)
    assert spoiled_by_clip(case.batch.logits, case.batch.indices) == [True, True]


def spoiled_by_clip(x: Any, k: Any) -> list[bool]:
    wide = x.astype(np.float64)
    p = np.exp(wide[np.arange(len(x)), k]) / np.exp(wide).sum(axis=1)
    return (p < 0.01).tolist()


def test_interrupted_it_shows_what_was_read() -> None:
    def done(_: int) -> None:
        raise KeyboardInterrupt

    x = np.zeros((2**20, 4), np.float32)
    found = survey([Shard("a", x, np.zeros(len(x), np.int64), ())], -100, progress=done)
    diagnosis = summarise(found)

    assert not found.complete
    assert 0 < found.rows < len(x)
    assert diagnosis.total == len(x)


def test_a_progress_bar_is_for_terminals_only(tmp_path: Path) -> None:
    from test_docs import on_a_terminal

    poisoned(tmp_path)
    shown = on_a_terminal("xent diagnose logits.npy --labels labels.npy > out.txt", tmp_path)
    piped = subprocess.run(
        [sys.executable, "-m", "xentcli", "diagnose", "logits.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "diagnosing" in shown
    assert "diagnosing" not in piped.stderr


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


def test_it_works_in_bounded_memory(tmp_path: Path) -> None:
    np.save(
        tmp_path / "x.npy", np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.float32, (100, 100_000))
    )
    code = "import re, sys\nfrom pathlib import Path\nfrom xentcli.__main__ import main\n"
    code += "sys.argv = ['xent', 'diagnose', 'big.npy', '-o', 'out']\nmain()\n"
    # The most that was resident, mapped files too; ru_maxrss would count the process that forked this one.
    code += "peak = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    code += "assert peak < 250 * 1024, peak\n"

    run: Any = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stderr) == (0, "100 rows of 100000 classes; none of them is broken\n")


def test_names_are_distinct_and_the_bits_suffice() -> None:
    assert len(set(NAMES)) == len(NAMES) < 31
    assert isinstance(Run(0, "", ""), Run)

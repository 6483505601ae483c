"""Files of logits: every kind says the same, and what is no such file gets one message."""

import json
import math
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent

from xentcli.diagnose import dumps
from xentcli.diagnose.survey import survey
from xentcli.errors import XentError

inf, nan = math.inf, math.nan


def poisoned(folder: Path, rows: int = 2000, classes: int = 20) -> tuple[Path, Path]:
    """Write a dump in which three rows are poisoned."""
    random = np.random.default_rng(0)
    x, k = random.normal(size=(rows, classes)).astype(np.float32), random.integers(0, classes, rows)
    x[17, 3], k[1500], x[901, 5] = inf, classes, -200
    np.save(folder / "logits.npy", x)
    np.save(folder / "labels.npy", k)
    return folder / "logits.npy", folder / "labels.npy"


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
    # The float32 and the float64 dump differ by an ulp of a float32 loss at most, 2^-23 of it.
    assert given["losses"]["quantiles"][3] == pytest.approx(plain["losses"]["quantiles"][3], rel=2e-7)
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

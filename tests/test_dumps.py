"""Files of logits: every kind has the same findings, and what is no such file gets one message."""

import json
import math
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent

from xentcli.diagnose import dumps, survey
from xentcli.diagnose.files import arrays
from xentcli.diagnose.files.stored import ReadError
from xentcli.diagnose.summary import summarise
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

    document = json.loads(xent("diagnose", *written(tmp_path, how), "--format", "json").out)

    if how == "float64":  # its methods compute in another format, and its losses are not those of float32
        assert {each["rule"] for each in document["findings"]} == {"infinite-logit", "label-out-of-range"}
        assert document["losses"]["mean"] == pytest.approx(plain["losses"]["mean"], rel=2**-23)
        return
    assert document["findings"] == plain["findings"]
    assert document["losses"] == plain["losses"]
    assert document["rows"] == 2000


def test_bfloat16_comes_out_of_both_kinds_of_file(xent: Xent, tmp_path: Path) -> None:
    import ml_dtypes

    x = np.array([[1, 2, 3], [inf, 0, 0]], ml_dtypes.bfloat16)
    np.save(tmp_path / "x.npy", x)
    write_safetensors(tmp_path / "x.safetensors", {"logits": ("BF16", x.view(np.uint16))})

    for name in ("x.npy", "x.safetensors"):
        document = json.loads(xent("diagnose", tmp_path / name, "--format", "json").out)
        assert document["dtype"] == "bfloat16"
        assert [each["finding"] for each in document["findings"]] == ["infinite-logit"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_only_a_bfloat16_dump_needs_ml_dtypes(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    logits = np.random.default_rng(0).normal(scale=30, size=(300, 20)).astype(dtype)
    np.savez(tmp_path / "x.npz", logits=logits, labels=np.zeros(300, np.int64))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)

    document = json.loads(xent("diagnose", tmp_path / "x.npz", "--format", "json").out)

    rounded = {each["rule"] for each in document["findings"] if each["finding"] == "rounded-logits"}
    assert rounded == (set() if dtype == "float16" else {"float16", "bfloat16"})


def test_unsigned_labels_come_out_of_safetensors(xent: Xent, tmp_path: Path) -> None:
    x, k = np.zeros((2, 3), np.float32), np.array([2**64 - 1, 2], np.uint64)
    write_safetensors(tmp_path / "both.safetensors", {"logits": ("F32", x), "labels": ("U64", k)})

    document = json.loads(xent("diagnose", tmp_path / "both.safetensors", "--format", "json").out)

    assert [(each["finding"], each["rows"]) for each in document["findings"]] == [("label-out-of-range", 1)]
    assert document["worst"][0]["label"] == 2**64 - 1


def test_no_rows_are_no_trouble(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((0, 3), np.float32))
    np.save(tmp_path / "k.npy", np.zeros(0, np.int64))

    run = xent("diagnose", tmp_path / "x.npy", "--labels", tmp_path / "k.npy")

    assert (run.code, run.err) == (0, "")
    assert run.out.startswith("The dump has no rows.\n")


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


def bad_files(folder: Path) -> None:
    np.save(folder / "ok.npy", np.zeros((4, 3), np.float32))
    np.save(folder / "labels.npy", np.zeros(4, np.int64))
    np.save(folder / "three.npy", np.zeros(3, np.int64))
    np.save(folder / "float-labels.npy", np.full(4, 0.5))
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
        (["gone*.npy"], "gone*.npy: no file matches"),
        (["notes.txt"], "notes.txt: unsupported file type; supported are .npy, .npz, .safetensors"),
        (["ints.npy"], "ints.npy: logits are int64; expected float16, bfloat16, float32, float64"),
        (["complex.npy"], "complex.npy: logits are complex128; expected"),
        (["flat.npy"], "flat.npy: logits are of shape (4,); expected (N, C) or (…, C)"),
        (["none.npy"], "none.npy: logits are of shape (4, 0); expected"),
        (["objects.npy"], "objects.npy: is no .npy of plain arrays, or incomplete: "),
        (["objects.npz"], "objects.npz: is no .npz of plain arrays, or incomplete: "),
        (["pickle.npz"], "pickle.npz: is no .npz of plain arrays, or incomplete: "),
        (
            ["cut.npy"],
            "cut.npy: is no .npy of plain arrays, or incomplete: the array has 48 bytes, the file 40",
        ),
        (["junk.npy"], "junk.npy: is no .npy of plain arrays, or incomplete: "),
        (["empty.npy"], "empty.npy: is no .npy of plain arrays, or incomplete: "),
        (["others.npz"], "others.npz: has no array 'logits', but a (3,), b (3,); pass --logits-name"),
        (["long.safetensors"], "is no .safetensors of plain arrays, or incomplete: the header is longer"),
        (["cut.safetensors"], "is no .safetensors of plain arrays, or incomplete: the tensors end elsewhere"),
        (["ok.npy", "--labels", "three.npy"], "three.npy: 3 labels for 4 rows of logits; give one per row"),
        (
            ["ok.npy", "--labels", "float-labels.npy"],
            "float-labels.npy: labels are float64 of shape (4,); expected class",
        ),
        (
            ["ok.npy", "ok.npy", "--labels", "labels.npy"],
            "2 files of logits, 1 of labels; give one of labels for each",
        ),
        (
            ["ok.npy", "wide.npy"],
            "wide.npy: logits are float32 of 5 classes, those of ok.npy float32 of 3 classes",
        ),
        (
            ["ok.npy", "double.npy"],
            "ok.npy: logits are float32 of 3 classes, those of double.npy float64 of 3 classes",
        ),
        (
            ["ok.npy", "-o", "ok.npy"],
            "ok.npy: is one of the files that are read; write the results elsewhere",
        ),
        (
            ["ok.npy", "--extract", "labels.npy", "--labels", "labels.npy"],
            "labels.npy: is one of the files that are read",
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
    assert run.out == ""
    assert message in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "unpickled").exists()
    assert not (tmp_path / "w.yaml").exists()


@pytest.mark.parametrize("before", [b"", b"a program that unpacks it"])
def test_of_an_archive_only_what_is_asked_for_is_read(tmp_path: Path, before: bytes) -> None:
    stored: dict[str, Any] = {
        "logits": np.arange(12, dtype=">f4").reshape(4, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "meta": np.array("text"),
        "nothing": np.zeros((0, 3)),
    }
    plain, packed = tmp_path / "plain.npz", tmp_path / "packed.npz"
    np.savez(plain, **stored)
    np.savez_compressed(packed, **stored)
    plain.write_bytes(before + plain.read_bytes())
    for path in (plain, packed):
        found = arrays(str(path))
        assert list(found) == list(stored)
        for name, array in stored.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name].whole(), array)
    logits = arrays(str(plain))["logits"]
    assert logits[4:7].tolist() == [4, 5, 6]
    plain.write_bytes(plain.read_bytes() + b"more")
    with pytest.raises(ReadError, match="changed while it was read"):
        logits[4:7]


def test_an_array_goes_no_further_than_its_member(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.save(tmp_path / "d.npy", np.zeros((4, 3)))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("logits.npy", (tmp_path / "d.npy").read_bytes().replace(b"(4, 3)", b"(5, 3)"))
        archive.writestr("labels.npy", b"0" * 100)
    with pytest.raises(XentError, match=r"the array has 120 bytes, the file 96 after its header"):
        arrays(str(path))


def test_a_stored_member_of_two_sizes_is_refused(tmp_path: Path) -> None:
    """One that says that it has more bytes than are stored would be read into the next."""
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        np.save(tmp_path / "d.npy", np.zeros((40, 30)))
        archive.write(tmp_path / "d.npy", "logits.npy")
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 24  # of the size in the directory, after that of what is stored
    data[place : place + 4] = struct.pack("<I", 10_000)
    path.write_bytes(data)

    with pytest.raises(XentError, match=r"member logits\.npy is stored, and has two sizes"):
        arrays(str(path))


def test_labels_that_change_underneath_are_refused(tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)
    found = dumps.shards([str(logits)], [str(labels)])
    np.save(labels, np.zeros(2000, np.int64))
    os.utime(labels, (1, 1))

    with pytest.raises(ReadError, match=r"labels\.npy: changed while it was read"):
        survey.survey(found, -100)


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace_by_another(path: Path) -> None:
    np.save(path.with_name("other.npy"), np.zeros((2000, 20), np.float32))
    path.with_name("other.npy").rename(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "changed while it was read"),
        (grow, "changed while it was read"),
        (replace_by_another, "changed while it was read"),
        (Path.unlink, "cannot be read: No such file or directory"),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_of_a_file_that_changes_underneath_what_was_read_is_shown(  # noqa: PLR0913, PLR0917 - fixtures
    xent: Xent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    message: str,
    form: str,
) -> None:
    logits, labels = poisoned(tmp_path)
    calls = []

    def changing(*part: Any) -> Any:
        calls.append(part)
        if len(calls) == 3:
            change(logits)
        return summarise(*part)

    monkeypatch.setattr("xentcli.diagnose.summary.summarise", changing)
    monkeypatch.setattr(survey, "_PART_ROWS", 700)
    monkeypatch.setattr("xentcli.threads.processors", lambda: 1)

    run = xent("diagnose", logits, "--labels", labels, "--format", form, "--observed", "nan")

    assert run.code == 2
    assert run.err == f"{logits}: {message}\n"
    if form == "json":
        document = json.loads(run.out)
        assert (document["complete"], document["rows"], document["shape"]) == (False, 1400, [2000, 20])
        assert document["worst"] == []
    else:
        assert run.out.startswith("Stopped after 1400 of 2000 rows. 1 of 1400 rows is broken.\n")


def test_where_no_row_can_be_read_there_is_nothing_to_show(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, _ = poisoned(tmp_path)
    shards = dumps.shards

    def changing(*files: Any, **others: Any) -> Any:
        found = shards(*files, **others)
        cut(logits)
        return found

    monkeypatch.setattr(dumps, "shards", changing)

    run = xent("diagnose", logits)

    assert (run.code, run.out, run.err) == (2, "", f"{logits}: changed while it was read\n")


def test_a_pipe_is_no_file_of_arrays(xent: Xent, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")

    run = xent("diagnose", tmp_path / "x.npy")

    assert (run.code, run.err) == (2, f"{tmp_path / 'x.npy'}: is no regular file\n")

"""xent new: a commented case that runs, and dumps that come back bit for bit."""

import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from conftest import Xent, first
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from xentcli import formats, load, new, words
from xentcli.load.keys import KEYS, Key
from xentcli.load.sources import Source


def dumped(folder: Path, **given: Any) -> Path:
    path = folder / "dump.npz"
    np.savez(path, **given)
    return path


def bits(array: Any) -> Any:
    """Return the bits, of every nan the same."""
    width = f"u{array.dtype.itemsize}"
    return np.where(np.isnan(array.astype(np.float64)), np.zeros(1, width), array.view(width))


def test_a_new_case_runs_and_says_what_it_shows(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"

    written, ran = xent("new", path), xent("run", path)

    assert (written.code, written.out) == (0, "")
    assert written.err == f"wrote {path}; 'xent run {path}' runs it\n"
    assert (ran.code, ran.err) == (0, "2 of 2 printed numbers reproduced\n")
    assert xent("new", "-").out == path.read_text(encoding="utf-8") == new.TEMPLATE


@pytest.mark.parametrize(
    "key", [key for key in KEYS if f"\n# {key.name}: " in new.TEMPLATE], ids=lambda k: k.name
)
def test_every_commented_line_of_the_template_may_be_uncommented(key: Key) -> None:
    text = new.TEMPLATE.replace(f"\n# {key.name}: ", f"\n{key.name}: ")

    load.load(Source("case.yaml", "case", text.encode()))


def test_the_template_shows_every_key_once_with_its_summary() -> None:
    lines = [line.removeprefix("# ") for line in new.TEMPLATE.splitlines()]

    for key in KEYS:
        assert sum(line.startswith(f"{key.name}: {key.example}") for line in lines) == 1
        assert sum(line.endswith(key.summary.replace("`", "")) for line in lines) == 1


def test_a_file_that_is_there_is_not_replaced(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine", encoding="utf-8")

    run = xent("new", path)

    assert (run.code, run.err) == (
        2,
        f"{path}: exists already; name another file, or pass --force to replace it\n",
    )
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("dtype", first(1, words.DTYPES))
@settings(max_examples=60)
@given(data=st.data())
def test_a_dump_reads_back_as_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, data: st.DataObject
) -> None:
    shape = data.draw(array_shapes(min_dims=1, max_dims=2, max_side=9))
    kind = np.dtype(f"u{formats.dtype(dtype).itemsize}")
    logits = data.draw(arrays(kind, shape)).view(formats.dtype(dtype))
    flat = len(shape) == 1
    labels = np.zeros(shape[0], np.int64)
    path = dumped(tmp_path_factory.mktemp("dump"), logits=logits, labels=labels, probabilities=logits)

    case = load.load(Source("case.yaml", "case", new.from_dump(str(path)).encode()))

    read = case.batch.logits[:, 0] if flat else case.batch.logits
    assert case.dtype == dtype
    assert np.array_equal(bits(np.ascontiguousarray(read)), bits(logits))
    assert case.batch.probabilities is not None
    assert np.array_equal(bits(case.batch.probabilities.reshape(shape)), bits(logits))


def test_what_a_program_dumps(tmp_path: Path) -> None:
    logits = np.asfortranarray(np.array([[1, -np.inf, 0], [-0.0, 2, 3]], ">f4"))
    ignored = new.from_dump(str(dumped(tmp_path, logits=logits, labels=np.array([-100, 2]))))
    assert "\nignore_index: -100\n" in ignored
    assert "[1.0, -inf, 0.0]" in ignored
    assert "[-0.0, 2.0, 3.0]" in ignored
    assert "\nbad_labels: nan # invalid: 7\n" in new.from_dump(
        str(dumped(tmp_path, logits=logits, labels=np.array([7, 2], np.uint8)))
    )
    soft = new.from_dump(str(dumped(tmp_path, logits=logits, labels=np.full((2, 3), 1 / 3, np.float16))))
    assert "  - [0.3333, 0.3333, 0.3333]" in soft
    mixed = new.from_dump(str(dumped(tmp_path, logits=logits, labels=np.array([-100, 7]))))
    assert "\nignore_index: -100\nbad_labels: nan # invalid: 7\n" in mixed
    huge = new.from_dump(str(dumped(tmp_path, logits=logits, labels=np.array([2**64 - 1, 0], np.uint64))))
    assert "labels: [18446744073709551615, 0]\nbad_labels: nan" in huge
    wide = new.from_dump(str(dumped(tmp_path, logits=np.zeros((1, 5000), ml_dtypes.bfloat16), labels=[0])))
    assert "\nlogits:\n  - [0.0 x 5000]\n" in wide


def pickled() -> bytes:
    file = io.BytesIO()
    np.savez(file, logits=np.array([{}], object), labels=np.zeros(1, int))
    return file.getvalue()


def cut() -> bytes:
    file = io.BytesIO()
    np.savez(file, logits=np.zeros((2, 2)), labels=np.zeros(2, int))
    return file.getvalue()[:-30]


def without_arrays() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("logits.npy", "no array")
        archive.writestr("labels.npy", "no array")
    return file.getvalue()


def forged() -> bytes:
    file, member = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": "<f8", "fortran_order": False, "shape": (9999999, 9999999)}
    )
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("logits.npy", "labels.npy"):
            archive.writestr(name, member.getvalue())
    return file.getvalue()


NARROW = np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"logits": NARROW, "labels": [0], "probabilities": [[1e-50, 1.0]]},
            "probabilities is float64 and would be rounded to the float32 of the logits; dump them",
        ),
        ({"logits": NARROW, "labels": [[0.1, 0.9]]}, "labels is float64 and would be rounded to the float32"),
        (
            {"logits": np.zeros((1, 2), np.float16), "labels": np.zeros((1, 2), ml_dtypes.bfloat16)},
            "labels is bfloat16 and would be rounded to the float16",
        ),
        ({"labels": [0]}, "has no array logits, but labels; save one with numpy.savez"),
        ({"logits": np.zeros((1, 2))}, "has no array labels, but logits"),
        ({"logits": np.zeros((1, 2), int), "labels": [0]}, "logits is int64 of shape (1, 2); a case holds"),
        ({"logits": np.zeros((2, 3, 4)), "labels": np.zeros((2, 3), int)}, "--extract case.yaml'"),
        ({"logits": np.zeros((1, 2), complex), "labels": [0]}, "logits is complex128"),
        ({"logits": np.zeros((0, 2)), "labels": np.zeros(0, int)}, "logits is float64 of shape (0, 2)"),
        ({"logits": np.zeros((1, 2, 2)), "labels": [0]}, "of shape (1, 2, 2)"),
        ({"logits": np.zeros((2, 2)), "labels": [0]}, "1 label for 2 rows of logits; give one per row"),
        (
            {"logits": np.zeros((1, 2)), "labels": [[0, 1]]},
            "labels is int64 of shape (1, 2); class indices and",
        ),
        ({"logits": np.zeros((1, 2)), "labels": [[-0.5, 1.5]]}, "a label's probability is a finite number"),
        ({"logits": np.zeros((3000, 1000)), "labels": np.zeros(3000, int)}, "more than a case holds"),
    ],
)
def test_a_dump_that_makes_no_case_is_refused(
    xent: Xent, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    run = xent("new", "--from", dumped(tmp_path, **arrays), tmp_path / "mine.yaml")

    assert run.code == 2
    assert message in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"text", pickled(), cut(), without_arrays(), forged(), b"\x93NUMPY"],
    ids=["empty", "text", "pickled", "cut", "without arrays", "forged", "a magic alone"],
)
def test_a_file_that_is_no_dump_is_refused(xent: Xent, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "dump.npz").write_bytes(data)

    run = xent("new", "--from", tmp_path / "dump.npz", tmp_path / "mine.yaml")

    assert run.code == 2
    assert "dump.npz: is no .npz of plain arrays" in run.err or "dump.npz: has no array logits" in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "mine.yaml").exists()


def test_one_array_and_no_file_are_refused(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((1, 2)))

    one = xent("new", "--from", tmp_path / "one.npy", "-").err
    assert "is one array, not an .npz" in one
    assert f"or make a case by 'xent diagnose {tmp_path / 'one.npy'} --extract case.yaml'" in one
    assert "cannot be read: No such file or directory" in xent("new", "--from", "nowhere.npz", "-").err
    assert "unsupported file type; supported are .npy, .npz" in xent("new", "--from", tmp_path, "-").err


def test_a_pipe_is_refused_before_it_waits_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dump.npz")

    done = subprocess.run(
        [sys.executable, "-m", "xentcli", "new", "--from", tmp_path / "dump.npz", "-"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (2, f"{tmp_path / 'dump.npz'}: is no regular file\n")


def test_a_small_file_of_many_rows_is_refused_at_once(xent: Xent, tmp_path: Path) -> None:
    rows = 4_000_000
    np.savez_compressed(tmp_path / "x.npz", logits=np.zeros((rows, 1), "f2"), labels=np.zeros(rows, "i1"))
    started = time.process_time()

    run = xent("new", "--from", tmp_path / "x.npz", "-")

    said = (
        "the arrays are more than a case holds; 'xent diagnose' reads them, and extracts the rows that matter"
    )
    assert run.err.endswith(f": {said}\n")
    assert time.process_time() - started < 5  # 20 where each row is written

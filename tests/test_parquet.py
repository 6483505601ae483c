"""Parquet: the same report as of other files, by row groups; hostile files get one message."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent, first
from five_shards import CLASSES, ROWS, arrays_of, report

from xentcli.diagnose import survey
from xentcli.diagnose.dumps import shards
from xentcli.diagnose.files.stored import ReadError

arrow = pytest.importorskip("pyarrow", reason="is not installed: pip install 'xent[parquet]'")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.mark.parametrize("dtype", first(1, ["float16", "float32", "float64"]))
@pytest.mark.parametrize("group", [7, 1000])
def test_parquet_is_read_by_row_groups(tmp_path: Path, dtype: str, group: int) -> None:
    x, k = arrays_of(2)
    x = x.astype(dtype)
    np.savez(tmp_path / "p.npz", logits=x, labels=k)
    rows = arrow.FixedSizeListArray.from_arrays(arrow.array(x.reshape(-1)), CLASSES)
    table = arrow.table({"logits": rows, "labels": k, "text": ["a"] * ROWS})
    parquet.write_table(table, tmp_path / "p.parquet", row_group_size=group)
    shutil.copy(tmp_path / "p.parquet", tmp_path / "q.parquet")
    offsets = np.arange(0, x.size + 1, CLASSES, dtype=np.int32)
    lists = arrow.table({"logits": arrow.ListArray.from_arrays(offsets, x.reshape(-1)), "labels": k})
    parquet.write_table(lists, tmp_path / "q.parquet", row_group_size=group)
    wanted, found, other = (
        report(shards([str(tmp_path / name)], [])) for name in ("p.npz", "p.parquet", "q.parquet")
    )

    assert found.replace("p.parquet", "p.npz") == wanted
    assert other.replace("q.parquet", "p.npz") == wanted


@pytest.mark.parametrize("how", ["null", "lengths", "cut", "text", "changed"])
def test_parquet_that_holds_no_logits_gets_one_message(xent: Xent, tmp_path: Path, how: str) -> None:
    path = tmp_path / "p.parquet"
    rows: list[Any] = [[1.0, 2.0], [3.0, None if how == "null" else 4.0]]
    rows = [*rows, [1.0]] if how == "lengths" else rows
    table = arrow.table({"logits": ["a", "b"] if how == "text" else rows})
    parquet.write_table(table, path)
    if how == "cut":
        os.truncate(path, path.stat().st_size // 2)
    if how == "changed":
        found = shards([str(path)], [])
        os.utime(path, (1, 1))
        with pytest.raises(ReadError, match="changed while it was read"):
            survey.survey(found, -100)
        return
    run = xent("diagnose", path)

    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"{path}: ")
    assert run.err.count("\n") == 1


def groups(path: Path, *rows: Any, labels: Any = None) -> None:
    """Write row groups of lists."""
    schema = arrow.schema([("logits", arrow.list_(arrow.float32())), ("labels", arrow.int64())])
    with parquet.ParquetWriter(path, schema) as writer:
        for at, group in enumerate(rows):
            given = [0] * len(group) if labels is None else labels[at]
            writer.write_table(arrow.table({"logits": group, "labels": given}, schema=schema))


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([[[1.0], [2, 3, 4]]], None, "column logits has lists of several lengths; give each row the same"),
        ([[[], [2, 3, 4, 5]]], None, "column logits has lists of several lengths; give each row the same"),
        ([[[1, 2]], [[1, 2, 3]]], None, "column logits has lists of several lengths; give each row the same"),
        ([[[1, 2, 3]], [[1, 2]]], None, "column logits has lists of several lengths; give each row the same"),
        ([[[1, 2]], [[1, None]]], None, "column logits has nulls; give each row its numbers"),
        ([[[1, 2]], [None]], None, "column logits has nulls; give each row its numbers"),
        ([[[1, 2]], [[1, 2]]], [[0], [None]], "column labels has nulls; give each row its numbers"),
    ],
)
def test_rows_that_are_no_matrix_get_one_message_or_are_left_out(
    xent: Xent, tmp_path: Path, rows: Any, labels: Any, message: str
) -> None:
    width = max(2, len(rows[0][0]))
    groups(tmp_path / "a.parquet", [list(range(width))] * 2)
    groups(tmp_path / "b.parquet", *rows, labels=labels)
    alone = xent("diagnose", tmp_path / "b.parquet")
    kept = xent("diagnose", tmp_path / "a.parquet", tmp_path / "b.parquet", "--keep-going")

    assert alone.code == kept.code == 2
    assert alone.err == f"{tmp_path / 'b.parquet'}: {message}\n"
    assert kept.out.startswith(f"Healthy: 2 rows of {width} classes")


def test_row_groups_may_be_empty(tmp_path: Path, xent: Xent) -> None:
    groups(tmp_path / "a.parquet", [], [[1, 2]], [], [[3, 4], [5, 9]], [])

    assert xent("diagnose", tmp_path / "a.parquet").out.startswith("Healthy: 3 rows of 2 classes")


def test_a_damaged_page_is_an_error_of_its_file(tmp_path: Path, xent: Xent) -> None:
    path = tmp_path / "a.parquet"
    groups(path, [[1, 2]] * 50, [[3, 4]] * 50)
    start = parquet.read_metadata(path).row_group(1).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    run = xent("diagnose", path)

    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"{path}: cannot be read: ")
    assert run.err.count("\n") == 1


def test_a_column_that_holds_no_numbers_is_named(tmp_path: Path, xent: Xent) -> None:
    parquet.write_table(arrow.table({"logits": [[1.0, 2.0]], "labels": ["a"]}), tmp_path / "a.parquet")
    run = xent("diagnose", tmp_path / "a.parquet")

    assert (run.code, run.out) == (2, "")
    assert run.err == f"{tmp_path / 'a.parquet'}: column labels holds string; expected numbers\n"

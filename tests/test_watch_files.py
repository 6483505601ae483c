"""The files that ``watch`` saves: their rows, context and number, and folders that cannot be written to."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Xent
from test_watch import BAD, C, N, in_a_folder, loss_of, nan  # noqa: F401 - a fixture of all tests here

from xentcli.bridge.options import BadLoss
from xentcli.bridge.watch import watch


def test_the_offending_rows_are_kept_with_their_neighbours_and_context_and_all_their_digits() -> None:
    x, k, _ = BAD["infinite"]
    ids, sequences = np.arange(N) + 1000, np.arange(N // 4)

    with pytest.raises(BadLoss):
        watch(loss_of(x, k), x, k, step=1, context={"ids": ids, "sequence": sequences, "rate": 0.1})

    with np.load("xent-000001.npz") as file:
        rows = file["rows"]
        assert set(range(8, 17)) <= set(rows.tolist())
        assert len(rows) < N
        assert np.array_equal(file["logits"], x[rows])
        assert np.array_equal(file["labels"], k[rows])
        assert np.array_equal(file["ids"], ids[rows])
        assert np.array_equal(file["sequence"], rows // 4)
        assert file["rate"] == 0.1
        meta = json.loads(str(file["meta"]))
    assert (meta["schema"], meta["step"], meta["rank"], meta["dtype"]) == ("xent.batch/1", 1, None, "float32")
    assert (meta["shape"], meta["loss"], meta["ignore_index"]) == ([N, C], ["nan"], -100)


def test_all_rows_can_be_kept_and_new_makes_a_case_of_a_file(xent: Xent) -> None:
    x, k, _ = BAD["nan"]

    with pytest.raises(BadLoss) as raised:
        watch(loss_of(x, k), x, k, keep="all", dir="dumps/of/today")

    assert raised.value.path == str(Path("dumps/of/today/xent.npz"))
    with np.load(raised.value.path) as file:
        assert np.array_equal(file["logits"], x, equal_nan=True)
    assert xent("new", "--from", raised.value.path, "case.yaml").code == 0
    assert "nan-logit" in xent("run", "case.yaml", "--methods", "sparse").out


def test_at_most_so_many_files_are_written_and_none_is_replaced() -> None:
    x, k, _ = BAD["nan"]
    Path("xent-000007.npz").write_bytes(b"mine")
    messages = []
    for _ in range(3):
        with pytest.raises(BadLoss) as raised:
            watch(loss_of(x, k), x, k, step=7, most=2)
        messages.append(str(raised.value))

    assert "saved xent-000007-2.npz" in messages[0]
    assert "saved xent-000007-3.npz" in messages[1]
    assert messages[2].endswith("; not saved, for 2 files are (most=2)")
    assert Path("xent-000007.npz").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_to_is_said_and_hides_no_cause() -> None:
    x, k, said = BAD["nan"]
    Path("file").write_text("", encoding="utf-8")

    with pytest.raises(BadLoss) as raised:
        watch(loss_of(x, k), x, k, dir="file")

    assert said in str(raised.value)
    assert "; cannot be saved in file: " in str(raised.value)


def test_one_file_of_many_threads_is_whole() -> None:
    from concurrent.futures import ThreadPoolExecutor

    x, k, _ = BAD["nan"]

    def look(_: int) -> str | None:
        try:
            watch(nan, x, k, step=1, most=40)
        except BadLoss as bad:
            return bad.path
        return None

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(look, range(24)))

    assert len(set(paths)) == 24
    for path in paths:
        assert path is not None
        with np.load(path) as file:
            assert len(file["logits"]) == len(file["rows"])


def test_context_that_is_no_array_hides_no_cause() -> None:
    x, k, said = BAD["nan"]

    with pytest.raises(BadLoss, match=re.escape(said)) as raised:
        watch(nan, x, k, context={"ids": [[1] * (row % 3) for row in range(N)]}, keep="all")
    with np.load(str(raised.value.path)) as file:
        assert file["ids"][2] == "[1, 1]"


def test_a_file_that_could_not_be_written_does_not_count_and_a_path_is_quoted() -> None:
    x, k, _ = BAD["nan"]
    Path("a b").write_text("", encoding="utf-8")
    with pytest.raises(BadLoss, match="cannot be saved"):
        watch(nan, x, k, dir="a b", most=1)
    Path("a b").unlink()
    with pytest.raises(BadLoss, match=r"look: xent diagnose 'a b/xent\.npz'"):
        watch(nan, x, k, dir="a b", most=1)

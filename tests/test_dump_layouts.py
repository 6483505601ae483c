"""Dumps of every form: names, axes, kinds of labels, extracts, and options that do not go together."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from test_answer import C, N, answer, batch, binary, diagnosed, masked_label, nan, set_logit, soft

from xentcli.diagnose.files import arrays, stored
from xentcli.diagnose.files.stored import StoredArray, StoredRows, loaded


@pytest.mark.parametrize(
    ("arrays", "options", "said"),
    [
        ({"logits": (N, C), "targets": N}, (), "Healthy: 64 rows of 10 classes"),
        ({"preds": (N, C), "y": N}, (), "Healthy: 64 rows of 10 classes"),
        ({"a": (N, C), "b": N}, (), "Healthy: 64 rows of 10 classes"),
        ({"a": N, "b": N}, (), "has no array 'logits', but a (64,), b (64,); pass --logits-name"),
        (
            {"a": (N, C), "b": N},
            ("--logits-name", "a", "--labels-name", "b"),
            "Healthy: 64 rows of 10 classes",
        ),
        (
            {"logits": (N, C), "labels": N},
            ("--labels-name", "k"),
            "has no array 'k', but logits (64, 10), labels (64",
        ),
        (
            {"logits": (N, 1), "labels": N},
            (),
            "logits are of shape (64, 1), one class; binary? pass --binary",
        ),
        ({"logits": (N,), "k": N}, ("--binary",), "binary logits need labels; give --labels FILE or"),
        ({"logits": (N,), "labels": N}, (), "expected (N, C) or (…, C); binary? pass --binary"),
        ({"logits": (N,), "labels": N}, ("--binary",), "Healthy: 64 rows of one logit"),
        (
            {"logits": (2, C, 4, 5), "labels": (2, 4, 5)},
            (),
            "the labels have shape (2, 4, 5): pass --class-axis 1",
        ),
        (
            {"logits": (4, 4, 4, 3), "labels": (4, 4, 3)},
            (),
            "the labels have shape (4, 4, 3): pass --class-axis 0",
        ),
        (
            {"logits": (2, C, 4, 5), "labels": (2, 4, 5)},
            ("--class-axis", "1"),
            "Healthy: 40 rows of 10 classes",
        ),
        ({"logits": (C, N), "labels": N}, ("--class-axis", "0"), "Healthy: 64 rows of 10 classes"),
        (
            {"logits": (N, C), "labels": N},
            ("--class-axis", "2"),
            "expected (N, C) or (…, C), with a class axis 2",
        ),
    ],
)
def test_names_axes_and_binary_logits_are_understood_or_asked_about(
    xent: Xent, tmp_path: Path, arrays: dict[str, Any], options: tuple[str, ...], said: str
) -> None:
    random = np.random.default_rng(1)
    x, k = arrays.items()
    made = {x[0]: random.normal(size=x[1]).astype(np.float32), k[0]: random.integers(0, 2, k[1])}
    np.savez(tmp_path / "x.npz", **made)

    run = xent("diagnose", tmp_path / "x.npz", *options)

    assert said in (answer(run) or run.err)
    assert run.code == (0 if said.startswith("Healthy") else 2)


def as_array(folder: Path, x: Any, where: str) -> StoredArray:
    """Write an array, and open it: in memory, in a file or in a file in Fortran's order."""
    if where == "memory":
        return loaded(x.copy())
    np.save(folder / "x.npy", np.asfortranarray(x) if where == "fortran" else x)
    return arrays(str(folder / "x.npy"))[""]


@pytest.mark.parametrize("where", ["memory", "file", "fortran"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (6, 7)])
@pytest.mark.parametrize("large_item", [0, 2**24])
def test_rows_of_any_class_axis_are_those_of_the_moved_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, shape: tuple[int, ...], large_item: int
) -> None:
    monkeypatch.setattr(stored, "_LARGE_ITEM", large_item)
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    for axis in range(-1, len(shape)):
        rows = StoredRows(as_array(tmp_path, x, where), axis)
        moved = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])

        assert rows.shape == moved.shape
        for start in range(len(moved) + 1):
            for stop in range(start, len(moved) + 2):
                assert np.array_equal(rows[start:stop], moved[start:stop])


@pytest.mark.parametrize("where", ["memory", "file", "fortran"])
def test_an_array_is_read_whole_and_flat_in_its_own_order(tmp_path: Path, where: str) -> None:
    x = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    found = as_array(tmp_path, x, where)

    assert np.array_equal(found.whole(), x)
    assert np.array_equal(found.flat()[3:30], x.reshape(-1)[3:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "naive", "--loss", "mine.py:loss"), "--method and --loss: give one of them"),
        (("--method", "all"), "--method all: give one method, not a group"),
        (("--method", "bce_naive"), "bce_naive: expects one logit per example"),
        (("--observed", "none"), "--observed none: give nan, inf or the number that was printed"),
    ],
)
def test_bad_options_get_one_message(
    xent: Xent, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    run = diagnosed(xent, tmp_path, *batch(), *options)

    assert (run.code, run.out, run.err) == (2, "", f"{message}\n")


def test_a_masked_label_is_why_a_loss_is_infinite_and_never_nan(xent: Xent, tmp_path: Path) -> None:
    x, k = masked_label(*batch())

    assert "is no formula" not in answer(diagnosed(xent, tmp_path, x, k, "--observed", "inf"))
    assert "because of row 21: the logit of its label" in answer(
        diagnosed(xent, tmp_path, x, k, "--method", "sparse", "--observed", "inf")
    )
    assert "sparse is nan on none of 64" in answer(
        diagnosed(xent, tmp_path, x, k, "--method", "sparse", "--observed", "nan")
    )


def test_labels_of_any_kind_are_json(xent: Xent, tmp_path: Path) -> None:
    x, y = binary(0.5, nan)(*batch())
    run = diagnosed(xent, tmp_path, x, y, "--binary", "--format", "json")

    assert json.loads(run.out)["worst"][0]["label"] == "nan"


def test_soft_labels_move_with_their_class_axis(xent: Xent, tmp_path: Path) -> None:
    x, y = soft(2)(*batch())
    run = diagnosed(xent, tmp_path, x.reshape(4, 16, C).swapaxes(1, 2), y.reshape(4, 16, C).swapaxes(1, 2))
    moved = xent("diagnose", tmp_path / "batch.npz", "--class-axis", "1")

    assert "row 21 (its labels sum to 2)" not in answer(run)
    assert answer(moved) == "1 of 64 rows is broken: row 21 [1, 5] (its labels sum to 2)."


@pytest.mark.parametrize("poison", [soft(2), binary(30, 0)])
def test_an_extract_of_soft_and_binary_rows_is_a_case(xent: Xent, tmp_path: Path, poison: Any) -> None:
    x, y = poison(*batch())
    options = ("--binary",) if x.shape[1] == 1 else ()
    diagnosed(xent, tmp_path, x, y, "--extract", str(tmp_path / "w.yaml"), "--rows", "1", *options)

    assert xent("run", tmp_path / "w.yaml").code == 0


def test_without_labels_nothing_can_be_extracted(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 3), nan))

    run = xent("diagnose", tmp_path / "x.npy", "--extract", tmp_path / "w.yaml")

    assert (run.code, run.out) == (2, "")
    assert run.err == "--extract needs labels: give --labels FILE or --labels-name NAME\n"
    assert not (tmp_path / "w.yaml").exists()


def test_few_rows_shown_change_no_sentence(xent: Xent, tmp_path: Path) -> None:
    x, k = set_logit(-200)(*batch())
    k[[3, 4, 9]], k[40], x[40, 2] = C, 2, -300  # three invalid labels, and a loss of 300
    for rows in ("1", "9"):
        asked = diagnosed(xent, tmp_path, x, k, "--rows", rows, "--method", "naive", "--observed", "inf")
        plain = diagnosed(xent, tmp_path, x, k, "--rows", rows)

        assert answer(asked).startswith(
            "Your loss is inf because of row 40 and others: the probability of its label, class 2"
        )
        assert answer(plain).startswith("3 of 64 rows are broken: row 3 (label 10 is no class), row 4 (")
    assert "row 40" in diagnosed(xent, tmp_path, x, k % C, "--method", "naive", "--rows", "1").out

"""xent diagnose names the cause that xent's own methods have in a row, and no other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent, first
from test_answer import (
    CLASS,
    ROW,
    answer,
    batch,
    diagnosed,
    in_float16,
    inf,
    masked_label,
    nan,
    set_logit,
    soft,
)


def ignored(value: float) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        x[ROW, CLASS], k[ROW] = value, -100
        return x, k

    return poison


def masked_twice(x: Any, k: Any) -> tuple[Any, Any]:
    x, k = masked_label(x, k)
    x[ROW, CLASS] = -inf
    return x, k


def far(x: Any, k: Any) -> tuple[Any, Any]:
    x = x.astype(np.float16)
    x[ROW, CLASS], x[ROW, k[ROW]] = 6e4, -2e4
    return x, k


def one_hot(*entries: float) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        y = np.eye(x.shape[1])[k]
        x[ROW], y[ROW] = np.resize(np.array([*entries, 0.0, 0.0]), x.shape[1]), np.eye(x.shape[1])[0]
        return x, y

    return poison


def softmax(x: Any, k: Any) -> tuple[Any, Any]:
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True), k


def from_1(x: Any, k: Any) -> tuple[Any, Any]:
    return x, k + 1


def ignored_255(x: Any, k: Any) -> tuple[Any, Any]:
    k[ROW] = 255
    return x, k


@pytest.mark.parametrize(
    ("poison", "options", "said"),
    first(
        6,
        [
            (
                ignored(-200),
                (),
                "No row is broken. With naive, by_hand and textbook, 1 row is nan or inf: row 21 (it is",
            ),
            (
                ignored(-200),
                ("--observed", "nan"),
                "No row is broken. With naive, by_hand and textbook your loss is nan",
            ),
            (
                ignored(-200),
                ("--method", "naive"),
                "naive is nan on 1 of 64 rows: row 21 (it is ignored, but its inf",
            ),
            (
                ignored(nan),
                ("--method", "sparse", "--observed", "nan"),
                "Your loss is nan, but not because of these rows: sparse is nan on none of 64. But row",
            ),
            (
                masked_twice,
                ("--observed", "nan"),
                "Your loss is nan because of row 21: class 3 is masked by -inf.",
            ),
            (
                masked_twice,
                ("--observed", "inf"),
                "Your loss is inf because of row 21: the logit of its label, class 5, is",
            ),
            (
                set_logit(200),
                ("--observed", "inf"),
                "No row is broken. With guarded your loss is inf because of row 21",
            ),
            (set_logit(nan), ("--observed", "2.9"), "2.9 is not the loss of these rows: their mean is "),
            (
                far,
                ("--method", "sparse"),
                "sparse is inf on 1 of 64 rows: row 21 (its true loss is beyond float16).",
            ),
            (
                one_hot(3e38, -3e38),
                ("--method", "dense"),
                "dense is nan on 1 of 64 rows: row 21 (its logits, -3e+38 to",
            ),
            (
                one_hot(0, 300),
                ("--method", "clipped"),
                "clipped is off by more than 1 % on 1 of 64 rows: row 21 (its loss",
            ),
            (
                in_float16(12),
                ("--method", "textbook"),
                "textbook is nan on 1 of 64 rows: row 21 (exp of 12, its logit",
            ),
            (soft(1.003), (), "Healthy: 64 rows of 10 classes"),
            (
                softmax,
                (),
                "The logits look like probabilities: every row lies between 0 and 1 and sums to 1.",
            ),
            (from_1, (), "3 of 64 rows are broken: row 0 (label 10 is no class)"),
            (
                ignored_255,
                (),
                "1 of 64 rows is broken: row 21 (label 255 is no class). If 255 marks rows to ignore, pass",
            ),
            (
                set_logit(-1e9, 5),
                (),
                "No row is broken. With naive, by_hand, guarded and textbook, 1 row is nan or inf: row 21 (",
            ),
        ],
    ),
)
def test_the_cause_is_the_one_of_the_method(
    xent: Xent, tmp_path: Path, poison: Any, options: tuple[str, ...], said: str
) -> None:
    assert answer(diagnosed(xent, tmp_path, *poison(*batch()), *options)).startswith(said)


def test_labels_that_count_from_1_are_named(xent: Xent, tmp_path: Path) -> None:
    run = diagnosed(xent, tmp_path, *from_1(*batch()))

    assert "Labels run from 1 to 10: do they count from 1? Subtract 1." in answer(run)


def test_the_mean_of_the_other_rows_is_that(xent: Xent, tmp_path: Path) -> None:
    x, k = set_logit(nan)(*batch())
    rest = np.delete(x, ROW, axis=0).astype(np.longdouble)
    losses = np.log(np.exp(rest).sum(axis=1)) - rest[np.arange(63), np.delete(k, ROW)]

    run = diagnosed(xent, tmp_path, x, k, "--observed", f"{losses.mean():.4f}")

    assert (
        f"{losses.mean():.4f} is the loss of the rows that have one. 1 of 64 rows is broken: row 21"
        in answer(run)
    )


def test_a_floor_that_was_observed_is_named(xent: Xent, tmp_path: Path) -> None:
    x, k = batch()
    x[np.arange(len(k)), (k + 1) % 10] += 30

    assert "It is -ln(1e-07): p is below Keras' clip" in answer(
        diagnosed(xent, tmp_path, x, k, "--observed", "16.118")
    )


@pytest.mark.slow
def test_a_loss_that_is_wrong_everywhere_is_for_check(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def loss(x, y): return x[:, 0] + 9", encoding="utf-8")

    run = diagnosed(xent, tmp_path, *batch(), "--loss", "mine.py:loss")

    assert answer(run).endswith("'xent check mine.py:loss' names the mistake.")


def test_nothing_is_extracted_from_a_healthy_dump(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "worst.yaml").write_text("before", encoding="utf-8")

    run = diagnosed(xent, tmp_path, *batch(), "--extract", str(tmp_path / "worst.yaml"), "--force")

    assert (run.code, run.err) == (0, f"no row has a finding: nothing is written to {tmp_path}/worst.yaml\n")
    assert (tmp_path / "worst.yaml").read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize("poison", [one_hot(0, 300), ignored(-200), set_logit(100)])
def test_what_is_extracted_fails_as_the_next_command_says(xent: Xent, tmp_path: Path, poison: Any) -> None:
    worst = tmp_path / "worst.yaml"
    x, k = poison(*batch())

    run = diagnosed(xent, tmp_path, x, k.astype(int), "--extract", str(worst), "--rows", "1")
    command = run.err.split("'")[1].split()

    assert not xent(*command[1:]).out.startswith("Nothing is wrong")


def test_a_nan_is_extracted_as_a_nan(xent: Xent, tmp_path: Path) -> None:
    x, k = batch()
    x[ROW, CLASS] = 200  # the label's probability is 0, and that of every other class
    options = ("--method", "naive", "--observed", "nan", "--extract", str(tmp_path / "w.yaml"), "--rows", "1")

    diagnosed(xent, tmp_path, x, k, *options)

    assert xent("explain", tmp_path / "w.yaml", "--method", "naive").out.startswith(
        "naive gives nan in example 0"
    )


@pytest.mark.parametrize("name", ["batch.ckpt", "batch.pkl"])
def test_a_pickle_is_refused_with_a_way_round_it(xent: Xent, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")

    assert 'save with np.savez("batch.npz", logits=' in xent("diagnose", tmp_path / name).err


@pytest.mark.frameworks
@pytest.mark.parametrize("target", ["rows", "mean", "F"])
def test_a_loss_of_torch_is_called_as_one(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    pytest.importorskip("torch", reason="torch is not installed; .ci/run tests with it")
    monkeypatch.chdir(tmp_path)
    lines = (
        "import torch.nn.functional as F\ndef rows(x, y): return F.cross_entropy(x, y, reduction='none')\n"
    )
    (tmp_path / "mine.py").write_text(
        lines + "def mean(x, y): return F.cross_entropy(x, y)\n", encoding="utf-8"
    )
    options = ("--method", "torch.cross_entropy") if target == "F" else ("--loss", f"mine.py:{target}")

    run = diagnosed(xent, tmp_path, *batch(), *options)

    assert "is right on all 64 rows" in answer(run)

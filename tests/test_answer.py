"""The first line of xent diagnose names the failing row and its cause; a healthy dump raises no alarm."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, Xent, first

inf, nan = math.inf, math.nan
N, C, ROW, CLASS = 64, 10, 21, 3
EVERY = ["nan", "inf", "-inf", "naive is", "no loss"]  # words of alarm


def batch() -> tuple[Any, Any]:
    """Return a batch of ordinary logits, and labels in which ``CLASS`` is not that of ``ROW``."""
    random = np.random.default_rng(7)
    x, k = random.normal(size=(N, C)).astype(np.float32), random.integers(0, C, N)
    k[ROW] = 5
    return x, k


def diagnosed(xent: Xent, folder: Path, x: Any, k: Any, *options: str) -> Run:
    arrays = {"logits": x} if k is None else {"logits": x, "labels": k}
    np.savez(folder / "batch.npz", **arrays)
    return xent("diagnose", folder / "batch.npz", *options)


def answer(run: Run) -> str:
    """Return the sentence that a diagnosis begins with."""
    return " ".join(run.out.split("\n\n", maxsplit=1)[0].split())


def set_logit(value: float, at: Any = CLASS) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        x[ROW, at] = value
        return x, k

    return poison


def set_label(label: int) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        k[ROW] = label
        return x, k

    return poison


def masked_label(x: Any, k: Any) -> tuple[Any, Any]:
    x[ROW, k[ROW]] = -inf
    return x, k


def shifted(offset: float) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        x[ROW] += offset
        return x, k

    return poison


def in_float16(value: float) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        x = x.astype(np.float16)
        x[ROW, CLASS] = value
        return x, k

    return poison


def soft(total: float, value: float | None = None) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        y = np.eye(C)[k] * 0.9 + 0.1 / C
        y[ROW] *= total
        y[ROW, CLASS] = y[ROW, CLASS] if value is None else value
        return x, y

    return poison


def binary(logit: float, label: float) -> Any:
    def poison(x: Any, k: Any) -> tuple[Any, Any]:
        y = (k % 2).astype(np.float64)
        x[ROW, 0], y[ROW] = logit, label
        return x[:, :1], y

    return poison


@pytest.mark.parametrize(
    ("poison", "options", "said"),
    [
        (set_logit(nan), (), "1 of 64 rows is broken: row 21 (the logit of class 3 is nan)."),
        (set_logit(inf), (), "1 of 64 rows is broken: row 21 (the logit of class 3 is +inf)."),
        (set_logit(-inf, slice(None)), (), "1 of 64 rows is broken: row 21 (every logit is -inf)."),
        (set_label(C), (), "1 of 64 rows is broken: row 21 (label 10 is no class)."),
        (set_label(-1), (), "1 of 64 rows is broken: row 21 (label -1 is no class)."),
        (masked_label, (), "1 of 64 rows is broken: row 21 (the logit of its label, class 5, is -inf)."),
        (
            set_logit(-200),
            ("--method", "naive"),
            "naive is nan on 1 of 64 rows: row 21 (its probability of class 3 underflows).",
        ),
        (
            set_logit(-200),
            ("--method", "naive", "--observed", "nan"),
            "Your loss is nan because of row 21: its probability of class 3 underflows. Compute the",
        ),
        (
            set_logit(-200),
            ("--method", "dense"),
            "dense is right on all 64 rows: finite, and nowhere visibly off.",
        ),
        (
            set_logit(-inf),
            ("--method", "dense"),
            "dense is nan on 1 of 64 rows: row 21 (class 3 is masked by -inf).",
        ),
        (
            set_logit(-103),
            ("--observed", "nan"),
            "No row is broken. With naive, by_hand and textbook your loss is nan because of row 21: its",
        ),
        (
            set_logit(100),
            ("--method", "textbook"),
            "textbook is nan on 1 of 64 rows: row 21 (exp of 100, its logit of class 3, overflows).",
        ),
        (
            in_float16(12),
            ("--method", "textbook"),
            "textbook is nan on 1 of 64 rows: row 21 (exp of 12, its logit of class 3, overflows).",
        ),
        (in_float16(inf), (), "1 of 64 rows is broken: row 21 (the logit of class 3 is +inf)."),
        (
            set_logit(150),
            ("--method", "guarded"),
            "guarded is inf on 1 of 64 rows: row 21 (the probability of its label, class 5",
        ),
        (
            set_logit(100),
            ("--method", "clipped"),
            "clipped is off by more than 1 % on 1 of 64 rows: row 21 (its loss of 100 is beyond the clip",
        ),
        (
            shifted(1e7),
            (),
            "No row is broken. With textbook, 1 … With unshifted, 1 row is wrong … row 21 (its logits near 1",
        ),
        (
            shifted(1e7),
            ("--method", "unshifted"),
            "unshifted is off by more than 1 % on 1 of 64 rows: row 21 (its logits near 1e+07 cancel",
        ),
        (soft(2), (), "1 of 64 rows is broken: row 21 (its labels sum to 2)."),
        (soft(1, -0.5), (), "1 of 64 rows is broken: row 21 (a label is negative or not finite)."),
        (binary(0.5, 2), ("--binary",), "1 of 64 rows is broken: row 21 (label 2 is not from 0 to 1)."),
        (binary(nan, 1), ("--binary",), "1 of 64 rows is broken: row 21 (its logit is nan)."),
        (binary(-inf, 1), ("--binary",), "1 of 64 rows is broken: row 21 (its logit is -inf)."),
        (
            binary(30, 0),
            ("--binary", "--method", "bce_naive"),
            "bce_naive is inf on 1 of 64 rows: row 21 (the sigmoid of 30 is rounded to 1).",
        ),
        (
            binary(30, 0),
            ("--binary", "--method", "bce_clipped"),
            "bce_clipped is off by more than 1 % on 1 of 64 rows: row 21 (its loss of 30 is beyond the clip",
        ),
    ],
)
def test_the_first_line_names_the_guilty_row_and_its_cause(
    xent: Xent, tmp_path: Path, poison: Any, options: tuple[str, ...], said: str
) -> None:
    run = diagnosed(xent, tmp_path, *poison(*batch()), *options)

    first, *others = said.split(" … ")
    assert answer(run).startswith(first)
    assert all(other in answer(run) for other in others)
    assert run.code == (0 if said.startswith(("No row is broken. With textbook, 1", "dense is right")) else 1)


def trained(dtype: str, size: float) -> tuple[Any, Any]:
    """Return logits whose label stands out: losses from 1e-15 to a few, no gap beyond the format's exp."""
    random = np.random.default_rng(3)
    x, k = random.normal(scale=1.5, size=(2000, 100)), random.integers(0, 100, 2000)
    x[np.arange(2000), k] += random.uniform(2, size, 2000)
    return x.astype(dtype), k


@pytest.mark.parametrize(("dtype", "size"), [("float32", 35), ("float64", 35), ("float16", 5)])
def test_confident_rows_are_no_alarm(xent: Xent, tmp_path: Path, dtype: str, size: float) -> None:
    run = diagnosed(xent, tmp_path, *trained(dtype, size))

    assert answer(run) == (
        "Healthy: 2000 rows of 100 classes; every loss is defined, and no formula makes it nan or inf."
    )
    assert (run.code, run.err) == (0, "")
    assert "remedy" not in run.out
    assert "row  label" not in run.out
    assert len(run.out.splitlines()) <= 11


def test_binary_and_soft_rows_are_no_alarm(xent: Xent, tmp_path: Path) -> None:
    x, k = batch()
    assert answer(diagnosed(xent, tmp_path, x[:, 0], k % 2, "--binary")).startswith("Healthy: 64 rows of one")
    assert answer(diagnosed(xent, tmp_path, *soft(1)(x, k))).startswith("Healthy: 64 rows of 10 classes")


@pytest.mark.parametrize(
    ("k", "options", "said", "code"),
    [
        (np.full(N, -100), (), "All 64 labels are ignored (-100): the mean over no row is 0 / 0, nan.", 1),
        (
            np.where(np.arange(N) < 30, 2, np.arange(N) % C),
            ("--ignore-index", "2"),
            "No row is broken, but the ignored class 2 is the most frequent label (34 of 64): if it is",
            0,
        ),
        (np.arange(N) % C, ("--ignore-index", "9"), "Healthy: ", 0),
        (
            None,
            (),
            "64 rows of 10 classes: no logit is broken, and none makes a formula nan or inf. Labels",
            0,
        ),
    ],
)
def test_what_labels_leave_out_is_said(  # noqa: PLR0913, PLR0917 - fixtures and parameters
    xent: Xent, tmp_path: Path, k: Any, options: tuple[str, ...], said: str, code: int
) -> None:
    run = diagnosed(xent, tmp_path, batch()[0], k, *options)

    assert answer(run).startswith(said)
    assert run.code == code


def test_a_dump_that_is_all_nan_points_to_the_step_before_and_has_no_range(
    xent: Xent, tmp_path: Path
) -> None:
    run = diagnosed(xent, tmp_path, np.full((8, 3), nan, np.float32), np.zeros(8, np.int64))

    assert answer(run) == "All 8 rows have a nan logit: look at the step before, its weights and input."
    assert "no finite logit" in run.out
    assert "inf" not in run.out


def test_without_labels_a_loss_is_unknown_and_not_nan(xent: Xent, tmp_path: Path) -> None:
    x, _ = set_logit(-200)(*batch())
    np.savez(tmp_path / "x.npz", logits=x, classes=np.zeros((N, 2)))
    run = xent("diagnose", tmp_path / "x.npz")
    document = json.loads(xent("diagnose", tmp_path / "x.npz", "--format", "json").out)

    assert "unknown" in run.out
    assert f"{tmp_path}/x.npz holds classes (64, 2)" in answer(run)
    assert document["worst"][0]["loss"] is None


def test_a_row_that_a_loss_was_not_asked_for_has_no_value(xent: Xent, tmp_path: Path) -> None:
    run = diagnosed(xent, tmp_path, *set_label(C)(*batch()), "--method", "naive", "--format", "json")

    assert [(row["row"], row["response"]) for row in json.loads(run.out)["worst"]] == [(ROW, None)]


def test_a_loss_that_was_seen_may_be_wrong(xent: Xent, tmp_path: Path) -> None:
    x, k = np.full((N, C), 1e8, np.float32), np.zeros(N, np.int64)
    run = diagnosed(xent, tmp_path, x, k, "--method", "unshifted", "--observed", "0")

    assert answer(run).startswith(
        "0 is the loss of these rows by unshifted: the dump is the batch you saw. But"
    )
    assert "off by more than 1 % on 64 of 64 rows: row 0 (its logits near 1e+08" in answer(run)
    assert run.code == 1


@pytest.mark.parametrize(
    ("observed", "by", "said", "code"),
    [
        ("mean", (), "{} is the loss of these rows: the dump is the batch you saw.", 0),
        ("sum", (), "{} is the loss of these rows: the dump is the batch you saw.", 0),
        ("mean", ("--method", "sparse"), "{} is the loss of these rows by sparse: the dump is the batch", 0),
        ("9.75", (), "9.75 is not the loss of these rows: their mean is ", 1),
        ("nan", (), "Your loss is nan, but not because of these rows: no formula is nan on any of 64.", 1),
        (
            "nan",
            ("--method", "naive"),
            "Your loss is nan, but not because of these rows: naive is nan on none",
            1,
        ),
    ],
)
def test_a_loss_that_was_seen_is_held_against_the_rows(  # noqa: PLR0913, PLR0917 - fixtures and parameters
    xent: Xent, tmp_path: Path, observed: str, by: tuple[str, ...], said: str, code: int
) -> None:
    x, k = batch()
    wide = x.astype(np.float64)
    losses = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(N), k]
    typed = {"mean": f"{losses.mean():.4f}", "sum": f"{losses.sum():.3f}"}.get(observed, observed)
    run = diagnosed(xent, tmp_path, x, k, "--observed", typed, *by)

    assert answer(run).startswith(said.format(typed))
    assert run.code == code


LOSSES = """
import numpy as np


def loss(logits, labels):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    with np.errstate(all="ignore"):
        return -np.log(e / e.sum(axis=1, keepdims=True))[np.arange(len(e)), labels]


def mean(logits, labels):
    return np.asarray(loss(logits, labels).mean())


def halved(logits, labels):
    return loss(logits, labels) / 2


def short(logits, labels):
    return loss(logits, labels)[:2]


def raises(logits, labels):
    raise ValueError("no")
"""


@pytest.mark.parametrize(
    ("function", "poison", "said"),
    first(
        1,
        [
            (
                "loss",
                set_logit(200),
                "mine.py:loss is inf on 1 of 64 rows: row 21 (the probability of its label, class",
            ),
            (
                "loss",
                set_logit(inf),
                "1 of 64 rows is broken: row 21 (the logit of class 3 is +inf). mine.py:loss is nan",
            ),
            (
                "loss",
                set_label(C),
                "1 of 64 rows is broken: row 21 (label 10 is no class). mine.py:loss is right on",
            ),
            ("mean", set_label(2), "mine.py:mean is right on all 64 rows: finite, and nowhere visibly off."),
            ("halved", set_label(2), "mine.py:halved is off by more than 1 % on 64 of 64 rows: row "),
            ("short", set_label(2), "mine.py:short: returned 2 losses for 64 rows"),
            (
                "raises",
                set_label(2),
                "mine.py:raises: raised ValueError: no; is its convention numpy? Give --conv",
            ),
        ],
    ),
)
def test_a_loss_of_ones_own_is_called_with_the_rows(  # noqa: PLR0913, PLR0917 - fixtures and parameters
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, poison: Any, said: str
) -> None:
    (tmp_path / "mine.py").write_text(LOSSES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run = diagnosed(xent, tmp_path, *poison(*batch()), "--loss", f"mine.py:{function}")

    assert (answer(run) or run.err).startswith(said)


def test_shards_and_ignored_rows_reach_a_loss_as_they_are(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOSSES, encoding="utf-8")
    x, k = batch()
    k[:10], x[40, 1] = -100, 300
    for at in range(2):
        np.savez(tmp_path / f"{at}.npz", logits=x[32 * at : 32 * at + 32], labels=k[32 * at : 32 * at + 32])

    run = xent("diagnose", tmp_path / "0.npz", tmp_path / "1.npz", "--loss", f"{tmp_path}/mine.py:loss")

    assert f"loss is inf on 1 of 64 rows: row 8 of {tmp_path}/1.npz (" in answer(run)


def test_what_a_loss_gives_stands_beside_the_true_loss(xent: Xent, tmp_path: Path) -> None:
    x, k = set_logit(-200)(*batch())
    run = diagnosed(xent, tmp_path, x, k, "--method", "naive", "--format", "json")
    document = json.loads(run.out)

    assert document["response"].pop("relation") is None
    assert document["response"] == {"name": "naive", "nan": 1, "infinite": 0, "off": 0, "mean": "nan"}
    assert [(row["row"], row["response"]) for row in document["worst"]] == [(ROW, "nan")]
    assert {each["rule"] for each in document["findings"]} == {"naive"}

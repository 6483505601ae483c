"""Losses that a dump holds are compared with the true ones, row by row, and what all rows share is named."""

import json
import math
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent, assert_golden, first
from test_answer import answer

from xentcli.diagnose.recorded import NOTHING, Shared, relation_of, shared_by

N, C = 60, 10
WEIGHTS = np.linspace(0.5, 2, C)
COUNTS = [("the number of rows that count", N)]


def rows(seed: int = 0) -> tuple[Any, Any, Any]:
    """Return logits, labels and the true losses, float64 of float32 logits."""
    random = np.random.default_rng(seed)
    x, k = random.normal(scale=2, size=(N, C)).astype(np.float32), np.arange(N) % C
    wide = x.astype(np.float64)
    return x, k, np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(N), k]


def smoothed(share: float) -> Any:
    x, _, loss = rows()
    wide = x.astype(np.float64)
    return (1 - share) * loss + share * (np.log(np.exp(wide).sum(axis=1)) - wide.mean(axis=1))


def dumped(folder: Path, losses: Any) -> Path:
    x, k, _ = rows()
    np.savez(folder / "x.npz", logits=x, labels=k, losses=np.asarray(losses, np.float32))
    return folder / "x.npz"


IN_BITS = "the true one × 1/ln(2), one nat, in bits: the loss is logged to base 2."
BITS = f"In every row the recorded loss is {IN_BITS}"
NAMED = [
    (lambda loss: loss / math.log(2), BITS),
    (
        lambda loss: loss / math.log(10),
        "the true one × 1/ln(10), one nat, to base 10: the loss is logged to base 10",
    ),
    (
        lambda loss: -loss,
        "is minus the true one: the sign is flipped: the loss is maximised. Negate the loss.",
    ),
    (
        lambda loss: loss / N,
        "the true one / 60: each is divided by the number of rows that count, as a mean is.",
    ),
    (
        lambda loss: loss * N,
        "60 × the true one: each is multiplied by the number of rows that count. Divide by 60",
    ),
    (lambda loss: loss / 8, "the true one / 8: a mean was divided once more by a number of ranks, chunks or"),
    (lambda loss: loss * 3, "3 × the true one: losses were added up and not averaged"),
    (lambda loss: loss * 0.37, "0.37 × the true one: a constant weight or scale multiplies it. Divide by it"),
    (lambda loss: loss * 0, "is 0: the rows have a weight of 0, or were left out."),
    (lambda loss: loss + math.log(4), "the true one + ln(4): the sum in the log has every class 4 times"),
    (lambda loss: loss + 0.25, "the true one + 0.25: a constant term is added."),
    (lambda loss: loss - 0.25, "the true one - 0.25: a constant term is added."),
    (
        lambda loss: loss * WEIGHTS[np.arange(N) % C],
        "the true one × a weight of its class (0.5 for class 0, 0.6667 for class 1, 0.8333 for class 2, …):",
    ),
    (
        lambda loss: loss * np.where(np.arange(N) % C == 3, 5, 1),
        "the true one × a weight of its class (5 for class 3, 1 for the others): the loss has class weights",
    ),
    (lambda _: smoothed(0.1), "the true one with a label smoothing of 0.1: the loss smooths labels"),
]


@pytest.mark.parametrize(("change", "said"), first(3, NAMED))
def test_what_all_rows_share_is_named(xent: Xent, tmp_path: Path, change: Any, said: str) -> None:
    run = xent("diagnose", dumped(tmp_path, change(rows()[2])), "--losses-name", "losses")

    assert run.code == 1
    assert said in answer(run)
    assert answer(run).startswith("In every row the recorded loss is ")


def test_true_losses_are_right_and_one_that_is_off_is_named(xent: Xent, tmp_path: Path) -> None:
    loss = rows()[2]
    right = xent("diagnose", dumped(tmp_path, loss), "--losses-name", "losses")
    loss[[5, 7]] += [1, math.inf]
    wrong = xent("diagnose", dumped(tmp_path, loss), "--losses-name", "losses")

    assert (right.code, wrong.code) == (0, 1)
    assert answer(right) == "The recorded loss is right on all 60 rows: finite, and nowhere visibly off."
    assert answer(wrong) == (
        "The recorded loss is inf on 1 and off by more than 1 % on 1 of 60 rows: row 7, row 5."
    )


def test_a_broken_row_is_said_before_the_losses_and_each_begins_a_sentence(
    xent: Xent, tmp_path: Path
) -> None:
    x, k, loss = rows()
    x[3, 2] = loss[3] = math.nan
    np.savez(tmp_path / "x.npz", logits=x, labels=k, losses=loss)

    run = xent("diagnose", tmp_path / "x.npz", "--losses-name", "losses")

    assert answer(run) == (
        "1 of 60 rows is broken: row 3 (the logit of class 2 is nan). "
        "The recorded loss is nan on 1 of 60 rows: row 3 (the logit of class 2 is nan)."
    )


def test_a_nan_among_losses_of_another_base_is_said_beside(xent: Xent, tmp_path: Path) -> None:
    loss = rows()[2] / math.log(2)
    loss[3] = math.nan

    run = xent("diagnose", dumped(tmp_path, loss), "--losses-name", "losses")

    assert answer(run) == f"{BITS} It is nan on 1 of 60 rows. Multiply by ln(2) to compare with other logs."


def test_a_mean_that_was_seen_is_that_of_the_recorded_losses(xent: Xent, tmp_path: Path) -> None:
    loss = rows()[2] / math.log(2)
    path, mean = dumped(tmp_path, loss), f"{loss.mean():.4f}"

    seen = xent("diagnose", path, "--losses-name", "losses", "--observed", mean)
    other = xent("diagnose", path, "--losses-name", "losses", "--observed", "2.5")

    by = "is the loss of these rows by the recorded loss: the dump is the batch you saw."
    assert answer(seen).startswith(f"{mean} {by} {BITS}")
    assert answer(other).startswith(
        "2.5 is not the loss of these rows by the recorded loss: their mean is 4.58"
    )
    assert BITS in answer(other)


def test_losses_in_a_file_of_their_own_and_in_the_shape_of_the_rows(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, k, loss = rows()
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", logits=x.reshape(6, 10, C), labels=k.reshape(6, 10))
    np.save("losses.npy", (loss / math.log(2)).astype(np.float32).reshape(6, 10))
    np.save("half0.npy", x[:30])
    np.save("half1.npy", x[30:])
    for name, array in (("k", k), ("l", loss / math.log(2))):
        np.save(f"{name}0.npy", array[:30])
        np.save(f"{name}1.npy", array[30:])

    whole = xent("diagnose", "x.npz", "--losses", "losses.npy")
    halves = xent("diagnose", "half?.npy", "--labels", "k?.npy", "--losses", "l?.npy")

    assert answer(whole).startswith(BITS)
    assert answer(halves).startswith(BITS)
    assert_golden("diagnose-losses.txt", whole.out)


def test_losses_of_sequences_by_their_numbers(xent: Xent, tmp_path: Path) -> None:
    x, k, loss = rows()
    for divisor, words in (
        (6, "the number of sequences, the batch's size"),
        (10, "the length of a sequence"),
    ):
        arrays = {"logits": x.reshape(6, 10, C), "labels": k.reshape(6, 10), "loss": loss / divisor}
        np.savez(tmp_path / "x.npz", **arrays)

        assert f"/ {divisor}: each is divided by {words}, as a mean is" in answer(
            xent("diagnose", tmp_path / "x.npz", "--losses-name", "loss")
        )


def test_losses_of_shifted_labels(xent: Xent, tmp_path: Path) -> None:
    x = rows()[0].reshape(6, 10, C)
    k = np.random.default_rng(1).integers(0, C, (6, 10))
    wide = x[:, :-1].astype(np.float64)
    loss = np.log(np.exp(wide).sum(axis=2)) - np.take_along_axis(wide, k[:, 1:, None], 2)[..., 0]
    np.savez(tmp_path / "x.npz", logits=x, labels=k, losses=loss)

    run = xent("diagnose", tmp_path / "x.npz", "--losses-name", "losses", "--shift")

    assert answer(run) == "The recorded loss is right on all 54 rows: finite, and nowhere visibly off."


def test_ignored_rows_have_a_recorded_loss_of_0_and_are_not_counted(xent: Xent, tmp_path: Path) -> None:
    x, k, loss = rows()
    k, loss = k.copy(), loss / 50
    k[:10], loss[:10] = -100, 0
    np.savez(tmp_path / "x.npz", logits=x, labels=k, losses=loss)

    run = xent("diagnose", tmp_path / "x.npz", "--losses-name", "losses", "--format", "json")

    relation = json.loads(run.out)["response"]["relation"]
    assert (relation["kind"], relation["value"]) == ("ratio", 0.02)
    assert relation["cause"] == "each is divided by the number of rows that count, as a mean is"


@pytest.mark.parametrize("how", ["soft", "binary", "float16"])
def test_losses_of_other_labels_and_formats(xent: Xent, tmp_path: Path, how: str) -> None:
    x, k, _ = rows()
    y, options = np.eye(C)[k], [] if how != "binary" else ["--binary"]
    if how == "binary":
        x, y = x[:, 0], (k % 2).astype(np.float64)
        loss = np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x.astype(np.float64))))
    else:
        x = x.astype(np.float16) if how == "float16" else x
        wide = x.astype(np.float64)
        loss = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(N), k]
    y = k if how == "float16" else y
    np.savez(tmp_path / "x.npz", logits=x, labels=y, losses=(loss / math.log(2)).astype(x.dtype))

    assert answer(xent("diagnose", tmp_path / "x.npz", "--losses-name", "losses", *options)).startswith(BITS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--losses-name", "k"), "has no array 'k', but logits (60, 10), labels (60,), losses (60,)"),
        (
            ("--losses-name", "labels"),
            "x.npz: losses are int64; expected float16, bfloat16, float32, float64",
        ),
        (("--losses", "few.npy"), "few.npy: 3 losses for 60 rows; give one per row, as of reduction='none'"),
        (
            ("--losses", "one.npy"),
            "1 loss for 60 rows; give one per row, as of reduction='none'; a mean or sum",
        ),
        (
            ("--losses", "few.npy", "--losses", "few.npy"),
            "1 file of logits, 2 of losses; give one of losses for",
        ),
        (("--losses", "gone.npy"), "gone.npy: cannot be read: No such file or directory"),
        (
            ("--losses-name", "losses", "--method", "naive"),
            "--losses and a loss: give what was recorded, or what",
        ),
        (("--losses", "few.npy", "-o", "few.npy"), "few.npy: is one of the files that are read"),
    ],
)
def test_what_is_no_loss_of_the_rows_gets_one_message(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    dumped(tmp_path, rows()[2])
    np.save("few.npy", np.zeros(3))
    np.save("one.npy", np.float64(2.3))

    run = xent("diagnose", "x.npz", *options)

    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    assert message in run.err


# The limits between which a ratio or an offset lies.

EPS = 2.0**-23


def shared(given: Any, part: slice = slice(None), eps: float = EPS) -> Shared:
    x, k, loss = rows()
    return shared_by(x[part], k[part], loss[part], given[part], eps)


def test_limits_of_parts_merge_to_those_of_the_whole_in_any_order() -> None:
    given = rows()[2] * WEIGHTS[np.arange(N) % C]
    whole = shared(given)
    for step in (7, -7):
        parts = [shared(given, slice(start, start + 7)) for start in range(0, N, 7)][:: step // 7]
        merged = reduce(Shared.merge, parts, NOTHING)
        assert (merged.rows, merged.ratio, merged.offset, merged.smoothing) == (
            whole.rows,
            whole.ratio,
            whole.offset,
            whole.smoothing,
        )
        assert np.array_equal(np.asarray(merged.weights), np.asarray(whole.weights))


@pytest.mark.parametrize(("error", "is_ratio"), [(20, True), (200, False)])
def test_a_ratio_holds_within_the_rounding_of_the_logits(error: float, is_ratio: bool) -> None:
    x, _, loss = rows()
    given = 0.37 * loss
    largest = np.abs(x).max(axis=1).astype(np.float64)
    given[7] += 0.37 * error * EPS * largest[7]
    given[8] -= 0.37 * error * EPS * largest[8]

    found = relation_of(shared(given), COUNTS)

    assert (found is not None and found.kind == "ratio") is is_ratio


def test_a_few_rows_and_a_row_per_class_explain_nothing() -> None:
    given = 0.37 * rows()[2]
    assert relation_of(shared(given, slice(4)), COUNTS) is not None
    assert relation_of(shared(given, slice(3)), COUNTS) is None
    weighted = rows()[2] * WEIGHTS[np.arange(N) % C]
    assert relation_of(shared(weighted, slice(20)), COUNTS) is not None
    assert relation_of(shared(weighted, slice(19)), COUNTS) is None


def test_losses_without_anything_in_common_are_not_explained() -> None:
    given = rows()[2] + np.random.default_rng(4).normal(size=N)

    assert relation_of(shared(given), COUNTS) is None
    assert relation_of(NOTHING, COUNTS) is None

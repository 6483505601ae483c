"""Labels of sequences: --shift, and dumps whose labels fit another position."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from test_answer import answer

from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.files.stored import Positions
from xentcli.diagnose.steps import out_of_step

B, T, C = 6, 5, 7
ONE_ON = "No row is broken. But the labels fit only shifted, as of a causal model: their mean loss is 5."


def causal(gain: Any = 5.0, others: float = 0.0, shape: tuple[int, int] = (B, T)) -> tuple[Any, Any]:
    """Return logits (B, T, C) of which each has ``gain`` more at the next label than at its own, and labels.

    ``others`` is a logit that a class which is no label has everywhere.
    """
    k = np.arange(math.prod(shape)).reshape(shape) % (C - 1)
    x = np.zeros((*shape, C), np.float32)
    gains = np.broadcast_to(np.asarray(gain, np.float32), k[:, 1:].shape)
    np.put_along_axis(x[:, :-1], k[:, 1:, None], gains[..., None], axis=2)
    x[..., -1] = others
    return x, k


def found_in(x: Any, k: Any, ignore_index: int = -100) -> Any:
    return out_of_step(Shard("x", x.reshape(-1, C), k.reshape(-1), shape=k.shape), ignore_index)


@pytest.mark.parametrize("first", [False, True])
def test_positions_are_those_of_the_sliced_array(first: bool) -> None:
    x = np.arange(24).reshape(3, 4, 2)
    left = (x[:, 1:] if first else x[:, :-1]).reshape(-1, 2)
    positions = Positions(x.reshape(-1, 2), 4, first=first)

    assert (positions.shape, len(positions)) == (left.shape, len(left))
    for start in range(len(left) + 1):
        for stop in range(start, len(left) + 2):
            assert np.array_equal(positions[start:stop], left[start:stop])


@pytest.mark.parametrize("how", ["plain", "flat labels", "soft labels", "classes first", "method"])
def test_shifted_is_as_if_the_arrays_were(xent: Xent, tmp_path: Path, how: str) -> None:
    x, k = np.random.default_rng(2).normal(size=(B, T, C)).astype(np.float32), causal()[1]
    x[2, 3, 4], x[1, -1, 0], k[3, 2] = -200, math.inf, C  # of the last position nothing is said
    y: Any = np.eye(C, dtype=np.float32)[k % C] if how == "soft labels" else k
    options = ("--method", "naive") if how == "method" else ()
    np.savez(tmp_path / "sliced.npz", logits=x[:, :-1], labels=y[:, 1:])
    sliced = xent("diagnose", tmp_path / "sliced.npz", *options, "--format", "json")
    if how == "classes first":
        x, options = x.swapaxes(1, 2), ("--class-axis", "1")
    np.savez(tmp_path / "whole.npz", logits=x, labels=y.reshape(-1) if how == "flat labels" else y)

    whole = xent("diagnose", tmp_path / "whole.npz", "--shift", *options, "--format", "json")

    assert whole.code == sliced.code
    assert json.loads(whole.out.replace("whole.npz", "sliced.npz")) == json.loads(sliced.out)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((30, C), (), "logits are of shape (30, 7); --shift expects sequences, (B, T, C), (1, 30, 7)"),
        ((30, 1, C), (), "logits are of shape (30, 1, 7); --shift expects sequences, (B, T, C), T from 2 on"),
        ((6, 5), ("--binary",), "--shift and --binary: binary logits are of no causal model; give one of"),
        ((2, 5, C), ("--logits-name", "logits"), "30 labels for 10 rows of logits; give one per row"),
        ((6, 5, C), ("--labels", "x.npy"), "--shift needs labels; give --labels FILE or --labels-name NAME"),
    ],
)
def test_what_cannot_be_shifted_gets_one_message(
    xent: Xent, tmp_path: Path, shape: tuple[int, ...], options: tuple[str, ...], message: str
) -> None:
    arrays: dict[str, Any] = {"logits": np.zeros(shape, np.float32), "labels": np.zeros(30, np.int64)}
    if "x.npy" in options:
        options = ()
        del arrays["labels"]
    np.savez(tmp_path / "x.npz", **arrays)

    run = xent("diagnose", tmp_path / "x.npz", "--shift", *options)

    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    assert message in run.err


def test_labels_that_fit_only_shifted_are_a_finding_and_the_option_is_named(
    xent: Xent, tmp_path: Path
) -> None:
    x, k = causal()
    np.savez(tmp_path / "x.npz", logits=x, labels=k)

    plain, shifted = xent("diagnose", tmp_path / "x.npz"), xent("diagnose", tmp_path / "x.npz", "--shift")

    assert answer(plain).startswith(ONE_ON)
    assert answer(plain).endswith("and 0.0396 where each position has the label of the next: pass --shift.")
    assert "labels-out-of-step    30  the labels fit the logits of another position" in plain.out
    assert answer(shifted).startswith("Healthy: 24 rows of 7 classes;")
    assert "24 × 7 float32 · labels shifted by one position" in shifted.out


def test_labels_that_are_shifted_twice_are_a_finding(xent: Xent, tmp_path: Path) -> None:
    x, k = causal()
    np.savez(tmp_path / "x.npz", logits=x[:, :-1], labels=k[:, 1:])

    run = xent("diagnose", tmp_path / "x.npz", "--shift")

    assert "But the labels fit only unshifted: their mean loss is 5." in answer(run)
    assert answer(run).endswith("and 0.0396 without --shift: leave it out.")


@pytest.mark.parametrize(("cut", "is_said"), [(1, True), (2, False)])
def test_labels_that_were_cut_where_logits_were_not_are_named(
    xent: Xent, tmp_path: Path, cut: int, is_said: bool
) -> None:
    x, k = causal()
    np.savez(tmp_path / "x.npz", logits=x, labels=k[:, cut:])

    run = xent("diagnose", tmp_path / "x.npz")

    hint = "the labels lack a position of each sequence: save logits[:, :-1] beside labels[:, 1:]"
    said = hint if is_said else "give one per row"
    assert (run.code, run.err.count("\n")) == (2, 1)
    assert run.err.endswith(f" rows of logits; {said}\n")


# The rule, and its twins.


@pytest.mark.parametrize(("gain", "is_found"), [(1.01, True), (0.99, False), (-5, False)])
def test_labels_are_out_of_step_from_one_nat_on(gain: float, is_found: bool) -> None:
    assert (found_in(*causal(gain)) is not None) is is_found


@pytest.mark.parametrize(("share", "is_found"), [(0.97, True), (1.03, False)])
def test_losses_that_scatter_need_six_standard_errors(share: float, is_found: bool) -> None:
    signs = np.where(np.arange(24) % 2, 1, -1)  # of 24 pairs the standard error is this over √23
    gain = 2 + signs * share * 2 * math.sqrt(23) / 6
    gain = gain.reshape(B, T - 1)

    assert (found_in(*causal(gain)) is not None) is is_found


@pytest.mark.parametrize(("excess", "is_found"), [(-0.01, True), (0.01, False)])
def test_labels_that_fit_no_better_than_a_guess_fit_nowhere(excess: float, is_found: bool) -> None:
    # ln(e^5 + e^z + 5) - 5 is the loss at the next label
    z = math.log(math.exp(5 + math.log(C) + excess) - math.exp(5) - (C - 2))

    assert (found_in(*causal(5.0, z)) is not None) is is_found


@pytest.mark.parametrize(("length", "is_found"), [(17, True), (16, False)])
def test_a_few_rows_say_nothing(length: int, is_found: bool) -> None:
    assert (found_in(*causal(shape=(1, length))) is not None) is is_found


def test_ignored_and_invalid_labels_and_ends_of_sequences_are_no_pairs() -> None:
    x, k = causal()
    k[:, 1], k[0] = -100, C  # left are two pairs in each of five sequences

    assert found_in(x, k) is None
    x, k = causal()
    assert found_in(x, k, ignore_index=int(k[0, 0])) is not None
    assert found_in(x, k.reshape(-1)) is None


def test_a_large_vocabulary_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xentcli.diagnose.steps._NUMBERS", 22 * C)
    x, k = causal()
    x[-2:] = np.nan  # never read

    found = found_in(x, k)

    assert found is not None
    assert (found.shifted, found.other) == (False, pytest.approx(0.0396, abs=1e-4))

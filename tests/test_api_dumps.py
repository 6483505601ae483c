"""What diagnose_logits takes beside logits and labels, with the same answers as ``xent diagnose``."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent

from xentcli import XentError, diagnose_logits, losses

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(4, 8, 20)).astype(np.float32) * 3
K = RANDOM.integers(0, 20, (4, 8))


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answer(xent: Xent, *arguments: str) -> str:
    verdict: str = json.loads(xent("diagnose", *arguments, "--format", "json").out)["verdict"]
    return verdict


def test_arrays_of_other_names_are_found_in_files(xent: Xent) -> None:
    x = X.reshape(-1, 20).copy()
    x[3, 5] = math.inf
    np.savez("x.npz", out=x, other=x[:, :2], target=K.reshape(-1), mine=K.reshape(-1) * 0)

    found = diagnose_logits("x.npz", logits_name="out", labels_name="mine")

    assert found.verdict == answer(xent, "x.npz", "--logits-name", "out", "--labels-name", "mine")
    assert found.verdict.startswith("1 of 32 rows is broken: row 3")


@pytest.mark.parametrize("is_file", [False, True])
def test_positions_are_shifted(xent: Xent, is_file: bool) -> None:
    k = np.roll(X.argmax(axis=2), 1, axis=1)
    np.savez("x.npz", logits=X, labels=k)

    found = diagnose_logits("x.npz", shift=True) if is_file else diagnose_logits(X, k, shift=True)

    assert found.survey.rows == 4 * 7
    assert found.verdict == answer(xent, "x.npz", "--shift")


@pytest.mark.parametrize("is_file", [False, True])
def test_recorded_losses_are_compared(xent: Xent, is_file: bool) -> None:
    x, k = X.reshape(-1, 20), K.reshape(-1)
    recorded = losses(x, k) / np.float32(math.log(2))
    np.savez("x.npz", logits=x, labels=k)
    np.save("mine.npy", recorded)

    found = diagnose_logits("x.npz", losses="mine.npy") if is_file else diagnose_logits(x, k, losses=recorded)

    assert "bits" in found.verdict
    assert found.verdict == answer(xent, "x.npz", "--losses", "mine.npy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"losses": np.zeros(3, np.float32)},
            "losses are float32 of shape (3,); expected floats for 32 rows",
        ),
        ({"losses": np.zeros(32, int)}, "losses are int64 of shape (32,); expected floats for 32 rows"),
        ({"losses": np.zeros(32), "loss": "naive"}, "losses and a loss: give what was recorded"),
        ({"losses": "mine.npy"}, "logits and labels and losses are both arrays or both files"),
        ({"shift": True}, "logits are of shape (32, 20); shift expects sequences, (B, T, C)"),
        ({"logits_name": "out"}, "logits_name and labels_name are of arrays in files"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(XentError) as raised:
        diagnose_logits(X.reshape(-1, 20), K.reshape(-1), **options)

    assert message in str(raised.value)

"""Losses of sharded classes: a group of processes that responds as one, and what xent check finds there."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from conftest import ROOT, Xent

from xentcli.check.plan import case_spec
from xentcli.check.probes import Probe
from xentcli.check.run import Options, check, deadline
from xentcli.errors import XentError
from xentcli.frameworks.arranged import arranged
from xentcli.frameworks.conventions import CONVENTIONS, find_convention
from xentcli.frameworks.ranks import Ranks
from xentcli.frameworks.shard import fill
from xentcli.frameworks.subject import InSubprocess
from xentcli.load import load_all
from xentcli.load.build import build_batch
from xentcli.load.sources import read_all

SHARDED = str(ROOT / "tests/losses/sharded.py")
TWO, THREE = CONVENTIONS["vocab_parallel"], CONVENTIONS["vocab_parallel.3"]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


def ask(does: list[str], seconds: float = 20, rows: int = 5) -> tuple[dict[str, Any], bool]:
    """Return the response of a group whose processes each do something, and whether they are there yet."""
    group = Ranks("losses.group", len(does))
    try:
        return group.request({"does": does, "rows": rows}, seconds), group.is_running
    finally:
        group.stop()


def test_a_group_responds_as_one() -> None:
    response, is_running = ask(["float32"] * 3)

    assert is_running
    assert response["losses"] == [200, 101, 2, 203, 104]  # of the last rank first
    assert response["gradient"] == [1.0] * 15  # each rank has its share
    assert (response["printed"], response["wrote"]) == ("x", ["labels"])


def test_a_loss_of_another_dtype_on_one_rank_is_said() -> None:
    response, _ = ask(["float64", "float32"])

    assert response["unusable"] == "returned shape (5,) in float64 on rank 0, (5,) in float32 on another"


@pytest.mark.slow
@pytest.mark.parametrize(("does", "rank"), [(["waits", "raises"], 1), (["raises", "waits"], 0)])
def test_who_waits_for_one_that_raised_is_ended(does: list[str], rank: int) -> None:
    begin = time.monotonic()
    response, is_running = ask(does)

    assert response["raised"] == f"IndexError: on rank {rank}"
    assert response["lost"] == "the other ranks waited for the one that failed"
    assert not is_running
    assert time.monotonic() - begin < 15  # and not 20


def test_where_all_raise_none_is_ended() -> None:
    response, is_running = ask(["raises", "raises"])

    assert (response["raised"], is_running) == ("IndexError: on rank 0", True)
    assert "lost" not in response


def test_a_group_that_is_too_slow_is_ended() -> None:
    response, is_running = ask(["float32", "waits"], seconds=1)

    assert (response["ended"], response["late"], is_running) == (True, True, False)


def test_processes_that_start_anew_meet_elsewhere() -> None:
    group = Ranks("losses.group", 2)
    fields = {"does": ["describes"] * 2, "rows": 1}
    try:
        first = Path(group.request(fields, 20)["meeting"])
        assert first.parent.is_dir()
        group.stop()
        second = Path(group.request(fields, 20)["meeting"])
    finally:
        group.stop()

    assert first != second
    assert not first.parent.exists()
    assert not second.parent.exists()


def test_classes_are_filled_up_by_the_least_logit() -> None:
    weights = [1.0, 2.0, 3.0, 4.0, 5.0]
    logits = [[3.0, 1.0, 2.0, 5.0, 4.0], [0.0, -np.inf, 1.0, 2.0, 3.0]]

    filled = fill(build_batch(logits, [4, 0], "float32", class_weights=weights), 4)

    assert filled.logits.tolist() == [[*logits[0], 1.0, 1.0, 1.0], [*logits[1], *[-np.inf] * 3]]
    assert filled.labels.argmax(axis=1).tolist() == [4, 0]
    assert filled.weighting.class_weights is not None
    assert filled.weighting.class_weights.tolist() == [*weights, 1.0, 1.0, 1.0]


def test_the_truth_is_that_of_the_classes_that_are_there() -> None:
    probe = Probe.build(THREE, [[0.5, -1.0]], [0], "float64")
    with mpmath.workdps(30):
        true = mpmath.nstr(mpmath.log(mpmath.exp(0.5) + 2 * mpmath.exp(-1)) - mpmath.mpf(0.5), 29)

    assert abs(probe.truth.losses[0] - Decimal(true)) < Decimal("1e-28")


@pytest.mark.parametrize(("label", "expected"), [(3, 4), (4, 5), (-1, -1), (2, 2)])
def test_an_invalid_label_stays_one(label: int, expected: int) -> None:
    batch = build_batch([[1.0, 2.0, 3.0]], [label], "float32")

    filled = fill(batch, 2)

    assert filled.class_labels is not None
    assert filled.class_labels.tolist() == [expected]
    assert (filled.invalid is None) == (label == 2)


def test_an_ignored_label_stays_what_it_is() -> None:
    filled = fill(build_batch([[1.0, 2.0, 3.0]] * 2, [7, 0], "float32", ignore_index=7), 2)

    assert filled.class_labels is not None
    assert filled.class_labels.tolist() == [7, 0]


def test_cases_are_filled_up_too() -> None:
    case = load_all(*read_all(["normal-3x3"]))[0]

    assert case_spec(case, TWO, ()).probes[0].batch.logits.shape == (3, 4)
    assert case_spec(case, THREE, ()).probes[0].batch.logits.shape == (3, 3)


def test_in_the_process_of_a_test_there_is_no_group() -> None:
    with pytest.raises(XentError, match=r"^vocab_parallel: .* use the command xent check$"):
        arranged(lambda *_: None, TWO, None)  # type: ignore[arg-type] # it is refused before


def findings(name: str, convention: str = "vocab_parallel", **options: Any) -> dict[str, set[str]]:
    """Check a loss of tests/losses/sharded.py, and return what is found by check."""
    pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    target, end = f"{SHARDED}:{name}", deadline(120)
    subject = InSubprocess(target, None, find_convention(convention, target), end)
    try:
        report = check(subject, Options(**options), target, end)
    finally:
        subject.stop()
    assert all(each.reached or each.skipped for each in report.checks)
    return {each.name: {found.name for found in each.findings} for each in report.checks if each.findings}


FEW = ["blog", "cancellation", "invalid-labels", "upstream-gradients", "memory-layouts"]


@pytest.mark.frameworks
def test_a_right_loss_of_shards_passes() -> None:
    assert findings("right", only=FEW) == {}


@pytest.mark.slow
@pytest.mark.frameworks
def test_a_label_that_one_rank_refuses_leaves_none_behind() -> None:
    assert findings("one_rank_raises", only=["blog", "invalid-labels"]) == {}


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize("convention", ["vocab_parallel", "vocab_parallel.3", "vocab_parallel.4"])
def test_a_right_loss_of_shards_passes_every_check(convention: str) -> None:
    assert findings("right", convention) == {}


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("name", "case", "finding"),
    [
        ("world_times", "normal-10class", "gradient wrong"),
        ("labels_of_the_first_shard", "normal-3x3", "off"),
        ("one_rank_has_no_losses", "normal-10class", "collapsed"),
        ("largest_of_its_own", "normal-10class", "off"),
        ("whole_world", "normal-10class", "off"),
        ("rank_in_the_world", "normal-10class", "off"),
    ],
)
def test_a_fault_of_shards_is_found(name: str, case: str, finding: str) -> None:
    assert finding in findings(name, only=["blog"])[case]


@pytest.mark.frameworks
def test_the_command_says_whose_ranks_they_are(xent: Xent) -> None:
    pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")

    run = xent("check", f"{SHARDED}:right", "--convention", "vocab_parallel", "--only", "blog")

    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(f"{SHARDED}:right passed all ")

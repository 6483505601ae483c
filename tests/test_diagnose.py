"""xent diagnose: what it shows, the worst rows as a case, interruption, memory."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent, assert_golden
from test_dumps import poisoned

from xentcli import load
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.summary import summarise
from xentcli.diagnose.survey import survey
from xentcli.load.sources import Source

inf, nan = math.inf, math.nan


def test_three_poisoned_rows_are_found_extracted_and_reproduced(xent: Xent, tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)
    worst = tmp_path / "worst.yaml"

    run = xent("diagnose", logits, "--labels", labels, "--extract", worst, "--rows", "3")
    case = load.load(Source("worst.yaml", "worst", worst.read_bytes()))
    shown = xent("run", worst, "--format", "json")
    (method,) = [m for m in json.loads(shown.out)["cases"][0]["methods"] if m["method"] == "naive"]

    assert run.code == 1
    assert run.err == (
        f"wrote {worst}; 'xent run {worst} --methods all' runs it\n"
        "2000 rows of 20 classes; broken: infinite-logit 1, bad-label 1\n"
    )
    assert case.batch.logits.shape[0] == 3
    assert case.batch.logits.shape[1] <= 5
    assert case.about.sources[0].url.startswith("rows logits.npy 17, 1500, 901; ")
    stored = np.load(logits)
    assert set(case.batch.logits.ravel().tolist()) <= set(stored[[17, 1500, 901]].ravel().tolist())
    assert shown.code == 0
    assert {"infinite-logit", "label-out-of-range", "zero-times-infinity"} <= {*method["findings"]}
    assert "zero-times-infinity" in xent("explain", worst, "--method", "naive", "--example", "2").out


def test_the_result_is_a_table_and_a_remedy(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert_golden("diagnose.txt", xent("diagnose", "logits.npy", "--labels", "labels.npy").out)


def test_json_has_it_all(xent: Xent, tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)

    given = json.loads(xent("diagnose", logits, "--labels", labels, "--format", "json").out)

    assert (given["schema"], given["complete"], given["dtype"]) == ("xent.diagnose/1", True, "float32")
    assert (given["shape"], given["rows"], given["labelled"]) == ([2000, 20], 2000, True)
    assert {each["name"]: each["rows"] for each in given["spoiled"] if each["broken"]} == {
        "infinite-logit": 1,
        "bad-label": 1,
    }
    assert given["worst"][0] == {
        "file": str(logits),
        "row": 17,
        "label": int(np.load(labels)[17]),
        "loss": "nan",
        "smallest": float(np.load(logits)[17].min()),
        "largest": "inf",
        "spoiled_by": ["infinite-logit"],
    }


def test_a_case_gives_its_clip_and_what_it_ignores(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0, 5, 0], [0, 5, 0]], np.float32))
    np.save(tmp_path / "k.npy", np.array([0, 255]))
    (tmp_path / "c.yaml").write_text(
        "{title: t, logits: [[1, 2]], labels: [0], ignore_index: 255, clip: [0.01, 1]}", encoding="utf-8"
    )

    run = xent(
        "diagnose",
        tmp_path / "x.npy",
        "--labels",
        tmp_path / "k.npy",
        "--case",
        tmp_path / "c.yaml",
        "--format",
        "json",
    )
    given = json.loads(run.out)

    assert given["ignored"] == 1
    assert {each["name"]: each["rows"] for each in given["spoiled"]} == {"clip 0.01": 1}


def test_a_clip_of_a_case_stays_active_in_what_is_extracted(xent: Xent, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.normal(size=(50, 40)).astype(np.float32))
    np.save(tmp_path / "k.npy", np.zeros(50, np.int64))
    (tmp_path / "c.yaml").write_text(
        "{title: t, logits: [[1, 2]], labels: [0], clip: [0.01, 1]}", encoding="utf-8"
    )
    arguments = ("--labels", tmp_path / "k.npy", "--case", tmp_path / "c.yaml")

    xent("diagnose", tmp_path / "x.npy", *arguments, "--extract", tmp_path / "w.yaml", "--rows", "2")
    case = load.load(Source("w.yaml", "w", (tmp_path / "w.yaml").read_bytes()))

    assert case.batch.logits.shape[1] < 40
    assert case.batch.clip == (0.01, 1.0)
    assert spoiled_by_clip(case.batch.logits, case.batch.indices) == [True, True]


def spoiled_by_clip(x: Any, k: Any) -> list[bool]:
    wide = x.astype(np.float64)
    p = np.exp(wide[np.arange(len(x)), k]) / np.exp(wide).sum(axis=1)
    return (p < 0.01).tolist()


def test_interrupted_it_shows_what_was_read() -> None:
    def done(_: int) -> None:
        raise KeyboardInterrupt

    x = np.zeros((2**20, 4), np.float32)
    found = survey([Shard("a", x, np.zeros(len(x), np.int64), ())], -100, progress=done)
    diagnosis = summarise(found)

    assert not found.complete
    assert 0 < found.rows < len(x)
    assert diagnosis.total == len(x)


def test_a_progress_bar_is_for_terminals_only(tmp_path: Path) -> None:
    from test_docs import on_a_terminal

    poisoned(tmp_path)
    shown = on_a_terminal("xent diagnose logits.npy --labels labels.npy > out.txt", tmp_path)
    piped = subprocess.run(
        [sys.executable, "-m", "xentcli", "diagnose", "logits.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "diagnosing" in shown
    assert "diagnosing" not in piped.stderr


def test_it_works_in_bounded_memory(tmp_path: Path) -> None:
    np.save(
        tmp_path / "x.npy", np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.float32, (100, 100_000))
    )
    code = "import re, sys\nfrom pathlib import Path\nfrom xentcli.__main__ import main\n"
    code += "sys.argv = ['xent', 'diagnose', 'big.npy', '-o', 'out']\nmain()\n"
    # The most that was resident, mapped files too; ru_maxrss would count the process that forked this one.
    code += "peak = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    code += "assert peak < 250 * 1024, peak\n"

    run: Any = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stderr) == (0, "100 rows of 100000 classes; none of them is broken\n")

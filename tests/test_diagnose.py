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
from xentcli.diagnose.diagnosis import diagnosis_of
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.survey import survey
from xentcli.load.sources import Source

inf, nan = math.inf, math.nan


def case_of(path: Path) -> Any:
    return load.load(Source(path.name, path.stem, path.read_bytes()))


def test_three_poisoned_rows_are_found_extracted_and_reproduced(xent: Xent, tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)
    worst = tmp_path / "worst.yaml"

    run = xent("diagnose", logits, "--labels", labels, "--extract", worst, "--rows", "3")
    case = case_of(worst)
    shown = xent("run", worst, "--format", "json")
    (method,) = [m for m in json.loads(shown.out)["cases"][0]["methods"] if m["method"] == "naive"]

    assert run.code == 1
    assert run.err == f"wrote {worst}; 'xent explain {worst} --method naive' says why\n"
    assert case.batch.logits.shape[0] == 3
    assert case.batch.logits.shape[1] <= 5
    assert case.about.sources[0].url.startswith("rows logits.npy 17, 1500, 901; ")
    stored = np.load(logits)
    assert set(case.batch.logits.ravel().tolist()) <= set(stored[[17, 1500, 901]].ravel().tolist())
    assert shown.code == 0
    assert {"infinite-logit", "label-out-of-range", "zero-times-infinity"} <= {*method["findings"]}
    assert "zero-times-infinity" in xent("explain", worst, "--method", "naive", "--example", "2").out


def test_the_result_is_an_answer_and_its_evidence(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert_golden("diagnose.txt", xent("diagnose", "logits.npy", "--labels", "labels.npy").out)


def test_a_remedy_is_said_once(xent: Xent, tmp_path: Path) -> None:
    x = np.zeros((3, 3), np.float32)
    x[:2, 1] = 200, 120  # naive, guarded and textbook go wrong: the first two have one remedy
    np.savez(tmp_path / "x.npz", logits=x, labels=np.zeros(3, np.int64))

    shown = xent("diagnose", tmp_path / "x.npz").out

    assert shown.count("remedy  Compute the loss from the logits") == 1


def test_json_has_it_all(xent: Xent, tmp_path: Path) -> None:
    logits, labels = poisoned(tmp_path)

    document = json.loads(xent("diagnose", logits, "--labels", labels, "--format", "json").out)

    assert [document[key] for key in ("schema", "complete", "dtype")] == ["xent.diagnose/2", True, "float32"]
    assert [document[key] for key in ("shape", "rows", "labelled")] == [[2000, 20], 2000, True]
    assert {each["finding"]: each["rows"] for each in document["findings"] if each["invalid"]} == {
        "infinite-logit": 1,
        "label-out-of-range": 1,
    }
    assert document["findings"][2] == {
        "finding": "zero-times-infinity",
        "rule": "naive",
        "rows": 1,
        "says": "a probability is 0: naive and by_hand give nan or inf",
        "clip": None,
        "invalid": False,
        "severity": "nan or infinite",
        "methods": ["naive", "by_hand"],
    }
    assert document["verdict"].startswith("2 of 2000 rows are broken: row 17 (the logit of class 3 is +inf)")
    assert document["response"] is None
    assert document["worst"][2]["rules"] == ["naive", "textbook"]
    assert document["worst"][0] == {
        "file": str(logits),
        "row": 17,
        "row_in_step": None,
        "label": int(np.load(labels)[17]),
        "loss": "nan",
        "smallest": float(np.load(logits)[17].min()),
        "largest": "inf",
        "findings": ["infinite-logit"],
        "rules": ["infinite-logit"],
        "response": None,
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
    document = json.loads(run.out)

    assert document["ignored"] == 1
    assert [(each["rule"], each["rows"], each["clip"]) for each in document["findings"]] == [
        ("case clip", 1, [0.01, 1])
    ]


def extract(xent: Xent, folder: Path, x: Any, k: Any, *options: str) -> Any:
    """Extract the worst rows of arrays; return the case."""
    np.savez(folder / "x.npz", logits=x, labels=k)
    run = xent("diagnose", folder / "x.npz", "--extract", folder / "w.yaml", "--force", *options)
    assert run.code in {0, 1}, run.err
    return case_of(folder / "w.yaml")


def a_case(folder: Path, keys: str) -> tuple[str, str]:
    (folder / "c.yaml").write_text(f"{{title: t, logits: [[1, 2]], labels: [0], {keys}}}", encoding="utf-8")
    return "--case", str(folder / "c.yaml")


@pytest.mark.parametrize(
    ("row", "clip", "extracted"),
    [
        ((14, 0), "[2e-6, 1]", (2e-6, 1.0)),  # p is 8e-7: below the case's clip alone
        ((20, 0), "[2e-6, 1]", (2e-6, 1.0)),  # p is 2e-9: below usual ones too
        ((20, 0), "[3e-9, 1]", (3e-9, 1.0)),  # the case's own comes before higher ones
        ((20, 0), "[1e-9, 1]", (2**-23, 1.0)),  # the case's changes nothing: the highest of the others
        ((8, 4), "[1e-7, 0.99]", (1e-7, 0.99)),  # p is 0.997: above the case's clip
        ((20, 0), None, (2**-23, 1.0)),
        ((8, 4), None, (1e-36, 1.0)),  # the default: no clip is written
    ],
)
def test_an_extract_has_the_clip_that_decides_its_losses(
    xent: Xent, tmp_path: Path, row: tuple[int, int], clip: str | None, extracted: tuple[float, float]
) -> None:
    x, (logit, label) = np.zeros((3, 9), np.float32), row
    x[:, 4], x[2, 5] = logit, nan  # one row has a finding in any case
    options = () if clip is None else a_case(tmp_path, f"clip: {clip}")
    case = extract(xent, tmp_path, x, np.full(3, label), *options)
    shown = xent("run", tmp_path / "w.yaml", "--methods", "clipped", "--format", "json")
    (method,) = json.loads(shown.out)["cases"][0]["methods"]

    assert case.batch.clip == extracted
    assert ("clip-active" in method["findings"]) == (extracted != (1e-36, 1.0))


def test_an_extract_keeps_the_rules_of_each_row_with_few_classes(xent: Xent, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, k = random.normal(size=(50, 40)).astype(np.float32), np.zeros(50, np.int64)
    options = a_case(tmp_path, "clip: [0.01, 1]")
    batch = extract(xent, tmp_path, x, k, *options, "--rows", "2").batch
    wide = batch.logits.astype(np.float64)
    p = np.exp(wide[[0, 1], batch.indices]) / np.exp(wide).sum(axis=1)

    assert batch.logits.shape[1] < 30  # of 40: each p is to stay below 0.01
    assert (p < 0.01).all()


def test_an_extract_keeps_each_label_and_drops_what_no_rule_needs(xent: Xent, tmp_path: Path) -> None:
    x, k = np.zeros((2, 9), np.float32), np.array([5, 5])
    x[0, 4], x[1, 4:6] = 20, [-200, -1]  # the probability of the label, and of class 4, is too small
    batch = extract(xent, tmp_path, x, k, "--ignore-index", "1").batch

    assert batch.logits.tolist() == [[-200, -1, 0], [20, 0, 0]]
    assert batch.indices is not None
    assert batch.indices.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("ignore_index", "labels"),
    [
        ("-100", [5, -100, 9, -3]),
        ("255", [5, 255, -100, 2**40]),
        ("1", [5, 1, 9, -1]),  # 5 becomes class 1 of those kept, and is not ignored
    ],
)
def test_an_extract_ignores_what_was_ignored_and_no_invalid_label(
    xent: Xent, tmp_path: Path, ignore_index: str, labels: list[int]
) -> None:
    x = np.zeros((4, 9), np.float32)
    x[:, 0] = nan
    batch = extract(xent, tmp_path, x, np.array(labels), "--ignore-index", ignore_index).batch

    assert len(batch.logits) == 4
    assert sum(map(batch.is_ignored, range(4))) == 1
    assert sum(map(batch.is_invalid, range(4))) == 2


def test_an_extract_has_uint64_labels_beyond_int64(xent: Xent, tmp_path: Path) -> None:
    x, k = np.zeros((3, 4), np.float32), np.array([2**64 - 1, 2**64 - 100, 1], np.uint64)
    batch = extract(xent, tmp_path, x, k).batch

    assert len(batch.logits) == 2
    assert [batch.is_invalid(row) for row in range(2)] == [True, True]
    assert not batch.is_ignored(1)


@pytest.mark.slow
def test_an_extract_has_as_many_of_the_worst_rows_as_a_case_may_hold(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sum in order in bfloat16 is too small from 259 equal logits on: fewer classes will not do.
    x = np.random.default_rng(0).normal(size=(8, 300)).astype(np.float32) / 10**5
    case = extract(xent, tmp_path, x, np.zeros(8, np.int64), "--rows", "8")
    size = len((tmp_path / "w.yaml").read_bytes())
    assert case.batch.logits.shape == (8, 259)

    monkeypatch.setattr("xentcli.diagnose.extract.MAX_BYTES", size)
    assert len(extract(xent, tmp_path, x, np.zeros(8, np.int64), "--rows", "8").batch.logits) == 8
    monkeypatch.setattr("xentcli.diagnose.extract.MAX_BYTES", size - 1)
    assert len(extract(xent, tmp_path, x, np.zeros(8, np.int64), "--rows", "8").batch.logits) == 4
    monkeypatch.setattr("xentcli.diagnose.extract.MAX_BYTES", size // 9)
    run = xent("diagnose", tmp_path / "x.npz", "--extract", tmp_path / "none.yaml")
    assert run.code == 2
    assert run.err == f"row 4 of {tmp_path / 'x.npz'} cannot be extracted: a case has at most 0 MiB\n"
    assert not (tmp_path / "none.yaml").exists()


def test_interrupted_it_shows_what_was_read() -> None:
    def done(_: int) -> None:
        raise KeyboardInterrupt

    x = np.zeros((2**20, 4), np.float32)
    found = survey([Shard("a", x, np.zeros(len(x), np.int64))], -100, progress=done)
    diagnosis = diagnosis_of(found)

    assert not found.complete
    assert 0 < found.rows < len(x)
    assert diagnosis.total == len(x)


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

    assert (run.returncode, run.stderr) == (0, "")

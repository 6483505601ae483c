"""The same terminal, environment and random numbers for every test."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import settings

from xentcli.__main__ import main

ROOT = Path(__file__).parent.parent
CASES = ROOT / "cases"
GOLDEN = Path(__file__).parent / "golden"
WRONG = "title: t\nlogits: [[1, 2]]\nlabels: [0]\nexpect: {dense: 7, sparse: [1.3132616]}\n"

settings.register_profile("xent", derandomize=True, database=None, deadline=None)
settings.load_profile("xent")


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    code: int
    out: str
    err: str


Xent = Callable[..., Run]


def first(number: int, rows: Iterable[Any]) -> list[Any]:
    """Return rows of parameters, all but the first few marked slow: those are tried in every run."""
    rows = list(rows)
    return rows[:number] + [_slow(row) for row in rows[number:]]


def _slow(row: Any) -> Any:
    if hasattr(row, "marks"):  # a pytest.param
        return pytest.param(*row.values, marks=[*row.marks, pytest.mark.slow], id=row.id)
    return pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def _pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pin the terminal: an 80-column one of no special powers, whatever the tests run on."""
    for name in [name for name in os.environ if name.startswith("XENT")] + ["FORCE_COLOR", "NO_COLOR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(ROOT)


@pytest.fixture
def xent(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Xent:
    """Run a command in this process, as the console script does."""

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr("sys.argv", ["xent", *map(str, arguments)])
        code = main()
        out, err = capfd.readouterr()
        return Run(code, out, err)

    return run


def program(
    *arguments: str | Path,
    env: dict[str, str] | None = None,
    text: str | None = None,
    stdin: IO[bytes] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run xent as a process of its own, with variables, and a text or a file on standard input."""
    given: dict[str, Any] = {"input": text} if stdin is None else {"stdin": stdin}
    return subprocess.run(
        [sys.executable, "-m", "xentcli", *map(str, arguments)],
        **given,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG, encoding="utf-8")
    return path


def assert_golden(name: str, text: str) -> None:
    """Compare with a file under golden/."""
    assert_current(GOLDEN / name, text)


def assert_current(path: Path, text: str) -> None:
    """Compare with a file; UPDATE_GOLDEN=1 writes it instead, to be read before it is kept."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")

    assert text == path.read_text(encoding="utf-8")


def sweep_document(xent: Xent, *arguments: str | Path) -> dict[str, Any]:
    """Return what ``xent sweep`` writes as JSON."""
    done = xent("sweep", *arguments, "--format", "json")
    assert done.code == 0, done.err
    return dict(json.loads(done.out))

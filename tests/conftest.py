"""The same terminal, environment and random numbers for every test."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from xentcli.__main__ import main

ROOT = Path(__file__).parent.parent
CASES = ROOT / "cases"
GOLDEN = Path(__file__).parent / "golden"

settings.register_profile("xent", derandomize=True, database=None, deadline=None)
settings.load_profile("xent")


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    code: int
    out: str
    err: str


Xent = Callable[..., Run]


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


def assert_golden(name: str, text: str) -> None:
    """Compare with a file under golden/; UPDATE_GOLDEN=1 writes it instead, to be read before it is kept."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")

    assert text == path.read_text(encoding="utf-8")

"""Processes that call losses: none outlives the command, and nothing of the current folder runs in them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Xent, first

from xentcli.process import Process

NAMES = "import os, time, pathlib\ndef tell(): pathlib.Path('pid').write_text(str(os.getpid()))\n"
HANGS = f"{NAMES}tell()\n{{}}\ndef loss(x, y): return x"
CALLED = f"{NAMES}def loss(x, y):\n    tell()\n    {{}}\n"
FOREVER = {
    "sleeping": "time.sleep(60)",
    "busy": "while True: pass",
    "holding the lock": "import ctypes; ctypes.PyDLL(None).sleep(60)",
}


def seen(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize(
    ("file", "how", "name"),
    first(
        1,
        [(file, how, name) for file in (HANGS, CALLED) for how in FOREVER for name in ("SIGTERM", "SIGKILL")]
        + [(HANGS, "busy", name) for name in ("SIGINT", "SIGHUP", "SIGQUIT")],
    ),
)
def test_a_loss_that_hangs_ends_with_the_command(tmp_path: Path, file: str, how: str, name: str) -> None:
    (tmp_path / "mine.py").write_text(file.format(FOREVER[how]), encoding="utf-8")
    command = [sys.executable, "-m", "xentcli", "check", "mine.py:loss", "-o", "report.txt"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as xent:
        pid = tmp_path / "pid"
        assert seen(lambda: pid.exists() and pid.read_text(encoding="utf-8") != "")
        loss = int(pid.read_text(encoding="utf-8"))

        xent.send_signal(getattr(signal, name))

        _, said = xent.communicate(timeout=10)
    assert seen(lambda: not is_alive(loss), 3)
    if name == "SIGKILL":
        return
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix not in {"", ".py"}) == []
    assert "Traceback" not in said
    assert xent.returncode == 128 + getattr(signal, name)


@pytest.mark.parametrize("entry", ["", ".", "here", "relative"])
def test_nothing_of_the_current_folder_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) if entry == "here" else entry)
    for module in ("json", "numpy", "queue", "select", "xentcli", "decimal"):
        (tmp_path / f"{module}.py").write_text("open('OWNED', 'w')", encoding="utf-8")
    (tmp_path / "relative").mkdir()
    process = Process("xentcli.frameworks.worker")

    response = process.request(
        {"target": "os:getcwd", "gradient": None, "convention": "numpy", "returns": "none", "device": "cpu"},
        20,
    )
    process.stop()

    assert not (tmp_path / "OWNED").exists()
    assert response["has_gradient"] is False


def test_other_entries_of_the_path_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), "tests"]))
    (tmp_path / "answers.py").write_text(
        "import sys\ndef handle(_): return {'path': sys.path}", encoding="utf-8"
    )
    process = Process("answers")

    path = process.request({}, 20)["path"]
    process.stop()

    assert str(tmp_path) in path
    assert not {"", "tests", str(Path.cwd())} & {*path}


LOST = """
import signal, sys, time
from xentcli.cli import signals
signals._PATIENCE = 0.2
signals.install()

class Collected:
    def __del__(self):
        signal.raise_signal(getattr(signal, sys.argv[1]))  # the exception is printed and lost in here

sys.unraisablehook = lambda _: None
Collected()
try:
    time.sleep(20)
except (KeyboardInterrupt, signals.Ended):
    signals.heard()
    time.sleep(0.5)
    print("heard once")
"""


@pytest.mark.parametrize("name", first(1, ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]))
def test_a_signal_that_comes_in_a_callback_of_the_interpreter_is_not_lost(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST, name], capture_output=True, text=True, check=False, timeout=15
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "heard once\n", "")


@pytest.mark.parametrize("entry", first(1, ["", ":", "relative", "HERE"]))
@pytest.mark.parametrize(
    "command", [["-m", "xentcli"], ["-c", "from xentcli.__main__ import program; program()"]]
)
def test_the_program_imports_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], entry: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) if entry == "HERE" else entry)
    (tmp_path / "relative").mkdir()
    for folder in (tmp_path, tmp_path / "relative"):
        for module in ("json", "numpy", "click", "rich", "gc", "shlex", "yaml", "decimal"):
            (folder / f"{module}.py").write_text("open('OWNED', 'w')", encoding="utf-8")

    done = subprocess.run([sys.executable, *command, "run", "abnormal"], capture_output=True, check=False)

    assert not (tmp_path / "OWNED").exists()
    assert done.returncode == 0


@pytest.mark.parametrize(
    "fields", ['{"losses": ["a", "b"], "shape": [2]}', '{"ended": true}', '{"raised": 5}']
)
def test_a_response_that_a_loss_makes_up_is_none(xent: Xent, tmp_path: Path, fields: str) -> None:
    (tmp_path / "mine.py").write_text(
        f"""
import os
def loss(x, y):
    for descriptor in range(3, 12):
        for number in range(3):
            line = b'{{"number": %d, "mark": %d, "fields": {fields}}}\\n' % (number, number)
            try: os.write(descriptor, line)
            except OSError: pass
    os._exit(0)
""",
        encoding="utf-8",
    )

    run = xent("check", f"{tmp_path / 'mine.py'}:loss", "--only", "blog")

    assert run.code in {1, 2}
    assert "it wrote into the pipe of its responses" in run.out + run.err


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(xent: Xent, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npz")

    run = xent("new", "--from", tmp_path / "x.npz", tmp_path / "case.yaml")

    assert (run.code, run.err) == (2, f"{tmp_path / 'x.npz'}: is no regular file\n")

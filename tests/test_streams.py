"""Files that appear whole or not at all, readers that leave, interruption, terminals of every kind."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import pytest
from conftest import CASES, WRONG, Xent, first, program

from xentcli.cli.progress import progress

BLOG = [str(CASES / f"{name}.yaml") for name in ("normal-3x3", "normal-10class", "abnormal")]

# Output files


def test_a_file_appears_whole_with_the_modes_of_a_new_file(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()

    done = xent("run", "abnormal", "-o", tmp_path / "out.txt")

    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == xent("run", "abnormal").out
    assert (tmp_path / "out.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "plain"]


def test_a_refusal_leaves_the_file_as_it_was(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("before", encoding="utf-8")

    assert xent("run", "no-such-case", "-o", tmp_path / "out.txt").code == 2

    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_link_stays_a_link_and_a_mode_stays(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "real.txt").touch(mode=0o600)
    (tmp_path / "link.txt").symlink_to("real.txt")

    xent("run", "abnormal", "-o", tmp_path / "link.txt")

    assert (tmp_path / "link.txt").is_symlink()
    assert "82.89307" in (tmp_path / "real.txt").read_text(encoding="utf-8")
    assert (tmp_path / "real.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("target", ["no/such/folder/out.txt", ".", "", "a\0b", "x" * 300])
def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr("xentcli.run.run", lambda *_: pytest.fail("it ran"))

    done = xent("run", "abnormal", "-o", target)

    assert (done.code, done.out) == (2, "")
    assert "cannot be written: " in done.err


def test_a_file_that_may_not_be_written_is_not_replaced(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kept.txt").write_text("before", encoding="utf-8")
    monkeypatch.setattr("os.access", lambda *_: False)  # as for anyone but root

    done = xent("run", "abnormal", "-o", tmp_path / "kept.txt")

    assert (done.code, done.err) == (2, f"{tmp_path}/kept.txt: cannot be written: Permission denied\n")
    assert (tmp_path / "kept.txt").read_text(encoding="utf-8") == "before"


def test_a_case_is_not_replaced_by_its_results(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(WRONG, encoding="utf-8")

    for named in (tmp_path / "mine.yaml", tmp_path):
        done = xent("run", named, "-o", tmp_path / "mine.yaml")

        assert (done.code, done.out) == (2, "")
        assert "is one of the files that are read" in done.err
        assert (tmp_path / "mine.yaml").read_text(encoding="utf-8") == WRONG
        assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_device_is_written_to_directly(xent: Xent) -> None:
    assert xent("run", "abnormal", "-o", "/dev/null").code == 0
    assert "82.89307" in program("run", "abnormal", "-o", "/dev/stdout").stdout
    full = xent("run", "abnormal", "-o", "/dev/full")
    assert (full.code, full.err) == (2, "/dev/full: cannot be written: No space left on device\n")


def test_a_full_standard_output_is_a_message() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xentcli", "run", "abnormal"],
            stdout=full,
            stderr=-1,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (
        2,
        "standard output: cannot be written: No space left on device\n",
    )


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m xentcli run {' '.join(BLOG * 15)} -v | head -1"

    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert done.stdout.startswith("naive, clipped, dense, sparse and by_hand are right. 21 of 21")
    assert done.stderr.splitlines() == ["1080 of 1080 printed numbers reproduced"]


# Interruption


def test_ctrl_c_is_130_without_a_traceback(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.yaml")
    process = subprocess.Popen(
        [sys.executable, "-m", "xentcli", "run", str(tmp_path / "endless.yaml")],
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background the signal may be ignored from the start; no threads run here.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - see above
    )

    # To open a pipe for writing waits until somebody reads from it: the signal comes in the midst of reading.
    with (tmp_path / "endless.yaml").open("w", encoding="utf-8"):
        for _ in range(10):  # one that comes just before the system's read begins does not end that
            process.send_signal(signal.SIGINT)  # nothing is sent to a process that has ended
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
        _, err = process.communicate(timeout=2)

    assert process.returncode == 130
    assert err.strip() == "interrupted"


# The terminal


def test_an_ascii_terminal_gets_escapes_and_no_traceback(wrong: Path) -> None:
    wrong.write_text(WRONG.replace("title: t", "title: café Σ"), encoding="utf-8")

    done = program("run", wrong, env={"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1"})

    assert done.returncode == 1
    assert "caf\\xe9 \\u03a3" in done.stdout
    assert "----" in done.stdout
    assert done.stdout.isascii()


def modules_after(*arguments: str) -> list[str]:
    """List what is imported once a command has run."""
    script = (
        f"import sys; from xentcli import cli; sys.argv = {['xent', *arguments]!r}; "
        "cli.main(); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1].split()


def test_nothing_is_imported_that_help_does_not_need() -> None:
    heavy = {"numpy", "rich", "yaml", "dataclasses", "json"}

    assert heavy & set(modules_after("--help")) == set()


def test_rich_is_imported_for_a_terminal_only() -> None:
    assert "rich" not in modules_after("run", "abnormal")


# Progress


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ((1.5, True, False), True),
        ((0.5, True, False), False),
        ((1.5, False, False), False),
        ((1.5, True, True), False),
    ],
    ids=["slow", "quick", "in a pipe", "quiet"],
)
def test_progress_is_shown_on_a_terminal_after_a_second_and_erased(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: tuple[float, bool, bool],
    shown: bool,
) -> None:
    seconds, is_terminal, is_quiet = setting
    clock = iter([0.0, seconds, seconds + 1])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    context = click.Context(click.Command("run"))
    context.meta["xent.quiet"] = is_quiet

    with context, progress("reading") as show:
        show(0.25)

    written = capsys.readouterr().err
    assert written == (f"\rreading 25%\r{' ' * 11}\r" if shown else "")


def test_progress_is_inert_and_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    with click.Context(click.Command("check")), progress("checking \x1b[31m" + "a" * 300) as show:
        show(0.5)

    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert len(shown.split("\r")[1]) < 80


@pytest.mark.parametrize("module", ["xentcli.streams", "xentcli.cli", "click"])
def test_ctrl_c_before_the_handlers_are_in_place_is_quiet(tmp_path: Path, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n",
        encoding="utf-8",
    )

    done = program("run", "abnormal", env={"PYTHONPATH": str(tmp_path)})

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    "command", first(1, ["--help", "--version", "run --help", "cases", "findings log-of-zero"])
)
def test_help_to_a_full_disk_is_a_message(command: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xentcli", *command.split()],
            stdout=full,
            stderr=-1,
            text=True,
            check=False,
        )

    assert done.returncode == 2
    assert done.stderr.startswith("standard output: cannot be ")
    assert done.stderr.count("\n") == 1

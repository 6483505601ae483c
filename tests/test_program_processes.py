"""How xent check --program starts and ends a program, and files beside it; the examples in C and Rust."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Xent
from test_process import is_alive, seen
from test_program import EXAMPLES, SOME, TEXT, TWO, _impatient, script  # noqa: F401 - a fixture of all tests here

from xentcli.frameworks import program as programs
from xentcli.frameworks.program import SCHEMA, Program

WAIT = 0.3  # seconds that a test waits for an answer that does not come; others come in a tenth of that
PROCESSES = [
    ("print('computing')", "at the greeting it wrote a line that is no JSON object: computing"),
    ("sys.exit('no device')", "the process ended with code 1: no device"),
    ("os.kill(os.getpid(), 9)", "the process ended with signal 9"),
    pytest.param(
        "os.closerange(0, 3); time.sleep(60)", "the process closed its output", marks=pytest.mark.slow
    ),
    ("time.sleep(60)", "no answer within 0.3 s"),
    ("while True: print('y' * 9999)", "it wrote a line that is no JSON object: yyyy"),
    pytest.param(
        "print('\\x1b[2J')", "it wrote a line that is no JSON object: \\x1b[2J", marks=pytest.mark.slow
    ),
    pytest.param("print('[' * 99999)", "it wrote a line that is no JSON object: [[[", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("change", "message"), PROCESSES)
def test_a_process_that_does_not_greet_is_ended_and_said_in_one_line(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    monkeypatch.setattr(programs, "_TO_START", WAIT)

    done = xent("check", "--program", script(tmp_path, change))

    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.endswith(f"({SCHEMA})\n")
    assert done.err.count("\n") == 1


CALLS = [
    ("sys.exit('lost the device')", "the process ended with code 1: lost the device"),
    pytest.param("os.abort()", "the process ended with signal 6", marks=pytest.mark.slow),
    ("time.sleep(60)", "no answer within 0.3 s"),
    ("print('loss 0.5')", "it wrote a line that is no JSON object: loss 0.5"),
]


@pytest.mark.parametrize(("change", "message"), CALLS)
def test_a_process_that_does_not_answer_costs_a_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    monkeypatch.setattr(programs, "_TO_RESPOND", WAIT)
    subject = Program(script(tmp_path, f"if request.get('shape') == [2, 2]: {change}"), time.monotonic() + 60)
    try:
        response = subject.respond(TWO)
        again = subject.respond({**TWO, "shape": (1, 4), "labels": [2]})
    finally:
        subject.stop()

    assert response["ended"]
    assert message in response["raised"]
    assert len(again["losses"]) == 1  # it was started again


def test_a_program_that_reads_no_request_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is larger than a pipe, and so is what the program writes without being asked."""
    monkeypatch.setattr(programs, "_TO_RESPOND", WAIT)
    greets = script(tmp_path, "if not asked: print(json.dumps(reply), flush=True); time.sleep(60)")
    subject = Program(greets, time.monotonic() + 60)
    request = {**TWO, "shape": (1, 2**17), "scores": [0.1] * 2**17, "labels": [0]}

    began = time.monotonic()
    response = subject.respond(request)

    assert response == {"raised": "no answer within 0.3 s", "ended": True, "late": True}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--program", "no-such-program"], "--program no-such-program: no such program"),
        (["--program", "./xentcli"], "--program ./xentcli: is a folder"),
        (["--program", "./README.md"], "--program ./README.md: is not executable"),
        (["--program", "README.md"], "is not executable; a program of this folder is ./README.md"),
        (["--program", "'"], "--program ': No closing quotation"),
        (["--program", " "], "--program: name a program and its arguments, such as './loss --fast'"),
        (["--program", "true", "--convention", "torch"], "--convention: a program says in its greeting how"),
        (["--program", "true", "--reduction", "mean"], "--reduction: a program says in its greeting how"),
        (["--program", "true", "--gradient", "a:b"], "--gradient: a program says in its greeting how"),
        (["--program", "true", "nothing"], "nothing: no such file, folder or bundled case"),
        (["--program", "cat", "-o", "README.md/x"], "README.md/x: cannot be written"),
    ],
)
def test_a_program_that_cannot_be_started_is_refused(xent: Xent, arguments: list[str], message: str) -> None:
    done = xent("check", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_file_that_cannot_be_executed_says_so(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "loss"
    path.write_bytes(b"\x7fELF, but cut off")
    path.chmod(0o755)

    done = xent("check", "--program", str(path))

    assert done.code == 2
    assert "the process ended with code 126" in done.err


def test_a_report_does_not_replace_the_program(xent: Xent, tmp_path: Path) -> None:
    command = script(tmp_path)

    done = xent("check", "--program", command, "-o", tmp_path / "mine.py")

    assert (done.code, "is one of the files that are read" in done.err) == (2, True)


def test_a_program_has_the_environment_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".")
    text = f"import beside\n{TEXT}"

    Program(script(tmp_path / "..", text=text), time.monotonic() + 60).stop()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize(
    "name", ["SIGKILL", *(pytest.param(n, marks=pytest.mark.slow) for n in ("SIGTERM", "SIGINT"))]
)
def test_a_program_and_its_children_end_with_the_command(tmp_path: Path, name: str) -> None:
    change = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); "
    change += "open('pids', 'a').write(f'{os.getpid()}\\n'); time.sleep(60)"
    command = [
        sys.executable,
        "-m",
        "xentcli",
        "check",
        "--program",
        script(tmp_path, change),
        "-o",
        "report.txt",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as xent:
        path = tmp_path / "pids"
        assert seen(lambda: path.exists() and path.read_text(encoding="utf-8").count("\n") == 2)
        pids = [int(pid) for pid in path.read_text(encoding="utf-8").split()]
        assert all(map(is_alive, pids))

        xent.send_signal(getattr(signal, name))

        _, said = xent.communicate(timeout=10)
    assert seen(lambda: not any(map(is_alive, pids)), 3)
    assert "Traceback" not in said
    assert not (tmp_path / "report.txt").exists()


def test_failures_are_saved_with_the_command_that_fails_on_them_again(xent: Xent, tmp_path: Path) -> None:
    command = script(tmp_path, "if asked and 'losses' in reply: reply['losses'][0] = (2.5).hex()")
    folder = tmp_path / "found"

    done = xent("check", "--program", command, "--only", "search", "--save-failures", folder)

    assert done.code == 1
    assert "; 'xent check --program " in done.err


BUILT: dict[tuple[str, ...], str] = {}


@pytest.fixture
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return what builds an example, once, and skips where its compiler is missing."""
    commands = {
        "c": ["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wpedantic"],
        "rs": ["rustc", "--edition", "2021", "-O", "-D", "warnings"],
    }

    def build(language: str, *options: str) -> str:
        command = commands[language]
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed: examples/loss.{language} is not built")
        if (language, *options) not in BUILT:
            path = tmp_path_factory.mktemp("built") / "loss"
            libraries = ["-lm"] if language == "c" else []
            line = [*command, *options, "-o", str(path), f"{EXAMPLES}/loss.{language}", *libraries]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            BUILT[language, *options] = str(path)
        return BUILT[language, *options]

    return build


@pytest.mark.parametrize("chosen", [SOME, pytest.param([], marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("language", ["c", "rs"])
def test_the_examples_build_without_warnings_and_pass(
    xent: Xent, build: Callable[..., str], language: str, chosen: list[str]
) -> None:
    done = xent("check", "--program", build(language), *chosen, "--format", "json")
    document = json.loads(done.out)

    assert done.code == 0
    assert document["versions"] == f"loss.{language} 1 in float32 and float64"
    assert document["summary"]["passed"] > (20 if chosen else 50)
    names = {each["name"] for each in document["checks"]}
    assert {"ignored-rows", "invalid-labels", "differentiable"} <= names


def test_an_example_that_is_made_wrong_fails(xent: Xent, build: Callable[..., str]) -> None:
    done = xent("check", "--program", build("c", "-DWRONG"), "--only", "cancellation")

    assert done.code == 1
    assert "tail-collapse" in done.out


# Other keys, keys in another order, spaces, and brackets and quotes in texts.
ODD = r"""{"id": 5 , "later": {"ask": ["]}", {"labels": [9]}], "\"}": "\\"}, "ask" : "losses", "labels":[ 1 ],
"logits": ["0x0p+0","0x1p+0"], "upstream": ["0x1p+1"], "schema": "xent.loss/1", "shape": [1,2],
"dtype": "float64"}
"""


@pytest.mark.parametrize("language", ["c", "rs"])
def test_the_examples_pass_over_keys_that_they_do_not_know(build: Callable[..., str], language: str) -> None:
    line = ODD.replace("\n", " ") + "\n"
    assert json.loads(line)["id"] == 5

    done = subprocess.run([build(language)], input=line, capture_output=True, text=True, check=True)

    answer: dict[str, Any] = json.loads(done.stdout)
    p = 1 / (1 + math.exp(1))
    assert answer["id"] == 5
    # Of numbers near 1, each formula within a few roundings.
    assert float.fromhex(answer["losses"][0]) == pytest.approx(math.log1p(math.exp(-1)), rel=1e-15)
    assert [float.fromhex(value) for value in answer["gradient"]] == pytest.approx([2 * p, -2 * p], rel=1e-15)

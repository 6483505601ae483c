"""xent check: what it refuses to check or to judge, and losses that hang, print or end their process."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Xent, first
from test_check_command import RIGHT, RUDE, _importable  # noqa: F401 - a fixture of all tests here

from xentcli.check import run
from xentcli.frameworks import subject as subjects
from xentcli.frameworks.conventions import find_convention


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        2,
        [
            (["nothing"], "nothing: name a function: module:function or path/to/file.py:function"),
            (["no_such_module:loss"], "No module named 'no_such_module'; a file ends in .py"),
            (["no/such.py:loss"], "no/such.py: no such file"),
            ([f"{RIGHT}:nothing"], "has no attribute 'nothing'"),
            (["math:pi"], "math:pi: is float, not a function"),
            ([f"{RIGHT}:log1p", "--gradient", f"{RIGHT}:nothing"], "has no attribute 'nothing'"),
            (
                [f"{RIGHT}:log1p", "--convention", "nunpy"],
                "unknown convention 'nunpy'; did you mean 'numpy'?",
            ),
            (
                [f"{RIGHT}:log1p", "--only", "tail-colapse"],
                "no check is called 'tail-colapse'; did you mean 'tail-",
            ),
            (
                [f"{RIGHT}:log1p", "--only", "ignored-rows"],
                "no check is called 'ignored-rows'",
            ),  # it ignores none
            ([f"{RIGHT}:log1p", "--skip", "search"], "--skip search: give the reason: --skip search=REASON"),
            ([f"{RIGHT}:log1p", "--skip", "nothing=because"], "no check is called 'nothing'"),
            ([f"{RIGHT}:log1p", "--budget", "0"], "0 is not in the range x>0"),
            ([f"{RIGHT}:log1p", "--budget", "nan"], "a budget is a number of seconds above 0, not nan"),
            ([f"{RIGHT}:log1p", "--max-ulps", "nan"], "max_ulps is a number, at least 0, not nan"),
            ([f"{RIGHT}:log1p", "--seed", "-1"], "-1 is not in the range x>=0"),
            (
                [f"{RIGHT}:log1p", "--save-failures", "README.md"],
                "README.md: cannot be made a folder: File exists",
            ),
            (["tests/losses.py:log1p"], "tests/losses.py: no such file"),
        ],
    ),
)
def test_what_cannot_be_checked_is_refused(xent: Xent, arguments: list[str], message: str) -> None:
    run = xent("check", *arguments)

    assert (run.code, run.out) == (2, "")
    assert message in run.err
    assert "Traceback" not in run.err


def test_a_module_that_raises_is_refused_with_what_it_raised(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import sys\nsys.exit('no licence')\n", encoding="utf-8")

    run = xent("check", f"{tmp_path}/broken.py:loss")

    assert run.code == 2
    assert run.err.endswith("broken.py:loss: cannot be imported: SystemExit: no licence\n")


def test_a_convention_whose_library_is_missing_is_refused(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    run = xent("check", f"{RIGHT}:log1p", "--convention", "torch")

    assert (run.code, run.err) == (2, "convention torch: torch is not installed\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hangs", "no answer within 1 s"),
        ("aborts", "the process ended with signal 6"),
        ("exits", "raised SystemExit: a mask"),
    ],
)
def test_what_ends_a_process_costs_a_response(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "_TO_RESPOND", 1.0)
    target = f"{RUDE}:{name}"
    end = run.deadline(60)
    subject = subjects.InSubprocess(target, None, find_convention(None, target), end)
    try:
        report = run.check(subject, run.Options(only=["one-hot", "common-offset"]), target, end)
    finally:
        subject.stop()
    messages = {each.name: {finding.message for finding in each.findings} for each in report.checks}

    # The next response is a new process's.
    assert messages == {"common-offset": set(), "one-hot": {message}}


@pytest.mark.parametrize(
    ("code", "message"),
    first(
        1,
        [
            ("while True: pass", "while it was imported: no answer within 1 s"),
            ("import os; os._exit(3)", "while it was imported: the process ended with code 3"),
            (  # it sleeps with every pipe closed, so that there is no end of the process to see
                "import os, time; os.closerange(3, 64); time.sleep(60)",
                "it was imported: the process closed its output",
            ),
            ("raise AttributeError('boo')", "cannot be imported: AttributeError: boo"),
        ],
    ),
)
def test_an_import_that_does_not_end_well_is_refused_in_time(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    monkeypatch.setattr(subjects, "_TO_IMPORT", 1.0)
    (tmp_path / "bad.py").write_text(code, encoding="utf-8")

    run = xent("check", f"{tmp_path}/bad.py:loss")

    assert run.code == 2
    assert message in run.err


def test_what_a_loss_starts_ends_with_it(xent: Xent, tmp_path: Path) -> None:
    code = "import os, time\nfrom losses.right import log1p as loss\n"
    # The child sleeps with our pipe open, as worker processes of a library do.
    code += "if os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)\n"
    (tmp_path / "forks.py").write_text(code, encoding="utf-8")

    assert (
        xent("check", f"{tmp_path}/forks.py:loss", "--only", "blog").code == 0
    )  # and does not wait a minute


@pytest.mark.parametrize(
    ("arguments", "message"),
    first(
        1,
        [
            (
                [f"{RIGHT}:log1p", "--convention", "numpy.rows"],
                "2 × 3 in float32); it was called as numpy.rows (--list has other conventions)",
            ),
            ([f"{RIGHT}:mean"], "was not judged: it returns one number for 2 examples; add --reduction mean"),
            (
                [f"{RUDE}:reduced"],
                "was not judged: it returns one number for 2 examples; add --reduction sum",
            ),
            ([f"{RUDE}:a_list"], "was not judged: it returned list; expected a NumPy array"),
            (
                ["json:JSONDecoder"],
                "json:JSONDecoder is a class; name a function that calls an instance, such as",
            ),
            ([f"{RIGHT}:log1p", "--beside", "torch.cros_entropy"], "did you mean 'torch.cross_entropy'?"),
            ([], "name a loss: module:function or path/to/file.py:function (or --list)"),
            ([f"{RIGHT}:log1p", "nothing"], "nothing: no such file, folder or bundled case"),
        ],
    ),
)
def test_what_cannot_be_judged_is_said_in_one_sentence(
    xent: Xent, arguments: list[str], message: str
) -> None:
    run = xent("check", *arguments)

    assert (run.code, run.out) == (2, "")
    assert message in run.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("while True: pass", "was not judged: no answer within 1 s (of ordinary logits, 2 × 3 in float32)"),
        ("import os; os._exit(3)", "was not judged: the process ended with code 3 (of ordinary logits"),
    ],
)
def test_a_first_call_that_never_ends_is_the_last(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    monkeypatch.setattr(subjects, "_TO_RESPOND", 1.0)
    (tmp_path / "bad.py").write_text(f"def loss(x, k):\n    {code}\n", encoding="utf-8")

    run = xent("check", f"{tmp_path}/bad.py:loss")

    assert (run.code, run.out) == (2, "")
    assert message in run.err


def test_a_loss_reads_nothing_and_prints_nowhere(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "nosy.py"
    text = "import os, sys\nfrom losses.right import log1p\nos.write(1, b'{}\\n')\n"
    text += "def loss(x, k):\n    os.write(1, b'noise')\n    assert sys.stdin.read() == ''\n"
    text += "    return log1p(x, k)\n"
    path.write_text(text, encoding="utf-8")

    assert xent("check", f"{path}:loss", "--only", "blog").code == 0


def test_it_can_be_interrupted_and_leaves_no_file(tmp_path: Path) -> None:
    command = ["timeout", "--signal=INT", "1.5", sys.executable, "-m", "xentcli"]
    arguments = ["check", f"{RUDE}:hangs", "--only", "one-hot", "-o", f"{tmp_path}/out"]

    run = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    assert run.stderr == "\ninterrupted\n"
    assert list(tmp_path.iterdir()) == []

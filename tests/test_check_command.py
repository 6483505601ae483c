"""The command xent check: what it shows, what it refuses, and what a loss may do without harm."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import Xent, assert_golden, program
from test_docs import masked

from xentcli.check import run
from xentcli.frameworks import subject as subjects
from xentcli.frameworks.conventions import find_convention

RIGHT, RUDE, WRONG = (f"tests/losses/{name}.py" for name in ("right", "rude", "wrong"))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let wrong.py find right.py, as a package of the user's own would be found."""
    monkeypatch.setenv("PYTHONPATH", "tests")


def test_a_right_loss_passes(xent: Xent) -> None:
    run = xent("check", f"{RIGHT}:log1p", "--gradient", f"{RIGHT}:gradient")

    assert (run.code, run.err) == (0, "57 checks passed\n")
    assert_golden("check-right.txt", masked(run.out))


def test_a_wrong_loss_is_shown_by_category_and_then_finding_by_finding(xent: Xent) -> None:
    run = xent("check", f"{WRONG}:maximum_in_the_sum", "--skip", "search=it takes its time")

    assert (run.code, run.err) == (1, "51 checks passed, 4 failed, 1 skipped\n")
    assert_golden("check-wrong.txt", masked(run.out))


def test_json_holds_every_check(xent: Xent) -> None:
    run = xent("check", f"{RUDE}:prints", "--only", "cancellation", "--only", "quiet", "--format", "json")
    document = json.loads(run.out)

    assert run.code == 1
    assert (document["schema"], document["target"], document["convention"]) == (
        "xent.check/2",
        f"{RUDE}:prints",
        "numpy",
    )
    assert (document["passed"], document["counterexamples"], document["max_ulps"]) == (False, [], 4)
    assert document["summary"] == {"passed": 7, "failed": 1, "skipped": 0, "not_reached": 0}
    assert document["checks"][-1] == {
        "category": "contract",
        "name": "quiet",
        "asserts": "nothing is written to sys.stdout or sys.stderr",
        "status": "failed",
        "batches": 0,
        "ulps": None,
        "findings": [
            {"name": "quiet", "message": "printed 'shape (1, 2)\\n' (in common-offset and 6 more calls)"}
        ],
    }


def test_junit_has_a_suite_per_category_and_a_test_per_check(xent: Xent, tmp_path: Path) -> None:
    file = tmp_path / "check.xml"
    run = xent("check", f"{RUDE}:wider", "--skip", "search=slow", "--format", "junit", "--output", file)
    root = ET.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314 - written a line ago
    suites = {suite.get("name"): suite for suite in root}

    assert (run.code, run.out) == (1, "")
    assert suites["contract"].attrib == {
        "name": "contract",
        "tests": "4",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    (failure,) = root.iter("failure")
    assert str(failure.get("message")).startswith("returned float64 for logits of float32 (in abnormal and")
    assert [test.get("message") for test in root.iter("skipped")] == ["slow"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "nothing: name a function: module:function or path/to/file.py:function"),
        (["no_such_module:loss"], "No module named 'no_such_module'; a file ends in .py"),
        (["no/such.py:loss"], "no/such.py: no such file"),
        ([f"{RIGHT}:nothing"], "has no attribute 'nothing'"),
        (["math:pi"], "math:pi: is float, not a function"),
        ([f"{RIGHT}:log1p", "--gradient", f"{RIGHT}:nothing"], "has no attribute 'nothing'"),
        ([f"{RIGHT}:log1p", "--convention", "nunpy"], "unknown convention 'nunpy'; did you mean 'numpy'?"),
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
    [
        ("while True: pass", "while it was imported: no answer within 1 s"),
        ("import os; os._exit(3)", "while it was imported: the process ended with code 3"),
        (  # it sleeps with every pipe closed, so that there is no end of the process to see
            "import os, time; os.closerange(3, 64); time.sleep(60)",
            "it was imported: the process closed its output",
        ),
        ("raise AttributeError('boo')", "cannot be imported: AttributeError: boo"),
    ],
)
def test_an_import_that_does_not_end_well_is_refused_in_time(
    xent: Xent, tmp_path: Path, code: str, message: str
) -> None:
    (tmp_path / "bad.py").write_text(code, encoding="utf-8")

    run = xent("check", f"{tmp_path}/bad.py:loss", "--budget", "1")

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


def test_a_loss_that_always_raises_may_have_another_convention(xent: Xent) -> None:
    run = xent("check", f"{RIGHT}:log1p", "--convention", "numpy.rows", "--only", "blog")

    assert "It raises in every call: is its convention numpy.rows? Known are" in run.out


def test_a_loss_reads_nothing_and_prints_nowhere(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "nosy.py"
    text = "import os, sys\nfrom losses.right import log1p\nos.write(1, b'{}\\n')\n"
    text += "def loss(x, k):\n    os.write(1, b'noise')\n    assert sys.stdin.read() == ''\n"
    text += "    return log1p(x, k)\n"
    path.write_text(text, encoding="utf-8")

    assert xent("check", f"{path}:loss", "--only", "blog").code == 0


def test_what_the_search_finds_is_written_as_cases_that_run(xent: Xent, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    arguments = ["check", f"{WRONG}:offset_cancels", "--only", "search", "--save-failures", folder]

    run = xent(*arguments)
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}
    (folder / "off-float16.yaml").write_text("my own", encoding="utf-8")

    assert run.code == 1
    assert set(texts) == {"collapsed-float32.yaml", "off-float16.yaml"}
    assert xent("run", folder / "collapsed-float32.yaml").code == 0
    assert xent(*arguments).code == 1
    assert (folder / "off-float16.yaml").read_text(encoding="utf-8") == "my own"
    assert (folder / "off-float16-2.yaml").read_text(encoding="utf-8") == texts["off-float16.yaml"]
    assert len(list(folder.iterdir())) == len(texts) + 1


def test_a_failure_is_shrunk_to_a_few_short_numbers(xent: Xent) -> None:
    run = xent("check", f"{WRONG}:unshifted", "--only", "search", "--format", "json")
    texts = {case["name"]: case["case"] for case in json.loads(run.out)["counterexamples"]}

    assert texts["overflow-float16"] == (
        f'title: "{WRONG}:unshifted: overflow: example 0 is inf, where the loss is 800.0"\n'
        "dtype: float16\nlogits:\n  - [0.0, 800.0]\nlabels: [0]\n"
    )


def test_time_that_runs_out_is_said_and_fails(xent: Xent) -> None:
    run = xent("check", f"{RIGHT}:log1p", "--budget", "1e-9")

    assert run.code == 1
    assert "abnormal: not reached in time\n" in run.out
    assert run.err == "1 check passed, 55 not reached\n"


def test_a_search_may_end_early(xent: Xent) -> None:
    run = xent("check", f"{RIGHT}:log1p", "--only", "search", "--budget", "1e-9")

    assert (run.code, run.err) == (0, "0 checks passed, 1 not reached\n")


def test_the_bar_can_be_lowered(xent: Xent) -> None:
    arguments = ("check", f"{WRONG}:summed_in_float16", "--only", "normal-3x3")

    assert xent(*arguments).code == 1
    assert xent(*arguments, "--max-ulps", "1e5").code == 0


def test_it_can_be_interrupted_and_leaves_no_file(tmp_path: Path) -> None:
    command = ["timeout", "--signal=INT", "1.5", sys.executable, "-m", "xentcli"]
    arguments = ["check", f"{RUDE}:hangs", "--only", "one-hot", "-o", f"{tmp_path}/out"]

    run = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    assert run.stderr == "\ninterrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_the_start_up_of_other_commands_knows_nothing_of_it() -> None:
    code = "import sys\nfrom xentcli.__main__ import main\nsys.argv = ['xent', '--help']\nmain()\n"
    code += "assert not [name for name in sys.modules if name.startswith('xentcli.check')], sys.modules\n"
    import subprocess
    import sys

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")
    assert "check" in program("--help").stdout

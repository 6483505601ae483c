"""xent check in GitHub Actions: annotations, the job summary, and the composite action of the repository."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from conftest import ROOT, Xent, assert_golden
from test_docs import blocks

from xentcli.check.report import CheckFinding, CheckResult, Report
from xentcli.check.tolerance import MaxUlps
from xentcli.cli.github import source_of
from xentcli.errors import printable
from xentcli.show.github import Source, annotations, summary

WRONG = "tests/losses/wrong.py"
COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


@pytest.fixture(autouse=True)
def _of_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the job that these tests may run in, and let wrong.py find right.py."""
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as GitHub's runner does: properties by commas, then the codes."""
    found = COMMAND.fullmatch(line)
    assert found is not None, line
    properties = dict(pair.split("=", 1) for pair in found[2].split(","))
    return found[1], {name: decoded(value) for name, value in properties.items()}, decoded(found[3])


def decoded(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def report(*checks: CheckResult, target: str = "mine.py:loss", **fields: Any) -> Report:
    return Report(target, "numpy", "", MaxUlps(), checks, {}, **fields)


def test_a_failure_is_an_error_at_the_function(xent: Xent) -> None:
    run = xent("check", f"{WRONG}:maximum_in_the_sum", "--only", "cancellation", "--format", "github")
    lines = (ROOT / WRONG).read_text(encoding="utf-8").splitlines()
    (notice, error) = map(parsed, run.out.splitlines())

    assert (run.code, run.err) == (1, "")
    assert notice[0] == "notice"
    assert notice[2].startswith(f"{WRONG}:maximum_in_the_sum is right on ordinary logits, but fails 1 of 7")
    assert error[0] == "error"
    assert error[1]["title"] == "xent check: tail-collapse-in-float64 is wrong"
    assert error[1]["file"] == WRONG
    assert lines[int(error[1]["line"]) - 1].startswith("def maximum_in_the_sum(")
    assert error[2] == (
        "collapsed: example 0 is 0.0, where the loss is 4.248354255291589e-18 "
        "(float64, logits [0, -40], label 0)"
    )


def test_a_right_loss_has_the_verdict_alone(xent: Xent) -> None:
    run = xent("check", "tests/losses/right.py:log1p", "--only", "blog", "--format", "github")

    assert run.code == 0
    assert [parsed(line)[::2] for line in run.out.splitlines()] == [
        ("notice", "tests/losses/right.py:log1p passed all 3 checks.")
    ]


def test_what_both_losses_fail_is_a_warning(xent: Xent) -> None:
    beside = ("--beside", f"{WRONG}:maximum_in_the_sum", "--only", "cancellation", "--format", "github")
    run = xent("check", f"{WRONG}:offset_cancels", *beside)
    kinds = {parsed(line)[1]["title"].split()[2]: parsed(line)[0] for line in run.out.splitlines()[1:]}

    assert run.code == 1
    assert kinds["tail-collapse-in-float64"] == "warning"
    assert set(kinds.values()) == {"warning", "error"}


BASELINE = """suite = 2
[[known]]
check = "{}"
dtype = "float64"
fails = "collapsed"
reason = "the maximum is in the sum"
"""


@pytest.mark.parametrize(
    ("listed", "code", "kinds", "words"),
    [
        ("tail-collapse-in-float64", 0, ["notice"], "(1 known failure)"),
        ("keras-cap", 1, ["notice", "error"], "collapsed: example 0 is 0.0"),
    ],
)
def test_what_the_baseline_lists_is_no_error(  # noqa: PLR0913, PLR0917 - two fixtures beside the case
    xent: Xent, tmp_path: Path, listed: str, code: int, kinds: list[str], words: str
) -> None:
    baseline = tmp_path / "xent-baseline.toml"
    baseline.write_text(BASELINE.format(listed), encoding="utf-8")
    arguments = ("--only", "cancellation", "--baseline", baseline, "--format", "github")
    run = xent("check", f"{WRONG}:maximum_in_the_sum", *arguments)
    lines = list(map(parsed, run.out.splitlines()))

    assert (run.code, [kind for kind, _, _ in lines]) == (code, kinds)
    assert words in lines[-1][2]


def test_the_worst_comes_first_and_what_was_not_reached_last() -> None:
    shape = CheckResult("contract", "shape", "", findings=(CheckFinding("shape", "returned shape (1,)"),))
    late = [CheckResult("properties", name, "", reached=False) for name in ("sizes", "batching")]
    wrong = CheckResult("blog", "abnormal", "", findings=(CheckFinding("nan", "nan: it is nan"),))
    lines = annotations(report(shape, late[0], wrong, late[1]), None).splitlines()

    assert [(kind, about["title"], words) for kind, about, words in map(parsed, lines[1:])] == [
        ("error", "xent check: abnormal is wrong", "nan: it is nan"),
        ("error", "xent check: shape is contract", "returned shape (1,)"),
        ("warning", "xent check: not reached in time", "sizes, batching"),
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        "a\n::error::b",
        "a\r\n::set-output name=x::1",
        "100 %0A::error::",
        "x,line=1::y",
        "\x1b[31m::stop-commands::t",
    ],
)
def test_no_text_becomes_a_command(hostile: str) -> None:
    finding = CheckFinding("raised", f"raised ValueError: {hostile}")
    result = CheckResult("blog", hostile, "", findings=(finding,))
    lines = annotations(report(result, target=hostile), Source(hostile, 3)).splitlines()
    _, (kind, about, words) = map(parsed, lines)

    assert (kind, about["file"], about["line"]) == ("error", printable(hostile), "3")
    assert about.keys() == {"title", "file", "line"}
    assert words.startswith("raised ValueError: ")
    assert not any(line.startswith("##") or "\r" in line or "\x1b" in line for line in lines)


def test_the_summary_has_verdict_causes_and_categories(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# Of an earlier step\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    only = ("--only", "cancellation", "--only", "blog")
    run = xent("check", f"{WRONG}:maximum_in_the_sum", *only, "--format", "github")
    text = path.read_text(encoding="utf-8")

    assert run.code == 1
    assert text.startswith("# Of an earlier step\n## xent check\n")
    assert_golden("check-summary.md", text)


def test_the_summary_shows_text_as_it_is() -> None:
    finding = CheckFinding("raised", "raised <img src=x> | [a](b)\nc")
    text = summary(report(CheckResult("<b>|", "*x*", "", findings=(finding,)), target="<script>`x`"))

    assert "\\<script\\>\\`x\\`" in text
    assert "| \\<b\\>\\| |" in text
    assert not re.search(r"(?<!\\)[<>`]", text)


def test_a_summary_that_cannot_be_written_is_one_message(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    run = xent("check", "tests/losses/right.py:log1p", "--only", "blog", "--format", "github")

    assert run.code == 2
    assert run.out.startswith("::notice ")
    assert run.err == f"GITHUB_STEP_SUMMARY: {tmp_path}: cannot be read: Is a directory\n"


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("x.xml", "<testsuites"),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("x.json", "{"), ("x.txt", "tests/"))),
    ],
)
def test_a_file_beside_the_annotations_has_the_format_of_its_suffix(
    xent: Xent, tmp_path: Path, name: str, begins: str
) -> None:
    run = xent(
        "check", "tests/losses/right.py:log1p", "--only", "blog", "--format", "github", "-o", tmp_path / name
    )

    assert (run.code, run.out.startswith("::notice ")) == (0, True)
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)


SOURCE = """x = 1

@decorated
def loss(): pass

class Loss:
    def forward(self): pass
    apply = forward

bound: object = Loss().forward
other = loss
def loss(): pass
from math import sqrt
"""


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("loss", 12),
        ("Loss", 6),
        ("Loss.forward", 7),
        ("Loss.apply", 8),
        ("Loss.inherited", 6),
        ("bound", 10),
        ("other", 11),
        ("absent", None),
        ("sqrt", 13),
    ],
)
def test_the_line_of_a_function_is_known_without_an_import(
    tmp_path: Path, name: str, line: int | None
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE, encoding="utf-8")

    assert source_of(f"{file}:{name}") == Source(file.as_posix(), line)


@pytest.mark.parametrize("content", [b"def loss(:", b"\xff\xfe\x00", b"x = " + b"(" * 5000])
def test_a_file_that_cannot_be_read_has_no_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(content)

    assert source_of(f"{file}:loss") == Source(file.as_posix(), None)


def test_files_are_named_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "mine.py").write_text("def loss(): pass\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "kernels")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))

    assert source_of("mine.py:loss") == Source("kernels/mine.py", 1)
    assert source_of("torch.nn.functional:cross_entropy") is None
    assert source_of("absent.py:loss") is None


ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]


def test_every_input_of_the_action_is_used_and_described() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")

    for name, about in ACTION["inputs"].items():
        assert about["description"]
        assert about.get("required") or "default" in about
        assert f"inputs.{name} " in text.replace("}}", " ")


def test_no_input_of_the_action_becomes_a_part_of_a_script() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", "")
        assert step.keys() <= {"if", "name", "uses", "with", "shell", "env", "run"}
        assert ("run" in step) == (step.get("shell") == "bash")
        assert "run" in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


def ran(script: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a step as the runner does: bash, without profiles, ended by the first error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    environment = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        **variables,
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(
        "from losses.wrong import maximum_in_the_sum as loss\n", encoding="utf-8"
    )
    (tmp_path / "better.py").write_text("from losses.right import log1p as loss\n", encoding="utf-8")
    return tmp_path


def inputs(**values: str) -> dict[str, str]:
    """Return the variables of the last step: its inputs, or what they are by default."""
    given = {name: str(about.get("default", "")) for name, about in ACTION["inputs"].items()} | values
    names = {
        name: re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value) for name, value in STEPS[-1]["env"].items()
    }
    return {name: given[found[1]] for name, found in names.items() if found is not None}


def test_the_action_checks_annotates_and_writes_the_files(repository: Path) -> None:
    values = inputs(
        target="mine.py:loss",
        arguments="""--only cancellation\n  --skip "keras-cap=it is 'known'" --only underflow""",
        baseline="known.toml",
        junit="out/check.xml",
    )
    (repository / "out").mkdir()
    (repository / "known.toml").write_text(BASELINE.format("keras-cap"), encoding="utf-8")
    done = ran(STEPS[-1]["run"], repository, GITHUB_STEP_SUMMARY=str(repository / "s.md"), **values)
    root = ET.parse(repository / "out" / "check.xml").getroot()  # noqa: S314 - written a line ago

    assert done.returncode == 1, done.stderr
    assert (
        "::error title=xent check%3A tail-collapse-in-float64 is wrong,file=mine.py,line=1::" in done.stdout
    )
    assert "fails 2 checks that known.toml does not list" in done.stdout
    assert {test.get("message") for test in root.iter("skipped")} <= {"it is 'known'"}
    assert (repository / "s.md").read_text(encoding="utf-8").startswith("## xent check\n")


@pytest.mark.slow  # a process each
def test_the_action_passes_where_the_loss_does(repository: Path) -> None:
    done = ran(STEPS[-1]["run"], repository, **inputs(target="better.py:loss", arguments="--only blog"))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "::notice title=xent check,file=better.py,line=1::better.py:loss passed all 3"
    )


@pytest.mark.slow  # a process each
@pytest.mark.parametrize(
    "values",
    [
        {"target": "$(touch pwned)"},
        {"target": "better.py:loss; touch pwned"},
        {"target": "better.py:loss", "arguments": "--only blog; touch pwned"},
        {"target": "better.py:loss", "arguments": "$(touch pwned) `touch pwned` *"},
        {"target": "better.py:loss", "arguments": "--only 'blog"},
        {"target": "better.py:loss", "junit": "$(touch pwned)/x.xml"},
        {"target": "--output=better.py"},
    ],
)
def test_no_input_of_the_action_is_run(repository: Path, values: dict[str, str]) -> None:
    before = (repository / "better.py").read_bytes()
    done = ran(STEPS[-1]["run"], repository, **inputs(**values))

    assert done.returncode not in {0, 127}
    assert not (repository / "pwned").exists()
    assert (repository / "better.py").read_bytes() == before
    assert "Traceback" not in done.stderr


def test_the_workflow_of_the_page_gives_inputs_that_the_action_has() -> None:
    (block,) = blocks(ROOT / "docs" / "check.md", "yaml")
    (step,) = (
        each for each in yaml.safe_load(block)["jobs"]["loss"]["steps"] if "xent@" in each.get("uses", "")
    )

    assert set(step["with"]) <= set(ACTION["inputs"])
    assert {name for name, each in ACTION["inputs"].items() if each.get("required")} <= set(step["with"])

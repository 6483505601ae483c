"""The pytest plug-in: a test per check and dtype of a loss for who uses its fixture, nothing for others."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from xml.etree import ElementTree as ET

import pytest
from conftest import ROOT

pytest_plugins = ["pytester"]

LOADED = ("-p", "no:xent", "-p", "xentcli.testing.plugin", "-p", "no:xdist", "--strict-markers")
HEAD = "import pytest\nfrom losses import right, wrong\n"
SUITE = """
@pytest.mark.xent(only=["tail-collapse", "keras-cap", "translation", "one-class", "contract"],
                  dtypes=["float32"], skip={"one-class": "-0.0 will do", "contract": "it calls all others"})
def test_right(xent_check):
    xent_check(right.log1p)

@pytest.mark.xent(only=["tail-collapse-in-float64", "tail-collapse"])
def test_wrong(xent_check):
    xent_check(wrong.maximum_in_the_sum)
"""


def run(pytester: pytest.Pytester, *arguments: str, suite: str = SUITE) -> pytest.RunResult:
    """Run a suite with the plug-in, whether or not it is installed."""
    pytester.makepyfile(test_it=HEAD + suite)
    return again(pytester, *arguments)


def again(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the suites that are there, in a process of their own: NumPy cannot be imported twice in one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        return pytester.runpytest_subprocess(*LOADED, *arguments)


def ids(result: pytest.RunResult) -> list[str]:
    return [line.partition("::")[2] for line in result.outlines if "::" in line and "FAILED" not in line]


@pytest.mark.slow
def test_a_check_in_a_dtype_is_a_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--collect-only", "-q")

    assert ids(result) == [
        "test_right[tail-collapse[float32]]",
        "test_right[translation[float32]]",
        "test_right[one-class[float32]]",
        "test_right[contract]",
        "test_wrong[tail-collapse[float32]]",
        "test_wrong[tail-collapse-in-float64[float64]]",
    ]


@pytest.mark.slow
def test_a_failure_shows_the_verdict_and_no_traceback(pytester: pytest.Pytester) -> None:
    result = run(pytester, "-rs")

    result.assert_outcomes(passed=3, failed=1, skipped=2)
    text = result.stdout.str()
    assert "maximum_in_the_sum is right on ordinary logits, but fails 1 of 1 check: rounding" in text
    assert "input   float64, logits [0, -40], label 0: 0.0, truth 4.248354255291589e-18" in text
    assert "-0.0 will do" in text
    assert not any(word in text for word in ("Traceback", "plugin.py:", "During handling", "XentError"))


@pytest.mark.slow
def test_tests_are_chosen_as_any_others(pytester: pytest.Pytester) -> None:
    by_name = run(pytester, "-k", "tail-collapse[float32]", suite=f"{SUITE}\ndef test_other(): pass\n")
    by_mark = again(pytester, "-m", "xent and not gpu")
    by_id = again(pytester, "test_it.py::test_wrong[tail-collapse[float32]]")
    failed_again = again(pytester, "--lf")

    by_name.assert_outcomes(passed=2, deselected=5)
    by_mark.assert_outcomes(passed=3, failed=1, skipped=2, deselected=1)
    by_id.assert_outcomes(passed=1)
    failed_again.assert_outcomes(failed=1, passed=0)


@pytest.mark.slow
def test_junit_has_the_ids_and_the_verdict(pytester: pytest.Pytester) -> None:
    run(pytester, "--junitxml", "out.xml")
    root = ET.parse(pytester.path / "out.xml").getroot()  # noqa: S314 - written a line ago
    failed = {case.get("name"): case.find("failure") for case in root.iter("testcase")}

    failure = failed["test_wrong[tail-collapse-in-float64[float64]]"]
    assert failure is not None
    assert str(failure.get("message")).startswith("Failed: maximum_in_the_sum is right on ordinary logits")
    assert failed["test_right[translation[float32]]"] is None


OWN = """
pytestmark = pytest.mark.xent(only="translation")

@pytest.fixture
def reduction():
    return "mean"

@pytest.mark.xent(dtypes="float64", reduction="mean")
@pytest.mark.parametrize("chunks", [1, 2])
class TestLoss:
    @pytest.mark.xent(max_ulps={"float64": 8})
    def test_mean(self, chunks, reduction, xent_check):
        assert chunks in (1, 2) and reduction == "mean"
        xent_check(lambda x, k: right.log1p(x, k).mean(dtype=x.dtype))

def test_gradient(xent_check):
    xent_check(right.log1p, gradient=right.gradient)
"""


@pytest.mark.slow
def test_classes_fixtures_parameters_and_marks_on_each_work(pytester: pytest.Pytester) -> None:
    collected = ids(run(pytester, "--collect-only", "-q", suite=OWN))
    result = again(pytester)

    assert collected == [
        "TestLoss::test_mean[1-translation[float64]]",
        "TestLoss::test_mean[2-translation[float64]]",
        "test_gradient[translation[float32]]",
        "test_gradient[translation[float64]]",
    ]
    result.assert_outcomes(passed=4)


BODIES = {  # of a test, how it ends, and a word of why
    "pass": ("FAILED", "xent_check was not called: call it with the loss, as xent_check(loss)"),
    "pytest.skip('no such device')": ("SKIPPED", "no such device"),
    "raise ValueError('mine')": ("FAILED", "ValueError: mine"),
    "xent_check(right.log1p)": ("PASSED", ""),
    "xent_check(right.log1p); xent_check(wrong.maximum_in_the_sum)": ("FAILED", "0.0, truth 4.248"),
    "xent_check(right.mean)": ("FAILED", "it returns one number for 2 examples; add --reduction mean"),
    "xent_check(lambda x, k: 1 / 0)": ("FAILED", "was not judged: it raised ZeroDivisionError"),
}


@pytest.mark.slow
def test_what_a_test_does_with_the_fixture_counts(pytester: pytest.Pytester) -> None:
    tests = (f"def test_{n}(xent_check):\n    {body}\n" for n, body in enumerate(BODIES))
    mark = 'pytestmark = pytest.mark.xent(only="tail-collapse-in-float64")\n'
    result = run(pytester, "-v", "-rs", suite=mark + "".join(tests))
    text = result.stdout.str()

    for number, (outcome, words) in enumerate(BODIES.values()):
        assert re.search(rf"::test_{number}\[tail-collapse-in-float64\[float64\]\] {outcome}", text), number
        assert words in text


@pytest.mark.slow
def test_a_check_that_does_not_suit_the_loss_is_skipped_with_a_reason(pytester: pytest.Pytester) -> None:
    suite = '@pytest.mark.xent(only="weighted-mean")\ndef test_it(xent_check): xent_check(right.log1p)\n'
    result = run(pytester, "-rs", suite=suite)

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs a parameter or a label that the loss does not have*"])


MARKS = [
    ("'torch'", "pytest.mark.xent takes arguments by name; the loss is for xent_check"),
    ("covention='torch'", "pytest.mark.xent has no argument 'covention'; did you mean 'convention'?"),
    ("convention='pytorch'", "unknown convention 'pytorch'; did you mean 'torch'"),
    ("dtypes=['float8']", "dtypes: 'float8' is unknown; did you mean 'float"),
    ("reduction='avg'", "reduction: 'avg' is unknown; known are none, mean, sum"),
    ("only='tail-colapse'", "no check is called 'tail-colapse'; did you mean 'tail-collapse"),
    ("skip={'nothing': 'because'}", "no check is called 'nothing'"),
    ("skip={'one-class': ''}", "skip: give the reason for 'one-class'"),
    ("skip='one-class'", "skip is a dict of names and reasons"),
    ("max_ulps={'float23': 1}", "max_ulps: no dtype is called 'float23'"),
    ("seed=-1", "a seed is at least 0, not -1"),
    ("repeat=0", "repeat is at least 1, not 0"),
    ("budget=0", "a budget is a number of seconds above 0, not 0"),
    ("only='keras-cap', dtypes='float16'", "no check that is chosen has a batch in float16"),
]


@pytest.mark.slow
def test_a_mark_that_cannot_be_is_one_message(pytester: pytest.Pytester) -> None:
    head = f"{HEAD}def test_it(xent_check): xent_check(right.log1p)\n"
    suites = (f"{head}test_it = pytest.mark.xent({arguments})(test_it)\n" for arguments, _ in MARKS)
    pytester.makepyfile(**{f"test_{number}": suite for number, suite in enumerate(suites)})
    result = again(pytester)
    text = result.stdout.str()

    result.assert_outcomes(errors=len(MARKS))
    for _, message in MARKS:
        assert f"test_it: {message}" in text
    assert "plugin.py" not in text


@pytest.mark.slow
def test_time_that_is_up_fails(pytester: pytest.Pytester) -> None:
    suite = (
        '@pytest.mark.xent(only="translation", budget=1e-9)\ndef test_it(xent_check): xent_check(right.log1p)'
    )
    result = run(pytester, suite=suite)

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*not reached in time: translation*"])


def test_pytest_imports_nothing_else_when_it_starts() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import xentcli.testing.plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", code]
    imported = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()

    assert imported == ["xentcli", "xentcli.testing", "xentcli.testing.plugin"]


@pytest.mark.slow
def test_those_who_do_not_use_it_have_nothing_of_it(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        "-q",
        "-W",
        "error::pytest.PytestWarning",
        suite="def test_one(): pass\ndef test_two(tmp_path): pass\n",
    )

    result.assert_outcomes(passed=2)


def test_the_entry_point_names_a_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"xent": "xentcli.testing.plugin"}
    assert hasattr(importlib.import_module("xentcli.testing.plugin"), "pytest_generate_tests")


@pytest.mark.slow  # calls every check
def test_the_contract_is_a_test_of_all_calls(pytester: pytest.Pytester) -> None:
    suite = """
@pytest.mark.xent(only="contract", skip={"dtype": "wider is fine"})
@pytest.mark.parametrize("prints", [False, True])
def test_it(prints, xent_check):
    def loss(x, k):
        print("called", end="") if prints else None
        return right.log1p(x, k).astype("float64")
    xent_check(loss)
"""
    result = run(pytester, suite=suite)

    result.assert_outcomes(passed=1, failed=1)
    assert "printed 'called' (in " in result.stdout.str()


@pytest.mark.slow  # two more interpreters
def test_tests_run_beside_each_other(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(test_it=HEAD + SUITE)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    result = pytester.runpytest_subprocess(*LOADED[:4], "-n", "2")

    result.assert_outcomes(passed=3, failed=1, skipped=2)

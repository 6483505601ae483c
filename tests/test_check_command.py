"""The command xent check: what it shows in each format, and what its options choose."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import ROOT, Xent, assert_golden
from test_docs import masked

RIGHT, RUDE, WRONG = (f"tests/losses/{name}.py" for name in ("right", "rude", "wrong"))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let wrong.py find right.py, as a package of the user's own would be found."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


@pytest.mark.slow
def test_a_right_loss_passes(xent: Xent) -> None:
    run = xent("check", f"{RIGHT}:log1p", "--gradient", f"{RIGHT}:gradient")

    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(f"{RIGHT}:log1p passed all 87 checks.\n")
    assert_golden("check-right.txt", masked(run.out))


@pytest.mark.slow
def test_a_wrong_loss_is_shown_by_cause_and_with_verbose_finding_by_finding(xent: Xent) -> None:
    arguments = ("check", f"{WRONG}:maximum_in_the_sum", "--skip", "search=it takes its time")
    short, run = xent(*arguments), xent(*arguments, "--verbose")

    assert (run.code, run.err) == (short.code, short.err) == (1, "")
    assert run.out.startswith(short.out)
    assert len(short.out.splitlines()) < 20
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
    assert (
        document["verdict"] == f"{RUDE}:prints is right, but breaks its contract (1 of 8 checks): it prints."
    )
    (cause,) = document["causes"]
    assert (cause["name"], cause["severity"], cause["checks"]) == ("quiet", "contract", ["quiet"])
    assert document["checks"][-1] == {
        "category": "contract",
        "name": "quiet",
        "asserts": "nothing is written to sys.stdout or sys.stderr",
        "status": "failed",
        "batches": 0,
        "ulps": None,
        "errors": {},
        "since": 1,
        "severity": "contract",
        "findings": [
            {
                "name": "quiet",
                "message": "printed 'shape (1, 2)\\n' (in common-offset and 6 more calls)",
                "severity": "contract",
            }
        ],
    }


@pytest.mark.slow
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


def test_cases_that_are_named_are_all_that_is_checked(xent: Xent) -> None:
    run = xent(
        "check", f"{RIGHT}:log1p", "abnormal", "cases/cancellation", "cases/labels/labels-sum-to-two.yaml"
    )

    assert run.code == 0
    assert run.out.startswith(f"{RIGHT}:log1p passed 8 checks, 1 skipped.\n")
    assert "labels-sum-to-two: expects one class per example, not soft labels" in run.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mine", "theirs", "code", "sentence"),
    [
        (
            "maximum_in_the_sum",
            "offset_cancels",
            0,
            "fails no check that {} passes; both fail 2, {} alone 6.",
        ),
        (
            "offset_cancels",
            "maximum_in_the_sum",
            1,
            "fails 6 checks that {} passes; both fail 2, {} alone 0.",
        ),
    ],
)
def test_a_loss_beside_another_answers_for_what_it_alone_fails(
    xent: Xent, mine: str, theirs: str, code: int, sentence: str
) -> None:
    only = ("--only", "cancellation", "--only", "keras-cap")
    run = xent("check", f"{WRONG}:{mine}", "--beside", f"{WRONG}:{theirs}", *only)
    document = json.loads(
        xent("check", f"{WRONG}:{mine}", "--beside", f"{WRONG}:{theirs}", *only, "--format", "json").out
    )

    said = f"{WRONG}:{mine} {sentence.format(*[f'{WRONG}:{theirs}'] * 2)}"
    assert run.code == code
    assert " ".join(run.out.split("  convention")[0].split()) == said == document["verdict"]
    assert document["beside"]["both"] == ["tail-collapse-in-float64", "keras-cap"]
    assert len(document["beside"]["only_mine"]) == 6 * code


def test_the_list_has_conventions_and_checks(xent: Xent) -> None:
    run = xent("check", "--list", "--convention", "torch.rows")

    assert run.code == 0
    assert "f(labels (N, C), probabilities (N, C)) → losses (N,)" in run.out
    assert "unnormalised-labels" in run.out
    assert "ignored-rows" not in run.out  # a row of labels ignores none


def test_a_file_gets_the_report_and_the_terminal_the_verdict(xent: Xent, tmp_path: Path) -> None:
    run = xent("check", f"{RIGHT}:log1p", "--only", "blog", "-o", tmp_path / "report.json")

    assert (run.code, run.out, run.err) == (0, "", f"{RIGHT}:log1p passed all 3 checks.\n")


@pytest.mark.slow
def test_what_the_search_finds_is_written_as_cases_that_fail_again(xent: Xent, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    arguments = ["check", f"{WRONG}:offset_cancels", "--only", "search", "--save-failures", folder]

    run = xent(*arguments)
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}
    again = json.loads(xent("check", f"{WRONG}:offset_cancels", folder, "--format", "json").out)
    assert [check["status"] for check in again["checks"]] == ["failed", "failed"]
    assert xent("check", f"{RIGHT}:log1p", folder).code == 0
    (folder / "off-float16.yaml").write_text("my own", encoding="utf-8")

    assert run.code == 1
    assert set(texts) == {"collapsed-float32.yaml", "off-float16.yaml"}
    assert run.err == (
        f"wrote 2 failures to {folder}; 'xent check {WRONG}:offset_cancels {folder}' fails on them again\n"
    )
    assert xent(*arguments).code == 2
    assert xent(*arguments, "--force").code == 1
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
    assert run.out.startswith(f"{RIGHT}:log1p passed 1 check, 85 not reached in time.\n")
    assert "not reached in time: abnormal, normal-10class, normal-3x3, " in run.out


def test_a_search_may_end_early(xent: Xent) -> None:
    run = xent("check", f"{RIGHT}:log1p", "--only", "search", "--budget", "1e-9")

    assert (run.code, run.out.partition("\n")[0]) == (
        0,
        f"{RIGHT}:log1p passed 0 checks, 1 not reached in time.",
    )


def test_the_bar_can_be_lowered(xent: Xent) -> None:
    arguments = ("check", f"{WRONG}:summed_in_float16", "--only", "normal-3x3")

    assert xent(*arguments).code == 1
    assert xent(*arguments, "--max-ulps", "1e5").code == 0

"""The comparison: numbers side by side of few cases, a mark per case and method of many."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Xent, assert_golden, program

from xentcli import load
from xentcli.digits import format_number
from xentcli.judge import Result
from xentcli.load import sources
from xentcli.methods.table import METHODS
from xentcli.run import evaluate
from xentcli.show import Screen, matrix, render_results
from xentcli.show.compare import render_compare

BLOG = ("abnormal", "normal-10class", "normal-3x3")
MARKS = {"nan": "nan", "overflow": "inf", "negative": "neg", "collapsed": "0", "capped": "cap", "off": "off"}
BROKEN_GRADIENTS = {"nan", "wrong", "dead"}


@pytest.fixture(name="terminal")
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")


def compare(xent: Xent, *arguments: str) -> list[str]:
    done = xent("compare", *arguments, "--methods", "all")
    assert done.code == 0
    return done.out.splitlines()


@pytest.fixture(name="everything", scope="module")
def _everything() -> list[Result]:
    """Every method on every bundled case."""
    return [evaluate(case, METHODS) for case in load.load_all(*sources.read_all(()))]


@pytest.mark.usefixtures("terminal")
def test_the_blogs_cases_stand_side_by_side_with_their_numbers(xent: Xent) -> None:
    lines = compare(xent, *BLOG)

    assert lines[0] == "dense, sparse, log1p, unshifted and online are right in all 3 cases."
    assert lines[2].split() == list(BLOG)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ")}
    assert rows["naive"] == ["nan", "2.3614712", "·", "0.986618", "·"]
    assert rows["clipped"] == ["82.89307", "capped", "2.3614712", "·", "0.986618", "·"]
    assert rows["sparse"] == ["6.72853e+30", "·", "2.3614712", "·", "0.986618", "·"]
    assert rows["by_hand"] == ["nan", "2.361471284620655", "·", "0.986618007415183", "·"]
    assert max(map(len, lines)) <= 80


def drawn(results: list[Result], width: int = 80, *, verbose: bool = False) -> list[str]:
    return render_compare(results, "table", Screen(width, is_terminal=True), verbose=verbose).splitlines()


@pytest.mark.slow
def test_all_cases_fit_170_lines_of_80_columns(everything: list[Result]) -> None:
    lines = drawn(everything)

    assert len(lines) < 170
    assert max(map(len, lines)) <= 80
    assert_golden("compare-all.table", "\n".join(lines) + "\n")


def test_every_mark_is_the_verdict_of_the_json(everything: list[Result]) -> None:
    cases = json.loads(render_results(everything, "json"))["cases"]
    columns = matrix.columns_of(everything)

    *folders, counts = matrix.sheets(matrix.by_folder(everything), everything, columns)

    rows = {row[0]: row[2:] for sheet in folders for row in sheet.rows}
    expected = {case["name"]: marks(case, [column.method for column in columns]) for case in cases}
    assert rows == expected
    right = [sum(marks[at] == "·" for marks in expected.values()) for at in range(len(columns))]
    assert list(map(int, counts.rows[0][2:])) == right


def marks(case: dict[str, Any], names: list[str]) -> tuple[str, ...]:
    if case["exact"]["loss"] == "nan":
        return (matrix.NO_TRUTH, *[""] * (len(names) - 1))
    methods = {method["method"]: method for method in case["methods"]}
    return tuple(mark(methods[name]) if name in methods else "" for name in names)


def mark(method: dict[str, Any]) -> str:
    if "inapplicable" in method:
        return ""
    if method["verdict"] != "accurate":
        return MARKS[method["verdict"]]
    return "∇" if method.get("gradient", {}).get("state") in BROKEN_GRADIENTS else "·"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (BLOG, "dense, sparse, log1p, unshifted and online are right in all 3 cases."),
        (
            ("abnormal",),
            "naive and by_hand are nan because 0 × log 0 is nan; textbook is nan because exp of a logit",
        ),
        (("clipping", "binary"), "log1p is right in all 7 softmax cases; bce_with_logits is right in 7 of 9"),
        (
            ("sigmoid-underflows", "label-of-two"),
            "bce_with_logits is right in the one of the cases that has a true loss.",
        ),
        (("nan-logit", "label-out-of-range"), "the cases have no true loss."),
    ],
)
def test_the_first_line_says_which_methods_are_right(
    xent: Xent, arguments: tuple[str, ...], sentence: str
) -> None:
    assert " ".join(compare(xent, *arguments)[:3]).startswith(sentence)


def test_methods_that_are_equally_good_are_all_named(xent: Xent) -> None:
    tied = xent("compare", "keras-cap", "abnormal").out
    none = xent("compare", "softmax-collapse", "tail-collapse", "--methods", "naive,dense").out

    assert tied.startswith("dense and sparse are right in 1 of 2 cases, naive and clipped in 0.\n")
    assert none.startswith("no method is right in any of 2 cases.\n")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(everything: list[Result], width: int) -> None:
    blog = [result for result in everything if result.case.name in BLOG]

    assert max(map(len, drawn(everything, width))) <= max(width, 55)  # a case, its loss and three words
    assert max(map(len, drawn(blog, width))) <= width


def test_verbose_has_every_digit_of_many_cases(everything: list[Result]) -> None:
    shown = set(" ".join(drawn(everything, verbose=True)).split())

    outcomes = [o for result in everything for o in result.outcomes if o.loss is not None]
    losses = {format_number(o.loss, o.dtype) for o in outcomes}
    assert losses - shown == set()


def test_cases_of_a_folder_of_ones_own_are_sorted_by_their_folders(xent: Xent, tmp_path: Path) -> None:
    for folder in ("", "first", "second/third"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            path = tmp_path / folder / f"case-{folder.replace('/', '-')}-{number}.yaml"
            path.write_text("title: t\nlogits: [[0, 1000]]\nlabels: [0]\n", encoding="utf-8")

    lines = compare(xent, str(tmp_path))

    headings = [line for line in lines if line in {"first", "second/third"}]
    assert headings == ["first", "second/third"]
    assert sum(line.startswith(" case-") for line in lines) == 18


def test_files_of_anywhere_stand_beside_bundled_cases(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("logits: [[0, 1000]]\nlabels: [0]\n", encoding="utf-8")
    inputs = ["clipping", str(path), "cases/overflow", "binary"]

    lines = compare(xent, *inputs)

    assert [line for line in lines if line in {"clipping", "overflow", "binary"}]
    assert sum(line.startswith("naive ") for line in lines) == 1  # mine alone lies on top


def test_a_mark_is_ascii_where_the_terminal_is() -> None:
    done = program("compare", "clipping", env={"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1"})

    assert done.stdout.isascii()
    assert "\\" not in done.stdout

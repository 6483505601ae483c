"""What people see: golden files, and no digit cut or broken at any width."""

import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from conftest import CASES, WRONG, Xent, assert_golden, first

from xentcli import digits
from xentcli.show import Screen, render
from xentcli.show.sheet import Sheet

BLOG = [f"cases/{name}.yaml" for name in ("normal-3x3", "normal-10class", "abnormal")]
WIDTHS = [40, 80, 120, 200]
# What the tables have to show: numbers of every length that the blog printed.
NUMBERS = [
    "nan",
    "82.89307",
    "6.72853e+30",
    "2.3614712",
    "0.6657319",
    "0.6657319553780278",
    "0.09775153",
    "20.0",
]


@pytest.mark.parametrize("form", ["plain", "json", "csv", "markdown", "junit"])
@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_format_is_written_as_kept(xent: Xent, command: str, form: str) -> None:
    done = xent(command, *BLOG, "--format", form)

    assert_golden(f"{command}.{form}", done.out)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_terminal_table_is_drawn_as_kept(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, command: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")

    done = xent(command, *BLOG, *(["--methods", "all"] if command == "compare" else []))

    assert_golden(f"{command}-{width}.table", done.out)
    # an address or a command stays whole
    lines = [line for line in done.out.splitlines() if "https:" not in line and "xent " not in line]
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("listing", ["methods", "cases"])
def test_a_listing_is_written_as_kept(xent: Xent, monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    def none(name: str) -> str:  # whatever frameworks there are where the tests run
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", none)

    assert_golden(f"{listing}.plain", xent(listing).out)


ENVIRONMENTS = {
    "pipe": {},
    "no colour": {"FORCE_COLOR": "1", "NO_COLOR": "1"},
    "colour": {"FORCE_COLOR": "1"},
    "dumb": {"FORCE_COLOR": "1", "TERM": "dumb"},
}


@pytest.mark.parametrize("environment", first(1, ENVIRONMENTS))
@pytest.mark.parametrize("width", [1, 20, *WIDTHS])
def test_no_digit_is_cut_at_any_width(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, width: int, environment: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for name, value in ENVIRONMENTS[environment].items():
        monkeypatch.setenv(name, value)

    run, compare = xent("run", *BLOG, "-v").out, xent("compare", *BLOG, "--methods", "all").out

    shown = set(re.sub(r"\x1b\[[0-9;]*m", "", run + compare).split())
    assert set(NUMBERS) <= shown
    case = (CASES / "normal-10class.yaml").read_text(encoding="utf-8")
    softmax = next(line for line in case.splitlines() if "0.09836569" in line)
    assert set(re.findall(r"[\d.]+", softmax)) <= shown
    assert "…" not in run + compare


@pytest.mark.parametrize(
    ("environment", "colours", "drawn"),
    [("pipe", False, False), ("no colour", False, True), ("colour", True, True), ("dumb", False, False)],
)
def test_a_terminal_has_a_rule_under_the_heading_and_colours(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, environment: str, colours: bool, drawn: bool
) -> None:
    for name, value in ENVIRONMENTS[environment].items():
        monkeypatch.setenv(name, value)

    out = xent("run", "abnormal").out

    assert ("\x1b[" in out) is colours
    assert ("───" in out) is drawn


GREEN, YELLOW, RED, MAGENTA = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[35m"


@pytest.mark.parametrize(
    ("case", "shown"),
    [
        ("abnormal", (f"{GREEN}yes", f"{YELLOW}nan", f"{RED}capped", f"{RED}dead", f"{GREEN}accurate")),
        ("softmax-collapse", (f"{RED}collapsed", f"{GREEN}accurate")),
        ("clamped-gradient-vanishes", (f"{MAGENTA}wrong 100%",)),
        ("bound-below-float16", (f"{YELLOW}overflow",)),
    ],
)
def test_a_colour_says_how_a_result_is_wrong(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, case: str, shown: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    out = xent("run", case).out

    assert [word for word in shown if word not in out] == []


def test_what_is_not_reproduced_is_said_first_and_in_red(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    (tmp_path / "wrong.yaml").write_text(WRONG, encoding="utf-8")

    out = xent("run", tmp_path / "wrong.yaml").out

    assert out.startswith(f"{RED}Only 1 of 2 numbers reproduced: ")
    assert f"{RED}NO" in out
    assert f"{RED}not reproduced: dense expected 7, got 1.3132616" in out


def test_a_file_gets_neither_colour_nor_rules(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    xent("run", "abnormal", "-o", tmp_path / "out")

    assert not re.search("[\x1b─]", (tmp_path / "out").read_text(encoding="utf-8"))


def test_many_cases_are_a_line_each_with_details_where_something_differs(xent: Xent, tmp_path: Path) -> None:
    for number in range(6):
        loss = 7 if number == 3 else "1.3132616"
        text = f"title: case number {number}\nlogits: [[1, 2]]\nlabels: [0]\nexpect: {{dense: {loss}}}\n"
        (tmp_path / f"c{number}.yaml").write_text(text, encoding="utf-8")

    done = xent("run", tmp_path)

    assert_golden("many.plain", done.out)
    assert done.code == 1
    assert done.err == "5 of 6 printed numbers reproduced; not reproduced: c3 (dense)\n"
    assert xent("run", tmp_path, "-v").out.count("mean of the losses") == 6


@pytest.mark.parametrize("form", ["table", "plain", "markdown", "csv"])
def test_markup_in_a_title_is_text(form: str) -> None:
    sheet = Sheet("[bold]x[/] [/naive] :smile:", ("case", "a|b"), (("[naive] x", "1 | 2"), ("*c*", "")))

    text = render([sheet], form, Screen(80, is_terminal=True))

    assert "[naive] x" in text.replace("\\", "")
    assert ":smile:" in text or form == "csv"
    assert text.replace("\\|", "").count("|") == (12 if form == "markdown" else text.count("|"))


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (82.89306640625, "float32", "82.89307"),
        (0.1, "float64", "0.1"),
        (float(np.float16(0.1)), "float16", "0.1"),
        (-0.0, "float32", "0.0"),
        (float("nan"), "float32", "nan"),
        (float("-inf"), "float64", "-inf"),
        (3.0, "int64", "3"),
        (None, "float32", ""),
    ],
)
def test_the_shortest_digits_that_read_back(value: float | None, dtype: str, text: str) -> None:
    assert digits.format_number(value, dtype) == text

"""xent check --baseline-update: it keeps order, reasons, comments and what does not apply here."""

import tomllib
from pathlib import Path

from conftest import Xent
from test_baseline import (
    FILE,
    ONLY,
    WRONG,
    _importable,  # noqa: F401 - a fixture of all tests here
    check,
    collapsed,
    entry,
    off_by,
    probe,
    report,
)

from xentcli.check.baseline.compare import compare
from xentcli.check.baseline.entries import parse_baseline
from xentcli.check.baseline.update import update
from xentcli.check.report import SUITE, CheckFinding, Place


def test_an_update_makes_a_file_that_wants_reasons(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / FILE
    call = ("check", WRONG, *ONLY, "--baseline", path)

    made = xent(*call, "--baseline-update")
    draft = xent(*call)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('reason = ""', 'reason = "known"'), encoding="utf-8")

    assert made.code == 0
    assert made.err == f"{path}: 2 known failures, before 0; give each new one a reason: lines 4, 11\n"
    assert (draft.code, draft.err.partition(":")[2]) == (
        2,
        '9: give the reason for which it may fail: reason = "…"\n',
    )
    assert tomllib.loads(text) == {
        "suite": SUITE,
        "known": [
            {"check": name, "dtype": "float64", "device": "cpu", "fails": "collapsed", "reason": ""}
            for name in ("tail-collapse-in-float64", "keras-cap")
        ],
    }
    assert xent(*call).code == 0


OLD = """# Ours.
suite = 1  # as of May

# The sum is kept beside 1.
[[known]]
check = "sizes"
reason = '''
as the "sum"
is short'''
url = "https://example.org/1"
fails = [ # in two ways
  "off",
  "collapsed",
]
ulps = 100.0 # measured

# It passes by now.
[[known]]
check = "batching"
fails = "nan"
reason = "r"

# Those of float64.

[[known]]
check = "permutation"
dtype = "float64"
version = ">=2"
fails = "nan"
reason = "stays"
# The end.
"""
NEW = """# Ours.
suite = 1  # as of May

# The sum is kept beside 1.
[[known]]
check = "sizes"
reason = '''
as the "sum"
is short'''
url = "https://example.org/1"
fails = "off"
ulps = 130

# Those of float64.

[[known]]
check = "permutation"
dtype = "float64"
version = ">=2"
fails = "nan"
reason = "stays"
# The end.

[[known]]
check = "translation"
dtype = "float32"
device = "cuda"
fails = ["collapsed", "off"]
ulps = 12
reason = ""

[[known]]
check = "translation"
dtype = "float64"
device = "cuda"
fails = "collapsed"
reason = ""
"""


def test_an_update_keeps_order_reasons_and_comments() -> None:
    given = report(
        check(off_by(120.5)),
        check(name="batching"),
        check(CheckFinding("nan", "nan", place=Place(probe("float64"), 0)), name="permutation"),
        check(collapsed(), off_by(11.5), collapsed("float64"), name="translation"),
        check(collapsed(), name="one-hot", since=2),  # newer than the suite: a warning
        versions="torch 2.13.0",
        device="cuda",
    )

    updated = update(parse_baseline(FILE, OLD), FILE, given)

    assert updated.text == NEW
    assert update(updated, FILE, given).text == NEW
    assert compare(given, updated).holds


def test_an_update_leaves_what_does_not_apply_here() -> None:
    text = entry('device = "cuda"\n') + entry('version = "<2"\n', name="batching").partition("\n")[2]

    updated = update(parse_baseline(FILE, text), FILE, report(check(), versions="torch 2.13.0"))

    assert updated.text == text


def test_an_error_is_written_with_two_digits_rounded_up() -> None:
    numbers = {4.01: "4.1", 120.0: "120", 121.0: "130", 3e20: "3.0e+20"}

    for error, written in numbers.items():
        text = update(None, FILE, report(check(off_by(error)))).text
        assert f"ulps = {written}\n" in text
        assert tomllib.loads(text)["known"][0]["ulps"] >= error

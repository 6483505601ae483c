"""xent check --record and --against: an error that grows is seen though it is still within its allowance."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import ROOT, Xent

from xentcli.check.record import Record, errors_of, regression
from xentcli.check.report import CheckResult, Report
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError
from xentcli.show.report import as_json, as_junit

LOSS = "tests/losses/right.py:log1p"
ONLY = ("--only", "blog")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


def report(error: str, reached: bool = True, category: str = "properties") -> Report:
    one = CheckResult(category, "sizes", "", errors={"float32": Decimal(error)}, reached=reached)
    return Report("mine.py:loss", "numpy", "", MaxUlps(), (one,), {})


def record(error: str, convention: str = "numpy", device: str = "cpu") -> Record:
    return Record("old.json", convention, device, {("sizes", "float32"): Decimal(error)})


@pytest.mark.parametrize(
    ("before", "after", "grown"),
    [
        ("1.23", "1.23", False),
        ("1.23", "1.231", True),  # 1.24, rounded up
        ("1.23", "1.2299", False),
        ("2", "1", False),
        ("0", "0.5", False),  # what rounding the true loss costs
        ("0", "0.501", True),
        ("1e300", "1e301", True),
    ],
)
def test_an_error_grows_where_it_is_larger_in_three_digits(before: str, after: str, grown: bool) -> None:
    found = regression(report(after), record(before))

    assert bool(found.grown) == grown
    assert Report("", "", "", MaxUlps(), (), {}, regression=found).passed != grown


def test_the_search_and_what_was_not_reached_are_not_on_record() -> None:
    assert list(errors_of(report("1"))) == [("sizes", "float32")]
    assert errors_of(report("1", reached=False)) == errors_of(report("1", category="search")) == {}


@pytest.mark.parametrize(
    ("old", "message"),
    [
        (record("1", convention="torch"), "old.json: is of convention torch, and this of numpy"),
        (record("1", device="cuda"), "old.json: is of device cuda, and this of cpu"),
    ],
)
def test_a_record_of_something_else_is_refused(old: Record, message: str) -> None:
    with pytest.raises(XentError, match=message):
        regression(report("1"), old)


@pytest.fixture
def nudged(tmp_path: Path) -> str:
    """Write a loss that is 2 ulps larger than a right one: within the allowance of 4."""
    path = tmp_path / "nudged.py"
    path.write_text(
        "import numpy as np\nfrom losses.right import log1p\n"
        "def loss(x, k):\n    y = log1p(x, k)\n"
        "    return np.nextafter(np.nextafter(y, y.dtype.type(np.inf)), y.dtype.type(np.inf))\n",
        encoding="utf-8",
    )
    return f"{path}:loss"


def test_a_record_is_the_same_each_time_and_holds(xent: Xent, tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"

    first = xent("check", LOSS, *ONLY, "--record", one)
    again = xent("check", LOSS, *ONLY, "--record", two, "--against", one)

    assert (first.code, again.code, again.err) == (0, 0, "")
    assert one.read_bytes() == two.read_bytes()
    names = [row["check"] for row in json.loads(one.read_text(encoding="utf-8"))["errors"]]
    assert names == ["abnormal", "normal-10class", "normal-3x3"]


def test_an_error_that_grew_within_the_allowance_fails_and_is_on_record_then(
    xent: Xent, tmp_path: Path, nudged: str
) -> None:
    path = tmp_path / "old.json"
    xent("check", LOSS, "--only", "abnormal", "--only", "normal-3x3", "--record", path)

    run = xent("check", nudged, *ONLY, "--against", path, "--record", path)
    recorded = {row["check"]: row["ulps"] for row in json.loads(path.read_text(encoding="utf-8"))["errors"]}

    assert run.code == 1
    said = " ".join(run.out.split("  convention")[0].split())
    first = f"{nudged} passed all 3 checks, but 2 errors grew beyond {path}: abnormal[float32] from "
    assert said.startswith(first)
    assert said.endswith(" ulps, and 1 other.")
    assert run.out.count("  grew    ") == 2
    assert f"unknown {path} has no error of normal-10class" in " ".join(run.out.split())
    assert len(recorded) == 3
    assert min(recorded.values()) > 1  # the new ones, after they were compared


def test_every_format_says_what_grew() -> None:
    given = report("2")
    given = replace(given, regression=regression(given, record("1")))
    (failure,) = ET.fromstring(as_junit(given)).iter("failure")  # noqa: S314 - ours

    assert failure.get("message") == "grew: sizes[float32] from 1 to 2 ulps"
    assert json.loads(as_json(given))["regression"]["grown"] == [
        {"check": "sizes", "dtype": "float32", "before": 1.0, "after": 2.0}
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "old.json: no such file; --record"),
        ("{", "old.json: no record of errors: no JSON"),
        ("[" * 100_000, "old.json: no record of errors: no JSON"),
        ("[]", "old.json: no record of errors: expected xent.record/1, which --record writes"),
        ('{"schema": "xent.check/2"}', "old.json: no record of errors: expected xent.record/1"),
        ('{"schema": "xent.record/1"}', "old.json: errors: expected check, dtype and ulps of each"),
        ('{"schema": "xent.record/1", "errors": [{"check": "sizes"}]}', "errors: expected check, dtype and"),
        (
            '{"schema": "xent.record/1", "errors": [{"check": "sizes", "dtype": "float32", "ulps": NaN}]}',
            "errors: expected check, dtype and ulps of each",
        ),
    ],
)
def test_a_file_that_is_no_record_is_refused(
    xent: Xent, tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")

    run = xent("check", LOSS, *ONLY, "--against", path)

    assert (run.code, run.out) == (2, "")
    assert message in run.err
    assert "Traceback" not in run.err


def test_results_do_not_replace_the_record_that_is_read(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text("{}", encoding="utf-8")

    run = xent("check", LOSS, "--against", path, "-o", path)

    assert run.code == 2
    assert "is one of the files that are read" in run.err

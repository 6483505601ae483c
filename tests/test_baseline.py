"""xent check --baseline: what is listed may fail so and no worse; what is listed and passes fails too."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import ROOT, Xent
from test_docs import blocks

from xentcli import atlas
from xentcli.check.baseline.compare import compare
from xentcli.check.baseline.entries import known_checks, parse_baseline
from xentcli.check.baseline.releases import Range
from xentcli.check.plan import NO_CALLS, plan
from xentcli.check.probes import Probe
from xentcli.check.report import SUITE, CheckFinding, CheckResult, Place, Report
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError
from xentcli.frameworks.conventions import CONVENTIONS, NAMES
from xentcli.show.report import as_json, as_junit
from xentcli.show.reports import check as html

WRONG = "tests/losses/wrong.py:maximum_in_the_sum"
KNOWN = '[[known]]\ncheck = "{}"\nfails = "collapsed"\nreason = "its sum is kept beside 1"\n'
LISTED = f"suite = {SUITE}\n\n{KNOWN.format('tail-collapse-in-float64')}\n{KNOWN.format('keras-cap')}"
ONLY = ("--only", "keras-cap", "--only", "tail-collapse-in-float64", "--only", "abnormal")
FILE = "xent-baseline.toml"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / FILE
    path.write_text(LISTED, encoding="utf-8")
    return path


def probe(dtype: str = "float32", logits: Sequence[Sequence[float]] = ((1.0, 2.0),)) -> Probe:
    return Probe.build(CONVENTIONS["numpy"], np.array(logits), [0], dtype)


def off_by(ulps: float, dtype: str = "float32") -> CheckFinding:
    """Return a finding of a true loss of 1, off by ulps."""
    eps = {"float32": 2.0**-23, "float64": 2.0**-52}[dtype]
    return CheckFinding("off", "off", place=Place(probe(dtype), 0, 1 + ulps * eps, Decimal(1)))


def collapsed(dtype: str = "float32") -> CheckFinding:
    return CheckFinding("collapsed", "collapsed", place=Place(probe(dtype), 0, 0.0, Decimal("1e-9")))


def report(*checks: CheckResult, versions: str = "", device: str = "cpu") -> Report:
    return Report("mine.py:loss", "numpy", versions, MaxUlps(), checks, {}, device=device)


def check(*findings: CheckFinding, name: str = "sizes", since: int = 1, **left_out: Any) -> CheckResult:
    return CheckResult("properties", name, "", findings=findings, since=since, **left_out)


def entry(more: str = "", fails: str = '"off"\nulps = 100', name: str = "sizes", suite: int = SUITE) -> str:
    return f'suite = {suite}\n[[known]]\ncheck = "{name}"\nfails = {fails}\nreason = "r"\n{more}'


def holds(text: str, given: Report) -> bool:
    return compare(given, parse_baseline(FILE, text)).holds


def test_what_is_listed_may_fail(xent: Xent, baseline: Path) -> None:
    run = xent("check", WRONG, *ONLY, "--baseline", baseline)

    assert (run.code, run.err) == (0, "")
    said = " ".join(run.out.split("  convention")[0].split())
    assert said == f"{WRONG} fails nothing that {baseline} does not list (2 known failures)."
    assert "known   tail-collapse-in-float64, keras-cap" in run.out
    assert "remedy" not in run.out  # what is known needs none


def test_what_is_not_listed_fails_and_so_does_what_passes(xent: Xent, baseline: Path) -> None:
    baseline.write_text(LISTED.replace("tail-collapse-in-float64", "abnormal"), encoding="utf-8")

    run = xent("check", WRONG, *ONLY, "--baseline", baseline)

    assert run.code == 1
    assert " ".join(run.out.split("  convention")[0].split()) == (
        f"{WRONG} fails 1 check that {baseline} does not list, "
        "and passes 1 check that it lists: remove line 3 (1 known failure)."
    )
    assert "  new     tail-collapse-in-float64[float64]: collapsed: example 0 is 0.0" in run.out
    assert "line 3  abnormal does not fail as 'collapsed' any more; remove the entry" in run.out
    assert "remedy" in run.out


@pytest.mark.parametrize(
    ("text", "findings", "right"),
    [
        (entry(), [off_by(100)], True),
        (entry(), [off_by(101)], False),  # worse
        (entry(), [off_by(3), off_by(101)], False),  # the largest counts
        (entry(), [off_by(100), collapsed()], False),  # another kind
        (entry(), [], False),  # it passes
        (entry(fails='["off", "collapsed"]\nulps = 100'), [off_by(100), collapsed()], True),
        (entry(fails='["off", "collapsed"]\nulps = 100'), [off_by(100)], False),  # in fewer ways
        (entry('dtype = "float32"'), [off_by(1)], True),
        (entry('dtype = "float64"'), [off_by(1)], False),  # two reasons: it is not listed, and it passes
        (entry(), [off_by(1), off_by(1, "float64")], True),  # of any dtype
        (entry('dtype = "float32"'), [off_by(1), off_by(1, "float64")], False),
        (entry('device = "cpu"'), [off_by(1)], True),
        (entry('device = "cuda"'), [off_by(1)], False),
        (entry('device = "cuda"'), [], True),  # it passes here, and is listed for there
        (entry('version = ">=2.4,<3"'), [off_by(1)], True),
        (entry('version = ">=2.4,<2.13"'), [off_by(1)], False),
        (entry('version = ">=2.4,<2.13"'), [], True),
        (entry('version = "numpy >=1"'), [off_by(1)], True),
        (entry('version = "numpy <1"'), [off_by(1)], False),
        (entry(fails='"off"\nulps = inf'), [off_by(1e30)], True),
        (entry(fails=f'"off"\nulps = {10**400}'), [off_by(1e30)], True),
    ],
)
def test_an_entry_allows_what_it_says_and_no_more(
    text: str, findings: list[CheckFinding], right: bool
) -> None:
    assert holds(text, report(check(*findings), versions="torch 2.13.0, jax 0.10.2")) == right


def test_an_error_that_is_no_number_is_larger_than_all() -> None:
    infinite = CheckFinding("mean", "mean", place=Place(probe(), 0, math.inf, Decimal(1)))

    assert not holds(entry(fails='"mean"\nulps = 1e300'), report(check(infinite)))
    assert holds(entry(fails='"mean"\nulps = inf'), report(check(infinite)))


@pytest.mark.parametrize(("ulps", "right"), [(8, True), (7, False)])
def test_a_gradient_is_measured_in_ulps_of_its_largest_entry(ulps: float, right: bool) -> None:
    # The true gradient of [0, 0] is [-1/2, 1/2], whose unit is 2^-24.
    gradient = np.array([-0.5, 0.5 + 8 * 2.0**-24])
    place = Place(probe(logits=[[0.0, 0.0]]), 0, gradient=gradient)
    found = report(check(CheckFinding("gradient wrong", "wrong", place=place)))

    assert holds(entry(fails=f'"gradient wrong"\nulps = {ulps}'), found) == right


@pytest.mark.parametrize(
    "checks",
    [
        [CheckResult("properties", "sizes", "", skipped="slow")],
        [CheckResult("properties", "batching", "")],  # --only
        [check(reached=False)],
        [check(skipped="a batch of 1 × 131,073 would take about 90 s")],
        [check(collapsed(), off_by(1), skipped="a batch of 1 × 131,073 would take about 90 s")],
    ],
)
def test_what_was_not_run_to_its_end_does_not_pass(checks: list[CheckResult]) -> None:
    text = entry(fails='["off", "collapsed", "nan"]\nulps = 100')

    assert holds(text, report(*checks))


def test_checks_that_time_did_not_suffice_for_still_fail() -> None:
    late = report(check(reached=False))
    compared = compare(late, parse_baseline(FILE, entry()))

    assert not Report("", "", "", MaxUlps(), late.checks, {}, baseline=compared).passed


@pytest.mark.parametrize(("suite", "right"), [(1, True), (2, False)])
def test_failures_of_checks_newer_than_the_suite_are_warnings(suite: int, right: bool) -> None:
    given = report(check(collapsed(), since=2), check(reached=False, name="batching", since=2))
    compared = compare(given, parse_baseline(FILE, f"suite = {suite}\n"))

    assert compared.holds == right
    assert [failure.check for failure in compared.newer] == ["sizes"] * right
    assert Report("", "", "", MaxUlps(), given.checks, {}, baseline=compared).passed == right


def test_the_checks_of_the_first_suite_are_those_on_record() -> None:
    """A check that comes later says since when: baselines of the first suite do not know it."""
    old = (Path(__file__).parent / "data" / "suite-1.txt").read_text(encoding="utf-8").split()
    checks = known_checks()

    assert [name for name in sorted(checks) if checks[name] == 1] == old
    calls = {entry.case.name for entry in atlas.entries() if entry.case.batch.is_one_call}
    others = {each.case.name for each in atlas.entries() if {each.case.name, each.folder} & NO_CALLS}
    assert calls | others == {entry.case.name for entry in atlas.entries()}
    assert calls <= checks.keys()
    assert not others & checks.keys()
    assert set(checks.values()) <= set(range(1, SUITE + 1))


def test_every_check_that_suits_a_loss_can_be_listed() -> None:
    specs = plan(CONVENTIONS["numpy"], (*NAMES, "reduction"), gradient=True, autodiff=True)

    assert {spec.name: spec.since for spec in specs}.items() <= known_checks().items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suite = 2\nknown = 1", "1: write each known failure as a table of its own, under [[known]]"),
        ("suite = 2\nsuite = 2", "2: no TOML: "),
        ("", "1: say which suite: suite = 3"),
        ("\nsuite = true", "2: say which suite: suite = 3"),
        ("suite = 4", "1: suite 4 is newer than this xent, whose suite is 3; upgrade xent"),
        ("suite = 2\nsuit = 1", "2: unknown key 'suit'; did you mean 'suite'?"),
        (entry("becaus = 1"), "7: unknown key 'becaus'"),
        (entry("url = 3"), "7: url: expected a text in quotes"),
        (entry(name="size"), "3: no check is called 'size'; did you mean 'sizes'?"),
        ('suite = 2\n[[known]]\nfails = "off"', "2: name the check that fails: check = "),
        (entry().replace('reason = "r"', ""), "2: give the reason for which it may fail"),
        (entry().replace('reason = "r"', 'reason = " "'), "6: give the reason for which it may fail"),
        (entry('dtype = "float31"'), "7: unknown dtype 'float31'; did you mean 'float32'?"),
        (entry('dtype = "float32"', '"quiet"', "quiet"), "6: 'quiet' is of all dtypes; remove this line"),
        (entry(fails="[]"), '4: say how it fails: fails = "collapsed"'),
        (entry(fails='["off", 1]\nulps = 3'), '4: say how it fails: fails = "collapsed"'),
        (entry(fails='"off"'), "4: 'off' has an error: say the largest, as ulps = 120"),
        (entry(fails='"nan"\nulps = 1'), "5: 'nan' has no error in ulps; remove this line"),
        (entry(fails='"off"\nulps = -1'), "5: ulps: expected a number, at least 0"),
        (entry(fails='"off"\nulps = nan'), "5: ulps: expected a number, at least 0"),
        (entry(fails='"off"\nulps = true'), "5: ulps: expected a number, at least 0"),
        (entry('version = "~2"'), "7: '~2' is no range of versions; write one such as '>=2.4,<3'"),
        (entry('version = ""'), "7: '' is no range of versions"),
        ("suite = 2\n[[known]]\ncheck =", "3: no TOML: "),
        (f"suite = {'9' * 5000}", "1: no TOML: "),
        (f"suite = {'[' * 5000}", "1: no TOML: "),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(XentError) as refused:
        parse_baseline(FILE, text)

    assert str(refused.value).startswith(f"{FILE}:{message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "no/such.toml"], "no/such.toml: no such file; --baseline-update makes it"),
        (["--baseline", "."], ".: cannot be read: "),
        (["--baseline-update"], "--baseline-update: name the file: --baseline xent-baseline.toml"),
        (["--baseline", FILE, "--beside", WRONG], "--baseline and --beside both say what may fail"),
        (["--baseline", FILE, "-o", FILE], "is one of the files that are read; write the results elsewhere"),
        (
            ["--baseline", FILE, "--baseline-update", "-o", FILE],
            "is written twice; name two files",
        ),
        (["--baseline", "mine.py", "--baseline-update"], "is a program; write the results elsewhere"),
    ],
)
def test_what_does_not_go_together_is_refused(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    (tmp_path / FILE).write_text(LISTED, encoding="utf-8")
    (tmp_path / "mine.py").write_text("def loss(x, k): ...", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    run = xent("check", str(ROOT / WRONG), *ONLY, *arguments)

    assert (run.code, run.out) == (2, "")
    assert message in run.err
    assert (tmp_path / FILE).read_text(encoding="utf-8") == LISTED


@pytest.mark.parametrize(
    ("text", "version", "right"),
    [
        (">=2.4", "2.4.0", True),
        (">=2.4", "2.3.9", False),
        (">=2.4", "2.10", True),
        ("<3", "2.99", True),
        ("<3", "3.0", False),
        (">2.4", "2.4.0", False),
        (">2.4", "2.4.1", True),
        ("<=2.4", "2.4.0", True),
        ("<=2.4", "2.4.1", False),
        ("==2.4", "2.4.0+cpu", True),
        ("!=2.4", "2.4", False),
        (">= 2.4 , < 3", "2.13.0rc1", True),
        ("liger-kernel >=0.8", "0.8.5", True),
    ],
)
def test_versions_are_compared_by_the_numbers_of_the_release(text: str, version: str, right: bool) -> None:
    assert Range.parse(text).contains(version) == right


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (">=1", "version: the loss is in no library: name one, as 'numpy >=2'"),
        ("no-such-library >=1", "version: no-such-library is not installed"),
    ],
)
def test_a_version_that_nobody_knows_is_refused(version: str, message: str) -> None:
    with pytest.raises(XentError, match=rf"^{FILE}:2: {message}"):
        holds(entry(f'version = "{version}"'), report(check()))


def test_every_format_says_what_is_new_and_what_is_known() -> None:
    given = report(
        check(collapsed(), name="permutation"),
        check(off_by(30), name="sizes"),
        check(name="batching"),
        check(collapsed(), name="one-hot", since=2),
        check(off_by(5), name="translation"),
    )
    texts = (
        entry('url = "https://example.org/1"\n', '"off"\nulps = 5', "translation", suite=1),
        *(entry().replace("sizes", name).partition("\n")[2] for name in ("sizes", "batching")),
    )
    compared = compare(given, parse_baseline(FILE, "".join(texts).replace("ulps = 100", "ulps = 20")))
    given = replace(given, baseline=compared)
    said = json.loads(as_json(given))["baseline"]
    tests = {test.get("name"): test for test in ET.fromstring(as_junit(given)).iter("testcase")}  # noqa: S314 - ours
    page = html.report(given, "xent check")

    assert [(each["check"], each["line"]) for each in said["new"]] == [("permutation", None), ("sizes", 8)]
    assert [(each["check"], each["line"]) for each in said["remove"]] == [("batching", 13)]
    assert [each["check"] for each in said["warnings"]] == ["one-hot"]
    assert [(each["check"], each["url"]) for each in said["known"]] == [
        ("translation", "https://example.org/1")
    ]
    outcomes = {name: [(child.tag, child.get("message")) for child in test] for name, test in tests.items()}
    assert outcomes == {
        "permutation": [("failure", "new: permutation[float32]: collapsed")],
        "sizes": [("failure", "worse: sizes[float32]: 30 ulps, and line 8 allows 20: off")],
        "batching": [("failure", f"{FILE}:13: batching does not fail as 'off' any more; remove the entry")],
        "one-hot": [("skipped", "newer than suite 1")],
        "translation": [("skipped", "known: r (https://example.org/1)")],
    }
    assert f"Against {FILE}" in page
    for word in ("new", "worse", "to remove", "warning", "known"):
        assert f">{word}</" in page


def test_the_entry_of_the_page_is_read_where_it_has_its_reason() -> None:
    (block,) = blocks(ROOT / "docs" / "check-reference.md", "toml")

    with pytest.raises(XentError, match="reason"):
        parse_baseline(FILE, re.sub('reason = ".+"', 'reason = ""', block))
    (entry,) = parse_baseline(FILE, block).entries
    assert (entry.check, entry.dtype) == ("tail-collapse", "float32")

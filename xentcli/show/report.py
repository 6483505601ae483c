"""A report on a loss: the verdict with its causes, every check where asked for, or JSON, or JUnit XML."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from xentcli import __version__
from xentcli.check.plan import plan
from xentcli.check.report import SUITE
from xentcli.digits import format_ulps, json_ulps
from xentcli.errors import printable
from xentcli.frameworks.conventions import CHUNKS, CONVENTIONS, COUNT, NAMES, find_convention
from xentcli.show import Screen
from xentcli.show import render as render_sheets
from xentcli.show.checked import parts, verdict
from xentcli.show.json import dump
from xentcli.show.junit import cleaned, written
from xentcli.show.known import baseline_fields, outcome, regression_fields
from xentcli.show.sheet import Cell, Lines, Sheet, Tone, paragraph
from xentcli.words import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.check.report import Cause, CheckResult, Report
    from xentcli.check.tolerance import MaxUlps

_STATUSES = ("passed", "failed", "skipped", "not reached")


def render(report: "Report", form: str, screen: Screen, *, verbose: bool = False) -> str:
    """Render what ``xent check`` shows; ``verbose`` adds every check and its findings."""
    if form == "json":
        return as_json(report)
    if form == "junit":
        return as_junit(report)
    shown = parts(report, screen.width, verbose=verbose)
    shown += _details(report, screen.width) if verbose else []
    return render_sheets(shown, form, screen)


def render_list(convention: str, form: str, screen: Screen) -> str:
    """Render what ``xent check --list`` shows."""
    return render_sheets(listed(convention), form, screen)


def listed(convention: str) -> list[Sheet]:
    """Return the conventions, and the checks of a loss of one of them that has every parameter."""
    known = {**CONVENTIONS, convention: find_convention(convention, "")}
    called = tuple((Cell(c.name, Tone.COMMAND), c.signature, c.library) for c in known.values())
    every = (*NAMES, *CHUNKS[:1], COUNT, "reduction", "bias")
    specs = plan(known[convention], every, gradient=True, autodiff=True)
    checks = tuple((spec.category, spec.name, spec.asserts) for spec in specs)
    return [
        Sheet("Conventions: how a loss is called", ("convention", "call", "arrays"), called),
        Sheet(f"Checks of convention {convention}", ("category", "check", "asserts"), checks),
    ]


def _details(report: "Report", width: int) -> list[Sheet | Lines]:
    """Return a row per category, then each check that failed with each kind of finding once."""
    lines: list[tuple[str, ...]] = []
    for check in report.checks:
        if check.status == "failed":
            lines += [("",), *paragraph(printable(f"{check.name}: {check.asserts}"), width)]
            lines += [
                each
                for message in messages_of(check)
                for each in paragraph(printable(message), width, indent=2)
            ]
    return [categories(report), *([Lines(tuple(lines[1:]))] if lines else ())]


def categories(report: "Report") -> Sheet:
    """Return a row per category of checks."""
    columns = ("category", "checks", "failed", "worst ulps", "failing")
    return Sheet("", columns, tuple(_row(name, checks) for name, checks in by_category(report).items()))


def as_json(report: "Report") -> str:
    """Render by the schema ``xent.check/2``: keys are only ever added to it."""
    status = [check.status for check in report.checks]
    return dump(
        {
            "schema": "xent.check/2",
            "version": __version__,
            "target": report.target,
            "convention": report.convention,
            "device": report.device,
            "remarks": list(report.remarks),
            "suite": SUITE,
            "versions": report.versions,
            **_tolerance_fields(report.max_ulps),
            "passed": report.passed,
            "verdict": verdict(report),
            "causes": list(map(_cause_fields, report.causes)),
            "checks": [_fields(check) for check in report.checks],
            "counterexamples": [
                {"name": name, "case": text} for name, text in report.counterexamples.items()
            ],
            "summary": {word.replace(" ", "_"): status.count(word) for word in _STATUSES},
            **({} if report.beside is None else {"beside": _beside_fields(report, report.beside)}),
            **({} if report.baseline is None else {"baseline": baseline_fields(report.baseline)}),
            **({} if report.regression is None else {"regression": regression_fields(report.regression)}),
        }
    )


def as_junit(report: "Report") -> str:
    """Render as JUnit XML: a suite per category, a test per check."""
    root = ET.Element("testsuites", name="xent check")
    for category, checks in by_category(report).items():
        outcomes = [outcome_of(report, check) for check in checks]
        status = [word for word, _ in outcomes]
        counts = {
            "tests": len(checks),
            "failures": status.count("failed"),
            "errors": 0,
            "skipped": len(status) - status.count("passed") - status.count("failed"),
        }
        suite = ET.SubElement(root, "testsuite", {"name": category} | {k: str(n) for k, n in counts.items()})
        for check, (word, why) in zip(checks, outcomes, strict=True):
            test = ET.SubElement(suite, "testcase", classname=cleaned(report.target), name=check.name)
            if check.ulps is not None:
                properties = ET.SubElement(test, "properties")
                ET.SubElement(properties, "property", name="worst ulps", value=format_ulps(check.ulps))
            if word == "failed":
                ET.SubElement(test, "failure", message=cleaned(why))
            elif word != "passed":
                ET.SubElement(test, "skipped", message=cleaned(why))
    return written(root)


def outcome_of(report: "Report", check: "CheckResult") -> tuple[str, str]:
    """Return how a check ended, and why."""
    if check.status == "failed":
        own = "failed", "; ".join(messages_of(check))
    else:
        own = check.status, check.skipped or "not reached in time"
    return outcome(report, check) or own


def by_category(report: "Report") -> "dict[str, list[CheckResult]]":
    """Return the checks of each category."""
    categories: dict[str, list[CheckResult]] = {}
    for check in report.checks:
        categories.setdefault(check.category, []).append(check)
    return categories


def _row(name: str, checks: "Sequence[CheckResult]") -> tuple[str, ...]:
    failing = [check.name for check in checks if check.status == "failed"]
    return name, str(len(checks)), str(len(failing)), format_ulps(_worst(checks)), " ".join(failing)


def _worst(checks: "Sequence[CheckResult]") -> Decimal | None:
    return max((check.ulps for check in checks if check.ulps is not None), default=None)


def messages_of(check: "CheckResult") -> list[str]:
    """Return the first message of each kind of finding, with how many more there are."""
    kinds: dict[str, list[str]] = {}
    for finding in check.findings:
        kinds.setdefault(finding.name, []).append(finding.message)
    return [each[0] + (f" (and {len(each) - 1} more)" if len(each) > 1 else "") for each in kinds.values()]


def _fields(check: "CheckResult") -> dict[str, Any]:
    return {
        "category": check.category,
        "name": check.name,
        "asserts": check.asserts,
        "status": check.status,
        "batches": check.batches,
        "ulps": json_ulps(check.ulps),
        "errors": {dtype: json_ulps(error) for dtype, error in check.errors.items()},
        "since": check.since,
        "severity": check.severity,
        "findings": [
            {"name": finding.name, "message": finding.message, "severity": finding.severity}
            for finding in check.findings
        ],
        **({"reason": check.skipped} if check.skipped is not None else {}),
    }


def _tolerance_fields(max_ulps: "MaxUlps") -> dict[str, Any]:
    """Return the ulps allowed: one number, and those of each dtype where they differ."""
    common = max_ulps.common
    if common is not None:
        return {"max_ulps": common}
    return {
        "max_ulps": max_ulps.default,
        "max_ulps_by_dtype": {dtype: max_ulps.of(dtype) for dtype in DTYPES},
    }


def _cause_fields(cause: "Cause") -> dict[str, Any]:
    words = ("name", "severity", "cause", "remedy", "checks", "is_finding", "method", "case")
    return {word: getattr(cause, word) for word in words} | {"example": cause.example.message}


def _beside_fields(report: "Report", other: "Report") -> dict[str, Any]:
    mine, theirs = set(report.failed), set(other.failed)
    return {
        "target": other.target,
        "only_mine": report.failed_alone,
        "both": [name for name in report.failed if name in theirs],
        "only_theirs": [name for name in other.failed if name not in mine],
    }

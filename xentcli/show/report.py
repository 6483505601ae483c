"""A report on a loss: a table by category with a paragraph per failure, or JSON, or JUnit XML."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from xentcli import __version__
from xentcli.check.plan import CONTRACT_CATEGORY, PROPERTY
from xentcli.check.report import SEARCH
from xentcli.digits import error, three
from xentcli.errors import count, printable
from xentcli.frameworks.conventions import CONVENTIONS
from xentcli.show import Screen
from xentcli.show import render as render_sheets
from xentcli.show.json import dump
from xentcli.show.junit import cleaned, written
from xentcli.show.prose import filled
from xentcli.show.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.check.report import CheckResult, Report

_NO_CASES = (PROPERTY, SEARCH, CONTRACT_CATEGORY)  # categories of no folder of the atlas
_STATUSES = ("passed", "failed", "skipped", "not reached")


def render(report: "Report", form: str, screen: Screen) -> str:
    """Render what ``xent check`` shows."""
    if form == "json":
        return as_json(report)
    if form == "junit":
        return as_junit(report)
    return render_sheets([sheet(report)], form, screen) + prose(report, screen.width)


def sheet(report: "Report") -> Sheet:
    """Return a row per category: how many checks, how many failed, the worst error, which."""
    about = (
        f"convention {report.convention}",
        report.versions,
        f"{report.max_ulps:g} ulps allowed besides rounding",
    )
    title = f"{report.target} ({', '.join(filter(None, about))})"
    columns = ("category", "checks", "failed", "worst ulps", "failing")
    rows = tuple(_row(name, checks) for name, checks in _by_category(report).items())
    return Sheet(printable(title), columns, rows)


def prose(report: "Report", width: int) -> str:
    """Return a paragraph per failure: what the check asserts, and each kind of finding once."""
    lines = []
    for check in report.checks:
        if check.status == "failed":
            lines += [f"\n{check.name}: {check.asserts}", *(f"  {message}" for message in _messages(check))]
            if check.category not in _NO_CASES:
                lines.append(f"  explained by: xent explain {check.name}")
    if report.only_raises:
        known = ", ".join(CONVENTIONS)
        lines.append(f"\nIt raises in every call: is its convention {report.convention}? Known are {known}.")
    others = [check for check in report.checks if check.status in {"skipped", "not reached"}]
    if others:
        lines.append("")
    for check in others:
        why = f"skipped: {check.skipped}" if check.skipped is not None else "not reached in time"
        lines.append(f"{check.name}: {why}")
    parts = [part for line in lines for part in line.split("\n")]
    return "".join(f"{filled(printable(part), width) if part.strip() else ''}\n" for part in parts)


def closing(report: "Report") -> str:
    """Return the one sentence that ends a check."""
    status = [check.status for check in report.checks]
    counts = {word: status.count(word) for word in ("failed", "skipped", "not reached")}
    passed = f"{count(status.count('passed'), 'check')} passed"
    return ", ".join([passed, *(f"{number} {word}" for word, number in counts.items() if number)])


def as_json(report: "Report") -> str:
    """Render by the schema ``xent.check/2``: keys are only ever added to it."""
    status = [check.status for check in report.checks]
    return dump(
        {
            "schema": "xent.check/2",
            "version": __version__,
            "target": report.target,
            "convention": report.convention,
            "versions": report.versions,
            "max_ulps": report.max_ulps,
            "passed": report.passed,
            "checks": [_fields(check) for check in report.checks],
            "counterexamples": [
                {"name": name, "case": text} for name, text in report.counterexamples.items()
            ],
            "summary": {word.replace(" ", "_"): status.count(word) for word in _STATUSES},
        }
    )


def as_junit(report: "Report") -> str:
    """Render as JUnit XML: a suite per category, a test per check."""
    root = ET.Element("testsuites", name="xent check")
    for category, checks in _by_category(report).items():
        status = [check.status for check in checks]
        counts = {
            "tests": len(checks),
            "failures": status.count("failed"),
            "errors": 0,
            "skipped": len(status) - status.count("passed") - status.count("failed"),
        }
        suite = ET.SubElement(root, "testsuite", {"name": category} | {k: str(n) for k, n in counts.items()})
        for check in checks:
            test = ET.SubElement(suite, "testcase", classname=cleaned(report.target), name=check.name)
            if check.status == "failed":
                ET.SubElement(test, "failure", message=cleaned("; ".join(_messages(check))))
            elif check.status != "passed":
                ET.SubElement(test, "skipped", message=cleaned(check.skipped or "not reached in time"))
    return written(root)


def _by_category(report: "Report") -> "dict[str, list[CheckResult]]":
    categories: dict[str, list[CheckResult]] = {}
    for check in report.checks:
        categories.setdefault(check.category, []).append(check)
    return categories


def _row(name: str, checks: "Sequence[CheckResult]") -> tuple[str, ...]:
    failing = [check.name for check in checks if check.status == "failed"]
    return name, str(len(checks)), str(len(failing)), three(_worst(checks)), " ".join(failing)


def _worst(checks: "Sequence[CheckResult]") -> Decimal | None:
    return max((check.ulps for check in checks if check.ulps is not None), default=None)


def _messages(check: "CheckResult") -> list[str]:
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
        "ulps": error(check.ulps),
        "findings": [{"name": finding.name, "message": finding.message} for finding in check.findings],
        **({"reason": check.skipped} if check.skipped is not None else {}),
    }

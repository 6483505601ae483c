"""What a check found, as a table by category with a paragraph a failure, as JSON and as JUnit XML."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from xentcli import __version__
from xentcli.check.conventions import CONVENTIONS
from xentcli.check.plan import CONDUCT, PROPERTY
from xentcli.check.report import SEARCH
from xentcli.digits import error, three
from xentcli.errors import count, printable
from xentcli.show.json import dump
from xentcli.show.junit import cleaned, written
from xentcli.show.prose import filled
from xentcli.show.sheet import Sheet

if TYPE_CHECKING:
    from xentcli.check.report import Checked, Report


def sheet(report: "Report") -> Sheet:
    """Return a row a category: how many checks, how many failed, the worst error, which."""
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
    """Return a paragraph a failure: what it asserts, and each kind of fault once."""
    lines = []
    for check in report.checks:
        if check.status == "failed":
            lines += [f"\n{check.name}: {check.asserts}", *(f"  {said}" for said in _said(check))]
            if check.category not in _OWN:
                lines.append(f"  explained by: xent explain {check.name}")
    if report.only_raises:
        known = ", ".join(CONVENTIONS)
        lines.append(
            f"\nIt raises wherever it is asked: is its convention {report.convention}? Known are {known}."
        )
    others = [check for check in report.checks if check.status in {"skipped", "not reached"}]
    if others:
        lines.append("")
    for check in others:
        why = f"skipped: {check.skipped}" if check.skipped is not None else "not reached in time"
        lines.append(f"{check.name}: {why}")
    return "".join(f"{filled(printable(line), width) if line.strip() else ''}\n" for line in _split(lines))


def closing(report: "Report") -> str:
    """Return the one sentence that ends a check."""
    status = [check.status for check in report.checks]
    counts = {word: status.count(word) for word in ("failed", "skipped", "not reached")}
    said = f"{count(status.count('passed'), 'check')} passed"
    return ", ".join([said, *(f"{number} {word}" for word, number in counts.items() if number)])


def as_json(report: "Report") -> str:
    """Render by the schema ``xent.check/1``: keys are only ever added to it."""
    status = [check.status for check in report.checks]
    return dump(
        {
            "schema": "xent.check/1",
            "version": __version__,
            "target": report.target,
            "convention": report.convention,
            "versions": report.versions,
            "max_ulps": report.max_ulps,
            "passed": report.passed,
            "checks": [_fields(check) for check in report.checks],
            "found": [{"name": case.name, "case": case.text} for case in report.found],
            "summary": {word.replace(" ", "_"): status.count(word) for word in _STATUSES},
        }
    )


def as_junit(report: "Report") -> str:
    """Render as JUnit XML: a suite a category, a test a check."""
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
                ET.SubElement(test, "failure", message=cleaned("; ".join(_said(check))))
            elif check.status != "passed":
                ET.SubElement(test, "skipped", message=cleaned(check.skipped or "not reached in time"))
    return written(root)


_OWN = (PROPERTY, SEARCH, CONDUCT)  # categories that are no cases of the atlas
_STATUSES = ("passed", "failed", "skipped", "not reached")


def _by_category(report: "Report") -> "dict[str, list[Checked]]":
    found: dict[str, list[Checked]] = {}
    for check in report.checks:
        found.setdefault(check.category, []).append(check)
    return found


def _row(name: str, checks: "Sequence[Checked]") -> tuple[str, ...]:
    failing = [check.name for check in checks if check.status == "failed"]
    return name, str(len(checks)), str(len(failing)), three(_worst(checks)), " ".join(failing)


def _worst(checks: "Sequence[Checked]") -> Decimal | None:
    return max((check.ulps for check in checks if check.ulps is not None), default=None)


def _said(check: "Checked") -> list[str]:
    """Return each kind of fault once, with how many there are."""
    kinds: dict[str, list[str]] = {}
    for fault in check.faults:
        kinds.setdefault(fault.word, []).append(fault.said)
    return [said[0] + (f" (and {len(said) - 1} more)" if len(said) > 1 else "") for said in kinds.values()]


def _split(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in line.split("\n")]


def _fields(check: "Checked") -> dict[str, Any]:
    return {
        "category": check.category,
        "name": check.name,
        "asserts": check.asserts,
        "status": check.status,
        "batches": check.asked,
        "ulps": error(check.ulps),
        "faults": [{"word": fault.word, "said": fault.said} for fault in check.faults],
        **({"reason": check.skipped} if check.skipped is not None else {}),
    }

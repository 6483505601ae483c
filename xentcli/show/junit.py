"""Results as JUnit XML: a suite a case, a test an expectation."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from xentcli.digits import format_number

if TYPE_CHECKING:
    from xentcli.judge import Result
    from xentcli.model import Comparison

# What XML 1.0 calls a character, turned round.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_results(results: Sequence["Result"]) -> str:
    """Render results; where the case is overridden a number that differs is skipped, not failed."""
    root = ET.Element("testsuites", name="xent")
    for result in results:
        _suite(root, result)
    return written(root)


def written(root: ET.Element) -> str:
    """Return a document as text that every encoding holds."""
    ET.indent(root)
    return ET.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii") + "\n"


def cleaned(words: str) -> str:
    """Replace what XML has no character for."""
    return _NO_XML.sub("�", words)


def _suite(root: ET.Element, result: "Result") -> None:
    case = result.case
    tag, kind = ("skipped", "skipped") if case.overridden else ("failure", "failures")
    counts = {"tests": len(result.comparisons), "failures": 0, "errors": 0, "skipped": 0}
    counts[kind] = sum(not check.reproduced for check in result.comparisons)
    about = {"name": cleaned(case.name), "file": cleaned(case.path)}
    suite = ET.SubElement(root, "testsuite", about | {name: str(count) for name, count in counts.items()})
    for check in result.comparisons:
        about = {"classname": cleaned(case.name), "name": check.expectation.quantity}
        test = ET.SubElement(suite, "testcase", about)
        if not check.reproduced:
            ET.SubElement(test, tag, message=_message(check))


def _message(check: "Comparison") -> str:
    got = [format_number(value, check.dtype) for value in check.values]
    differing = [
        f"expected {expected}, got {value}"
        for expected, value, hit in zip(check.expectation.texts, got, check.hits, strict=True)
        if not hit
    ]
    return "; ".join(differing)

"""A report on a loss → the document of ``xent check``: the verdict, the causes, then every check."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from xentcli.digits import format_ulps
from xentcli.errors import count
from xentcli.show import tolerances as shown_tolerances
from xentcli.show.checked import about, alike, baseline, example, severity_cell, verdict
from xentcli.show.document import (
    Code,
    Content,
    Document,
    Facts,
    Link,
    Prose,
    Section,
    Several,
    anchors,
    render,
)
from xentcli.show.known import sheet as known
from xentcli.show.report import listed, messages_of
from xentcli.show.sheet import Cell, Sheet, Tone

if TYPE_CHECKING:
    from xentcli.check.report import Cause, CheckResult, Report
    from xentcli.check.tolerance import MaxUlps

_TONES = {"passed": Tone.RIGHT, "failed": Tone.SILENT}


def report(checked: "Report", command: str) -> str:
    """Return the document."""
    rows = dict(
        zip(
            (check.name for check in checked.checks),
            anchors([check.name for check in checked.checks], "check"),
            strict=True,
        )
    )
    names = anchors([cause.name for cause in checked.causes], "cause")
    causes = tuple(_cause(cause, name, rows) for cause, name in zip(checked.causes, names, strict=True))
    sections = (
        [Section("Causes, the worst first", "causes", tuple(_after(checked)), causes)] if causes else []
    )
    sections.append(Section("Every check", "checks", (_checks(checked, rows),)))
    if checked.baseline is not None:
        rest = Section(f"Against {checked.baseline.path}", "baseline", (known(checked.baseline),))
        sections.insert(0, rest)
    if checked.beside is not None:
        sections.append(Section("Beside", "beside", (_beside(checked, checked.beside),)))
    contents = (Prose((Cell(about(checked), Tone.CONTEXT),)),)
    return render(
        Document(f"xent check {checked.target}", verdict(checked), contents, tuple(sections), command)
    )


def listing(convention: str, command: str) -> str:
    """Return the document of ``xent check --list``."""
    conventions, checks = listed(convention)
    answer = f"A loss of the convention {convention} is checked in {count(len(checks.rows), 'way')}."
    return render(Document("xent check --list", answer, (checks, conventions), (), command))


def tolerances(max_ulps: "MaxUlps", command: str) -> str:
    """Return the document of ``xent check --tolerances``."""
    contents = (*shown_tolerances.sheets(max_ulps), Prose((Cell(shown_tolerances.ABOUT, Tone.CONTEXT),)))
    answer = shown_tolerances.answer(max_ulps)
    return render(Document("xent check --tolerances", answer, contents, (), command))


def _cause(cause: "Cause", anchor: str, rows: dict[str, str]) -> Section:
    """Return a cause: how bad it is, its words, the remedy, the smallest input, the checks that it fails."""
    facts = Facts(
        (
            ("severity", (severity_cell(cause),)),
            ("remedy", (cause.remedy,)),
            ("input", (example(cause.example),)),
            ("checks", (Several(Link(name, f"#{rows[name]}") for name in cause.checks),)),
        )
    )
    commands = [f"xent findings {cause.name}"] * cause.is_finding + [alike(cause)] * (
        cause.method is not None
    )
    contents: list[Content] = [Prose((cause.cause,)), facts]
    contents += [Code("\n".join(commands))] if commands else []
    return Section(cause.name, anchor, tuple(contents))


def _after(checked: "Report") -> Iterator[Content]:
    """Yield what to type next, where there is something."""
    if (command := baseline(checked)) is not None:
        yield Code(command)


def _checks(checked: "Report", rows: dict[str, str]) -> Sheet:
    """Return a row per check: what it asserts, how it ended, the largest error, what was wrong."""
    columns = ("check", "category", "status", "worst ulps", "batches", "asserts", "what was seen")
    return Sheet("", columns, tuple(_row(check, rows[check.name]) for check in checked.checks))


def _row(check: "CheckResult", anchor: str) -> tuple[str, ...]:
    seen = "; ".join(messages_of(check)) or check.skipped or ""
    return (
        Link(check.name, anchor=anchor),
        check.category,
        Cell(check.status, _TONES.get(check.status, Tone.CONTEXT)),
        Cell(format_ulps(check.ulps), is_number=True),
        Cell(str(check.batches), is_number=True),
        check.asserts,
        seen,
    )


def _beside(checked: "Report", other: "Report") -> Sheet:
    """Return which of two losses fails each check that one of them fails."""
    names = dict.fromkeys((*checked.failed, *other.failed))
    words = {True: Cell("failed", Tone.SILENT), False: Cell("passed", Tone.RIGHT)}
    rows = tuple((name, words[name in checked.failed], words[name in other.failed]) for name in names)
    return Sheet("", ("check", checked.target, other.target), rows)

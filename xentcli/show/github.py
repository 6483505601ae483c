"""A report on a loss for GitHub Actions: annotations, a workflow command per line, and a job summary."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli.check.report import SEVERITIES
from xentcli.errors import printable
from xentcli.show import markdown
from xentcli.show.checked import about, example, verdict
from xentcli.show.report import categories, outcome_of
from xentcli.show.sheet import Lines, Sheet, paragraph

if TYPE_CHECKING:
    from xentcli.check.report import CheckResult, Report

_WIDE: Final = 10**6
# What a value, and a property, may not hold as it is (@actions/toolkit, packages/core/src/command.ts).
_IN_VALUE: Final = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_IN_PROPERTY: Final = (*_IN_VALUE, (":", "%3A"), (",", "%2C"))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a loss is written: the file, from the root of the repository, and the line of the function."""

    file: str
    line: int | None


def annotations(report: "Report", source: Source | None) -> str:
    """Render the verdict, then an error for each check that fails the run, the worst first, then warnings.

    GitHub shows ten errors and ten warnings of a step.
    """
    ended = [(check, *outcome_of(report, check)) for check in report.checks]
    failed = [(check, why) for check, word, why in ended if word == "failed"]
    lines = [_command("notice", "xent check", verdict(report), source)]
    for check, why in sorted(failed, key=lambda pair: _rank(pair[0])):
        kind = "error" if _counts(report, check) else "warning"
        title = f"xent check: {check.name}" + (f" is {check.severity}" if check.severity else "")
        lines.append(_command(kind, title, why, source))
    if late := [check.name for check, word, _ in ended if word == "not reached"]:
        lines.append(_command("warning", "xent check: not reached in time", ", ".join(late), source))
    return "".join(f"{line}\n" for line in lines)


def summary(report: "Report") -> str:
    """Render the verdict, the causes and the checks by category in Markdown."""
    sentence, called = paragraph(verdict(report), _WIDE), paragraph(about(report), _WIDE)
    parts = [Lines(tuple(sentence)), Lines(tuple(called))]
    columns = ("cause", "severity", "remedy", "input", "checks")
    causes = tuple(
        tuple(
            map(printable, (each.name, each.severity, each.remedy, example(each.example), _some(each.checks)))
        )
        for each in report.causes
    )
    sheets = [Sheet("Causes, the worst first", columns, causes)] if causes else []
    return f"## xent check\n\n{markdown.render([*parts, *sheets, categories(report)])}\n"


def _counts(report: "Report", check: "CheckResult") -> bool:
    """Whether a failure fails the run: not where the loss beside fails too."""
    return check.status != "failed" or check.name in report.failed_alone


def _rank(check: "CheckResult") -> int:
    return SEVERITIES.index(check.severity) if check.severity in SEVERITIES else len(SEVERITIES)


def _some(names: tuple[str, ...], most: int = 6) -> str:
    """Join names; of many the first ones."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _command(kind: str, title: str, message: str, source: Source | None) -> str:
    """Write one workflow command."""
    properties = ",".join(f"{name}={_escaped(value, _IN_PROPERTY)}" for name, value in _place(source, title))
    return f"::{kind} {properties}::{_escaped(printable(message), _IN_VALUE)}"


def _place(source: Source | None, title: str) -> Iterator[tuple[str, str]]:
    yield "title", printable(title)
    if source is not None:
        yield "file", printable(source.file)
        yield from [] if source.line is None else [("line", str(source.line))]


def _escaped(text: str, how: tuple[tuple[str, str], ...]) -> str:
    for character, code in how:
        text = text.replace(character, code)
    return text

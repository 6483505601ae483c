"""What came of a check as a person reads it: the verdict, then causes, the worst first, with what to do."""

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from xentcli.digits import format_number
from xentcli.errors import count, printable
from xentcli.formats import FORMATS, nearest
from xentcli.frameworks.conventions import CPU
from xentcli.show.known import against_baseline, lines_of, with_growth
from xentcli.show.sheet import Cell, Lines, Part, Tone, labelled, paragraph

if TYPE_CHECKING:
    from xentcli.check.report import Cause, CheckFinding, Report

_FULL: Final = 2  # causes that are shown in full whatever the first one is
_NAMED: Final = 6  # checks that a line names; --verbose shows all
_ALOUD: Final = frozenset({"nan", "overflow", "raised", "ended"})  # kinds of findings that one sees


def verdict(report: "Report") -> str:
    """Say in a sentence what is wrong with a loss, and in how many checks."""
    compared = report.baseline
    sentence = _verdict(report) if compared is None else against_baseline(report, compared)
    return with_growth(sentence, report)


def _verdict(report: "Report") -> str:
    target = printable(report.target)
    if report.beside is not None:
        theirs, mine = printable(report.beside.target), report.failed_alone
        both = len(report.failed) - len(mine)
        alone = len(_without(report.beside.failed, report.failed))
        first = (
            f"{count(len(mine), 'check')} that {theirs} passes" if mine else f"no check that {theirs} passes"
        )
        return f"{target} fails {first}; both fail {both}, {theirs} alone {alone}."
    if not report.causes:
        return _nothing_failed(report, target)
    cause, others = report.causes[0], len(report.causes) - 1
    why = cause.short + (f", and {count(others, 'other cause')}" if others else "")
    failed = f"{len(report.failed)} of {count(len(report.failed) + _number(report, 'passed'), 'check')}"
    if cause.severity == "contract":
        return f"{target} is right, but breaks its contract ({failed}): {why}."
    if cause.severity == "inaccurate":
        return f"{target} is inaccurate ({failed}): {why}."
    if report.ordinary is None:
        return f"{target} is right on ordinary logits, but fails {failed}: {why}."
    return f"{target} is {report.ordinary} on ordinary logits too ({failed}): {why}."


def _nothing_failed(report: "Report", target: str) -> str:
    passed, late = _number(report, "passed"), _number(report, "not reached")
    skipped = _number(report, "skipped")
    which = f"all {passed} checks" if passed > 1 and not skipped + late else count(passed, "check")
    others = ((late, "not reached in time"), (skipped, "skipped"))
    return (
        f"{target} passed {which}" + "".join(f", {number} {word}" for number, word in others if number) + "."
    )


def parts(report: "Report", width: int, *, verbose: bool = False) -> list[Part]:
    """Return the verdict, how the loss was called, each cause, and what was not checked.

    Of a loss that is wrong on ordinary logits the first cause is enough: much else fails because of it.
    """
    lines = paragraph(verdict(report), width, Tone.HEADING)
    lines += paragraph(about(report), width, Tone.CONTEXT, indent=2)
    found: list[Part] = [Lines(tuple(lines))]
    found += lines_of(report, width, verbose=verbose)
    shown = report.causes
    if report.baseline is not None:
        new = {failure.check for failure, _ in report.baseline.new}
        shown = tuple(cause for cause in shown if new & set(cause.checks))
    if report.beside is not None:
        found.append(_beside(report, report.beside, width))
        alone = set(report.failed_alone)
        shown = tuple(cause for cause in shown if alone & set(cause.checks))
    is_enough = report.ordinary == "wrong" and not verbose and len(shown) > _FULL
    found += [_cause(cause, width) for cause in (shown[:1] if is_enough else shown)]
    if is_enough:
        others = ", ".join(f"{cause.name} {len(cause.checks)}" for cause in shown[1:])
        first = f"mend this first: other checks fail too, which may come from it ({others}); -v shows them"
        found.append(Lines(tuple(paragraph(first, width, indent=2))))
    if (command := baseline(report)) is not None:
        line = ("  ", Cell("next    ", Tone.CONTEXT), Cell(command, Tone.COMMAND))
        found.append(Lines((line,)))
    rest = [
        line
        for check in report.checks
        if check.status == "skipped"
        for line in labelled("skipped", printable(f"{check.name}: {check.skipped}"), width)
    ]
    late = [check.name for check in report.checks if check.status == "not reached"]
    if late:
        rest += paragraph(f"not reached in time: {_names(late)}", width, Tone.CONTEXT, indent=2)
    return [*found, Lines(tuple(rest))] if rest else found


def about(report: "Report") -> str:
    """Say how the loss was called, what was allowed, and how many checks it passed and failed."""
    numbers = ((word, _number(report, word)) for word in ("passed", "failed", "skipped", "not reached"))
    counts = ", ".join(f"{number} {word}" for word, number in numbers if number)
    allowed = f"{report.max_ulps} ulps allowed besides rounding"
    device = "" if report.device == CPU else f"on {report.device}"
    called = (f"convention {report.convention}", device, report.versions, allowed, counts, *report.remarks)
    return " · ".join(map(printable, filter(None, called)))


def baseline(report: "Report") -> str | None:
    """Return what to type to see beside it what PyTorch's own loss fails, where that can be compared."""
    if ":" not in report.target:  # a function in a test suite: it cannot be typed
        return None
    is_theirs = report.target.startswith("torch.") or report.beside is not None
    if (
        is_theirs
        or report.baseline is not None
        or not report.causes
        or report.ordinary is not None
        or report.convention != "torch"
    ):
        return None
    return f"xent check {shlex.quote(printable(report.target))} --beside torch.cross_entropy"


def _beside(report: "Report", other: "Report", width: int) -> Lines:
    """Return which checks fail in one, in both, in the other."""
    mine, theirs = report.failed_alone, _without(other.failed, report.failed)
    both = _without(report.failed, mine)
    named = (("mine", mine), ("both", both), ("theirs", theirs))
    lists = (labelled(word, ", ".join(names) or "none", width) for word, names in named)
    return Lines(tuple(line for lines in lists for line in lines))


def severity_cell(cause: "Cause") -> Cell:
    """Return how bad a cause is, in the colour of what one sees of it."""
    tone = Tone.PLAIN
    if cause.severity != "contract":
        kind = cause.example.name
        tone = Tone.ALOUD if kind in _ALOUD else Tone.GRADIENT if kind.startswith("gradient") else Tone.SILENT
    return Cell(cause.severity, tone)


def alike(cause: "Cause") -> str:
    """Return the command that explains the method of xent's that returns the same; nothing without one."""
    return "" if cause.method is None else f"xent explain {cause.case} --method {cause.method}"


def _cause(cause: "Cause", width: int) -> Lines:
    """Return one cause: its name, its words, the smallest input that fails, the checks, what to type."""
    name = Cell(cause.name, Tone.COMMAND if cause.is_finding else Tone.HEADING)
    where = Cell(
        f" · {_names(cause.checks) if len(cause.checks) == 1 else count(len(cause.checks), 'check')}",
        Tone.CONTEXT,
    )
    lines: list[tuple[str, ...]] = [("  ", name, "  ", severity_cell(cause), where)]
    lines += paragraph(cause.cause, width, indent=4)
    lines += labelled("remedy", cause.remedy, width)
    lines += labelled("input", printable(example(cause.example)), width)
    if len(cause.checks) > 1:
        lines += labelled("checks", _names(cause.checks), width)
    if command := alike(cause):
        lines += [("  ", Cell("alike   ", Tone.CONTEXT), Cell(command, Tone.COMMAND))]
    return Lines(tuple(lines))


def example(finding: "CheckFinding") -> str:
    """Write the input, what the loss returned and what is true."""
    place = finding.place
    if (
        place is None
        or place.value is None
        or place.true is None
        or finding.name in {"differs", "mean", "sum"}
    ):
        return finding.message
    dtype = place.probe.dtype
    true = "none" if place.true.is_nan() else format_number(nearest(place.true, FORMATS[dtype]), dtype)
    return f"{finding.example}: {format_number(place.value, dtype)}, truth {true}"


def _names(names: Sequence[str]) -> str:
    """Join names; of many the first ones and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_NAMED])} and {more} more"


def _number(report: "Report", status: str) -> int:
    return sum(check.status == status for check in report.checks)


def _without(names: Iterable[str], others: Iterable[str]) -> list[str]:
    left = set(others)
    return [name for name in names if name not in left]

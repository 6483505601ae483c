"""A report against its baseline and its record: the sentence, what is new and what is known."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from xentcli.check.report import SUITE
from xentcli.digits import format_ulps, json_ulps
from xentcli.errors import count, printable
from xentcli.show.sheet import Cell, Lines, Sheet, Tone, labelled

if TYPE_CHECKING:
    from xentcli.check.known import Comparison, Entry, Failure, Growth, Regression
    from xentcli.check.report import CheckResult, Report

_MOST: Final = 6  # failures that the screen shows, and checks that a line names; --verbose shows all


def against_baseline(report: "Report", compared: "Comparison") -> str:
    """Say in a sentence what of a report the baseline does not list, and what it lists that passes."""
    path = printable(compared.path)
    fresh = _checks(failure for failure, entry in compared.new if entry is None)
    worse = _checks(failure for failure, entry in compared.new if entry is not None)
    gone = [entry.line for entry, kinds in compared.stale if kinds == entry.fails]
    fewer = [entry.line for entry, kinds in compared.stale if kinds != entry.fails]
    said = (
        f"fails {count(len(fresh), 'check')} that {{}} does not list" if fresh else "",
        f"fails {count(len(worse), 'check')} by more than {{}} allows" if worse else "",
        f"passes {count(len(gone), 'check')} that {{}} lists: remove {_lines(gone)}" if gone else "",
        f"fails in fewer ways than {{}} lists in {_lines(fewer)}" if fewer else "",
    )
    clauses = list(filter(None, said)) or ["fails nothing that {} does not list"]
    clauses = [clause.format("it" if number else path) for number, clause in enumerate(clauses)]
    late = f"; {count(len(report.late), 'check')} not reached in time" if report.late else ""
    known = len({entry.line for _, entry in compared.known})
    return f"{printable(report.target)} {', and '.join(clauses)} ({count(known, 'known failure')}{late})."


def with_growth(sentence: str, report: "Report") -> str:
    """Return the sentence with which errors grew beyond those on record, where any did."""
    if report.regression is None or not (grown := report.regression.grown):
        return sentence
    is_right = not report.failed_alone if report.baseline is None else report.baseline.holds
    more = f", and {count(len(grown) - 1, 'other')}" if len(grown) > 1 else ""
    what = f"{count(len(grown), 'error')} grew beyond {printable(report.regression.path)}"
    return f"{sentence.removesuffix('.')}, {'but' if is_right else 'and'} {what}: {_growth(grown[0])}{more}."


def lines_of(report: "Report", width: int, *, verbose: bool) -> list[Lines]:
    """Return a line per new failure, entry to remove and error that grew, then what is known.

    Without ``verbose`` of many new failures the first ones.
    """
    said: list[tuple[str, str]] = []
    if (compared := report.baseline) is not None:
        new = [_new(*pair) for pair in compared.new]
        more = len(new) - _MOST
        said += new if verbose or more <= 1 else [*new[:_MOST], ("", f"and {more} more; -v shows them")]
        said += [(f"line {entry.line}", _stale(entry, kinds)) for entry, kinds in compared.stale]
        said += _rest(compared)
    if report.regression is not None:
        said += _compared(report.regression)
    lines = [line for word, sentence in said for line in labelled(word, printable(sentence), width)]
    return [Lines(tuple(lines))] if lines else []


def _new(failure: "Failure", entry: "Entry | None") -> tuple[str, str]:
    if entry is None:
        return "new", f"{failure.place}: {failure.message}"
    allowed = f"{format_ulps(failure.ulps)} ulps, and line {entry.line} allows {entry.ulps:g}"
    return "worse", f"{failure.place}: {allowed}: {failure.message}"


def _stale(entry: "Entry", kinds: Sequence[str]) -> str:
    place = entry.check if entry.dtype is None else f"{entry.check}[{entry.dtype}]"
    words = " or ".join(f"'{kind}'" for kind in kinds)
    remove = "the entry" if tuple(kinds) == entry.fails else f"{words} from the entry"
    return f"{place} does not fail as {words} any more; remove {remove}"


def _rest(compared: "Comparison") -> Iterator[tuple[str, str]]:
    """Yield what is no reason to fail."""
    if compared.newer:
        names = _names(_checks(compared.newer))
        raised = f"raise suite to {SUITE} in {compared.path} to have them count"
        yield "warning", f"checks newer than suite {compared.suite} fail: {names}; {raised}"
    if compared.known:
        yield "known", _names(_checks(failure for failure, _ in compared.known))
    if compared.unused:
        yield "unused", f"{count(compared.unused, 'entry', 'entries')}: not of what was run here"


def _compared(regression: "Regression") -> Iterator[tuple[str, str]]:
    for growth in regression.grown:
        yield "grew", _growth(growth)
    if regression.unknown:
        yield "unknown", f"{regression.path} has no error of {_names(regression.unknown)}"


def outcome(report: "Report", check: "CheckResult") -> tuple[str, str] | None:
    """Return ``failed`` or ``skipped`` and why, where baseline or record decide that; else None."""
    compared, wrong = report.baseline, []
    if report.regression is not None:
        wrong += [f"grew: {_growth(each)}" for each in report.regression.grown if each.check == check.name]
    if compared is not None:
        wrong += [": ".join(_new(*pair)) for pair in compared.new if pair[0].check == check.name]
        wrong += [
            f"{compared.path}:{entry.line}: {_stale(entry, kinds)}"
            for entry, kinds in compared.stale
            if entry.check == check.name
        ]
    if wrong:
        return "failed", "; ".join(wrong)
    if compared is None or check.status != "failed":
        return None
    said = [f"known: {_reason(entry)}" for failure, entry in compared.known if failure.check == check.name]
    said += [f"newer than suite {compared.suite}"] * any(each.check == check.name for each in compared.newer)
    return "skipped", "; ".join(dict.fromkeys(said))


def sheet(compared: "Comparison") -> Sheet:
    """Return a row per failure, the new ones first, and per entry to remove."""
    rows = [
        *(_row("worse" if entry else "new", failure, entry) for failure, entry in compared.new),
        *(_stale_row(*pair) for pair in compared.stale),
        *(_row("warning", failure, None) for failure in compared.newer),
        *(_row("known", *pair) for pair in compared.known),
    ]
    return Sheet("", ("what", "check", "fails", "worst ulps", "line", "why"), tuple(rows))


def _row(word: str, failure: "Failure", entry: "Entry | None") -> tuple[str, ...]:
    return (
        Cell(word, Tone.CONTEXT if word in {"known", "warning"} else Tone.SILENT),
        failure.place,
        failure.kind,
        Cell(format_ulps(failure.ulps), is_number=True),
        Cell("" if entry is None else str(entry.line), is_number=True),
        failure.message if entry is None or word == "worse" else _reason(entry),
    )


def _stale_row(entry: "Entry", kinds: Sequence[str]) -> tuple[str, ...]:
    word, number = Cell("to remove", Tone.SILENT), Cell(str(entry.line), is_number=True)
    return word, entry.check, ", ".join(kinds), Cell("-", is_number=True), number, _stale(entry, kinds)


def baseline_fields(compared: "Comparison") -> dict[str, Any]:
    """Return what the JSON document says of a baseline."""
    return {
        "path": compared.path,
        "suite": compared.suite,
        "new": [_fields(failure) | {"line": entry and entry.line} for failure, entry in compared.new],
        "remove": [
            {"line": entry.line, "check": entry.check, "dtype": entry.dtype, "fails": list(kinds)}
            for entry, kinds in compared.stale
        ],
        "warnings": [_fields(failure) for failure in compared.newer],
        "known": [
            _fields(failure) | {"line": entry.line, "reason": entry.reason, "url": entry.url}
            for failure, entry in compared.known
        ],
        "unused": compared.unused,
    }


def regression_fields(regression: "Regression") -> dict[str, Any]:
    """Return what the JSON document says of a record."""
    grown = [
        {
            "check": each.check,
            "dtype": each.dtype,
            "before": json_ulps(each.before),
            "after": json_ulps(each.after),
        }
        for each in regression.grown
    ]
    return {"path": regression.path, "grown": grown, "unknown": list(regression.unknown)}


def _fields(failure: "Failure") -> dict[str, Any]:
    ulps = None if failure.ulps is None or not failure.ulps.is_finite() else failure.ulps
    return {
        "check": failure.check,
        "dtype": failure.dtype,
        "fails": failure.kind,
        "severity": failure.severity,
        "ulps": json_ulps(ulps),
        "message": failure.message,
    }


def _reason(entry: "Entry") -> str:
    return entry.reason if entry.url is None else f"{entry.reason} ({entry.url})"


def _growth(growth: "Growth") -> str:
    return f"{growth.place} from {format_ulps(growth.before)} to {format_ulps(growth.after)} ulps"


def _checks(failures: "Iterable[Failure]") -> list[str]:
    """Return the names of the checks of failures, each once."""
    return list(dict.fromkeys(failure.check for failure in failures))


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_MOST])} and {more} more"


def _lines(numbers: Sequence[int]) -> str:
    word = "line" if len(numbers) == 1 else "lines"
    shown = [str(number) for number in numbers[:_MOST]] + ["…"] * (len(numbers) > _MOST)
    return f"{word} {', '.join(shown)}"

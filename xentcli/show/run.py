"""Results → what ``xent run`` shows: a sentence per case, then its numbers, then why."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from xentcli import digits
from xentcli.digits import format_number, format_ulps
from xentcli.errors import printable
from xentcli.formats import FORMATS, nearest
from xentcli.judge import Result
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.load.sources import home
from xentcli.model import Comparison, Judgement, Outcome
from xentcli.show import render, render_results
from xentcli.show.cells import case_heading, exact_cell, gradient_cell, label, numerics, sampled, verdict_cell
from xentcli.show.screen import Screen
from xentcli.show.sentences import closing, joined, judged, what_happened, wrong_examples, wrong_ones
from xentcli.show.sheet import (
    Cell,
    Lines,
    Part,
    Sheet,
    Tone,
    labelled,
    number_cell,
    numbers_cell,
    paragraph,
    word_cell,
)
from xentcli.words import SHEET_FORMATS

_FEW: Final = 6  # numbers that a cell shows in full
_MISSES: Final = 3  # numbers that were not reproduced, shown one by one
_DETAILED: Final = 4  # cases that are shown in full; more get a line each
_WHAT: Final = ("loss", "expected", "reproduced", "verdict", "ulps", "gradient")


def render_run(results: Sequence[Result], form: str, screen: Screen, *, verbose: bool) -> str:
    """Render what ``xent run`` shows: for people, or every digit for programs."""
    if form not in {*SHEET_FORMATS, "html"}:
        return render_results(results, form)
    if form == "csv":
        return render([_long_table(results)], form, screen)
    verbose = verbose or form not in {"table", "html"}
    width = screen.width if form == "table" else None
    if verbose or len(results) <= _DETAILED:
        parts = [part for result in results for part in _case(result, width, verbose=verbose)]
    else:
        parts = _list(results, screen.width)
    return render(parts, form, screen)


def _list(results: Sequence[Result], width: int) -> list[Part]:
    """Return a line per case, then those in full of which a number was not reproduced."""
    answer = Lines(tuple(paragraph(f"{closing(results)}.", width, Tone.HEADING)))
    differing = [result for result in results if result.reproduced < result.numbers]
    in_full = [part for result in differing for part in _case(result, width, verbose=False)]
    return [answer, listed(results), *in_full]


def listed(results: Sequence[Result]) -> Sheet:
    """Return a row per case: how many of its numbers are reproduced, and which methods are wrong."""
    rows = tuple((Cell(r.case.name, Tone.COMMAND), _count(r), wrong_ones(r)) for r in results)
    return Sheet("", ("case", "reproduced", "wrong"), rows)


def _case(result: Result, width: int | None, *, verbose: bool) -> list[Part]:
    """Return a case in full; without a width no sentence is broken."""
    wide = width or 10**6
    parts: list[Part] = [Lines((*_sentence(result, wide), ("",), *_heading(result, wide)))]
    most = None if verbose else _FEW
    if verbose:
        parts += _tables(result, width, most)
    else:
        parts.append(sheet_of(result, _WHAT, most).narrowed(wide, "ulps"))
    notes = _notes(result, wide, verbose=verbose)
    parts += [Lines(tuple(notes))] if notes else []
    why = _why(result, wide)
    return [*parts, Lines(tuple(why))] if why else parts


def _sentence(result: Result, width: int) -> list[tuple[str, ...]]:
    said = sentence(result)
    return paragraph(said, width, said.tone)


def sentence(result: Result) -> Cell:
    """Say what the methods give, and before it that a number was not reproduced, where that is so."""
    said = f"{what_happened(result)}."
    reproduced = f"{result.reproduced} of {result.numbers} numbers reproduced"
    if result.reproduced < result.numbers and not result.case.overridden:
        return Cell(f"Only {reproduced}: {said}", Tone.SILENT)
    are_all = 0 < result.numbers == result.reproduced
    return Cell(f"{said} {reproduced}." if are_all else said, Tone.HEADING)


def _heading(result: Result, width: int) -> list[tuple[str, ...]]:
    case = result.case
    lines = case_heading(case, width)
    lines += paragraph(about(result), width, Tone.CONTEXT, indent=2)
    lines += [("  ", Cell(printable(source.url), Tone.CONTEXT)) for source in case.about.sources[:1]]
    return lines


def about(result: Result) -> str:
    """Say how the numbers of a case are carried out, how many there are and how they are reduced."""
    case = result.case
    size = "×".join(map(str, case.batch.sizes))
    reduced = "losses not reduced" if case.reduction == "none" else f"{case.reduction} of the losses"
    return " · ".join(filter(None, (*numerics(case), size, reduced, sampled(result))))


def _tables(result: Result, width: int | None, most: int | None) -> list[Part]:
    """Return everything in one table, or in two where that is wider than the screen."""
    whole = sheet_of(result, ("loss", "losses", *_WHAT[1:], "residual", "findings"), most)
    if width is None or whole.width() <= width:
        return [whole]
    return [
        sheet_of(result, ("loss", "losses", "expected", "reproduced"), most),
        sheet_of(result, ("verdict", "ulps", "gradient", "residual", "findings"), most),
    ]


def sheet_of(result: Result, columns: tuple[str, ...], most: int | None) -> Sheet:
    """Return the truth, a row per method, then the other quantities where losses are shown, by columns."""
    case, dtype = result.case, result.case.numerics.loss_dtype
    comparisons = {comparison.expectation.quantity: comparison for comparison in result.comparisons}
    losses = numbers_cell([nearest(value, FORMATS[dtype]) for value in result.exact.losses], dtype, most)
    exact: dict[str, str] = {"": Cell("exact", Tone.HEADING), "loss": exact_cell(result), "losses": losses}
    rows = [exact] if "loss" in columns else []
    for outcome, judgement in judged(result):
        rows.append(_method_row(outcome, judgement, comparisons.pop(outcome.method, None), most))
    if "losses" in columns:
        rows += [_quantity_row(comparison, most) for comparison in comparisons.values()]
    if case.reduction == "none":
        rows = [{**row, "loss": row["losses"]} for row in rows]
        columns = tuple(name for name in columns if name != "losses")
    columns = tuple(name for name in columns if any(row.get(name) for row in rows))
    names = ("losses" if name == "loss" and case.reduction == "none" else name for name in columns)
    return Sheet("", ("", *names), tuple(tuple(row.get(name, "") for name in ("", *columns)) for row in rows))


def _method_row(
    outcome: Outcome, judgement: Judgement, comparison: Comparison | None, most: int | None
) -> dict[str, str]:
    verdict = verdict_cell(judgement, in_full=most is None)
    loss = number_cell(outcome.loss, outcome.dtype)
    residual = None if judgement.gradient is None else judgement.gradient.residual
    expected, reproduced = _expectation(comparison, most)
    return {
        "": label(outcome),
        "loss": Cell(loss, Tone.PLAIN if verdict.tone is Tone.RIGHT else verdict.tone, is_number=True),
        "losses": numbers_cell(outcome.losses, outcome.dtype, most),
        "expected": expected,
        "reproduced": reproduced,
        "verdict": verdict,
        "ulps": Cell(format_ulps(judgement.ulps), Tone.CONTEXT, is_number=True),
        "gradient": gradient_cell(judgement),
        "residual": "-" if residual is None else word_cell(f"{residual:.2g}"),
        "findings": Cell(" ".join(judgement.all_findings), Tone.COMMAND),
    }


def _quantity_row(comparison: Comparison, most: int | None) -> dict[str, str]:
    values = numbers_cell(comparison.values, comparison.dtype, most)
    expected, reproduced = _expectation(comparison, most)
    name = comparison.expectation.quantity
    return {"": name, "losses": values, "expected": expected, "reproduced": reproduced}


def _expectation(comparison: Comparison | None, most: int | None) -> tuple[str, str]:
    """Return what was expected and whether it was reproduced."""
    if comparison is None:
        return "", ""
    tone = Tone.RIGHT if comparison.reproduced else Tone.SILENT
    texts, hits = comparison.expectation.texts, comparison.hits
    if len(hits) == 1:
        expected = Cell(texts[0], word_cell(texts[0]).tone, is_number=True)
        return expected, Cell("yes" if comparison.reproduced else "NO", tone)
    shown = " ".join(texts) if most is None else f"{len(texts)} numbers"
    return shown, Cell(f"{sum(hits)} of {len(hits)}", tone)


def _notes(result: Result, width: int, *, verbose: bool) -> list[tuple[str, ...]]:
    """Return what the table does not have: other quantities, numbers that differ, methods without numbers."""
    ran = {outcome.method for outcome in result.outcomes}
    lines: list[tuple[str, ...]] = []
    if not verbose:
        in_part = {wrong_examples(result, j): None for _, j in judged(result) if j.is_right_in_part}
        lines += [("  ", Cell(f"* {said}", Tone.SILENT)) for said in in_part]
        others = [c for c in result.comparisons if c.expectation.quantity not in ran and c.reproduced]
        also = f"reproduced too: {', '.join(map(_counted, others))}"
        lines += paragraph(also, width, Tone.CONTEXT, indent=2) if others else []
    for note in missing(result):
        lines += paragraph(note, width, note.tone, indent=2)
    return lines


def missing(result: Result) -> list[Cell]:
    """Say which numbers were not reproduced, and which methods gave none."""
    missed = [comparison for comparison in result.comparisons if not comparison.reproduced]
    notes = [Cell(f"not reproduced: {_missed(comparison)}", Tone.SILENT) for comparison in missed]
    reasons: dict[str, list[str]] = {}
    for outcome in result.outcomes:
        if outcome.failure is not None:
            reasons.setdefault(outcome.failure, []).append(label(outcome))
    return notes + [
        Cell(f"no loss of {joined(names)}: {printable(reason)}", Tone.CONTEXT)
        for reason, names in reasons.items()
    ]


def _counted(comparison: Comparison) -> str:
    name, hits = comparison.expectation.quantity, comparison.hits
    return (
        f"{name} {comparison.expectation.texts[0]}"
        if len(hits) == 1
        else f"{name} {sum(hits)} of {len(hits)}"
    )


def _missed(comparison: Comparison) -> str:
    """Name the first numbers that were not reproduced, by their indices from 0."""
    places, dtype = np.ndindex(comparison.expectation.shape), comparison.dtype
    triples = zip(places, comparison.expectation.texts, comparison.values, strict=True)
    missed = [
        f"{f'{list(index)} ' if index else ''}expected {expected}, got {format_number(value, dtype)}"
        for (index, expected, value), hit in zip(triples, comparison.hits, strict=True)
        if not hit
    ]
    more = len(missed) - _MISSES
    shown = "; ".join(missed[:_MISSES]) + (f"; {more} more" if more > 0 else "")
    return f"{comparison.expectation.quantity} {shown}"


def _why(result: Result, width: int) -> list[tuple[str, ...]]:
    """Return each finding with its methods and its cause, its remedy once, and what to type next."""
    found: dict[str, list[tuple[Finding, str]]] = {}
    for finding, names in causes(result):
        found.setdefault(finding.remedy, []).append((finding, names))
    lines: list[tuple[str, ...]] = []
    for remedy, findings in found.items():
        for finding, wrong in findings:
            lines.append(("  ", Cell(finding.name, Tone.COMMAND), Cell(f"  {wrong}", Tone.HEADING)))
            lines += paragraph(finding.cause, width, indent=4)
        lines += labelled("remedy", remedy, width)
    if lines and (case := typed(result)) is not None:
        lines += [("",), ("  ", Cell("next    ", Tone.CONTEXT), Cell(f"xent explain {case}", Tone.COMMAND))]
    return lines


def causes(result: Result) -> list[tuple[Finding, str]]:
    """Return the findings that say why a loss is wrong, each with the methods whose loss it is."""
    found = []
    for finding in FINDINGS:
        names = [label(outcome) for outcome, judgement in judged(result) if _explains(finding, judgement)]
        if names:
            found.append((finding, ", ".join(names)))
    return found


def _explains(finding: Finding, judgement: Judgement) -> bool:
    """Whether a finding says why a loss is wrong, and more than its verdict: the gradient of a nan is nan."""
    is_no_news = finding.name == "nan-gradient" and judgement.verdict == "nan"
    is_wrong = not judgement.is_right or judgement.is_right_in_part
    return is_wrong and finding.name in judgement.all_findings and not is_no_news


def typed(result: Result) -> str | None:
    """Return what names the case on the command line, None where that was no file."""
    path = Path(result.case.path)
    if path.is_relative_to(home()):
        return result.case.name
    return shlex.quote(printable(result.case.path)) if path.is_file() else None


def _count(result: Result) -> str:
    if not result.numbers:
        return Cell("nothing expected", Tone.CONTEXT)
    tone = Tone.RIGHT if result.reproduced == result.numbers else Tone.SILENT
    return Cell(f"{result.reproduced} of {result.numbers}", tone)


def _long_table(results: Sequence[Result]) -> Sheet:
    """Return one sheet of everything, nothing abbreviated: a row per case and method or quantity."""
    rows = []
    for result in results:
        case = result.case
        about = (case.name, case.dtype, case.numerics.arithmetic, case.reduction)
        comparisons = {comparison.expectation.quantity: comparison for comparison in result.comparisons}
        for outcome, judgement in zip(result.outcomes, result.judgements, strict=True):
            expected = _expected(comparisons.pop(outcome.method, None))
            loss = format_number(outcome.loss, outcome.dtype)
            losses = numbers_cell(outcome.losses, outcome.dtype)
            rows.append((*about, label(outcome), loss, losses, *expected, *_truth(result, judgement)))
        for quantity, comparison in comparisons.items():
            values = numbers_cell(comparison.values, comparison.dtype)
            rows.append((*about, quantity, "", values, *_expected(comparison), *[""] * 5))
    columns = ("case", "dtype", "arithmetic", "reduction", "quantity", "loss", "losses", "expected")
    truth = ("exact", "ulps", "verdict", "gradient", "findings")
    return Sheet("", (*columns, "numbers", "reproduced", *truth), tuple(rows))


def _expected(comparison: Comparison | None) -> tuple[str, str, str]:
    if comparison is None:
        return "", "", ""
    hits = comparison.hits
    return " ".join(comparison.expectation.texts), str(len(hits)), str(sum(hits))


def _truth(result: Result, judgement: Judgement | None) -> tuple[str, ...]:
    if judgement is None:
        return ("",) * 5
    gradient = "" if judgement.gradient is None else judgement.gradient.state
    error, findings = digits.json_ulps(judgement.ulps), " ".join(judgement.all_findings)
    ulps = "" if error is None else str(error)
    return exact_cell(result), ulps, verdict_cell(judgement), gradient, findings

"""Results → what ``xent compare`` shows: the numbers of few cases, of many a mark per case and method."""

from collections.abc import Sequence
from typing import Final

from xentcli.digits import format_ulps
from xentcli.judge import Result
from xentcli.model import Judgement, Outcome
from xentcli.show import matrix, render, render_results
from xentcli.show.cells import MARKS, exact_cell, label, losses_text, verdict_cell
from xentcli.show.screen import Screen
from xentcli.show.sentences import WITH_KNOBS, by_kind, comparison, judged
from xentcli.show.sheet import GAP, Cell, Lines, Part, Sheet, Tone, paragraph
from xentcli.words import SHEET_FORMATS

_RIGHT: Final = "· right: within 4 ulps of the exact loss, and no gradient wrong"


def render_compare(results: Sequence[Result], form: str, screen: Screen, *, verbose: bool) -> str:
    """Render a comparison: a table for people, or every digit for programs."""
    if form not in SHEET_FORMATS:
        return render_results(results, form)
    if form != "table":
        return render([_digits_sheet(results)], form, screen)
    parts: list[Part] = [Lines(tuple(paragraph(comparison(results), screen.width, Tone.HEADING)))]
    chunks = _side_by_side(results, screen.width)
    if verbose or len(chunks) == 1:
        for chunk in chunks:
            parts += _numbers(chunk)
        return render([*parts, *_findings(results), Lines(((Cell(_RIGHT, Tone.CONTEXT),),))], form, screen)
    return render([*parts, *_marks(results, screen.width)], form, screen)


def _marks(results: Sequence[Result], width: int) -> list[Part]:
    """Return the cases of the top folder with numbers where there is room, then the others in marks."""
    folders = matrix.by_folder(results)
    parts: list[Part] = []
    if len(_side_by_side(folders.get("", ()), width)) == 1:
        parts += _numbers(folders.pop(""))
    tables: list[Lines] = []
    for name, kind in by_kind(results).items():
        rest = {folder: [r for r in some if r in kind] for folder, some in folders.items()}
        shown = {folder: some for folder, some in rest.items() if some}
        tables += matrix.draw(shown, kind, width, of_knobs=name == WITH_KNOBS)
    first, *others = tables
    parts += [Lines((*matrix.legend(width).lines, *first.lines)), *others]
    ran = [outcome for result in results for outcome in result.outcomes if outcome.version is not None]
    versions = dict.fromkeys(f"{outcome.method.partition('.')[0]} {outcome.version}" for outcome in ran)
    if versions:
        parts.append(Lines(tuple(paragraph(f"versions: {', '.join(versions)}", width, Tone.CONTEXT))))
    return parts


def _side_by_side(results: Sequence[Result], width: int) -> list[list[Result]]:
    """Divide cases into tables that fit the width; one case at least is in each."""
    names = [label(outcome) for result in results for outcome in result.outcomes]
    left = GAP + max(map(len, names), default=0)
    chunks: list[list[Result]] = []
    room = 0
    for result in results:
        needed = GAP + max(map(len, _column(result, _labels([result]))))
        if not chunks or needed > room:
            chunks.append([])
            room = width - left
        chunks[-1].append(result)
        room -= needed
    return chunks


def _labels(results: Sequence[Result]) -> list[str]:
    """Return the methods that support one of the cases, group by group."""
    names = {o.method: label(o) for result in results for o in result.outcomes}
    return [names[column.method] for column in matrix.columns_of(results)]


def _numbers(results: Sequence[Result]) -> list[Part]:
    """Return methods down, in groups, and cases across: the loss and a word where it is wrong."""
    columns = matrix.columns_of(results)
    labels = _labels(results)
    cells = [_column(result, labels) for result in results]
    names = ("", *(column[0] for column in cells))
    parts: list[Part] = [Sheet("", names, (("exact", *(column[1] for column in cells)),))]
    for group in matrix.GROUPS:
        rows = tuple(
            (labels[number], *(column[number + 2] for column in cells))
            for number, column in enumerate(columns)
            if column.group == group
        )
        if rows:
            parts.append(Sheet(group, names, rows))
    return parts


def _column(result: Result, labels: Sequence[str]) -> list[str]:
    """Return a case's name, its true loss and each method's: a number on the right, a word on the left."""
    pairs = zip(result.outcomes, result.judgements, strict=True)
    found = {label(outcome): _loss_and_word(outcome, judgement) for outcome, judgement in pairs}
    entries = [found.get(name, ("", "", Tone.PLAIN)) for name in labels]
    numbers = [result.case.name, exact_cell(result), *(number for number, _, _ in entries)]
    words = ["", "", *(word for _, word, _ in entries)]
    tones = [Tone.COMMAND, Tone.HEADING, *(tone for _, _, tone in entries)]
    wide, width = max(map(len, numbers)), max(map(len, words))
    return [
        Cell(f"{number:>{wide}} {word:<{width}}", tone)
        for number, word, tone in zip(numbers, words, tones, strict=True)
    ]


def _loss_and_word(outcome: Outcome, judgement: Judgement | None) -> tuple[str, str, Tone]:
    if judgement is None:
        return (outcome.raised or "").partition(":")[0], "", Tone.ALOUD
    number, word = losses_text(outcome), judgement.verdict
    if judgement.is_right:
        return number, "·", Tone.RIGHT
    if word == "accurate" and judgement.gradient is not None:
        return number, f"gradient {judgement.gradient.state}", Tone.GRADIENT
    return number, "" if word == number else word, MARKS[word][1]


def _findings(results: Sequence[Result]) -> list[Part]:
    """Return which findings each wrong loss has."""
    rows = [
        (result.case.name, outcome.method, Cell(" ".join(judgement.all_findings), Tone.COMMAND))
        for result in results
        for outcome, judgement in judged(result)
        if judgement.all_findings
    ]
    return [Sheet("", ("case", "method", "findings"), tuple(rows))] if rows else []


def _digits_sheet(results: Sequence[Result]) -> Sheet:
    """Return cases down, the truth and methods across: the loss, its verdict and its error, every digit."""
    columns = tuple(dict.fromkeys(label(outcome) for result in results for outcome in result.outcomes))
    rows = []
    for result in results:
        pairs = zip(result.outcomes, result.judgements, strict=True)
        cells = {label(outcome): _digits(outcome, judgement) for outcome, judgement in pairs}
        rows.append((result.case.name, exact_cell(result), *(cells.get(name, "-") for name in columns)))
    return Sheet("", ("case", "exact", *columns), tuple(rows))


def _digits(outcome: Outcome, judgement: Judgement | None) -> str:
    """Return the loss and its verdict, with the error where that is a matter of degree."""
    if judgement is None:
        return (outcome.raised or "-").partition(":")[0]
    loss, word, verdict = losses_text(outcome), judgement.verdict, verdict_cell(judgement)
    if verdict not in {word, loss}:
        return f"{loss} {verdict}"
    if word == loss:
        return loss
    return f"{loss} {word} {format_ulps(judgement.ulps)}" if word in {"accurate", "off"} else f"{loss} {word}"

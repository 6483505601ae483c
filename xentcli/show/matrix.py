"""Many cases: one row per case, one column per method, a verdict of three letters in each cell."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xentcli.errors import printable
from xentcli.formats import FORMATS, nearest
from xentcli.load.sources import home
from xentcli.methods.table import METHODS
from xentcli.show.cells import mark
from xentcli.show.sentences import counts
from xentcli.show.sheet import Cell, Lines, Sheet, Tone, paragraph

if TYPE_CHECKING:
    from xentcli.judge import Result

_CELL: Final = 4  # columns of the screen per method: three letters and a space
LEGEND: Final = (
    ("·", " right  ", Tone.RIGHT),
    ("nan inf", " not finite  ", Tone.ALOUD),
    ("cap off 0 neg", " finite, but wrong  ", Tone.SILENT),
    ("∇", " gradient wrong", Tone.GRADIENT),
)
_THOUSAND, _LONG = 1e3, 1e5  # what three digits would write as 1e+03, and five digits still hold
_OF_KNOBS: Final = frozenset({"log1p", *(method.name for method in METHODS if method.needs)})
NO_TRUTH: Final = "no true loss"
GROUPS: Final = ("from probabilities", "from the logits", "libraries")


@dataclass(frozen=True, slots=True)
class Column:
    """A method across, and the group it stands in."""

    method: str
    group: str


def columns_of(results: "Sequence[Result]") -> list[Column]:
    """Return the methods that support one of the cases, group by group."""
    ran = [o.method for result in results for o in result.outcomes if not o.inapplicable]
    groups = {m.name: GROUPS[0] if m.from_probabilities else GROUPS[1] for m in METHODS}
    columns = [Column(name, groups.get(name, GROUPS[2])) for name in dict.fromkeys(ran)]
    return sorted(columns, key=lambda column: GROUPS.index(column.group))


def by_folder(results: "Sequence[Result]") -> "dict[str, list[Result]]":
    """Sort cases by the folder they lie in, as seen from the topmost: the bundled one, or the others'."""
    paths = [Path(result.case.path).absolute() for result in results]
    others = [path.parent for path in paths if not path.is_relative_to(home())]
    top = os.path.commonpath(others) if others else home()
    folders: dict[str, list[Result]] = {}
    for result, path in zip(results, paths, strict=True):
        below = path.parent.relative_to(home() if path.is_relative_to(home()) else top)
        folders.setdefault(printable(below.as_posix().removeprefix(".")), []).append(result)
    return folders


def sheets(
    folders: "Mapping[str, Sequence[Result]]", counted: "Sequence[Result]", columns: Sequence[Column]
) -> list[Sheet]:
    """Return a sheet per folder: case, true loss to three digits, a mark per method.

    A last row counts per method how many of the cases ``counted`` it gets right.
    """
    names = ("case", "exact", *(column.method for column in columns))
    parts = [
        Sheet(folder, names, tuple(_row(result, columns) for result in some))
        for folder, some in folders.items()
    ]
    right, judged_in = counts(counted)
    numbers = [Cell(str(right[c.method]) if judged_in[c.method] else "") for c in columns]
    among = sorted({judged_in[c.method] for c in columns if judged_in[c.method]})
    of = " to ".join(str(number) for number in dict.fromkeys((among[0], among[-1]))) if among else "0"
    return [*parts, Sheet("", names, ((f"right, of {of}", "", *numbers),))]


def _row(result: "Result", columns: Sequence[Column]) -> tuple[str, ...]:
    pairs = zip(result.outcomes, result.judgements, strict=True)
    marks = {outcome.method: mark(judgement, outcome) for outcome, judgement in pairs}
    exact, name = result.exact.loss, Cell(result.case.name, Tone.COMMAND)
    if exact is None:
        return name, "", *(marks.get(column.method, "") for column in columns)
    if exact.is_nan():
        return name, "nan", Cell(NO_TRUTH, Tone.CONTEXT), *[""] * (len(columns) - 1)
    short = three_digits(nearest(exact, FORMATS[result.case.numerics.loss_dtype]))
    return name, short, *(marks.get(column.method, "") for column in columns)


def three_digits(value: float) -> str:
    """Write a loss to three digits, or as many as stand before its point."""
    return f"{value:.0f}" if _THOUSAND <= value < _LONG else f"{value:.3g}"


def legend(width: int) -> Lines:
    """Say what the marks mean, on one line where it fits."""
    pieces = [(Cell(marks, tone), Cell(words, Tone.CONTEXT)) for marks, words, tone in LEGEND]
    whole = tuple(piece for pair in pieces for piece in pair)
    fits = sum(map(len, whole)) <= width
    return Lines((whole,) if fits else tuple(paragraph("".join(whole), width, Tone.CONTEXT)))


def draw(
    folders: "Mapping[str, Sequence[Result]]",
    counted: "Sequence[Result]",
    width: int,
    *,
    of_knobs: bool = False,
) -> list[Lines]:
    """Draw the table; where it is too wide the methods go on in another.

    ``of_knobs``: only of the methods that have a knob wrong, and of the right one that they are made of.
    """
    columns = [c for c in columns_of(counted) if not of_knobs or c.method in _OF_KNOBS] if folders else []
    parts = sheets(folders, counted, columns)
    left = max(len(f" {row[0]} {row[1]}") for sheet in parts for row in sheet.rows) + 1
    tables = _tables(columns, width - left)
    starts = [sum(map(len, tables[:number])) for number in range(len(tables))]
    return [
        Lines(_table(parts, table, start, left, width)) for table, start in zip(tables, starts, strict=True)
    ]


def _tables(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Divide methods into tables: groups together where they fit, one that is too wide in equal parts."""
    tables: list[list[Column]] = []
    for group in GROUPS:
        members = [column for column in columns if column.group == group]
        if tables and members and _places([*tables[-1], *members], 0)[-1][1] <= width + 1:
            tables[-1] += members  # the space after the last cell may be left out
        elif members:
            number = math.ceil(len(members) / max(1, (width + 1) // _CELL))
            size = math.ceil(len(members) / number)
            tables += [members[start : start + size] for start in range(0, len(members), size)]
    return tables


def _places(columns: Sequence[Column], left: int) -> list[tuple[int, int]]:
    """Return where each column starts and ends; a group stands apart by one more."""
    places, at = [], left
    for number, column in enumerate(columns):
        at += number > 0 and column.group != columns[number - 1].group
        places.append((at, at + _CELL))
        at += _CELL
    return places


def _table(
    parts: Sequence[Sheet], columns: Sequence[Column], start: int, left: int, width: int
) -> tuple[tuple[str, ...], ...]:
    """Return the lines of a table of some columns, the first of which is number ``start`` of all."""
    places = _places(columns, left)
    lines: list[tuple[str, ...]] = [
        (Cell(line, Tone.CONTEXT),) for line in _staircase(columns, places, width)
    ]
    for sheet in parts:
        lines += [(Cell(sheet.title, Tone.HEADING),)] if sheet.title else []
        for row in sheet.rows:
            name, exact, cells = row[0], row[1], row[2 + start :][: len(columns)]
            head = [" ", name, exact.rjust(left - 2 - len(name)), " "]
            if NO_TRUTH in row:
                lines.append((*head, " " * (_CELL - 1), row[2]))
                continue
            at = left
            for (begin, end), cell in zip(places, cells, strict=True):
                tone = cell.tone if isinstance(cell, Cell) else Tone.PLAIN
                head += [" " * (begin - at), Cell(cell.center(_CELL - 1), tone), " "]
                at = end
            lines.append(tuple(head[:-1]))
    return tuple(lines)


def _staircase(columns: Sequence[Column], places: Sequence[tuple[int, int]], width: int) -> list[str]:
    """Write the names above narrow columns: those of the last group to the right, the others to the left."""
    last = [number for number, column in enumerate(columns) if column.group == columns[-1].group]
    to_right = last if all(places[n][0] + len(columns[n].method) <= width for n in last) else []
    to_left = [number for number in range(len(columns)) if number not in to_right]
    height = max(len(to_left), len(to_right))
    lines = [[" "] * width for _ in range(height + 1)]
    for steps, numbers in ((to_left, to_left), (to_right[::-1], to_right)):
        for depth, number in enumerate(steps):
            line, (start, end), name = height - depth, places[number], columns[number].method
            begin = start if numbers is to_right else max(0, end - 1 - len(name))
            lines[line][begin : begin + len(name)] = name
            for below in range(line + 1, height + 1):
                lines[below][start + 1] = "│"
    _write_groups(lines[0], columns, places)
    return ["".join(line).rstrip() for line in lines]


def _write_groups(line: list[str], columns: Sequence[Column], places: Sequence[tuple[int, int]]) -> None:
    """Write the name of each group over its columns, where there is room."""
    free = 0
    for group in GROUPS:
        over = [place for column, place in zip(columns, places, strict=True) if column.group == group]
        if not over:
            continue
        is_first = free == 0
        begin = over[-1][1] - 1 - len(group) if is_first else over[0][0]
        if begin >= free and begin + len(group) <= len(line):
            line[begin : begin + len(group)] = group
            free = begin + len(group) + 1

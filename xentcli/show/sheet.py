"""Sheets and lines: what a screen is made of, the same for every format that has rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import groupby
from typing import Final, Self

from xentcli.digits import format_number
from xentcli.show.prose import broken

GAP: Final = 2  # columns of the screen between two columns of text, and before the first


class Tone(Enum):
    """What a text means; a terminal shows it as a colour, and the text says it too."""

    PLAIN = auto()
    HEADING = auto()
    RIGHT = auto()
    ALOUD = auto()  # wrong, and one sees it: nan, infinite
    SILENT = auto()  # wrong, and one does not: off, capped, collapsed, dead, not reproduced
    GRADIENT = auto()  # the loss is right and its gradient is not
    COMMAND = auto()  # can be typed after xent
    CONTEXT = auto()


class Cell(str):
    """A text and what it means; ``is_number`` ones are aligned on the right."""

    __slots__ = ("is_number", "tone")
    tone: Tone
    is_number: bool

    def __new__(cls, words: str, tone: Tone = Tone.PLAIN, *, is_number: bool = False) -> Self:
        """Make a cell of a text."""
        cell = super().__new__(cls, words)
        cell.tone, cell.is_number = tone, is_number
        return cell


@dataclass(frozen=True, slots=True)
class Sheet:
    """A heading over columns over rows of cells; a plain text is a cell that means nothing more."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def width(self) -> int:
        """Return the columns of the screen that the sheet takes with every cell whole."""
        columns = zip(self.columns, *self.rows, strict=True)
        return sum(GAP + max(map(len, cells)) for cells in columns)

    def narrowed(self, width: int, *dispensable: str) -> "Sheet":
        """Return the sheet without the columns that are dispensable, if it is too wide with them."""
        if self.width() <= width:
            return self
        kept = [at for at, name in enumerate(self.columns) if name not in dispensable]
        rows = (tuple(row[at] for at in kept) for row in self.rows)
        return Sheet(self.title, tuple(self.columns[at] for at in kept), tuple(rows))

    def are_numbers(self) -> list[bool]:
        """Say of each column whether it has numbers, one in a cell."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return [any(map(_is_number, cells)) and all(map(_is_short, cells)) for cells in columns]


def _is_number(cell: str) -> bool:
    return isinstance(cell, Cell) and cell.is_number


def _is_short(cell: str) -> bool:
    return _is_number(cell) or " " not in cell


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of cells one after the other, drawn as they are."""

    lines: tuple[tuple[str, ...], ...]


Part = Sheet | Lines


def grids(parts: Sequence[Part]) -> list[Lines | list[Sheet]]:
    """Put sheets with the same columns that follow each other together: they share heading and widths."""
    together = groupby(parts, key=lambda part: part.columns if isinstance(part, Sheet) else id(part))
    found: list[Lines | list[Sheet]] = []
    for _, some in together:
        members = list(some)
        sheets = [part for part in members if isinstance(part, Sheet)]
        found.append(sheets or next(part for part in members if isinstance(part, Lines)))
    return found


def paragraph(words: str, width: int, tone: Tone = Tone.PLAIN, *, indent: int = 0) -> list[tuple[str, ...]]:
    """Break a sentence into lines of a width, each indented."""
    lines = broken(words, width - indent)
    return [(" " * indent, Cell(line, tone)) for line in lines]


def labelled(name: str, sentence: str, width: int) -> list[tuple[str, ...]]:
    """Return a sentence beside a word that says what it is."""
    first, *rest = paragraph(sentence, width, indent=10)
    return [("  ", Cell(name.ljust(8), Tone.CONTEXT), first[1]), *rest]


def word_cell(word: str) -> Cell:
    """Make a cell of a word or a number's text."""
    return Cell(word, Tone.ALOUD if word in {"nan", "inf", "-inf"} else Tone.PLAIN)


def number_cell(value: float | None, dtype: str) -> Cell:
    """Write one number, nothing for None."""
    abnormal = value is not None and not math.isfinite(value)
    return Cell(format_number(value, dtype), Tone.ALOUD if abnormal else Tone.PLAIN, is_number=True)


def numbers_cell(values: Sequence[float], dtype: str, most: int | None = None) -> Cell:
    """Write numbers; of more than ``most`` the first two and how many more there are."""
    if len(values) == 1:
        return number_cell(values[0], dtype)
    return Cell(shortened([format_number(value, dtype) for value in values], most))


def shortened(texts: Sequence[str], most: int | None = None) -> str:
    """Join texts; of more than ``most`` the first two and how many more there are."""
    if most is None or len(texts) <= most:
        return " ".join(texts)
    return f"{texts[0]} {texts[1]} … {len(texts) - 2} more"

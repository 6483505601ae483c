"""A sheet: rows of text under headings, the same for every format that has rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from xentcli.digits import text


class Tone(Enum):
    """What a cell means; a terminal shows it as a colour."""

    PLAIN = auto()
    RIGHT = auto()
    WRONG = auto()
    ABNORMAL = auto()  # nan or infinite


class Cell(str):
    """The text of a cell, words or numbers with single spaces between, and what it means."""

    __slots__ = ("tone",)
    tone: Tone

    def __new__(cls, words: str, tone: Tone = Tone.PLAIN) -> Self:
        """Make a cell of a text."""
        cell = super().__new__(cls, words)
        cell.tone = tone
        return cell


@dataclass(frozen=True, slots=True)
class Sheet:
    """A heading over columns over rows of cells; a plain text is a cell that means nothing more."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def word_cell(word: str) -> Cell:
    """Make a cell of a word or a number's text."""
    return Cell(word, Tone.ABNORMAL if word in {"nan", "inf", "-inf"} else Tone.PLAIN)


def number_cell(value: float | None, dtype: str) -> Cell:
    """Write one number, nothing for None."""
    abnormal = value is not None and not math.isfinite(value)
    return Cell(text(value, dtype), Tone.ABNORMAL if abnormal else Tone.PLAIN)


def numbers_cell(values: Sequence[float], dtype: str, most: int | None = None) -> Cell:
    """Write numbers; of more than ``most`` the first two and how many more there are."""
    if len(values) == 1:
        return number_cell(values[0], dtype)
    return Cell(shortened([text(value, dtype) for value in values], most))


def shortened(texts: Sequence[str], most: int | None = None) -> str:
    """Join texts; of more than ``most`` the first two and how many more there are."""
    if most is None or len(texts) <= most:
        return " ".join(texts)
    return f"{texts[0]} {texts[1]} … {len(texts) - 2} more"

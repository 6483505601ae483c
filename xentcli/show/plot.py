"""A curve drawn in characters: the true loss, each method's where it is wrong, and a strip per method."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from xentcli.digits import format_number
from xentcli.formats import FORMATS, nearest
from xentcli.show.sheet import Cell, Lines, Tone
from xentcli.sweep import STATES

if TYPE_CHECKING:
    from xentcli.sweep import Curve

_HEIGHT: Final = 14  # lines of the plot: with strips and sentence one screen of 24
_LEFT: Final = 11  # columns of the labels of the loss
_WIDEST: Final = 100  # columns: a wider plot shows no more
_DECADES: Final = 4  # of true losses from which on their logarithm is drawn
TONES: Final = {
    "nan": Tone.ALOUD,
    "inf": Tone.ALOUD,
    "negative": Tone.SILENT,
    "0": Tone.SILENT,
    "capped": Tone.SILENT,
    "off": Tone.SILENT,
    "gradient nan": Tone.GRADIENT,
    "gradient 0": Tone.GRADIENT,
    "gradient wrong": Tone.GRADIENT,
    "right": Tone.RIGHT,
}
# A state in a strip. What is drawn in the plot has the method's own letter.
_MARKS: Final = {
    "nan": "N",
    "inf": "I",
    "negative": "-",
    "0": "0",
    "capped": "C",
    "off": "~",
    "gradient nan": "∇",
    "gradient 0": "∇",
    "gradient wrong": "∇",
    "right": "·",
}
_WORDS: Final = {"∇": "gradient wrong", "~": "off by 1 %", "0": "zero"}
_DRAWN: Final = {"negative", "capped", "off"}  # states with a number that is not the true one

_Pixel = tuple[str, Tone]


def draw(curve: "Curve", width: int) -> Lines:
    """Draw a curve at most ``width`` columns wide."""
    columns = max(20, min(width, _WIDEST) - _LEFT - 2)
    places = _places(curve, columns)
    letters = _letters([track.method for track in curve.points.tracks])
    lines = [*_plot(curve, places, letters), *_axis(curve, columns), ("",)]
    lines += _strips(curve, columns, letters)
    return Lines(tuple(lines))


def _places(curve: "Curve", columns: int) -> list[int]:
    """Return the point that each column shows: the last one that lies in it, else the one before."""
    last = [0] * columns
    for number, column in enumerate(_column_of(curve, columns)):
        last[column] = number
    for column in range(1, columns):
        last[column] = max(last[column], last[column - 1])
    return last


def _column_of(curve: "Curve", columns: int) -> list[int]:
    """Return the column of each point."""
    values = curve.points.values
    # Logarithms and halves: neither a ratio nor a difference of two values overflows.
    scaled = [math.log(value) if curve.range.is_log else value / 2 for value in values]
    low, high = scaled[0], scaled[-1]
    width = high - low or 1.0
    shares = [(value - low) / width for value in scaled]
    return [min(columns - 1, int(share * columns)) for share in shares]


def _letters(names: Sequence[str]) -> dict[str, str]:
    """Return a letter per method: the first of its name that is free, else of the alphabet."""
    letters: dict[str, str] = {}
    for name in names:
        own = name.rpartition(".")[2].rpartition(":")[2].casefold()
        free = (c for c in f"{own}abcdefghijklmnopqrstuvwxyz" if c.isascii() and c.isalpha())
        letters[name] = next((c for c in free if c not in letters.values()), "*")
    return letters


def _plot(curve: "Curve", places: Sequence[int], letters: dict[str, str]) -> list[tuple[str, ...]]:
    """Draw the losses: lines from the top, with labels of the highest, the middle and the lowest."""
    form = FORMATS[curve.example.numerics.loss_dtype]
    exact = [nearest(loss, form) for loss in curve.points.exact]
    finite = [loss for loss in exact if math.isfinite(loss)]
    if not finite:
        return [("  there is no finite true loss",)]
    positive = [loss for loss in finite if loss > 0]
    is_log = bool(positive) and max(positive) / min(positive) >= 10**_DECADES
    scale = math.log10 if is_log else float
    shown = [*(positive if is_log else finite), *_drawn(curve, is_log=is_log)]
    low, high = scale(min(shown)), scale(max(shown))
    high = high if high > low else low + 1

    def row(loss: float) -> int | None:
        if not math.isfinite(loss) or (is_log and loss <= 0):
            return None
        return round((high - scale(loss)) / (high - low) * (_HEIGHT - 1))

    grid: list[list[_Pixel]] = [[(" ", Tone.PLAIN)] * len(places) for _ in range(_HEIGHT)]
    for column, place in enumerate(places):
        if (line := row(exact[place])) is not None:
            grid[line][column] = ("·", Tone.CONTEXT)
        for track in curve.points.tracks:
            state = STATES[track.states[place]]
            if state in _DRAWN and (line := row(float(track.losses[place]))) is not None:
                grid[line][column] = (letters[track.method], TONES[state])
    labels = {0: high, _HEIGHT // 2: high + (low - high) * (_HEIGHT // 2) / (_HEIGHT - 1), _HEIGHT - 1: low}
    lines: list[tuple[str, ...]] = [("  loss" + (", in powers of ten" if is_log else ""),)]
    for number, pixels in enumerate(grid):
        label = "" if number not in labels else _label(labels[number], is_log=is_log)
        edge = "┤" if label else "│"
        lines.append((Cell(f"{label:>{_LEFT}} {edge}", Tone.CONTEXT), *_runs(pixels)))
    return lines


def _drawn(curve: "Curve", *, is_log: bool) -> list[float]:
    """Return the wrong losses that are drawn."""
    losses = [
        float(loss)
        for track in curve.points.tracks
        for loss, state in zip(track.losses, track.states, strict=True)
        if STATES[state] in _DRAWN
    ]
    return [loss for loss in losses if math.isfinite(loss) and (loss > 0 or not is_log)]


def _label(value: float, *, is_log: bool) -> str:
    return f"{10**value:.3g}" if is_log and value > -300 else f"1e{value:.0f}" if is_log else f"{value:.4g}"  # noqa: PLR2004 - 10^-308 is the smallest normal number


def _axis(curve: "Curve", columns: int) -> list[tuple[str, ...]]:
    """Draw the axis of the quantity, with its ends and its middle."""
    low, high = curve.range.low, curve.range.high
    middle = math.sqrt(low) * math.sqrt(high) if curve.range.is_log else low / 2 + high / 2
    name = curve.quantity.name
    left, right, centre = given_text(low), given_text(high), f"{middle:.4g}"
    room = columns - len(left) - len(right)
    return [
        (Cell(f"{'':>{_LEFT}} └{'─' * columns}", Tone.CONTEXT),),
        (Cell(f"{name:>{_LEFT}}  {left}{centre:^{room}}{right}", Tone.CONTEXT),),
    ]


def _strips(curve: "Curve", columns: int, letters: dict[str, str]) -> list[tuple[str, ...]]:
    """Return a line per method: the worst state of the points in each column, then what the marks mean."""
    lines: list[tuple[str, ...]] = []
    used: dict[str, None] = {}
    column_of = _column_of(curve, columns)
    for track in curve.points.tracks:
        worst = [len(STATES)] * columns
        for column, state in zip(column_of, track.states.tolist(), strict=True):
            worst[column] = min(worst[column], state)
        for column in range(1, columns):  # fewer points than columns
            worst[column] = worst[column - 1] if worst[column] == len(STATES) else worst[column]
        words = [STATES[state] for state in worst]
        pixels = [(_MARKS.get(word, " "), TONES.get(word, Tone.CONTEXT)) for word in words]
        used |= dict.fromkeys(words)
        name = f"{letters[track.method]} {track.method}"
        if len(name) > _LEFT:
            lines.append((f"  {name}",))
            name = ""
        lines.append((Cell(f"{name:>{_LEFT}}  "), *_runs(pixels)))
    marks = dict.fromkeys(_MARKS[word] for word in STATES if word in used and word in _MARKS)
    meaning = {mark: word for word, mark in reversed(_MARKS.items())} | _WORDS
    legend = "  ".join(f"{mark} {meaning[mark]}" for mark in marks)
    return [*lines, (Cell(f"{'':>{_LEFT}}  {legend}", Tone.CONTEXT),)]


def _runs(pixels: Sequence[_Pixel]) -> list[Cell]:
    """Put neighbouring characters of the same tone together."""
    runs = groupby(pixels, key=lambda pixel: pixel[1])
    return [Cell("".join(mark for mark, _ in run), tone) for tone, run in runs]


def given_text(value: float) -> str:
    """Write a number as it was given: in the short form where that is all of it."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def value_text(curve: "Curve", value: float) -> str:
    """Write a value of the quantity with the digits that read back."""
    return format_number(value, curve.quantity.dtype(FORMATS[curve.dtype]))

"""Parts drawn on a terminal: columns without boxes, colours by meaning. The only file that imports rich.

A number is never cut or broken: only a last column of words is broken to fit; where that is not enough each
row becomes a short list instead.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xentcli.show.sheet import GAP, Cell, Lines, Part, Sheet, Tone, grids

if TYPE_CHECKING:
    from xentcli.show.screen import Screen

_STYLES = {
    Tone.PLAIN: "",
    Tone.HEADING: "bold",
    Tone.RIGHT: "green",
    Tone.ALOUD: "yellow",
    Tone.SILENT: "red",
    Tone.GRADIENT: "magenta",
    Tone.COMMAND: "cyan",
    Tone.CONTEXT: "dim",
}
_ASCII = str.maketrans({"─": "-", "│": "|", "·": ".", "×": "x", "…": "...", "∇": "g", "┤": "+", "└": "+"})
_NARROWEST = 20  # of a last column of words


def render(parts: Sequence[Part], screen: "Screen") -> str:
    """Render parts at the width of the screen, with an empty line between."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=screen.width,
        height=100,  # with a width alone, rich asks the terminal
        force_terminal=True,
        color_system="standard" if screen.colour else None,
        no_color=not screen.colour,
        legacy_windows=False,
        highlight=False,
        emoji=False,
        _environ={},  # the screen is decided already
    )
    for number, part in enumerate(grids(parts)):
        if number:
            console.print()
        if isinstance(part, Lines):
            for line in part.lines:
                console.print(Text.assemble(*map(_styled, line)), soft_wrap=True)
        else:
            _print_grid(console, part)
    shown = file.getvalue()
    return shown if screen.unicode else shown.translate(_ASCII)


def _print_grid(console: Console, sheets: Sequence[Sheet]) -> None:
    """Print sheets under one heading: as columns where they fit, else each row as a list."""
    whole = Sheet("", sheets[0].columns, tuple(row for sheet in sheets for row in sheet.rows))
    widths, numbers = _widths(whole, console.width), whole.are_numbers()
    has_one_title = len(sheets) == 1 and sheets[0].title
    if has_one_title:
        console.print(Text(sheets[0].title, style="bold"), soft_wrap=True)
    if widths is not None and any(whole.columns):
        heading = tuple(Cell(name, Tone.CONTEXT) for name in whole.columns)
        console.print(_grid([heading], widths, numbers))
        console.print(Text("─" * (sum(widths) + GAP * len(widths)), style="dim"), soft_wrap=True)
    for sheet in sheets:
        if sheet.title and not has_one_title:
            console.print(Text(sheet.title, style="bold"), soft_wrap=True)
        if widths is None:
            _print_stacked(console, sheet)
        else:
            console.print(_grid(sheet.rows, widths, numbers))


def _widths(sheet: Sheet, width: int) -> list[int] | None:
    """Return the widths of the columns, all whole but that of the last; None where that is too wide."""
    columns = list(zip(sheet.columns, *sheet.rows, strict=True))
    widths = [max(map(cell_len, cells)) for cells in columns]
    room = width - sum(widths[:-1]) - GAP * len(widths)
    longest_word = max((cell_len(word) for cell in columns[-1] for word in cell.split()), default=0)
    if widths[-1] <= room:
        return widths
    return [*widths[:-1], room] if room >= max(longest_word, _NARROWEST) else None


def _grid(rows: Sequence[tuple[str, ...]], widths: Sequence[int], numbers: Sequence[bool]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 0, 0, GAP))
    for width, is_number in zip(widths, numbers, strict=True):
        table.add_column(width=width, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_styled, row))
    return table


def _print_stacked(console: Console, sheet: Sheet) -> None:
    """Print each row as its first cell with the others listed below."""
    indent = max(map(cell_len, sheet.columns[1:])) + 4
    for row in sheet.rows:
        console.print(Text(row[0], style="bold"), soft_wrap=True)
        for column, cell in zip(sheet.columns[1:], row[1:], strict=True):
            if not cell:
                continue
            width = max(console.width - indent, *map(cell_len, cell.split()))
            for number, line in enumerate(_styled(cell).wrap(console, width, overflow="fold")):
                line.rstrip()
                label = f"  {column}" if number == 0 else ""
                console.print(Text(label.ljust(indent)).append(line), soft_wrap=True)


def _styled(cell: str) -> Text:
    """Colour a cell by what it means."""
    return Text(cell, style=_STYLES[cell.tone] if isinstance(cell, Cell) else "")

"""Sheets as boxed tables for a terminal. The only file that imports rich.

A number is never cut or broken: where the terminal is too narrow for the widest word of every column side
by side, each row becomes a short list instead.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xentcli.show.sheet import Cell, Tone

if TYPE_CHECKING:
    from xentcli.show.screen import Screen
    from xentcli.show.sheet import Sheet

_STYLES = {Tone.PLAIN: "", Tone.RIGHT: "green", Tone.WRONG: "red", Tone.ABNORMAL: "yellow"}
_FRAME = 3  # columns of the screen that a box adds to each column of text, with one more at the end


def render(sheets: Sequence["Sheet"], screen: "Screen") -> str:
    """Render sheets at the width of the screen."""
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
    for number, sheet in enumerate(sheets):
        if number:
            console.print()
        if sheet.title:
            console.print(Text(sheet.title, style="bold"), soft_wrap=False)
        if _needed(sheet) <= screen.width:
            console.print(_table(sheet, screen))
        else:
            _print_stacked(console, sheet)
    return file.getvalue()


def _needed(sheet: "Sheet") -> int:
    """Columns of the screen that the sheet takes with every word whole."""
    return sum(_longest_word(cells) + _FRAME for cells in _columns(sheet)) + 1


def _columns(sheet: "Sheet") -> list[tuple[str, ...]]:
    return list(zip(sheet.columns, *sheet.rows, strict=True))


def _longest_word(cells: Sequence[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _widths(sheet: "Sheet", screen: "Screen") -> list[int]:
    """Give every column its longest word, then the space left over to those that lack the least."""
    columns = _columns(sheet)
    widths = [_longest_word(cells) for cells in columns]
    missing = [max(map(cell_len, cells)) - width for cells, width in zip(columns, widths, strict=True)]
    spare = screen.width - _needed(sheet)
    for index in sorted(range(len(widths)), key=missing.__getitem__):
        widths[index] += min(missing[index], spare)
        spare -= min(missing[index], spare)
    return widths


def _table(sheet: "Sheet", screen: "Screen") -> Table:
    table = Table(box=box.ROUNDED if screen.unicode else box.ASCII)
    for name, width in zip(sheet.columns, _widths(sheet, screen), strict=True):
        table.add_column(Text(name), width=width, overflow="fold")
    for row in sheet.rows:
        table.add_row(*map(_styled, row))
    return table


def _print_stacked(console: Console, sheet: "Sheet") -> None:
    """Print each row as its first cell with the others listed below."""
    indent = max(map(cell_len, sheet.columns[1:])) + 4
    for row in sheet.rows:
        console.print(Text(row[0], style="bold"), soft_wrap=True)
        for column, cell in zip(sheet.columns[1:], row[1:], strict=True):
            if not cell:
                continue
            width = max(console.width - indent, _longest_word([cell]), 1)
            for number, line in enumerate(_styled(cell).wrap(console, width, overflow="fold")):
                line.rstrip()
                label = f"  {column}" if number == 0 else ""
                console.print(Text(label.ljust(indent)).append(line), soft_wrap=True)


def _styled(cell: str) -> Text:
    """Colour a cell by what it means."""
    return Text(cell, style=_STYLES[cell.tone] if isinstance(cell, Cell) else "")

"""Sheets as Markdown tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xentcli.show.sheet import Sheet

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\|*_`<>[]"})


def render(sheets: Sequence["Sheet"]) -> str:
    """Render sheets, each title a heading."""
    return "\n".join(map(_render, sheets))


def escaped(text: str) -> str:
    """Return a text whose special characters Markdown shows as they are."""
    return text.translate(_SPECIAL)


def _render(sheet: "Sheet") -> str:
    lines = [f"### {escaped(sheet.title)}", ""] if sheet.title else []
    lines += [_line(sheet.columns), "|" + " --- |" * len(sheet.columns), *map(_line, sheet.rows)]
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Sequence[str]) -> str:
    return "".join(f"| {escaped(cell)} " for cell in cells) + "|"

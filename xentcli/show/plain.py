"""Sheets as aligned text: no colour, no boxes, nothing cut, one line a row. For pipes and files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xentcli.show.sheet import Sheet


def render(sheets: Sequence["Sheet"]) -> str:
    """Render sheets with an empty line between."""
    return "\n".join(map(_render, sheets))


def _render(sheet: "Sheet") -> str:
    lines = [sheet.columns, *sheet.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "".join(f"{line}\n" for line in ([sheet.title] if sheet.title else []) + text)

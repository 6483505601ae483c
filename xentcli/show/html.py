"""Parts as HTML for a notebook, light and dark: no script, nothing loaded, colours by meaning."""

from collections.abc import Sequence
from html import escape
from typing import Final

from xentcli.show.sheet import Cell, Lines, Part, Sheet, Tone, grids

CLASSES: Final[dict[Tone, str]] = {tone: tone.name.lower() for tone in Tone if tone is not Tone.PLAIN}
# The colours of tones, each at 4.5:1 or more on its background, by WCAG 2.
LIGHT: Final = """\
.xent .right{color:#1a7f37}.xent .aloud{color:#8a5d00}.xent .silent{color:#cf222e}
.xent .gradient{color:#8250df}.xent .command{color:#0969da}.xent .context{color:#57606a}"""
DARK: Final = """\
.xent thead th,.xent .context{color:#9198a1}.xent .right{color:#3fb950}.xent .aloud{color:#d29922}
.xent .silent{color:#ff7b72}.xent .gradient{color:#bc8cff}.xent .command{color:#58a6ff}"""
_LAYOUT: Final = """\
.xent{color-scheme:light;color:#1f2328;background:#fff;padding:.5em;font:13px/1.45 monospace;overflow-x:auto}
.xent table{border-collapse:collapse;margin:.6em 0;color:inherit;font:inherit}
.xent tr,.xent td,.xent th{background:none;border:0;color:inherit;font:inherit}
.xent td,.xent th{padding:.1em 1.2em .1em 0;text-align:left;vertical-align:top;white-space:pre-wrap}
.xent thead th{border-bottom:1px solid #8888;color:#57606a}
.xent .number{text-align:right;white-space:pre}
.xent .heading,.xent .title{font-weight:bold}
"""
_DARK_PAGE: Final = ".xent{color-scheme:dark;color:#e6edf3;background:#0d1117}\n"
_STYLE: Final = (
    f"<style>\n{_LAYOUT}{LIGHT}\n@media(prefers-color-scheme:dark){{{_DARK_PAGE}{DARK}}}\n</style>"
)


def render(parts: Sequence[Part]) -> str:
    """Render parts: a table for sheets with the same columns, a line of text for each line."""
    blocks = (_lines(part) if isinstance(part, Lines) else _table(part) for part in grids(parts))
    return f'<div class="xent">{_STYLE}\n{"".join(blocks)}</div>\n'


def _lines(part: Lines) -> str:
    return "".join(map(_line, part.lines))


def _line(cells: Sequence[str]) -> str:
    """Return a line of text; what it is indented by, the lines that it is broken into are too."""
    text = "".join(cells)
    indent = len(text) - len(text.lstrip())
    first = next((at for at, cell in enumerate(cells) if cell.strip()), len(cells))
    style = f' style="padding-left:{indent}ch"' if indent and text.strip() else ""
    return f"<div{style}>{''.join(map(_span, cells[first:])) or '&nbsp;'}</div>\n"


def _span(cell: str) -> str:
    name = CLASSES.get(cell.tone) if isinstance(cell, Cell) else None
    text = escape(cell).replace("  ", "&nbsp; ")
    return f'<span class="{name}">{text}</span>' if name else text


def _table(sheets: Sequence[Sheet]) -> str:
    """Return sheets under one heading; the title of each is a row of its own."""
    columns = sheets[0].columns
    numbers = Sheet("", columns, tuple(row for sheet in sheets for row in sheet.rows)).are_numbers()
    lines = [f"<thead>{_row(columns, numbers, 'th')}</thead>"] if any(columns) else []
    for sheet in sheets:
        title = f'<tr><th class="title" colspan="{len(columns)}">{escape(sheet.title)}</th></tr>\n'
        rows = "".join(_row(row, numbers, "td") for row in sheet.rows)
        lines.append(f"<tbody>{title if sheet.title else ''}{rows}</tbody>")
    return f"<table>{''.join(lines)}</table>\n"


def _row(cells: Sequence[str], numbers: Sequence[bool], tag: str) -> str:
    starts = (f'<{tag} class="number">' if is_number else f"<{tag}>" for is_number in numbers)
    shown = (f"{start}{_span(cell)}</{tag}>" for start, cell in zip(starts, cells, strict=True))
    return f"<tr>{''.join(shown)}</tr>\n"

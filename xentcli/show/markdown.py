"""Sheets as Markdown tables."""

from collections.abc import Sequence

from xentcli.show.sheet import Lines, Part, Sheet

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\|*_`<>[]"})


def render(parts: Sequence[Part]) -> str:
    """Render parts, the title of a sheet as a heading, lines as paragraphs."""
    return "\n".join(_lines(part) if isinstance(part, Lines) else _render(part) for part in parts)


def escaped(text: str) -> str:
    """Return a text whose special characters Markdown shows as they are."""
    return text.translate(_SPECIAL)


def _lines(part: Lines) -> str:
    return "".join(f"{escaped(''.join(line).strip())}\n" for line in part.lines)


def _render(sheet: Sheet) -> str:
    lines = [f"### {escaped(sheet.title)}", ""] if sheet.title else []
    lines += [_line(sheet.columns), "|" + " --- |" * len(sheet.columns), *map(_line, sheet.rows)]
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Sequence[str]) -> str:
    return "".join(f"| {escaped(cell)} " for cell in cells) + "|"

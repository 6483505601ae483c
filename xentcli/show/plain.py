"""Parts as aligned text: no colour, nothing cut, one line a row. For pipes and files."""

from collections.abc import Sequence

from xentcli.show.sheet import Lines, Part, Sheet, grids


def render(parts: Sequence[Part]) -> str:
    """Render parts with an empty line between."""
    blocks = (_lines(part) if isinstance(part, Lines) else _grid(part) for part in grids(parts))
    return "\n".join("".join(f"{line.rstrip()}\n" for line in block) for block in blocks)


def _lines(part: Lines) -> list[str]:
    return ["".join(cells) for cells in part.lines]


def _grid(sheets: Sequence[Sheet]) -> list[str]:
    """Align the rows of all sheets under one heading, numbers on the right."""
    whole = Sheet("", sheets[0].columns, tuple(row for sheet in sheets for row in sheet.rows))
    columns = list(zip(whole.columns, *whole.rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numbers = whole.are_numbers()
    lines = [_aligned(whole.columns, widths, numbers)]
    for place, sheet in enumerate(sheets):
        title = [sheet.title] if sheet.title else []
        rows = [_aligned(row, widths, numbers) for row in sheet.rows]
        lines = [*title, *lines, *rows] if place == 0 and len(sheets) == 1 else [*lines, *title, *rows]
    return lines


def _aligned(cells: Sequence[str], widths: Sequence[int], numbers: Sequence[bool]) -> str:
    aligned = zip(cells, widths, numbers, strict=True)
    return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in aligned)

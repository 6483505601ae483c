"""Sheets as comma-separated values (RFC 4180, but with line feeds), all digits."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xentcli.show.sheet import Sheet

_FORMULA = ("=", "+", "-", "@")


def render(sheets: Sequence["Sheet"]) -> str:
    """Render sheets, each with its own heading line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for sheet in sheets:
        writer.writerow(sheet.columns)
        writer.writerows([list(map(_inert, row)) for row in sheet.rows])
    return file.getvalue()


def _inert(cell: str) -> str:
    """Return a cell that a spreadsheet takes for text, or for the number that it is, but for no formula."""
    try:
        float(cell)
    except ValueError:
        return f"'{cell}" if len(cell) > 1 and cell.startswith(_FORMULA) else cell
    return cell

"""Sheets as comma-separated values (RFC 4180, but with line feeds), all digits."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xentcli.show.sheet import Sheet


def render(sheets: Sequence["Sheet"]) -> str:
    """Render sheets, each with its own heading line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for sheet in sheets:
        writer.writerow(sheet.columns)
        writer.writerows(sheet.rows)
    return file.getvalue()

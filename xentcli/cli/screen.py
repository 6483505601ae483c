"""What results are read on: a terminal, or a file or pipe that takes no colours."""

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from xentcli.show.screen import Screen

_DIGITS = 6  # at most of a terminal's width


def screen(output: str | None) -> "Screen":
    """Say what the results are read on: the terminal, or a file or pipe that takes no colours."""
    from xentcli.show.screen import Screen

    forced = bool(os.environ.get("FORCE_COLOR"))
    capable = os.environ.get("TERM", "") not in ("dumb", "unknown")
    terminal = output in (None, "-") and (forced or _isatty(sys.stdout)) and capable
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return Screen(
        width=width(),
        is_terminal=terminal,
        colour=terminal and not os.environ.get("NO_COLOR"),
        unicode=encoding.startswith("utf"),
    )


def width() -> int:
    """Return the columns of the terminal (shutil's own function would cost --help 6 ms of imports)."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and len(columns) < _DIGITS and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80 if sys.__stdout__ else 80
    except (OSError, ValueError):
        return 80


def _isatty(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()

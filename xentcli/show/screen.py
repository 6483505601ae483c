"""Where results are read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a table is read: ``width`` in columns; not on a terminal (a pipe, a file) it comes out plain."""

    width: int = 80
    is_terminal: bool = False
    colour: bool = False
    unicode: bool = True

    def drawn_width(self, form: str) -> int | None:
        """Return the width that a format is drawn at, None where lines have no end."""
        return self.width if form == "table" and self.is_terminal else None

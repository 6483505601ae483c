"""Where results are read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a table is read: ``width`` in columns; without ``boxes`` (a pipe, a file) it comes out plain."""

    width: int = 80
    boxes: bool = False
    colour: bool = False
    unicode: bool = True

    def drawn_width(self, form: str) -> int | None:
        """Return the width that a format is drawn at, None where lines have no end."""
        return self.width if form == "table" and self.boxes else None

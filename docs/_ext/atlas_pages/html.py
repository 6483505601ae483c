"""What the theme's pages lack for readers who hear them: names of the two columns beside the text."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_NAMES: Final = {
    '<aside class="sidebar-drawer"': ' aria-label="the site"',
    '<aside class="toc-drawer': ' aria-label="this page"',
}


def name_columns(app: "Sphinx", failure: Exception | None) -> None:
    """Name both columns of every page that was written."""
    if failure is not None:
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for start, name in _NAMES.items():
            if start in text and f"<aside{name}" not in text:
                text = text.replace(start, start.replace("<aside", f"<aside{name}"))
        path.write_text(text, encoding="utf-8")

"""What the pages of the theme lack for readers who hear them: names of columns, levels of headings."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_MISSING: Final = {
    '<aside class="sidebar-drawer': '<aside aria-label="the site" class="sidebar-drawer',
    '<aside class="toc-drawer': '<aside aria-label="this page" class="toc-drawer',
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
}


def complete(app: "Sphinx", failure: Exception | None) -> None:
    """Put what is missing into every page that was written."""
    if failure is not None:
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for without, whole in _MISSING.items():
            text = text.replace(without, whole)
        path.write_text(text, encoding="utf-8")

"""Results → text, one file per kind of result and per format. Nothing here prints.

Only what a format needs is imported.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xentcli.show.screen import Screen

__all__ = ["Screen", "render"]

if TYPE_CHECKING:
    from xentcli.diagnose.summary import Diagnosis
    from xentcli.show.sheet import Sheet


def render(sheets: Sequence["Sheet"], form: str, screen: Screen) -> str:
    """Render sheets in a format; a table that is not for a terminal is plain."""
    if form == "table" and screen.boxes:
        from xentcli.show import table

        return table.render(sheets, screen)
    if form == "csv":
        from xentcli.show.csv import render as rendered
    elif form == "markdown":
        from xentcli.show.markdown import render as rendered
    elif form == "json":
        from xentcli.show.json import render as rendered
    else:
        from xentcli.show.plain import render as rendered
    return rendered(sheets)


def diagnose(diagnosis: "Diagnosis", form: str, screen: Screen) -> str:
    """Render what ``xent diagnose`` shows."""
    from xentcli.show import diagnosed

    if form == "json":
        return diagnosed.as_json(diagnosis)
    return render(diagnosed.sheets(diagnosis), form, screen) + diagnosed.prose(diagnosis, screen.width)

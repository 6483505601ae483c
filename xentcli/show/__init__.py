"""Results → text, one file per kind of result and per format. Nothing here prints.

Only what a format needs is imported.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xentcli.show.screen import Screen
from xentcli.show.sheet import Sheet

__all__ = ["Screen", "render", "render_results"]

if TYPE_CHECKING:
    from xentcli.diagnose.against import Comparison
    from xentcli.diagnose.diagnosis import Diagnosis
    from xentcli.diagnose.survey import TopKSurvey
    from xentcli.judge import Result
    from xentcli.show.sheet import Part


def render(parts: Sequence["Part"], form: str, screen: Screen) -> str:
    """Render parts in a format; a table that is not for a terminal is plain; csv and json have sheets.

    ``html`` is for a notebook; ``reports`` has the documents of the command line.
    """
    if form == "table" and screen.is_terminal:
        from xentcli.show import table

        return table.render(parts, screen)
    if form == "html":
        from xentcli.show import html

        return html.render(parts)
    if form == "markdown":
        from xentcli.show import markdown

        return markdown.render(parts)
    if form in {"csv", "json"}:
        from xentcli.show import csv, json

        sheets = [part for part in parts if isinstance(part, Sheet)]
        return csv.render(sheets) if form == "csv" else json.render(sheets)
    from xentcli.show import plain

    return plain.render(parts)


def render_results(results: Sequence["Result"], form: str) -> str:
    """Render results in a format for programs: json or junit."""
    from xentcli.show import json, junit

    return json.render_results(results) if form == "json" else junit.render_results(results)


def compare_dumps(comparison: "Comparison", form: str, screen: Screen) -> str:
    """Render what turns one dump into another, or how far they are apart."""
    from xentcli.show import against

    if form == "json":
        return against.as_json(comparison)
    return render(against.parts(comparison, screen.width), form, screen)


def diagnose(
    diagnosis: "Diagnosis", form: str, screen: Screen, observed: str | None = None, after: str = ""
) -> str:
    """Render what ``xent diagnose`` shows; ``observed`` is the loss seen, ``after`` what to type next."""
    from xentcli.show import diagnosed

    if form == "json":
        return diagnosed.as_json(diagnosis, observed)
    width = screen.width if form == "table" else 10**6
    return render(diagnosed.parts(diagnosis, observed, after, width), form, screen)


def diagnose_top_k(survey: "TopKSurvey", form: str, screen: Screen) -> str:
    """Render what ``xent diagnose`` shows of a top-k dump."""
    from xentcli.show import top_k

    if form == "json":
        return top_k.as_json(survey)
    width = screen.width if form == "table" else 10**6
    return render(top_k.parts(survey, width), form, screen)

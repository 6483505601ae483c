"""Results → text, one file a format. Nothing here prints, and only what a format needs is imported."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

from xentcli.show.screen import Screen
from xentcli.words import SHEET_FORMATS

__all__ = ["Screen", "check", "compare", "diagnose", "explain", "identify", "render", "run"]

if TYPE_CHECKING:
    from xentcli.check.report import Report
    from xentcli.diagnose.summary import Diagnosis
    from xentcli.explain import Explanation
    from xentcli.identify import Candidate
    from xentcli.judge import Result
    from xentcli.show.sheets import Sheet


def run(results: Sequence["Result"], form: str, screen: Screen, verbose: bool) -> str:
    """Render what ``xent run`` shows."""
    from xentcli.show import sheets

    if form not in SHEET_FORMATS:
        return _document(results, form)
    if form == "csv":
        return render([sheets.flat(results)], form, screen)
    everything = verbose or not (form == "table" and screen.boxes)  # only a terminal is too narrow for all
    return render(sheets.of_run(results, verbose=verbose, everything=everything), form, screen)


def compare(results: Sequence["Result"], form: str, screen: Screen) -> str:
    """Render what ``xent compare`` shows."""
    from xentcli.show import sheets

    if form not in SHEET_FORMATS:
        return _document(results, form)
    return render([sheets.of_compare(results)], form, screen)


def explain(explanations: Sequence["Explanation"], form: str, screen: Screen) -> str:
    """Render what ``xent explain`` shows."""
    from xentcli.show import explained

    if form == "json":
        return explained.as_json(explanations)
    return "\n".join(
        render([explained.sheet(explanation)], form, screen) + explained.prose(explanation, screen.width)
        for explanation in explanations
    )


def identify(typed: str, candidates: Sequence["Candidate"], form: str, screen: Screen) -> str:
    """Render what ``xent identify`` shows."""
    from xentcli.show import identified

    if form == "json":
        return identified.as_json(typed, candidates)
    return identified.prose(typed, candidates, screen.width)


def check(report: "Report", form: str, screen: Screen) -> str:
    """Render what ``xent check`` shows."""
    from xentcli.show import checked

    if form in {"json", "junit"}:
        return checked.as_json(report) if form == "json" else checked.as_junit(report)
    return render([checked.sheet(report)], form, screen) + checked.prose(report, screen.width)


def diagnose(diagnosis: "Diagnosis", form: str, screen: Screen) -> str:
    """Render what ``xent diagnose`` shows."""
    from xentcli.show import diagnosed

    if form == "json":
        return diagnosed.as_json(diagnosis)
    return render(diagnosed.sheets(diagnosis), form, screen) + diagnosed.prose(diagnosis, screen.width)


def render(sheets: Sequence["Sheet"], form: str, screen: Screen) -> str:
    """Render sheets; a table where no boxes can be drawn is plain."""
    if form == "table" and screen.boxes:
        from xentcli.show import table

        return table.render(sheets, screen)
    module = import_module(f"xentcli.show.{'plain' if form == 'table' else form}")
    return cast("str", module.render(sheets))


def _document(results: Sequence["Result"], form: str) -> str:
    return cast("str", import_module(f"xentcli.show.{form}").render_results(results))

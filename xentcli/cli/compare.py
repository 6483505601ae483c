"""compare: methods beside each other, on one case or all."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.options import (
    EPILOG,
    cases_argument,
    command_line,
    format_option,
    output_option,
    override_options,
    verbose_option,
)
from xentcli.cli.results import show_results
from xentcli.cli.screen import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.judge import Result


@click.command(epilog=EPILOG)
@cases_argument
@override_options
@format_option()
@output_option
@verbose_option
def compare(
    cases: tuple[str, ...], form: str, output: str | None, verbose: bool, **overrides: str | None
) -> int:
    """Compare methods beside the true loss; without CASE on all bundled cases.

    Few cases are shown with their numbers, many in one row each with a mark per method: -v shows every
    number. The exit code is that of 'xent run'.

    \b
    Examples:
      xent compare --methods all
      xent compare mine.yaml abnormal --format markdown -o table.md
    """

    def render(results: "Sequence[Result]") -> str:
        if form == "html":
            from xentcli.show.reports.compare import report

            return report(results, command_line())
        from xentcli.show.compare import render_compare

        return render_compare(results, form, screen(output), verbose=verbose)

    return show_results(cases, overrides, output, render)

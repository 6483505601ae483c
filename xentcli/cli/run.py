"""run: cases, what their source printed, and what is true."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.options import (
    EPILOG,
    cases_argument,
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
def run(cases: tuple[str, ...], form: str, output: str | None, verbose: bool, **overrides: str | None) -> int:
    """Run cases; say whether the numbers their source printed come out, and whether they are true.

    CASE is a file, a folder, the name of a bundled case, or - for standard input. Options that change a
    case set its expectations aside: they are shown, and the exit code is 0.

    \b
    Examples:
      xent run cases/abnormal.yaml
      xent run abnormal --methods naive,log1p --dtype float64 --arithmetic numpy
      xent run - < case.yaml
    """
    if not cases:
        raise click.UsageError("name a case: a file, a folder, a bundled case (see 'xent cases'), or -")

    def render(results: "Sequence[Result]") -> str:
        from xentcli.show.run import render_run

        return render_run(results, form, screen(output), verbose=verbose)

    return show_results(cases, overrides, output, render)

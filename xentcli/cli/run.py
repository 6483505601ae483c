"""run: cases, what their source printed, and what is true."""

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
    from xentcli.load.sources import Source


@click.command(epilog=EPILOG)
@cases_argument
@override_options
@format_option()
@output_option
@verbose_option
@click.option("--logits", metavar="ROWS", help="Run these logits in place of a case, as in a case file.")
@click.option("--labels", metavar="LABELS", help="The labels of --logits: classes, or rows of probabilities.")
def run(  # noqa: PLR0913, PLR0917 - click hands over every option
    cases: tuple[str, ...],
    form: str,
    output: str | None,
    verbose: bool,
    logits: str | None,
    labels: str | None,
    **overrides: str | None,
) -> int:
    """Run cases: say what is reproduced, what is right, what is wrong and why.

    CASE is a file, a folder, the name of a bundled case, or - for standard input. Options that change a
    case set its expectations aside: they are shown, and the exit code is 0.

    \b
    Examples:
      xent run cases/abnormal.yaml
      xent run abnormal --methods naive,log1p --dtype float64 --arithmetic numpy
      xent run --logits "[[0, 1000]]" --labels 0
      xent run - < case.yaml
    """
    inline = _inline(cases, logits, labels)
    if not cases and inline is None:
        raise click.UsageError("name a case: a file, a folder, a bundled case (see 'xent cases'), or -")

    def render(results: "Sequence[Result]") -> str:
        if form == "html":
            from xentcli.show.reports.run import report

            return report(results, command_line())
        from xentcli.show.run import render_run

        return render_run(results, form, screen(output), verbose=verbose)

    return show_results(cases, overrides, output, render, inline)


def _inline(cases: tuple[str, ...], logits: str | None, labels: str | None) -> "Source | None":
    """Return the case that --logits and --labels are, None without them."""
    from xentcli.load.sources import Source

    if logits is None and labels is None:
        return None
    if cases or logits is None or labels is None:
        raise click.UsageError("--logits and --labels go together, in place of a case")
    listed = labels if labels.lstrip().startswith("[") else f"[{labels}]"
    return Source("--logits and --labels", "inline", f"logits: {logits}\nlabels: {listed}\n".encode())

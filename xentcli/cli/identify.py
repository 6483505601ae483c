"""identify: what a loss that does not move may mean."""

import click

from xentcli.cli.options import format_option
from xentcli.cli.screen import screen


@click.command()
@click.argument("value")
@format_option("table", "plain", "json", variable="XENT_IDENTIFY_FORMAT")
def identify(value: str, form: str) -> int:
    """Say what a loss that does not move may mean; VALUE as it was printed, all its digits.

    Exits with 0 where something fits and with 1 where nothing does.

    \b
    Examples:
      xent identify 16.118
      xent identify 8.05904787
    """
    from xentcli.cli.output import to_stdout
    from xentcli.identify import identify as candidates_for
    from xentcli.show.candidates import render

    candidates = candidates_for(value)
    to_stdout(render(value, candidates, form, screen(None)))
    return 0 if candidates else 1

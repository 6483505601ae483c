"""identify: what a loss that does not move may mean."""

import click

from xentcli.cli.options import format_option
from xentcli.cli.screen import screen


@click.command(context_settings={"ignore_unknown_options": True})  # a loss may begin with a minus
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.option("--true", metavar="LOSS", help="Name the factor or summand between VALUE and this true loss.")
@format_option("table", "plain", "json", variable="XENT_IDENTIFY_FORMAT")
def identify(values: tuple[str, ...], true: str | None, form: str) -> int:
    """Say what a loss that does not move may mean; VALUE as it was printed, all its digits.

    - reads values from standard input. Exits with 0 where something fits every value and with 1 else.

    \b
    Examples:
      xent identify 16.118
      xent identify 8.05904787 2.302585
      xent identify 47.88 --true 11.97
    """
    import sys

    from xentcli.cli.output import to_stdout
    from xentcli.identify import identify as candidates_for
    from xentcli.show.candidates import render

    typed = [word for value in values for word in (sys.stdin.read().split() if value == "-" else [value])]
    found = [(value, candidates_for(value, true)) for value in typed]
    to_stdout(render(found, form, screen(None)))
    return 0 if all(candidates for _, candidates in found) else 1

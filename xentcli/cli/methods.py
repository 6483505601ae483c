"""methods: what can be computed."""

import click

from xentcli.cli.options import format_option
from xentcli.cli.screen import screen
from xentcli.words import LISTING_FORMATS


@click.command()
@format_option(*LISTING_FORMATS, variable="XENT_METHODS_FORMAT")
def methods(form: str) -> None:
    """List the methods: formula, labels taken, dtype of the losses; and those of real frameworks.

    \b
    Example:
      xent methods --format markdown
    """
    from xentcli.cli.output import to_stdout
    from xentcli.show import render
    from xentcli.show.listings import method_sheets

    to_stdout(render(method_sheets(), form, screen(None)))

"""findings: the named causes of a wrong loss."""

import click

from xentcli.cli.options import format_option
from xentcli.cli.screen import screen
from xentcli.words import LISTING_FORMATS


@click.command()
@format_option(*LISTING_FORMATS, variable="XENT_FINDINGS_FORMAT")
def findings(form: str) -> None:
    """List the findings: cause, remedy and source of what goes wrong.

    \b
    Example:
      xent findings --format json
    """
    from xentcli.cli.output import to_stdout
    from xentcli.show import render
    from xentcli.show.listings import finding_sheet

    to_stdout(render([finding_sheet()], form, screen(None)))

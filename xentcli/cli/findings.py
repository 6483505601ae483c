"""findings: the named causes of a wrong loss."""

import click

from xentcli.cli.lookup import names_argument, show_pages
from xentcli.cli.options import format_option, option
from xentcli.cli.screen import screen
from xentcli.words import LISTING_FORMATS


@click.command()
@names_argument("finding")
@format_option(*LISTING_FORMATS, variable="XENT_FINDINGS_FORMAT")
@option(
    "--verbose", "-v", is_flag=True, help="Show the wrong code of every library, as markdown and json do."
)
def findings(names: tuple[str, ...], form: str, *, verbose: bool) -> None:
    """List the findings; explain those that are named.

    The page of a NAME has the cause, how it shows, when it is no fault, wrong and right code in NumPy,
    torch, JAX and Keras, the cases that have it, and the source.

    \b
    Examples:
      xent findings log-of-zero
      xent findings log-of-zero -v
      xent findings --format json
    """
    from xentcli.cli.output import to_stdout
    from xentcli.show import render
    from xentcli.show.listings import finding_sheet

    if names:
        return show_pages("finding", names, form, verbose=verbose)
    seen = screen(None)
    return to_stdout(render([finding_sheet(seen.drawn_width(form))], form, seen))

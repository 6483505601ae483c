"""methods: what can be computed."""

import click

from xentcli.cli.lookup import names_argument, show_pages
from xentcli.cli.options import format_option
from xentcli.cli.screen import screen
from xentcli.words import LISTING_FORMATS


@click.command()
@names_argument("method")
@format_option(*LISTING_FORMATS, variable="XENT_METHODS_FORMAT")
def methods(names: tuple[str, ...], form: str) -> None:
    """List the methods; explain those that are named.

    The page of a NAME has the formula, where it is right and how it fails, the same in NumPy, and the source;
    that of a framework's function has the call and the version that is installed.

    \b
    Examples:
      xent methods naive
      xent methods torch.cross_entropy
      xent methods --format markdown
    """
    from xentcli.cli.output import to_stdout
    from xentcli.show import render
    from xentcli.show.listings import method_sheets

    if names:
        return show_pages("method", names, form)
    seen = screen(None)
    return to_stdout(render(method_sheets(seen.drawn_width(form)), form, seen))

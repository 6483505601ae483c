"""cases: the bundled cases, searched and shown."""

import click

from xentcli.cli.options import complete_bundled, format_option, note_skipped, option
from xentcli.cli.screen import screen
from xentcli.words import LISTING_FORMATS


@click.group(invoke_without_command=True)
@option("--search", metavar="WORDS", help="Only cases in which these words stand, or most of them.")
@option("--finding", metavar="NAME", help="Only cases in which this is found; see 'xent findings'.")
@option("--library", metavar="NAME", help="Only cases of this library.")
@format_option(*LISTING_FORMATS, variable="XENT_CASES_FORMAT")
@click.pass_context
def cases(
    context: click.Context, search: str | None, finding: str | None, library: str | None, form: str
) -> int:
    """List the bundled cases by folder; 'xent cases show NAME' prints the file of one.

    Exits with 0 where there is one and with 1 where none fits.

    \b
    Examples:
      xent cases --search "label smoothing"
      xent cases --finding tail-collapse
      xent cases --library torch
      xent cases show abnormal > mine.yaml
    """
    if context.invoked_subcommand is not None:
        return 0
    from xentcli import atlas
    from xentcli.cli.output import to_stdout
    from xentcli.load import sources
    from xentcli.show import render
    from xentcli.show.listings import case_sheets

    entries = atlas.entries()
    note_skipped(len(sources.bundled()) - len(entries))
    if search is not None:
        entries, has_all = atlas.search(entries, search)
        if not has_all:
            few = "these have most" if entries else "none has one"
            click.echo(f"no case has all the words of '{search}'; {few} of them", err=True)
    if library is not None:
        entries = atlas.by_library(entries, library)
    if finding is not None:
        entries = atlas.by_finding(entries, finding)
    to_stdout(render(case_sheets(entries, form), form, screen(None)))
    return 0 if entries else 1


@cases.command("show")
@click.argument("name", shell_complete=complete_bundled)
def show_case(name: str) -> None:
    """Print the file of a bundled case, to read or to start from.

    \b
    Example:
      xent cases show abnormal > mine.yaml
    """
    from xentcli.cli.output import to_stdout
    from xentcli.load import sources

    to_stdout(sources.find_bundled(name).read_text(encoding="utf-8"))

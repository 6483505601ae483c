"""cases: the bundled cases, searched, explained and shown."""

import click

from xentcli.cli.lookup import names_argument, show_pages
from xentcli.cli.options import format_option, note_skipped, option
from xentcli.cli.screen import screen
from xentcli.errors import XentError, printable_lines
from xentcli.words import LISTING_FORMATS


@click.command()
@names_argument("case")
@option("--search", metavar="WORDS", help="Only cases in which these words stand, or most of them.")
@option("--finding", metavar="NAME", help="Only cases in which this is found; see 'xent findings'.")
@option("--library", metavar="NAME", help="Only cases of this library.")
@format_option(*LISTING_FORMATS, variable="XENT_CASES_FORMAT")
def cases(
    names: tuple[str, ...], search: str | None, finding: str | None, library: str | None, form: str
) -> int:
    """List the bundled cases; explain those that are named.

    The page of a NAME has the numbers, what was printed and what is true, the findings, and the sources;
    'xent cases show NAME' prints its file, to read or to start from. Exits with 0 where there is a case and
    with 1 where none fits.

    \b
    Examples:
      xent cases abnormal
      xent cases show abnormal > mine.yaml
      xent cases --search "label smoothing"
      xent cases --finding tail-collapse
      xent cases --library torch
    """
    from xentcli.cli.output import to_stdout
    from xentcli.load import sources

    if names and any((search, finding, library)):
        raise XentError("--search, --finding and --library list cases; give them or a name")
    if names[:1] == ("show",):
        if len(names) != 2:  # noqa: PLR2004 - the word and a name
            raise XentError("xent cases show NAME prints the file of one case")
        to_stdout(sources.find_bundled(names[1]).read_text(encoding="utf-8"))
        return 0
    if names:
        show_pages("case", names, form)
        return 0
    from xentcli import atlas
    from xentcli.show import render
    from xentcli.show.listings import case_sheets

    entries = atlas.entries()
    left_out = len(sources.bundled()) - len(entries)
    if search is not None:
        entries, has_all = atlas.search(entries, search)
        if not has_all:
            few = "these have most" if entries else "none has one"
            click.echo(printable_lines(f"no case has all the words of '{search}'; {few} of them"), err=True)
    if library is not None:
        entries = atlas.by_library(entries, library)
    if finding is not None:
        entries = atlas.by_finding(entries, finding)
    to_stdout(render(case_sheets(entries, form), form, screen(None)))
    note_skipped(left_out)
    return 0 if entries else 1

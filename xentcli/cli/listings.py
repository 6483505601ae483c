"""identify, methods, findings, cases: what xent knows, looked up; new: a case to start from."""

import click

from xentcli.cli.options import complete_bundled, format_option, note_left_out, option
from xentcli.cli.screen import screen
from xentcli.words import LISTING_FORMATS


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
    from xentcli import identify, show
    from xentcli.cli import output

    candidates = identify.identify(value)
    output.to_stdout(show.identify(value, candidates, form, screen(None)))
    return 0 if candidates else 1


@click.command()
@format_option(*LISTING_FORMATS, variable="XENT_METHODS_FORMAT")
def methods(form: str) -> None:
    """List the methods: formula, labels taken, dtype of the losses; and those of real frameworks.

    \b
    Example:
      xent methods --format markdown
    """
    from xentcli import show
    from xentcli.cli import output
    from xentcli.show import listed

    output.to_stdout(show.render(listed.of_methods(), form, screen(None)))


@click.command()
@format_option(*LISTING_FORMATS, variable="XENT_FINDINGS_FORMAT")
def findings(form: str) -> None:
    """List the findings: cause, remedy and source of what goes wrong.

    \b
    Example:
      xent findings --format json
    """
    from xentcli import show
    from xentcli.cli import output
    from xentcli.show import listed

    output.to_stdout(show.render([listed.of_findings()], form, screen(None)))


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
    from xentcli import atlas, show
    from xentcli.cli import output
    from xentcli.load import sources
    from xentcli.show import listed

    found = atlas.entries()
    note_left_out(len(sources.bundled()) - len(found))
    if search is not None:
        found, all_words = atlas.search(found, search)
        if not all_words:
            few = "these have most" if found else "none has one"
            click.echo(f"no case has all the words of '{search}'; {few} of them", err=True)
    if library is not None:
        found = atlas.of_library(found, library)
    if finding is not None:
        found = atlas.showing(found, finding)
    output.to_stdout(show.render(listed.of_cases(found, form), form, screen(None)))
    return 0 if found else 1


@cases.command("show")
@click.argument("name", shell_complete=complete_bundled)
def show_case(name: str) -> None:
    """Print the file of a bundled case, to read or to start from.

    \b
    Example:
      xent cases show abnormal > mine.yaml
    """
    from xentcli.cli import output
    from xentcli.load import sources

    output.to_stdout(sources.find_bundled(name).read_text(encoding="utf-8"))


@click.command()
@click.argument("file", type=click.Path(path_type=str))
@option(
    "--from",
    "dump",
    metavar="DUMP",
    type=click.Path(path_type=str),
    variable="XENT_FROM",
    help="Take the arrays logits, labels and probabilities of this .npz file.",
)
def new(file: str, dump: str | None) -> None:
    """Write a case to start from to FILE (- for standard output), which must not exist yet.

    \b
    Examples:
      xent new mine.yaml
      xent new --from dump.npz mine.yaml
    """
    from pathlib import Path

    from xentcli import new
    from xentcli.cli import output
    from xentcli.errors import XentError

    if file != "-" and Path(file).exists():
        raise XentError(f"{file}: exists already; name a new file")
    text = new.TEMPLATE if dump is None else new.from_dump(dump)
    with output.opened(file) as write:
        write(text)
    if "bad_labels:" in text:
        click.echo("some labels are out of range; bad_labels in the case says what they count for", err=True)
    if file != "-":
        click.echo(f"wrote {file}; 'xent run {file}' runs it", err=True)

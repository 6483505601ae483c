"""identify, methods, findings, cases: what xent knows, looked up."""

import click

from xentcli.cli.options import complete_bundled, format_option
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
    from xentcli import identify, output, show

    candidates = identify.identify(value)
    output.to_stdout(show.identify(value, candidates, form, screen(None)))
    return 0 if candidates else 1


@click.command()
@format_option(*LISTING_FORMATS, variable="XENT_METHODS_FORMAT")
def methods(form: str) -> None:
    """List the methods: formula, labels taken, dtype of the losses.

    \b
    Example:
      xent methods --format markdown
    """
    from xentcli import output, show
    from xentcli.show import sheets

    output.to_stdout(show.render([sheets.of_methods()], form, screen(None)))


@click.command()
@format_option(*LISTING_FORMATS, variable="XENT_FINDINGS_FORMAT")
def findings(form: str) -> None:
    """List the findings: cause, remedy and source of what goes wrong.

    \b
    Example:
      xent findings --format json
    """
    from xentcli import output, show
    from xentcli.show import sheets

    output.to_stdout(show.render([sheets.of_findings()], form, screen(None)))


@click.group(invoke_without_command=True)
@format_option(*LISTING_FORMATS, variable="XENT_CASES_FORMAT")
@click.pass_context
def cases(context: click.Context, form: str) -> None:
    """List the bundled cases; 'xent cases show NAME' prints the file of one.

    \b
    Examples:
      xent cases
      xent cases show abnormal > mine.yaml
    """
    if context.invoked_subcommand is not None:
        return
    from xentcli import load, output, show, sources
    from xentcli.show import sheets

    found, problems = sources.read_all(())
    output.to_stdout(show.render([sheets.of_cases(load.load_all(found, problems))], form, screen(None)))


@cases.command("show")
@click.argument("name", shell_complete=complete_bundled)
def show_case(name: str) -> None:
    """Print the file of a bundled case, to read or to start from.

    \b
    Example:
      xent cases show abnormal > mine.yaml
    """
    from xentcli import output, sources

    output.to_stdout(sources.find_bundled(name).read_text(encoding="utf-8"))

"""The commands: parse, call the pipeline, print, exit code. The only file that imports click.

What a command needs is imported inside it, so that ``--help`` starts as fast as click itself.
"""

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from xentcli import __version__
from xentcli.errors import XentError
from xentcli.words import ARITHMETICS, DTYPES, FORMATS, LISTING_FORMATS, REDUCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.shell_completion import CompletionItem

    from xentcli.load import Overrides
    from xentcli.model import Result
    from xentcli.output import Write
    from xentcli.show import Screen

_EXIT_DIFFERS, _EXIT_REFUSED, _EXIT_INTERRUPTED = 1, 2, 130
_HELP_WIDTH = 100
_EPILOG = """\b
Exit codes: 0 all that was expected was reproduced, 1 something was not,
2 bad usage or bad input, 130 interrupted."""


def main() -> int:
    """Run the command line; every refusal ends here as one message on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal shows é as \xe9
    try:
        code = xent.main(prog_name="xent", standalone_mode=False, terminal_width=min(_width(), _HELP_WIDTH))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return _EXIT_INTERRUPTED
    except XentError as error:
        click.echo(str(error), err=True)
        return _EXIT_REFUSED
    return code if isinstance(code, int) else 0


def _complete_case(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    from xentcli.sources import bundled

    names = [CompletionItem(file.stem) for file in bundled() if file.stem.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def _complete_bundled(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from xentcli.sources import bundled

    return [file.stem for file in bundled() if file.stem.startswith(incomplete)]


def _complete_methods(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from xentcli.methods import GROUPS, METHOD_NAMES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in (*METHOD_NAMES, *GROUPS) if name.startswith(last)]


def _options(*options: "Callable[[Any], Any]") -> "Callable[[Any], Any]":
    """Stack options in the order in which help shows them."""

    def decorate(command: Any) -> Any:  # noqa: ANN401 - click decorates functions and commands alike
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _option(*names: str, **settings: Any) -> "Callable[[Any], Any]":  # noqa: ANN401 - click's own
    """Make an option that can be set as XENT_… too."""
    variable = "XENT_" + names[0].removeprefix("--").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


_cases_argument = click.argument("cases", metavar="[CASE]...", nargs=-1, shell_complete=_complete_case)
_format_option = _option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How results are written.",
)
_output_option = _option("--output", "-o", metavar="FILE", help="Write results to FILE, whole or not at all.")
_override_options = _options(
    _option(
        "--methods",
        metavar="NAMES",
        help="Run these methods or groups, such as naive,dense or all.",
        shell_complete=_complete_methods,
    ),
    _option("--dtype", type=click.Choice(DTYPES), help="Round everything to this format."),
    _option("--arithmetic", type=click.Choice(ARITHMETICS), help="Carry out exp, log, sums and division so."),
    _option("--reduction", type=click.Choice(REDUCTIONS), help="Reduce the losses so."),
)


@click.group(
    epilog=_EPILOG,
    context_settings={"auto_envvar_prefix": "XENT", "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def xent() -> None:
    """Reproduce softmax cross-entropy experiments to the digit.

    \b
    Examples:
      xent run abnormal                      a bundled case
      xent run cases/ --format json          every case of a folder, for a program
      xent compare --methods all             cases down, methods across
    """


@xent.command(epilog=_EPILOG)
@_cases_argument
@_override_options
@_format_option
@_output_option
@_option("--verbose", "-v", is_flag=True, help="Show a table a case and every digit, however many cases.")
def run(cases: tuple[str, ...], form: str, output: str | None, verbose: bool, **overrides: str | None) -> int:
    """Run cases and say whether the numbers their source printed come out.

    CASE is a file, a folder, the name of a bundled case, or - for standard input. Options that change a
    case set its expectations aside: they are shown, and the exit code is 0.

    \b
    Examples:
      xent run cases/abnormal.yaml
      xent run abnormal --methods naive,sparse --dtype float64 --arithmetic numpy
      xent run - < case.yaml
    """
    if not cases:
        raise click.UsageError("name a case: a file, a folder, a bundled case (see 'xent cases'), or -")

    def show(results: "Sequence[Result]") -> str:
        from xentcli import show

        return show.run(results, form, _screen(output), verbose)

    return _pipeline(cases, overrides, output, show)


@xent.command(epilog=_EPILOG)
@_cases_argument
@_override_options
@_format_option
@_output_option
def compare(cases: tuple[str, ...], form: str, output: str | None, **overrides: str | None) -> int:
    """Compare methods: cases down, methods across; without CASE, all bundled cases.

    \b
    Examples:
      xent compare --methods all
      xent compare mine.yaml abnormal --format markdown -o table.md
    """

    def show(results: "Sequence[Result]") -> str:
        from xentcli import show

        return show.compare(results, form, _screen(output))

    return _pipeline(cases, overrides, output, show)


_listing_option = _option(
    "--format",
    "form",
    type=click.Choice(LISTING_FORMATS),
    default="table",
    show_default=True,
    help="How the list is written.",
)


@xent.command()
@_listing_option
def methods(form: str) -> None:
    """List the methods: formula, labels taken, dtype of the losses."""
    from xentcli import output, show
    from xentcli.show import sheets

    output.to_stdout(show.render([sheets.of_methods()], form, _screen(None)))


@xent.group(invoke_without_command=True)
@_listing_option
@click.pass_context
def cases(context: click.Context, form: str) -> None:
    """List the bundled cases; 'xent cases show NAME' prints the file of one."""
    if context.invoked_subcommand is not None:
        return
    from xentcli import load, output, show, sources
    from xentcli.show import sheets

    found, problems = sources.read_all(())
    output.to_stdout(show.render([sheets.of_cases(load.load_all(found, problems))], form, _screen(None)))


@cases.command("show")
@click.argument("name", shell_complete=_complete_bundled)
def show_case(name: str) -> None:
    """Print the file of a bundled case, to read or to start from.

    \b
    Example:
      xent cases show abnormal > mine.yaml
    """
    from xentcli import output, sources

    output.to_stdout(sources.find_bundled(name).read_text(encoding="utf-8"))


def _pipeline(
    cases: tuple[str, ...],
    overrides: dict[str, str | None],
    output: str | None,
    show: "Callable[[Sequence[Result]], str]",
) -> int:
    """Load → run → judge → show; the output file is tried first, and every case read before anything runs."""
    from xentcli import output as outputs
    from xentcli.load import Overrides

    with outputs.opened(output) as write:
        results = _results(cases, Overrides(**overrides), write, show)
    from xentcli.show.sheets import closing

    click.echo(closing(results), err=True)
    return 0 if all(result.as_expected for result in results) else _EXIT_DIFFERS


def _results(
    cases: tuple[str, ...], overrides: "Overrides", write: "Write", show: "Callable[[Sequence[Result]], str]"
) -> "list[Result]":
    from xentcli import load, sources
    from xentcli.judge import judge
    from xentcli.methods import select
    from xentcli.run import methods_of, observe, run

    chosen = None if overrides.methods is None else select(overrides.methods)
    found, problems = sources.read_all(cases)
    loaded = load.load_all(found, problems, overrides)
    results = [judge(case, run(case, chosen or methods_of(case)), observe(case)) for case in loaded]
    write(show(results))
    return results


def _screen(output: str | None) -> "Screen":
    """Say what the results are read on: the terminal, or a file or pipe that takes no boxes and colours."""
    from xentcli.show import Screen

    forced = bool(os.environ.get("FORCE_COLOR"))
    capable = os.environ.get("TERM", "") not in ("dumb", "unknown")
    terminal = output in (None, "-") and (forced or _isatty(sys.stdout)) and capable
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return Screen(
        width=_width(),
        boxes=terminal,
        colour=terminal and not os.environ.get("NO_COLOR"),
        unicode=encoding.startswith("utf"),
    )


def _width() -> int:
    """Return the columns of the terminal (shutil's own function would cost --help 6 ms of imports)."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80 if sys.__stdout__ else 80
    except (OSError, ValueError):
        return 80


def _isatty(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()

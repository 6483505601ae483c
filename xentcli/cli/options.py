"""The options and arguments that commands share; each option is a variable XENT_… too."""

import sys
from typing import TYPE_CHECKING, Any

import click

from xentcli.errors import count, printable, printable_lines
from xentcli.words import ARITHMETICS, DTYPES, FORMATS, REDUCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from click.shell_completion import CompletionItem

EPILOG = """\b
Exit codes: 0 all that was expected was reproduced, 1 something was not,
2 bad usage or bad input, 130 interrupted. Each option can be set as a
variable: XENT_METHODS is --methods."""
_QUIET = "xent.quiet"
# By the suffix of -o.
_FORMAT_OF = {
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".xml": "junit",
    ".html": "html",
    ".htm": "html",
    ".svg": "svg",
    ".png": "png",
}


def complete_case(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete a bundled name, else a file."""
    from click.shell_completion import CompletionItem

    from xentcli.load.sources import bundled

    names = [CompletionItem(file.stem) for file in bundled() if file.stem.startswith(incomplete)]
    # Click's bash script drops words that stand beside an item of type file: one or the other.
    return names if incomplete and names else [CompletionItem(incomplete, type="file")]


def complete_methods(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last name of a list of methods."""
    from xentcli.frameworks import NAMES
    from xentcli.methods.table import GROUPS, METHOD_NAMES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in (*METHOD_NAMES, *GROUPS, *NAMES) if name.startswith(last)]


def note(sentence: str) -> None:
    """Print a sentence beside the results, on standard error; --quiet silences it."""
    if not is_quiet():
        click.echo(printable_lines(sentence), err=True)


def command_line() -> str:
    """Return what was typed, as a shell takes it, on one line."""
    import shlex

    return printable(shlex.join(["xent", *sys.argv[1:]]))


def is_quiet() -> bool:
    """Whether --quiet was given."""
    return bool(click.get_current_context().meta.get(_QUIET))


def note_skipped(cases: int) -> None:
    """Say how many cases of a folder need bfloat16, which is not installed."""
    if cases:
        note(f"{count(cases, 'case')} skipped: bfloat16 needs ml_dtypes (pip install ml_dtypes)")


def note_not_installed() -> None:
    """Say which frameworks are not installed."""
    from xentcli import frameworks

    missing = [f"{library.name} (extra {library.extra})" for library in frameworks.not_installed()]
    if missing:
        note(f"not installed: {', '.join(missing)}")


def options(*options: "Callable[[Any], Any]") -> "Callable[[Any], Any]":
    """Stack options in the order in which help shows them."""

    def decorate(command: Any) -> Any:  # noqa: ANN401 - click decorates functions and commands alike
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def option(
    *names: str,
    variable: str | None = None,
    **settings: Any,  # noqa: ANN401 - whatever click.option takes
) -> "Callable[[Any], Any]":
    """Make an option that can be set as a variable too: XENT_ and its name, unless another is given."""
    name = variable or "XENT_" + names[0].removeprefix("--").upper().replace("-", "_")
    return click.option(*names, envvar=name, **settings)


def format_option(*formats: str, variable: str | None = None) -> "Callable[[Any], Any]":
    """Make the option of how results are written, of all formats or of some."""
    return option(
        "--format",
        "form",
        variable=variable,
        type=click.Choice(formats or FORMATS),
        callback=_format,
        help="How results are written.  [default: by the suffix of -o, else table]",
    )


def _format(context: click.Context, parameter: click.Parameter, chosen: str | None) -> str:
    """Return the format: the one chosen, else that of the output file's suffix, else a table."""
    known = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
    return chosen or format_of(context.params.get("output"), known)


def format_of(output: str | None, known: "Collection[str]") -> str:
    """Return the format that the suffix of an output file stands for, where it is known; else a table."""
    name = output or ""
    by_suffix = _FORMAT_OF.get(name[name.rfind(".") :], "table")  # pathlib would cost --help 3 ms
    return by_suffix if by_suffix in known else "table"


def _keep_quiet(context: click.Context, _: click.Parameter, is_quiet: bool) -> None:
    context.meta[_QUIET] = is_quiet


cases_argument = click.argument("cases", metavar="[CASE]...", nargs=-1, shell_complete=complete_case)
output_option = options(
    option(
        "--output",
        "-o",
        metavar="FILE",
        is_eager=True,  # its suffix decides the format
        help="Write results to FILE, whole or not at all.",
    ),
    click.option(
        "--quiet",
        "-q",
        is_flag=True,
        expose_value=False,
        callback=_keep_quiet,
        help="Print no notes.",
    ),
)
force_option = click.option("--force", is_flag=True, help="Replace what exists already.")
verbose_option = option("--verbose", "-v", is_flag=True, help="Show every digit, however many cases.")
number_options = options(
    option("--dtype", type=click.Choice(DTYPES), help="Round everything to this format."),
    option("--arithmetic", type=click.Choice(ARITHMETICS), help="Carry out exp, log, sums and division so."),
)
override_options = options(
    option(
        "--methods",
        metavar="NAMES",
        help="Run these methods or groups, such as naive,dense or all; also torch, or mine.py:loss.",
        shell_complete=complete_methods,
    ),
    number_options,
    option("--reduction", type=click.Choice(REDUCTIONS), help="Reduce the losses so."),
)

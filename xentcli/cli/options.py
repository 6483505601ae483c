"""The options and arguments that commands share; each option is a variable XENT_… too."""

from typing import TYPE_CHECKING, Any

import click

from xentcli.errors import count
from xentcli.words import ARITHMETICS, DTYPES, FORMATS, REDUCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

EPILOG = """\b
Exit codes: 0 all that was expected was reproduced, 1 something was not,
2 bad usage or bad input, 130 interrupted."""


def complete_case(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete a bundled name, else a file."""
    from click.shell_completion import CompletionItem

    from xentcli.load.sources import bundled

    names = [CompletionItem(file.stem) for file in bundled() if file.stem.startswith(incomplete)]
    # Click's bash script drops words that stand beside an item of type file: one or the other.
    return names if incomplete and names else [CompletionItem(incomplete, type="file")]


def complete_bundled(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete a bundled name."""
    from xentcli.load.sources import bundled

    return [file.stem for file in bundled() if file.stem.startswith(incomplete)]


def complete_methods(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last name of a list of methods."""
    from xentcli.frameworks import NAMES
    from xentcli.methods.table import GROUPS, METHOD_NAMES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in (*METHOD_NAMES, *GROUPS, *NAMES) if name.startswith(last)]


def note_skipped(cases: int) -> None:
    """Say how many cases of a folder need bfloat16, which is not installed."""
    if cases:
        click.echo(
            f"{count(cases, 'case')} skipped: bfloat16 needs ml_dtypes (pip install ml_dtypes)", err=True
        )


def note_not_installed() -> None:
    """Say which frameworks are not installed."""
    from xentcli import frameworks

    missing = [f"{library.name} (extra {library.extra})" for library in frameworks.not_installed()]
    if missing:
        click.echo(f"not installed: {', '.join(missing)}", err=True)


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
    return click.option(*names, envvar=name, show_envvar=True, **settings)


def format_option(*formats: str, variable: str | None = None) -> "Callable[[Any], Any]":
    """Make the option of how results are written, of all formats or of some."""
    return option(
        "--format",
        "form",
        variable=variable,
        type=click.Choice(formats or FORMATS),
        default="table",
        show_default=True,
        help="How results are written.",
    )


cases_argument = click.argument("cases", metavar="[CASE]...", nargs=-1, shell_complete=complete_case)
output_option = option("--output", "-o", metavar="FILE", help="Write results to FILE, whole or not at all.")
verbose_option = option("--verbose", "-v", is_flag=True, help="Show every digit, however many cases.")
number_options = options(
    option("--dtype", type=click.Choice(DTYPES), help="Round everything to this format."),
    option("--arithmetic", type=click.Choice(ARITHMETICS), help="Carry out exp, log, sums and division so."),
)
override_options = options(
    option(
        "--methods",
        metavar="NAMES",
        help="Run these methods or groups, such as naive,dense or all, or real frameworks, such as torch.",
        shell_complete=complete_methods,
    ),
    number_options,
    option("--reduction", type=click.Choice(REDUCTIONS), help="Reduce the losses so."),
)

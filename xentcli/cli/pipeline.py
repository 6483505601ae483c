"""run, compare, explain: the pipeline from what is named to what is shown."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.options import (
    EPILOG,
    cases_argument,
    complete_case,
    complete_methods,
    format_option,
    note_left_out,
    note_not_installed,
    number_options,
    option,
    output_option,
    override_options,
)
from xentcli.cli.screen import screen
from xentcli.errors import XentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xentcli.judge import Result
    from xentcli.load import Overrides
    from xentcli.model import Case, Outcome

_EXIT_DIFFERS = 1


@click.command(epilog=EPILOG)
@cases_argument
@override_options
@format_option()
@output_option
@option("--verbose", "-v", is_flag=True, help="Show a table a case and every digit, however many cases.")
def run(cases: tuple[str, ...], form: str, output: str | None, verbose: bool, **overrides: str | None) -> int:
    """Run cases; say whether the numbers their source printed come out, and whether they are true.

    CASE is a file, a folder, the name of a bundled case, or - for standard input. Options that change a
    case set its expectations aside: they are shown, and the exit code is 0.

    \b
    Examples:
      xent run cases/abnormal.yaml
      xent run abnormal --methods naive,log1p --dtype float64 --arithmetic numpy
      xent run - < case.yaml
    """
    if not cases:
        raise click.UsageError("name a case: a file, a folder, a bundled case (see 'xent cases'), or -")

    def show(results: "Sequence[Result]") -> str:
        from xentcli import show

        return show.run(results, form, screen(output), verbose)

    return _pipeline(cases, overrides, output, show)


@click.command(epilog=EPILOG)
@cases_argument
@override_options
@format_option()
@output_option
def compare(cases: tuple[str, ...], form: str, output: str | None, **overrides: str | None) -> int:
    """Compare methods: cases down, the truth and methods across; without CASE, all bundled cases.

    \b
    Examples:
      xent compare --methods all
      xent compare mine.yaml abnormal --format markdown -o table.md
    """

    def show(results: "Sequence[Result]") -> str:
        from xentcli import show

        return show.compare(results, form, screen(output))

    return _pipeline(cases, overrides, output, show)


@click.command()
@click.argument("case", shell_complete=complete_case)
@option(
    "--method",
    metavar="NAME",
    help="The method; else the first that is wrong.",
    shell_complete=complete_methods,
)
@option("--example", metavar="N", type=int, help="From 0; else the first that is wrong.")
@number_options
@format_option("table", "plain", "json", variable="XENT_EXPLAIN_FORMAT")
@output_option
def explain(
    case: str, method: str | None, example: int | None, form: str, output: str | None, **overrides: str | None
) -> None:
    """Show a method step by step, where the first infinity and nan are born, the cause and the remedy.

    \b
    Examples:
      xent explain abnormal --method naive
      xent explain mine.yaml --example 3 --dtype float16
    """
    from xentcli import explain, frameworks, show
    from xentcli.cli import output as outputs
    from xentcli.methods.table import select

    if method in frameworks.NAMES:
        raise XentError(f"explain follows xent's own methods step by step; {method} shows its result only")
    if method is not None and len(select(method)) > 1:
        raise XentError(f"explain takes one method, not the group '{method}'")
    chosen = _checked({**overrides, "methods": method})
    with outputs.opened(output) as write:
        results = _results((case,), chosen, output)
        explanations = [explain.explain(result, method, example) for result in results]
        write(show.explain(explanations, form, screen(output)))


def _pipeline(
    cases: tuple[str, ...],
    overrides: dict[str, str | None],
    output: str | None,
    show: "Callable[[Sequence[Result]], str]",
) -> int:
    """Load → run → judge → show; the output file is tried first, and every case read before anything runs."""
    from xentcli.cli import output as outputs

    chosen = _checked(overrides)
    with outputs.opened(output) as write:
        results = _results(cases, chosen, output)
        write(show(results))
    from xentcli.show.sheets import closing

    click.echo(closing(results), err=True)
    return 0 if all(result.as_expected for result in results) else _EXIT_DIFFERS


def _checked(overrides: dict[str, str | None]) -> "Overrides":
    """Refuse options that cannot go together."""
    from xentcli.load import Overrides
    from xentcli.methods import arithmetic

    chosen = Overrides(**overrides)
    if chosen.arithmetic and chosen.dtype:
        arithmetic.get(chosen.arithmetic, chosen.dtype)
    return chosen


def _results(cases: tuple[str, ...], overrides: "Overrides", output: str | None) -> "list[Result]":
    """Read every case, refuse to replace one with its results, then run and judge."""
    from xentcli import frameworks, load
    from xentcli.cli import output as outputs
    from xentcli.load import sources
    from xentcli.methods.table import select
    from xentcli.run import evaluate

    theirs, own = frameworks.select(overrides.methods or "")
    only_theirs = bool(theirs) and not own
    chosen = () if only_theirs else None if overrides.methods is None else select(own)
    found, problems = sources.read_all(cases)
    if outputs.is_input(output, [source.path for source in found]):
        raise XentError(f"{output}: is one of the cases; write the results elsewhere")
    loaded: list[Case] = load.load_all(found, problems, overrides)
    note_left_out(len(found) - len(loaded))
    others: Sequence[tuple[Outcome, ...]] = [()] * len(loaded)
    if theirs:
        from xentcli.frameworks import bounded

        if frameworks.GROUP in map(str.strip, (overrides.methods or "").split(",")):
            note_not_installed()
        others = bounded.run(loaded, theirs)
    return [evaluate(case, chosen, other) for case, other in zip(loaded, others, strict=True)]

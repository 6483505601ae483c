"""explain: one method step by step."""

import click

from xentcli.cli.options import (
    complete_case,
    complete_methods,
    format_option,
    number_options,
    option,
    output_option,
)
from xentcli.cli.results import checked_overrides, evaluate_all
from xentcli.cli.screen import screen
from xentcli.errors import XentError


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
    """Show a method step by step, where the first infinity and nan start, the cause and the remedy.

    \b
    Examples:
      xent explain abnormal --method naive
      xent explain mine.yaml --example 3 --dtype float16
    """
    from xentcli import frameworks
    from xentcli.cli import output as outputs
    from xentcli.explain import explain as explained
    from xentcli.methods.table import select
    from xentcli.show.explanations import render

    if method in frameworks.NAMES or ":" in (method or ""):
        raise XentError(f"explain follows xent's own methods step by step; {method} shows its result only")
    if method is not None and len(select(method, frameworks.NAMES)) > 1:
        raise XentError(f"explain expects one method, not the group '{method}'")
    chosen = checked_overrides({**overrides, "methods": method})
    with outputs.opened(output) as write:
        results, _ = evaluate_all((case,), chosen, output)
        explanations = [explained(result, method, example) for result in results]
        write(render(explanations, form, screen(output)))

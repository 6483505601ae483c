"""identify: what a loss that does not move may mean."""

import click

from xentcli.cli.options import format_option
from xentcli.cli.screen import screen
from xentcli.errors import printable


def sizes(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read whole numbers with an x between them, the shape of a batch of labels."""
    return None if text is None else _numbers(text, 4, "is no shape; write whole numbers as in 4x896")


def number(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Read one whole number, at least 1."""
    return None if text is None else _numbers(text, 1, "is no whole number from 1 to 999999999")[0]


def _numbers(text: str, most: int, problem: str) -> tuple[int, ...]:
    import re

    if not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8})*", text, re.ASCII) or text.count("x") >= most:
        raise click.BadParameter(f"'{printable(text)}' {problem}")
    return tuple(map(int, text.split("x")))


@click.command(context_settings={"ignore_unknown_options": True})  # a loss may begin with a minus
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.option("--true", metavar="LOSS", help="Name the factor or summand between VALUE and this true loss.")
@click.option("--batch", metavar="NxT", callback=sizes, help="The shape of a batch of labels, such as 4x896.")
@click.option("--valid", metavar="N", callback=number, help="How many labels count, or num_items_in_batch.")
@click.option("--ranks", metavar="N", callback=number, help="How many processes train.")
@click.option("--accumulation", metavar="N", callback=number, help="How many steps are accumulated.")
@click.option("--vocabulary", metavar="N", callback=number, help="How many classes there are.")
@format_option("table", "plain", "json", variable="XENT_IDENTIFY_FORMAT")
def identify(  # noqa: PLR0913, PLR0917 - each is an option
    values: tuple[str, ...],
    true: str | None,
    batch: tuple[int, ...] | None,
    valid: int | None,
    ranks: int | None,
    accumulation: int | None,
    vocabulary: int | None,
    form: str,
) -> int:
    """Say what a loss that does not move may mean; VALUE as it was printed, all its digits.

    What a run shows, such as --ranks, names the denominators that explain VALUE; - as VALUE reads values from
    standard input. Exits with 0 where something fits every value and with 1 else.

    \b
    Examples:
      xent identify 16.118
      xent identify 8.05904787 2.302585
      xent identify 47.88 --true 11.97
      xent identify 8.164 --true 10.0 --batch 4x896 --valid 4390
    """
    import sys

    from xentcli.cli.output import to_stdout
    from xentcli.identify import identify as candidates_for
    from xentcli.identify.denominators import Run
    from xentcli.show.candidates import render

    typed = [word for value in values for word in (sys.stdin.read().split() if value == "-" else [value])]
    run = Run(batch, valid, ranks, accumulation, vocabulary)
    found = [(value, candidates_for(value, true, run)) for value in typed]
    to_stdout(render(found, form, screen(None)))
    return 0 if all(candidates for _, candidates in found) else 1

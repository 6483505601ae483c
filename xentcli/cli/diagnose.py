"""diagnose: which findings the rows of a dump of logits have."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.options import format_option, option, output_option
from xentcli.cli.screen import screen
from xentcli.errors import XentError
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.diagnose.survey import Survey

_EXIT_INVALID, _EXIT_INTERRUPTED = 1, 130
_EPILOG = """\b
Exit codes: 0 every row has a loss, 1 some have none (nan, +inf, nothing but -inf, an invalid
label), 2 bad usage or bad input, 130 interrupted; what was read until then is shown."""


@click.command(epilog=_EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=str))
@option("--labels", multiple=True, metavar="FILE", help="Class indices (N,); one file per file of logits.")
@option("--ignore-index", type=int, help="The label of rows to ignore (default: -100).")
@option("--case", "case", metavar="CASE", help="Take ignore_index and clip from this case.")
@option("--extract", metavar="FILE", help="Write the worst rows as a case, with as few classes as show it.")
@option(
    "--rows",
    "most",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="K",
    help="How many of the worst rows to show and extract.",
)
@format_option("table", "plain", "json", variable="XENT_DIAGNOSE_FORMAT")
@output_option
def diagnose(  # noqa: PLR0913, PLR0917 - click hands over every option
    files: tuple[str, ...],
    labels: tuple[str, ...],
    ignore_index: int | None,
    case: str | None,
    extract: str | None,
    most: int,
    form: str,
    output: str | None,
) -> int:
    """Say what is in a dump of logits, which findings its rows have, and which rows are the worst.

    FILE is a .npy, .npz or .safetensors of logits (N, C), or a pattern in quotes; several are shards of one
    dump. An .npz or .safetensors may hold labels too.

    \b
    Examples:
      xent diagnose logits.npy --labels labels.npy
      xent diagnose "shards/*.npy" --labels "labels/*.npy" --format json
      xent diagnose step-1200.npz --extract worst.yaml --rows 3
    """
    from contextlib import ExitStack

    from xentcli import show
    from xentcli.cli import output as outputs
    from xentcli.diagnose.extract import extracted
    from xentcli.diagnose.summary import summarise
    from xentcli.show.diagnosed import closing

    for name in (output, extract):
        if outputs.is_input(name, [*files, *labels]):
            raise XentError(f"{name}: is one of the dumps; write the results elsewhere")
    with ExitStack() as stack:
        write = stack.enter_context(outputs.opened(output))
        keep = None if extract is None else stack.enter_context(outputs.opened(extract))
        diagnosis = summarise(_surveyed(files, labels, ignore_index, case), most)
        write(show.diagnose(diagnosis, form, screen(output)))
        if keep is not None:
            keep(extracted(diagnosis))
    if extract not in {None, "-"}:
        click.echo(f"wrote {extract}; 'xent run {extract} --methods all' runs it", err=True)
    click.echo(closing(diagnosis), err=True)
    if not diagnosis.survey.complete:
        return _EXIT_INTERRUPTED
    return _EXIT_INVALID if any(rule.is_invalid for rule in diagnosis.rules) else 0


def _surveyed(
    files: tuple[str, ...], labels: tuple[str, ...], ignore_index: int | None, case: str | None
) -> "Survey":
    """Read the dump, with a progress bar where somebody looks."""
    import sys

    from xentcli import load
    from xentcli.diagnose.dumps import shards
    from xentcli.diagnose.rules import rules_for
    from xentcli.diagnose.survey import survey
    from xentcli.load import sources

    clip = None
    if case is not None:
        inputs, problems = sources.read_all((case,))
        cases = load.load_all(inputs, problems)
        if len(cases) != 1:
            raise XentError(f"{case}: name one case")
        clip, ignored = cases[0].batch.clip, cases[0].batch.weighting.ignore_index
        ignore_index = ignored if ignore_index is None else ignore_index
    opened = shards(files, labels)
    rules = rules_for(str(opened[0].logits.dtype.newbyteorder("=")), clip)
    index = IGNORE_INDEX if ignore_index is None else ignore_index
    if sys.stderr is None or not sys.stderr.isatty():
        return survey(opened, index, rules)
    total = sum(shard.logits.nbytes for shard in opened)
    with click.progressbar(length=total, label="diagnosing", file=sys.stderr, width=30) as bar:
        return survey(opened, index, rules, bar.update)

"""diagnose --against: two dumps of the same rows, and what turns one into the other."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from xentcli.cli.options import option
from xentcli.errors import XentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.diagnose.dumps import Layout, Shard
    from xentcli.show.screen import Screen

AGAINST = option(
    "--against",
    multiple=True,
    metavar="FILE",
    help="Another dump of the same rows: what turns one into the other?",
)
_OTHERS = ("method", "loss", "observed", "losses", "losses_name", "extract", "resume")
_GIVEN = {click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT}


def compare(  # noqa: PLR0913, PLR0917 - a dump, another, and how to show what is found
    ours: "Sequence[Shard]",
    files: tuple[str, ...],
    layout: "Layout",
    write: Callable[[str], Any],
    form: str,
    screen: "Screen",
) -> int:
    """Show what turns a dump into that of ``files``; return 0 where they are the same, else 1."""
    from xentcli import show
    from xentcli.diagnose.against import compare_dumps
    from xentcli.diagnose.dumps import shards as open_shards

    context = click.get_current_context()
    given = [name for name in _OTHERS if context.get_parameter_source(name) in _GIVEN]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise XentError(f"--against compares logits; leave {names} out")
    if form == "html":
        raise XentError("--against has no HTML; take --format table, plain or json")
    if ours[0].is_top_k:
        raise XentError("--against needs the logits of all classes, and a top-k dump has some")
    comparison = compare_dumps(ours, open_shards(files, (), layout))
    write(show.compare_dumps(comparison, form, screen))
    return 0 if comparison.change is not None and comparison.change.name == "same" else 1

"""diagnose of a top-k dump: the options of its files, what they rule out, and the way through it."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from click.core import ParameterSource

from xentcli.cli import signals
from xentcli.cli.options import command_line, option
from xentcli.cli.scale import Scale, counting, exit_code
from xentcli.errors import XentError, printable
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.cli.output import Write
    from xentcli.diagnose.dumps import Layout, Shard
    from xentcli.show.screen import Screen

_OPTIONS = (
    option("--top-k", "is_top_k", is_flag=True, help="FILE holds the k largest logits of each row alone."),
    option(
        "--indices",
        multiple=True,
        metavar="FILE",
        help="The classes (N, k) of the k largest logits; one file per FILE.",
    ),
    option(
        "--logsumexp",
        multiple=True,
        metavar="FILE|0",
        help="The normalisers (N,), one file per FILE; 0 of log-probabilities.",
    ),
)

_NEED_ALL: Final = (
    *("method", "loss", "convention", "observed", "losses", "losses_name"),
    *("class_axis", "shift", "binary", "case", "extract"),
)
_GIVEN: Final = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


class TopKOptions(NamedTuple):
    """The options."""

    is_top_k: bool
    indices: tuple[str, ...]
    logsumexp: tuple[str, ...]

    @property
    def normalised(self) -> bool:
        """Whether values are log-probabilities."""
        return self.logsumexp == ("0",)

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The files, as ``shards`` takes them."""
        return {"indices": self.indices, "logsumexps": () if self.normalised else self.logsumexp}


def top_k_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options; the function takes them as ``top_k``."""

    @wraps(function)
    def bundled(
        *, is_top_k: bool, indices: tuple[str, ...], logsumexp: tuple[str, ...], **others: object
    ) -> int:
        return function(top_k=TopKOptions(is_top_k, indices, logsumexp), **others)

    for decorate in reversed(_OPTIONS):
        bundled = decorate(bundled)
    return bundled


def diagnose_top_k(  # noqa: PLR0913, PLR0917 - a dump, what is asked of it, and how
    shards: "Sequence[Shard]",
    layout: "Layout",
    ignore_index: int | None,
    most: int,
    scale: Scale,
    write: "Write",
    form: str,
    screen: "Screen",
) -> int:
    """Go through the dump, show what follows, and return the exit code."""
    from dataclasses import replace

    from xentcli import show
    from xentcli.diagnose.survey import TopKSurvey, go_through
    from xentcli.diagnose.top_k import TopKQuestion

    _refuse(shards[0].path)
    question = TopKQuestion(IGNORE_INDEX if ignore_index is None else ignore_index, most)
    with (
        scale.finished(layout, None, ignore_index=question.ignore_index, rows=most) as finished,
        counting(shards) as progress,
    ):
        signals.listen()  # what was read until Ctrl-C is shown, unless it comes again
        found = go_through(
            TopKSurvey,
            shards,
            question,
            progress,
            engine=scale.engine(),
            finished=finished,
            keep_going=scale.keep_going,
        )
        signals.heard()
    left_out = (*scale.left_out, *found.left_out)
    found = replace(found, left_out=left_out, notes=tuple(scale.notes))
    if form == "html":
        from xentcli.show.reports import top_k

        write(top_k.report(found, command_line()))
    else:
        write(show.diagnose_top_k(found, form, screen))
    return exit_code(found, is_wrong=found.is_wrong)


def _refuse(path: str) -> None:
    """Raise XentError where options were given that need all logits."""
    context = click.get_current_context()
    sources = {name: context.get_parameter_source(name) for name in _NEED_ALL}
    given = [f"--{name.replace('_', '-')}" for name in _NEED_ALL if sources[name] in _GIVEN]
    if given:
        need, them = ("need", "them") if len(given) > 1 else ("needs", "it")
        raise XentError(
            f"{printable(path)}: is a top-k dump, and {', '.join(given)} {need} the logits of all classes; "
            f"leave {them} out, or save all logits"
        )

"""How diagnose goes through dumps that are larger than a machine: the options, what they open, the end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, NamedTuple

from xentcli.cli.options import option
from xentcli.cli.progress import progress, waiting
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.diagnose.dumps import Layout, Shard
    from xentcli.diagnose.finished import Finished
    from xentcli.diagnose.loss import Loss
    from xentcli.diagnose.survey import AnySurvey, Engine, Part, Run

_EXIT_WRONG, _EXIT_BAD, _EXIT_INTERRUPTED = 1, 2, 130
_OPTIONS = (
    option(
        "--dask",
        metavar="WHERE",
        help="Have a cluster read FILE: local, local:N, tcp://scheduler:8786 or a scheduler file.",
    ),
    option("--allow-mixed", is_flag=True, help="Go on where workers have other versions or processors."),
    option("--keep-going", is_flag=True, help="Leave out a FILE that cannot be read, and say so."),
    option("--resume", metavar="FILE", help="Keep what is known of whole files here, and begin with it."),
)


class Scale(NamedTuple):
    """The options. ``left_out`` and ``notes`` are what there is to say of the run at its end."""

    dask: str | None
    allow_mixed: bool
    keep_going: bool
    resume: str | None
    left_out: list[tuple[str, str]]
    notes: list[str]

    def check(self, loss: str | None) -> None:
        """Raise XentError for options that do not go together; ``loss`` is a function that is called."""
        if self.allow_mixed and self.dask is None:
            raise XentError("--allow-mixed needs --dask")
        if loss is not None and self.dask is not None:
            raise XentError("--dask and --loss: a function is called on this machine alone; leave one out")
        if loss is not None and self.resume is not None:
            raise XentError("--resume and --loss: what a function gives may change; leave one out")

    def engine(self) -> "Engine | None":
        """Return what has a cluster read the dump, None for the threads of this process."""
        return None if self.dask is None else partial(self._by_cluster, self.dask)

    def _by_cluster(self, where: str, parts: "Sequence[Part]", run: "Run") -> None:
        if not parts:  # all is known from an earlier run
            return
        from xentcli.diagnose import cluster

        stack = ExitStack()
        try:
            with waiting(f"waiting for the workers of {printable(where)}"):
                client = stack.enter_context(cluster.connected(where))
            cluster.by_cluster(client, allow_mixed=self.allow_mixed, notes=self.notes)(parts, run)
        finally:
            with waiting("leaving the cluster"):
                stack.close()

    @contextmanager
    def finished(self, layout: "Layout", loss: "Loss | None", **asked: object) -> "Iterator[Finished | None]":
        """Open the file of finished shards, if there is one; ``asked`` are further options that matter."""
        if self.resume is None:
            yield None
            return
        from dataclasses import asdict

        from xentcli.diagnose.cluster import programs
        from xentcli.diagnose.finished import Finished

        options = {f"--{name.replace('_', '-')}": value for name, value in (asdict(layout) | asked).items()}
        method = {"loss": None if loss is None else loss.name}
        with Finished(self.resume, {**options, **method, **programs()}) as finished:
            yield finished


def scale_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options; the function takes them as ``scale``."""

    @wraps(function)
    def bundled(
        *, dask: str | None, allow_mixed: bool, keep_going: bool, resume: str | None, **others: object
    ) -> int:
        return function(scale=Scale(dask, allow_mixed, keep_going, resume, [], []), **others)

    for decorate in reversed(_OPTIONS):
        bundled = decorate(bundled)
    return bundled


@contextmanager
def counting(shards: "Sequence[Shard]", doing: str = "diagnosing") -> "Iterator[Callable[[int], None]]":
    """Yield what takes how many rows were read, and shows how far that is."""
    total, read = max(1, sum(len(shard.logits) for shard in shards)), 0
    with progress(doing) as show:

        def count_rows(number: int) -> None:
            nonlocal read
            read += number
            show(read / total)

        yield count_rows


def exit_code(survey: "AnySurvey", *, is_wrong: bool) -> int:
    """Return the exit code; raises what stopped the pass."""
    if survey.stopped is not None:
        raise survey.stopped
    if not survey.complete:
        return _EXIT_INTERRUPTED
    if survey.left_out:
        return _EXIT_BAD
    return _EXIT_WRONG if is_wrong else 0

"""One pass over the rows of all shards: threads or a cluster sum parts up, which are merged as they come."""

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from xentcli.diagnose.evaluated import rules_of
from xentcli.diagnose.files.stored import ReadError
from xentcli.diagnose.rules import RowRule, rules_for
from xentcli.diagnose.summary import Asked, Question, Summary
from xentcli.diagnose.top_k import TopK, TopKQuestion
from xentcli.errors import XentError
from xentcli.threads import for_each, processors

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Shard
    from xentcli.diagnose.finished import Finished
    from xentcli.diagnose.loss import Loss

_PART_BYTES: Final = 2**24  # of logits that a thread reads at once
_PART_ROWS: Final = 2**17  # each has some twenty numbers beside its logits
_EVALUATED: Final = 2**18  # numbers of a part that methods run on, each with as many results
_WORST: Final = 10  # rows
_READERS: Final = 2  # threads for each processor where files are far: one reads while another computes


@dataclass(frozen=True, slots=True, eq=False)
class AnySurvey:
    """A dump, what was asked of its rows, and their summary, of the kind that the question has.

    ``complete`` is False where the pass was interrupted, or stopped by ``stopped``, a file that could not be
    read any longer: the summary is then that of the rows read until then. ``left_out`` are the files of
    shards that could not be read, which are not among ``shards``, each with the message of why; ``notes`` say
    what else a reader of the report has to know.
    """

    shards: "Sequence[Shard]"
    labelled: bool
    question: Any
    summary: Any
    complete: bool
    stopped: ReadError | None = None
    left_out: "Sequence[tuple[str, str]]" = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return int(self.summary.rows)

    @property
    def total(self) -> int:
        """How many rows there are in all shards that could be read."""
        return sum(len(shard.logits) for shard in self.shards)

    @property
    def ignore_index(self) -> int:
        """The label of rows that are ignored."""
        return int(self.question.ignore_index)

    @property
    def dtype(self) -> str:
        """The format of the logits."""
        return self.shards[0].format

    def place(self, row: int) -> "tuple[Shard, int]":
        """Return the shard of a row of the dump, and its number there."""
        shard = self.shards[bisect_right([shard.first for shard in self.shards], row) - 1]
        return shard, row - shard.first


_Survey = TypeVar("_Survey", bound=AnySurvey)


@dataclass(frozen=True, slots=True, eq=False)
class Survey(AnySurvey):
    """A dump of logits, the rules that were looked at, and the summary of its rows."""

    question: Question
    summary: Summary

    @property
    def rules(self) -> tuple[RowRule, ...]:
        """The rules that were looked at."""
        return self.question.rules

    @property
    def kind(self) -> str:
        """What labels are, as ``Shard`` has it."""
        return self.shards[0].kind


@dataclass(frozen=True, slots=True, eq=False)
class TopKSurvey(AnySurvey):
    """A top-k dump, and the summary of its rows."""

    question: TopKQuestion
    summary: TopK

    @property
    def has_losses(self) -> bool:
        """Whether the losses of labels among the k are known, not only bounds of them."""
        return self.shards[0].logsumexp is not None

    @property
    def is_wrong(self) -> bool:
        """Whether a row is broken, or all labels are ignored: the mean is 0 / 0."""
        return bool(self.summary.broken) or 0 < self.rows == self.summary.ignored


class Part(NamedTuple):
    """Rows of a shard, which is number ``number`` of the dump."""

    number: int
    shard: "Shard"
    rows: slice


class Run:
    """What is known of a dump while its parts come in, in any order and from any thread."""

    def __init__(
        self,
        parts: Sequence[Part],
        question: Asked,
        progress: Callable[[int], object],
        finished: "Finished | None",
        *,
        keep_going: bool,
    ) -> None:
        self.question, self._progress, self._finished = question, progress, finished
        self._keep_going, self._lock = keep_going, threading.Lock()
        self._total, self._left = question.nothing(), Counter(part.number for part in parts)
        self._begun: dict[int, Any] = {}
        self.left_out: dict[int, ReadError] = {}

    def add(self, found: Any) -> None:  # noqa: ANN401 - a summary of the question's kind
        """Add shards that were finished before."""
        self._total = self._total.merge(found)
        self._progress(found.rows)

    def is_wanted(self, part: Part) -> bool:
        """Whether its shard could be read up to now."""
        return part.number not in self.left_out

    def take(self, part: Part, found: Any, parts: int = 1) -> None:  # noqa: ANN401 - as above
        """Merge what one or more parts of a shard sum up to; whole shards are kept where a run resumes."""
        with self._lock:  # in any order: merging is exact and commutative
            if not self.is_wanted(part):
                return
            number = part.number
            found_before = self._begun.pop(number, None)
            whole = found if found_before is None else found_before.merge(found)
            self._left[number] -= parts
            if self._left[number]:
                self._begun[number] = whole
            else:
                self._total = self._total.merge(whole)
                if self._finished is not None:
                    self._finished.write(part.shard, whole)
            self._progress(found.rows)

    def fail(self, part: Part, error: ReadError) -> None:
        """Leave a shard out that cannot be read, or raise the error where that is not asked for."""
        if not self._keep_going:
            raise error
        with self._lock:
            self.left_out.setdefault(part.number, error)
            self._begun.pop(part.number, None)

    def summary(self) -> Any:  # noqa: ANN401 - as above
        """Return what is known of all shards, but of those left out."""
        with self._lock:  # after Ctrl-C threads go on for a while
            total = self._total
            for found in self._begun.values():
                total = total.merge(found)
        return total


Engine = Callable[[Sequence[Part], Run], None]
"""Has each part summed up, and the pass take it; what the pass raises ends it."""


def by_threads(threads: int | None = None) -> Engine:
    """Return what has threads sum parts up, as many as processors, twice as many for bytes from afar."""

    def go_through(parts: Sequence[Part], run: Run) -> None:
        def work(part: Part) -> None:
            if run.is_wanted(part):
                try:
                    found = run.question.summarise(part.shard, part.rows)
                except ReadError as error:
                    run.fail(part, error)
                else:
                    run.take(part, found)

        waits = any(not file.is_local for part in parts for file in part.shard.files)
        for_each(
            parts,
            work,
            1 if run.question.in_order else threads or (processors() * _READERS if waits else None),
        )

    return go_through


def survey(  # noqa: PLR0913 - a dump, what is asked of it, and how
    shards: "Sequence[Shard]",
    ignore_index: int,
    rules: tuple[RowRule, ...] | None = None,
    progress: Callable[[int], object] = lambda _: None,
    *,
    most: int = _WORST,
    loss: "Loss | None" = None,
    engine: Engine | None = None,
    finished: "Finished | None" = None,
    keep_going: bool = False,
    is_profiled: bool = False,
) -> Survey:
    """Go through all rows of shards once; interrupted, return what was read until then.

    ``rules`` are those for the dtype unless given; ``most`` and ``loss`` are as in ``Question``, and with
    ``is_profiled`` the summary has gaps, and where findings lie, too. The rest is as in ``go_through``.
    Raises what the loss raises, too.
    """
    if rules is None:
        kind = shards[0].kind
        rules = rules_for(shards[0].format) if kind == "indices" else rules_of(kind)
    total = sum(len(shard.logits) for shard in shards)
    question = Question(rules, ignore_index, most, loss, total if is_profiled else 0)
    return go_through(
        Survey, shards, question, progress, engine=engine, finished=finished, keep_going=keep_going
    )


def go_through(  # noqa: PLR0913 - as above
    kind: type[_Survey],
    shards: "Sequence[Shard]",
    question: Asked,
    progress: Callable[[int], object] = lambda _: None,
    *,
    engine: Engine | None = None,
    finished: "Finished | None" = None,
    keep_going: bool = False,
) -> _Survey:
    """Ask a question of all rows once; interrupted, return what was read until then.

    ``progress`` takes how many rows were read. ``engine`` has parts summed up, by threads unless given.
    Shards that were ``finished`` by an earlier run are not read again. Raises ReadError where no row can be
    read; with ``keep_going`` shards that cannot be read are left out. Raises XentError for what is no engine.
    """
    if engine is not None and not callable(engine):
        raise XentError(f"engine is {type(engine).__name__}; give by_cluster(client), or a function of parts")
    labelled = all(shard.labels is not None for shard in shards)
    starts = accumulate((len(shard.logits) for shard in shards), initial=0)
    placed = [
        replace(shard, first=first, labels=shard.labels if labelled else None)
        for shard, first in zip(shards, starts, strict=False)
    ]
    known = [] if finished is None else finished.summaries(placed, question.nothing())
    done = frozenset[int]().union(*(numbers for numbers, _ in known))
    parts = [
        part for number, shard in enumerate(placed) if number not in done for part in _parts(number, shard)
    ]
    run, complete, stopped = Run(parts, question, progress, finished, keep_going=keep_going), False, None
    try:
        for _, summary in known:
            run.add(summary)
        (engine or by_threads())(parts, run)
        complete = True
    except KeyboardInterrupt:
        pass
    except ReadError as error:
        if not run.summary().rows:
            raise
        stopped = error
    left_out = [(placed[number].path, str(error)) for number, error in sorted(run.left_out.items())]
    read = [shard for number, shard in enumerate(placed) if number not in run.left_out]
    if not read:
        raise next(iter(run.left_out.values()))
    return kind(read, labelled, question, run.summary(), complete, stopped, left_out)


def _parts(number: int, shard: "Shard") -> "list[Part]":
    """Divide a shard into parts that a thread holds in memory."""
    rows, classes = shard.logits.shape
    count = min(_PART_ROWS, _PART_BYTES // (classes * shard.logits.dtype.itemsize))
    if shard.kind != "indices" or shard.is_top_k:
        count = _EVALUATED // classes
    count = max(1, count)
    return [Part(number, shard, slice(start, start + count)) for start in range(0, rows, count)]

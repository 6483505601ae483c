"""One pass over the rows of all shards, by as many threads as there are processors."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from xentcli.diagnose.evaluated import rules_of
from xentcli.diagnose.files.stored import ReadError
from xentcli.diagnose.rules import RowRule, rules_for
from xentcli.diagnose.summary import Question, Summary, merge, summarise
from xentcli.threads import for_each

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Shard
    from xentcli.diagnose.loss import Loss

_PART_BYTES: Final = 2**24  # of logits that a thread reads at once
_PART_ROWS: Final = 2**17  # each has some twenty numbers beside its logits
_EVALUATED: Final = 2**18  # numbers of a part that methods run on, each with as many results
_WORST: Final = 10  # rows


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """A dump, what was asked of its rows, and their summary.

    ``complete`` is False where the pass was interrupted, or stopped by ``stopped``, a file that could not be
    read any longer: the summary is then that of the rows read until then.
    """

    shards: "Sequence[Shard]"
    labelled: bool
    question: Question
    summary: Summary
    complete: bool
    stopped: ReadError | None = None

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return self.summary.rows

    @property
    def rules(self) -> tuple[RowRule, ...]:
        """The rules that were looked at."""
        return self.question.rules

    @property
    def ignore_index(self) -> int:
        """The label of rows that are ignored."""
        return self.question.ignore_index

    @property
    def kind(self) -> str:
        """What labels are, as ``Shard`` has it."""
        return self.shards[0].kind

    @property
    def dtype(self) -> str:
        """The format of the logits."""
        return self.shards[0].format

    def place(self, row: int) -> "tuple[Shard, int]":
        """Return the shard of a row of the dump, and its number there."""
        shard = self.shards[bisect_right([shard.first for shard in self.shards], row) - 1]
        return shard, row - shard.first


def survey(  # noqa: PLR0913 - a dump, and what is asked of it
    shards: "Sequence[Shard]",
    ignore_index: int,
    rules: tuple[RowRule, ...] | None = None,
    progress: Callable[[int], object] = lambda _: None,
    *,
    most: int = _WORST,
    loss: "Loss | None" = None,
) -> Survey:
    """Go through all rows of shards once; interrupted, return what was read until then.

    ``rules`` are those for the dtype unless given; ``most`` and ``loss`` are as in ``Question``. ``progress``
    takes how many rows were read. Raises ReadError where no row can be read, and what the loss raises.
    """
    if rules is None:
        kind = shards[0].kind
        rules = rules_for(shards[0].format) if kind == "indices" else rules_of(kind)
    labelled = all(shard.labels is not None for shard in shards)
    starts = accumulate((len(shard.logits) for shard in shards), initial=0)
    placed = [
        replace(shard, first=first, labels=shard.labels if labelled else None)
        for shard, first in zip(shards, starts, strict=False)
    ]
    question, lock = Question(rules, ignore_index, most, loss), threading.Lock()
    total, complete, stopped = Summary(question.kept), False, None

    def read(part: "tuple[Shard, slice]") -> None:
        nonlocal total
        found = summarise(*part, question)
        with lock:  # in any order: merging is exact and commutative
            total = merge(total, found)
            progress(found.rows)

    parts = [part for shard in placed for part in _parts(shard)]
    try:
        # A function may remember its calls: it is called in the order of rows.
        for_each(parts, read, None if loss is None or loss.is_method or loss.is_recorded else 1)
        complete = True
    except KeyboardInterrupt:
        pass
    except ReadError as error:
        if not total.rows:
            raise
        stopped = error
    return Survey(placed, labelled, question, total, complete, stopped)


def _parts(shard: "Shard") -> "list[tuple[Shard, slice]]":
    """Divide a shard into parts that a thread holds in memory."""
    rows, classes = shard.logits.shape
    number = min(_PART_ROWS, _PART_BYTES // (classes * shard.logits.dtype.itemsize))
    if shard.kind != "indices":
        number = _EVALUATED // classes
    number = max(1, number)
    return [(shard, slice(start, start + number)) for start in range(0, rows, number)]

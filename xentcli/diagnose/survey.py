"""One pass over the rows of all shards: losses, ranges, and a bit per row for each rule that applies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from xentcli.bulk import Rows, in_batches
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.evaluated import evaluated, rules_of
from xentcli.diagnose.facts import Facts, facts_of
from xentcli.diagnose.rules import Method, RowRule, rules_for
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic
from xentcli.threads import for_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.bulk import Positions, Workspace
    from xentcli.formats import BoolArray, FloatArray, IntArray

_PART_BYTES: Final = 2**27  # of logits whose facts are held at once
_PART_ROWS: Final = 2**18
_EVALUATED: Final = 2**18  # numbers of a part that methods run on, each with as many results


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What is kept of rows; columns of the parts of a dump can be joined.

    Per row (N,): ``loss``, float64, as ``xentcli.bulk`` has it before it is rounded; ``midrange`` and
    ``range`` of the finite logits, float32; ``bits``, uint32, of which bit r is set where rule r applies.
    ``min`` and ``max`` are those of all finite logits, ``ignored`` is the number of ignored rows.
    """

    loss: "FloatArray"
    midrange: "FloatArray"
    range: "FloatArray"
    bits: "IntArray"
    min: float
    max: float
    ignored: int


_NONE: Final = np.zeros(0, np.float32)
_NO_ROWS: Final = Columns(np.zeros(0), _NONE, _NONE, np.zeros(0, np.uint32), np.inf, -np.inf, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """The columns of a dump: row r of them is row r - ``starts[s]`` of shard s.

    ``complete`` is False where the pass was interrupted: the last rows are missing then.
    """

    shards: Sequence[Shard]
    labelled: bool
    ignore_index: int
    rules: tuple[RowRule, ...]
    starts: tuple[int, ...]
    columns: Columns
    complete: bool

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return len(self.columns.bits)

    @property
    def kind(self) -> str:
        """What labels are, as ``Shard`` has it."""
        return self.shards[0].kind

    @property
    def dtype(self) -> str:
        """The format of the logits."""
        return str(self.shards[0].logits.dtype.newbyteorder("="))

    def ignored(self) -> "BoolArray":
        """Mark the rows (N,) that were ignored."""
        if self.kind != "indices" or not self.labelled:
            return np.zeros(self.rows, bool)
        marks = [np.asarray(shard.labels) == self.ignore_index for shard in self.shards]
        return np.concatenate(marks)[: self.rows]

    def affected(self, rule: RowRule) -> "IntArray":
        """Return the rows that a rule applies to."""
        return np.flatnonzero(self.columns.bits >> np.uint32(self.rules.index(rule)) & np.uint32(1))

    def rules_of(self, row: int) -> tuple[RowRule, ...]:
        """Return the rules that apply to a row."""
        bits = int(self.columns.bits[row])
        return tuple(rule for bit, rule in enumerate(self.rules) if bits >> bit & 1)

    def place(self, row: int) -> tuple[Shard, int]:
        """Return the shard of a row, and its number there."""
        shard = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.shards[shard], row - self.starts[shard]


def survey(
    shards: Sequence[Shard],
    ignore_index: int,
    rules: tuple[RowRule, ...] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Survey:
    """Go through all rows of shards once; interrupted, return what was read until then.

    ``rules`` are those for the dtype unless given; ``progress`` takes how many bytes were read. Raises
    XentError where a file changes meanwhile.
    """
    labelled = all(shard.labels is not None for shard in shards)
    if rules is None:
        kind, form = shards[0].kind, str(shards[0].logits.dtype.newbyteorder("="))
        rules = rules_for(form) if kind == "indices" else rules_of(kind)
    workspaces: list[Workspace] = []
    parts, starts, complete = [_NO_ROWS], [0], False
    try:
        for shard in shards:
            row_bytes = shard.logits.shape[1] * shard.logits.dtype.itemsize
            number = max(1, min(_PART_ROWS, _PART_BYTES // row_bytes))
            if shard.kind != "indices":
                number = max(1, _EVALUATED // shard.logits.shape[1])
            for start in range(0, len(shard.logits), number):
                part = slice(start, start + number)
                parts.append(_read(shard, part, ignore_index if labelled else None, rules, workspaces))
                progress(shard.logits[part].nbytes)
            starts.append(sum(len(columns.bits) for columns in parts))
        complete = True
    except KeyboardInterrupt:
        pass
    return Survey(shards, labelled, ignore_index, rules, tuple(starts), _joined(parts), complete)


def _joined(parts: Sequence[Columns]) -> Columns:
    names = ("loss", "midrange", "range", "bits")
    loss, midrange, spread, bits = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    low, high = min(part.min for part in parts), max(part.max for part in parts)
    return Columns(loss, midrange, spread, bits, low, high, sum(part.ignored for part in parts))


def _read(
    shard: Shard,
    part: slice,
    ignore_index: int | None,
    rules: tuple[RowRule, ...],
    workspaces: "list[Workspace]",
) -> Columns:
    """Return the columns of one part of a shard; without an ``ignore_index`` it has no labels."""
    logits, labelled = shard.logits[part], ignore_index is not None
    if labelled and shard.kind != "indices":
        shard.check()
        return _evaluated(logits, np.asarray(shard.labels[part]), rules, binary=shard.binary)
    labels = np.asarray(shard.labels[part]) if labelled else np.zeros(len(logits), np.int64)
    rows = Rows(logits, labels, ignore_index)
    facts = facts_of(rows, shard.check, workspaces, labelled=labelled)
    with np.errstate(all="ignore"):
        bits = _bits(rows, facts, rules, labelled=labelled)
    return _columns(facts.loss, facts.min_finite, facts.max, bits, int(rows.ignored.sum()))


def _evaluated(
    logits: "FloatArray", labels: "NDArray[Any]", rules: tuple[RowRule, ...], *, binary: bool
) -> Columns:
    """Return the columns of rows that the methods decide."""
    found, bits = evaluated(logits, labels, binary=binary), np.zeros(len(logits), np.uint32)
    for bit, rule in enumerate(rules):
        applies = rule.bounds(cast("Facts", found))
        bits |= cast("BoolArray", applies).astype(np.uint32) << np.uint32(bit)
    finite = np.where(np.isfinite(logits), logits, np.inf).min(axis=1).astype(np.float64)
    return _columns(found.loss, finite, found.max, bits, 0)


def _columns(
    loss: "FloatArray", low: "FloatArray", high: "FloatArray", bits: "IntArray", ignored: int
) -> Columns:
    """Return the columns of rows: ``low`` is their smallest finite logit, ``high`` their largest."""
    high = np.where(np.isfinite(high), high, np.nan)
    with np.errstate(all="ignore"):
        midrange, spread = (high / 2 + low / 2).astype(np.float32), (high - low).astype(np.float32)
    smallest = float(low[np.isfinite(low)].min(initial=np.inf))
    largest = float(high[np.isfinite(high)].max(initial=-np.inf))
    return Columns(loss, midrange, spread, bits, smallest, largest, ignored)


def _bits(rows: Rows, facts: Facts, rules: tuple[RowRule, ...], *, labelled: bool) -> "IntArray":
    """Return the bits of rows; those that facts leave open are decided by the methods."""
    applies = np.zeros((len(rules), len(facts.loss)), bool)
    tasks: list[tuple[int, Method, Positions]] = []
    for bit, rule in enumerate(rules):
        if not labelled and rule.needs_labels:
            continue
        bounds = rule.bounds(facts)
        possible, applies[bit] = bounds if isinstance(bounds, tuple) else (bounds, bounds)
        if rule.method is not None:
            undecided = np.flatnonzero(possible & ~applies[bit])
            tasks += [(bit, rule.method, part) for part in in_batches(undecided, rows.logits)]

    def decide(task: "tuple[int, Method, Positions]") -> None:
        bit, method, part = task
        with np.errstate(all="ignore"):
            batch = build_batch(rows.logits[part], rows.label[part], str(facts.dtype))
            applies[bit, part] = method(arithmetic.get("numpy", str(facts.dtype)), batch, facts.loss[part])

    for_each(tasks, decide)
    bits = np.zeros(len(facts.loss), np.uint32)
    for bit in np.flatnonzero(applies.any(axis=1)).tolist():
        bits |= applies[bit].astype(np.uint32) << np.uint32(bit)
    return bits

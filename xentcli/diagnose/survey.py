"""One pass over the rows of all shards: losses, spread, and one bit a row for each thing that spoils it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.bulk import Memory, Rows, in_blocks
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.spoilers import SPOILERS, Facts, Spoiler

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

_PART: Final = 2**27  # bytes of logits of which facts are kept at once
_MOST_ROWS: Final = 2**18
_ROUNDED: Final = ("float16", "bfloat16")

Progress = Callable[[int], object]  # is told how many bytes were read


@dataclass(slots=True)
class Survey:
    """What is known of every row read: its loss, the middle and the width of its finite logits, its bits.

    Row r of all is row r - ``starts[s]`` of shard s. ``complete`` is False where it was interrupted.
    """

    shards: Sequence[Shard]
    labelled: bool
    ignore_index: int
    spoilers: Sequence[Spoiler] = SPOILERS
    starts: list[int] = field(default_factory=list)
    loss: "FloatArray" = field(default_factory=lambda: np.zeros(0))
    middle: "FloatArray" = field(default_factory=lambda: np.zeros(0, np.float32))
    width: "FloatArray" = field(default_factory=lambda: np.zeros(0, np.float32))
    bits: "IntArray" = field(default_factory=lambda: np.zeros(0, np.uint32))
    ignored: int = 0
    low: float = np.inf
    top: float = -np.inf
    complete: bool = False

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return len(self.bits)

    def spoiled(self, name: str) -> "IntArray":
        """Return the rows that something spoils."""
        bit = [spoiler.name for spoiler in self.spoilers].index(name)
        return np.flatnonzero(self.bits >> np.uint32(bit) & 1)

    def names(self, row: int) -> tuple[str, ...]:
        """Name what spoils a row."""
        bits = int(self.bits[row])
        return tuple(spoiler.name for bit, spoiler in enumerate(self.spoilers) if bits >> bit & 1)

    def place(self, row: int) -> tuple[Shard, int]:
        """Return the shard of a row, and its number there."""
        at = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.shards[at], row - self.starts[at]


def _unseen(_: int) -> None:
    """Show no progress."""


def survey(
    shards: Sequence[Shard],
    ignore_index: int,
    spoilers: Sequence[Spoiler] = SPOILERS,
    progress: Progress = _unseen,
) -> Survey:
    """Go through all rows once; interrupted, return what was read until then.

    Raises XentError where a file changes meanwhile.
    """
    found = Survey(shards, all(shard.labels is not None for shard in shards), ignore_index, spoilers)
    parts: list[tuple[Any, ...]] = []
    used: list[Memory] = []
    try:
        for shard in shards:
            found.starts.append(sum(len(part[0]) for part in parts))
            for part in _parts(shard):
                parts.append(_read(found, shard, part, used))
                progress(shard.logits[part].nbytes)
        found.complete = True
    except KeyboardInterrupt:
        pass
    if parts:
        found.loss, found.middle, found.width, found.bits = map(np.concatenate, zip(*parts, strict=True))
    return found


def _parts(shard: Shard) -> list[slice]:
    rows, classes = shard.logits.shape
    at_once = max(1, min(_MOST_ROWS, _PART // (classes * shard.logits.dtype.itemsize)))
    return [slice(start, min(start + at_once, rows)) for start in range(0, rows, at_once)]


def _read(found: Survey, shard: Shard, part: slice, used: list[Memory]) -> tuple[Any, ...]:
    """Evaluate one part of a shard; return loss, middle, width and bits of its rows."""
    logits = shard.logits[part]
    labels = np.zeros(len(logits), np.int64) if shard.labels is None else np.asarray(shard.labels[part])
    rows = Rows(logits, labels, found.ignore_index if found.labelled else None)
    rounded = {form: Rows(logits, labels, None, form) for form in _narrower(rows.dtype)}
    top, low, least = (np.empty(len(logits), rows.format) for _ in range(3))

    def evaluate(block: slice, memory: Memory) -> None:
        shard.check()
        x = rows.evaluate(block, memory)
        top[block], low[block] = x.max(axis=1), x.min(axis=1)
        least[block] = _least(x, low[block])
        for other in rounded.values():
            other.evaluate(block, memory)

    in_blocks(rows, evaluate, None, used)
    with np.errstate(all="ignore"):
        return _told(found, rows, rounded, top, low, least)


def _told(  # noqa: PLR0913, PLR0917 - what was read of the rows
    found: Survey,
    rows: Rows,
    rounded: dict[str, Rows],
    top: "FloatArray",
    low: "FloatArray",
    least: "FloatArray",
) -> tuple[Any, ...]:
    """Return loss, middle, width and bits of rows."""
    facts = _facts(found, rows, rounded, top, low)
    _widen(found, facts, least)
    bits = np.zeros(len(top), np.uint32)
    for bit, spoiler in enumerate(found.spoilers):
        if found.labelled or not spoiler.labelled:
            bits |= spoiler.spoils(facts).astype(np.uint32) << np.uint32(bit)
    finite = np.where(np.isfinite(facts.top), facts.top, np.nan)
    middle, width = finite / 2 + least.astype(np.float64) / 2, finite - least
    return facts.loss, middle.astype(np.float32), width.astype(np.float32), bits


def _narrower(dtype: str) -> tuple[str, ...]:
    return () if dtype in _ROUNDED else _ROUNDED


def _least(x: "FloatArray", low: "FloatArray") -> "FloatArray":
    """Return the smallest finite logit of each row."""
    least = low.copy()
    masked = np.flatnonzero(~np.isfinite(low))
    if len(masked):
        some = x[masked]
        least[masked] = np.where(np.isfinite(some), some, np.inf).min(axis=1)
    return least


def _facts(
    found: Survey, rows: Rows, rounded: dict[str, Rows], top: "FloatArray", low: "FloatArray"
) -> Facts:
    loss = rows.wide_losses().astype(np.float64)
    lse = (np.log(rows.tail + rows.own) + rows.shift).astype(np.float64)
    as_float16, as_bfloat16 = (
        rounded[form].wide_losses().astype(np.float64) if form in rounded else loss for form in _ROUNDED
    )
    label = rows.label_logit.astype(np.float64)
    if not found.labelled:
        loss, label = np.full_like(loss, np.nan), np.full_like(label, np.nan)
    found.ignored += int(rows.ignored.sum())
    bad = ~rows.counts & ~rows.ignored
    low, top = low.astype(np.float64), top.astype(np.float64)
    return Facts(rows.dtype, low, top, lse, label, loss, as_float16, as_bfloat16, bad, rows.ignored)


def _widen(found: Survey, facts: Facts, least: "FloatArray") -> None:
    """Take the part's finite range into that of all."""
    tops = facts.top[np.isfinite(facts.top)]
    found.top = max(found.top, float(tops.max(initial=-np.inf)))
    found.low = min(found.low, float(least[np.isfinite(least)].min(initial=np.inf)))

"""A seeded search for failures that no case holds yet, and how each is made as small as it goes.

Rows are drawn by what breaks losses: their scale, a common offset, the gap between label and maximum, the
number of classes, the dtype. The search is bounded by a number of rounds; the same seed draws the same rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli import formats
from xentcli.check.conventions import Convention
from xentcli.check.probes import Probe
from xentcli.check.report import Fault
from xentcli.check.subjects import OutOfTime

if TYPE_CHECKING:
    from xentcli.model import FloatArray

Judge = Callable[[Probe], tuple[list[Fault], Decimal | None]]

ROUNDS: Final = 24
_ROWS: Final = 16  # a round; one shape of array is compiled once by JAX
_CLASSES: Final = (2, 3, 10)
_LARGEST: Final = {"float16": 3.0, "float32": 30.0, "float64": 200.0}  # decimal exponents of logits
_DIGITS: Final = (1, 2, 3, 5)
_FACTORS: Final = (1e-3, 0.1, 0.5, 0.8)  # by which a row that still fails is made smaller
_TRIES: Final = 300


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One example: logits (C,), its label's index (0 of a binary one), the dtype."""

    logits: "FloatArray"
    label: int
    dtype: str


@dataclass(slots=True)
class Searched:
    """How far a search came: batches asked, the largest error in ulps, a row of each kind of fault."""

    asked: int = 0
    ulps: Decimal | None = None
    kinds: dict[str, Row] = field(default_factory=dict)
    ended: bool = False


@lru_cache(maxsize=8)  # a test suite searches again and again
def _rounds(convention: Convention, seed: int) -> tuple[tuple[tuple[Row, ...], Probe], ...]:
    """Draw the rows of every round; those of one round have one dtype and number of classes."""
    random = np.random.default_rng(seed)
    dtypes = list(_LARGEST)
    drawn = []
    for number in range(ROUNDS):
        dtype = dtypes[number % len(dtypes)]
        classes = 1 if convention.labels == "binary" else _CLASSES[number // len(dtypes) % len(_CLASSES)]
        rows = tuple(_drawn(random, classes, dtype) for _ in range(_ROWS))
        drawn.append((rows, probe(rows, convention)))
    return tuple(drawn)


def search(judge: Judge, convention: Convention, seed: int) -> Searched:
    """Search until the rounds or the time are up, then shrink what was found."""
    state = Searched()
    try:
        for rows, together in _rounds(convention, seed):
            faults, error = judge(together)
            state.asked += 1
            state.ulps = max(filter(None, (state.ulps, error)), default=None)
            for row in rows if faults else ():
                for fault in judge(probe([row], convention))[0]:
                    state.kinds.setdefault(fault.word, row)
        for word, row in state.kinds.items():

            def fails(row: Row, word: str = word) -> bool:
                return word in {fault.word for fault in judge(probe([row], convention))[0]}

            state.kinds[word] = shrunk(row, fails)
        state.ended = True
    except OutOfTime:
        pass
    return state


def _drawn(random: np.random.Generator, classes: int, dtype: str) -> Row:
    """Draw a pattern, a scale and an offset, each of which is often nothing."""
    largest = _LARGEST[dtype]
    scale = 10.0 ** random.uniform(-2, random.choice([1.5, 2.5, largest]))
    pattern = random.choice(["normal", "gap", "equal"])
    x = np.zeros(classes)
    if pattern == "normal":
        x = random.normal(size=classes)
    elif pattern == "gap":
        x[random.integers(classes)] = random.choice([-1, 1])
    offset = random.choice([0.0, 1.0]) * random.choice([-1, 1]) * 10.0 ** random.uniform(0, largest)
    label = int(random.choice([x.argmax(), x.argmin(), random.integers(classes)]))
    if classes == 1:
        label, offset = int(random.integers(2)), 0.0
    return Row(_stored(x * scale + offset, dtype), label, dtype)


def probe(rows: Sequence[Row], convention: Convention) -> Probe:
    """Ask about several rows at once."""
    logits, labels = np.array([row.logits for row in rows]), np.array([row.label for row in rows])
    dtype, reduction = rows[0].dtype, convention.held_to("none")
    if convention.labels == "binary":
        return Probe.of(logits[:, 0], labels.astype(np.float64), dtype, reduction=reduction)
    if convention.labels == "rows":
        return Probe.of(logits, np.eye(logits.shape[1])[labels], dtype, reduction=reduction)
    return Probe.of(logits, labels, dtype, reduction=reduction)


def shrunk(row: Row, fails: Callable[[Row], bool]) -> Row:
    """Return the simplest row that still fails: fewer classes, no offset, fewer digits, rounder numbers."""
    tries, changed = 0, True
    while changed:
        changed = False
        for smaller in _smaller(row):
            tries += 1
            if tries > _TRIES:
                return row
            same = smaller.label == row.label and np.array_equal(smaller.logits, row.logits)
            if not same and fails(smaller):
                row, changed = smaller, True
                break
    return row


def _smaller(row: Row) -> Iterator[Row]:
    """Yield rows simpler than this one, the simplest first."""
    x, label = row.logits, row.label
    if len(x) > 1:
        for dropped in range(len(x)):
            if dropped != label and len(x) > 2:  # noqa: PLR2004 - one class has nothing to lose
                yield Row(np.delete(x, dropped), label - (dropped < label), row.dtype)
        if label != 0:
            order = [label, *(place for place in range(len(x)) if place != label)]
            yield Row(x[order], 0, row.dtype)
        if x.min() != 0:
            yield Row(_stored(x - x.min(), row.dtype), label, row.dtype)
        if x.max() != 0:
            yield Row(_stored(x - x.max(), row.dtype), label, row.dtype)
    for rounder in (*(x * factor for factor in _FACTORS), *(_rounded(x, digits) for digits in _DIGITS)):
        yield Row(_stored(rounder, row.dtype), label, row.dtype)
    for place in range(len(x)):
        for simpler in (0 * x, *(_rounded(x, digits) for digits in _DIGITS)):
            one = np.where(np.arange(len(x)) == place, simpler, x)
            yield Row(_stored(one, row.dtype), label, row.dtype)


def _rounded(x: "FloatArray", digits: int) -> "FloatArray":
    """Round to as many significant digits."""
    return np.array([float(f"{value:.{digits - 1}e}") for value in x.tolist()])


def _stored(x: "FloatArray", dtype: str) -> "FloatArray":
    """Return numbers of the dtype, as float64."""
    return formats.stored(x, dtype).astype(np.float64)

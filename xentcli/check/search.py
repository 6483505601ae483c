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
    from xentcli.formats import FloatArray

Judge = Callable[[Probe], tuple[list[Fault], Decimal | None]]

ROUNDS: Final = 24
_ROWS: Final = 16  # a round; one shape of array is compiled once by JAX
_CLASSES: Final = (2, 3, 10)
_LARGEST: Final = {"float16": 3.0, "float32": 30.0, "float64": 200.0}  # decimal exponents of logits
_DIGITS: Final = (1, 2, 3, 5)
_FACTORS: Final = (1e-3, 0.1, 0.5, 0.8)  # by which a row that still fails is made smaller
_TRIES: Final = 300
_SOFT: Final = 0.5  # of the label rows


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One example: logits (C,), its label row (C,), both of the dtype; C = 1 of a binary one."""

    logits: "FloatArray"
    labels: "FloatArray"
    dtype: str

    @property
    def label(self) -> int:
        """The class that the label says most of."""
        return int(self.labels.argmax())

    @property
    def is_hot(self) -> bool:
        """Whether the label is one class."""
        return bool((self.labels == np.eye(len(self.labels))[self.label]).all())


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
        rows = tuple(_drawn(random, classes, dtype, convention) for _ in range(_ROWS))
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


def _drawn(random: np.random.Generator, classes: int, dtype: str, convention: Convention) -> Row:
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
    y = np.eye(classes)[label]
    if convention.labels == "rows" and random.random() < _SOFT:
        y = np.round(random.random(classes) * random.choice([1, 2]), 2)
    if convention.labels == "binary":
        y, offset = random.choice([[0.0], [1.0], [0.1], [0.5]]), 0.0
    return Row(_stored(x * scale + offset, dtype), _stored(y, dtype), dtype)


def probe(rows: Sequence[Row], convention: Convention) -> Probe:
    """Ask about several rows at once."""
    logits, labels = np.array([row.logits for row in rows]), np.array([row.labels for row in rows])
    dtype, reduction = rows[0].dtype, convention.held_to("none")
    if convention.labels == "binary":
        return Probe.of(logits[:, 0], labels[:, 0], dtype, reduction=reduction)
    if convention.labels == "rows":
        return Probe.of(logits, labels, dtype, reduction=reduction)
    return Probe.of(logits, labels.argmax(axis=1), dtype, reduction=reduction)


def shrunk(row: Row, fails: Callable[[Row], bool]) -> Row:
    """Return the simplest row that still fails: fewer classes, no offset, fewer digits, rounder numbers."""
    tries, changed = 0, True
    while changed:
        changed = False
        for smaller in _smaller(row):
            tries += 1
            if tries > _TRIES:
                return row
            pairs = ((smaller.logits, row.logits), (smaller.labels, row.labels))
            if not all(np.array_equal(*pair) for pair in pairs) and fails(smaller):
                row, changed = smaller, True
                break
    return row


def _smaller(row: Row) -> Iterator[Row]:
    """Yield rows simpler than this one, the simplest first."""
    x, y, hot = row.logits, row.labels, row.is_hot

    def made(logits: "FloatArray", labels: "FloatArray" = y) -> Row:
        return Row(_stored(logits, row.dtype), _stored(labels, row.dtype), row.dtype)

    if len(x) > 1:
        if not hot:
            yield made(x, np.eye(len(x))[row.label])
        for dropped in range(len(x)):
            if not (hot and dropped == row.label) and len(x) > 2:  # noqa: PLR2004 - one class loses nothing
                yield made(np.delete(x, dropped), np.delete(y, dropped))
        order = np.argsort(-y, kind="stable")
        yield made(x[order], y[order])
        yield made(x - x.min())
        yield made(x - x.max())
    for digits in () if hot else _DIGITS[:2]:
        yield made(x, _rounded(y, digits))
    for simpler in (*(x * factor for factor in _FACTORS), *(_rounded(x, digits) for digits in _DIGITS)):
        yield made(simpler)
    for place in range(len(x)):
        for simpler in (0 * x, *(_rounded(x, digits) for digits in _DIGITS)):
            yield made(np.where(np.arange(len(x)) == place, simpler, x))


def _rounded(x: "FloatArray", digits: int) -> "FloatArray":
    """Round to as many significant digits."""
    return np.array([float(f"{value:.{digits - 1}e}") for value in x.tolist()])


def _stored(x: "FloatArray", dtype: str) -> "FloatArray":
    """Return numbers of the dtype, as float64."""
    return formats.stored(x, dtype).astype(np.float64)

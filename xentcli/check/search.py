"""A seeded search for failures that no case holds yet, and how each is made as small as it goes.

Rows are drawn by what breaks losses: their scale, a common offset, the gap between label and maximum, the
number of classes, the dtype. The search is bounded by a number of rounds; the same seed draws the same rows.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli import formats
from xentcli.check.probes import Probe
from xentcli.frameworks.conventions import Convention

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

ROUNDS: Final = 24
_ROWS: Final = 16  # per round; JAX compiles one shape of array once
_CLASSES: Final = (2, 3, 10)
_LARGEST: Final = {"float16": 3.0, "float32": 30.0, "float64": 200.0}  # decimal exponents of logits
_DIGITS: Final = (1, 2, 3, 5)
_FACTORS: Final = (1e-3, 0.1, 0.5, 0.8)  # by which a row that still fails is made smaller
_TRIES: Final = 300
_SOFT: Final = 0.5  # of the label rows


@dataclass(frozen=True, slots=True, eq=False)
class SearchRow:
    """One example: logits (C,) and a label row (C,), float64 numbers of the dtype; C = 1 of a binary one."""

    logits: "FloatArray"
    labels: "FloatArray"
    dtype: str

    @property
    def label(self) -> int:
        """The class with the largest label."""
        return int(self.labels.argmax())

    @property
    def is_one_hot(self) -> bool:
        """Whether the label is one class."""
        return bool((self.labels == np.eye(len(self.labels))[self.label]).all())


def probe(rows: Sequence[SearchRow], convention: Convention) -> Probe:
    """Return the probe of several rows at once."""
    logits, labels = np.array([row.logits for row in rows]), np.array([row.labels for row in rows])
    dtype, reduction = rows[0].dtype, convention.reduction
    if convention.binary:
        logits, labels = logits[:, 0], labels[:, 0]
    elif convention.labels == "indices":
        labels = labels.argmax(axis=1)
    return Probe.build(convention, logits, labels, dtype, reduction)


@lru_cache(maxsize=8)  # a test suite searches again and again
def rounds(convention: Convention, seed: int) -> tuple[tuple[tuple[SearchRow, ...], Probe], ...]:
    """Draw the rows of every round; those of one round have one dtype and number of classes."""
    random = np.random.default_rng(seed)
    dtypes = list(_LARGEST)
    rounds = []
    for number in range(ROUNDS):
        dtype = dtypes[number % len(dtypes)]
        classes = 1 if convention.binary else _CLASSES[number // len(dtypes) % len(_CLASSES)]
        rows = tuple(_draw(random, classes, dtype, convention) for _ in range(_ROWS))
        rounds.append((rows, probe(rows, convention)))
    return tuple(rounds)


def _draw(random: np.random.Generator, classes: int, dtype: str, convention: Convention) -> SearchRow:
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
    if convention.binary:
        y, offset = random.choice([[0.0], [1.0], [0.1], [0.5]]), 0.0
    return SearchRow(_stored(x * scale + offset, dtype), _stored(y, dtype), dtype)


def shrink(row: SearchRow, name: str, findings: Callable[[SearchRow], Container[str]]) -> SearchRow:
    """Return the simplest row that still has a finding: fewer classes and digits, no offset, rounder numbers.

    ``findings`` names those of a row.
    """
    candidates = _simpler_rows(row)
    for _ in range(_TRIES):
        if (simpler := next(candidates, None)) is None:
            break
        pairs = ((simpler.logits, row.logits), (simpler.labels, row.labels))
        if not all(np.array_equal(*pair) for pair in pairs) and name in findings(simpler):
            row, candidates = simpler, _simpler_rows(simpler)
    return row


def _simpler_rows(row: SearchRow) -> Iterator[SearchRow]:
    """Yield rows simpler than this one, the simplest first."""
    x, y, one_hot = row.logits, row.labels, row.is_one_hot

    def store(logits: "FloatArray", labels: "FloatArray" = y) -> SearchRow:
        return SearchRow(_stored(logits, row.dtype), _stored(labels, row.dtype), row.dtype)

    if len(x) > 1:
        if not one_hot:
            yield store(x, np.eye(len(x))[row.label])
        for place in range(len(x)):
            if not (one_hot and place == row.label) and len(x) > 2:  # noqa: PLR2004 - one class loses nothing
                yield store(np.delete(x, place), np.delete(y, place))
        order = np.argsort(-y, kind="stable")
        yield store(x[order], y[order])
        yield store(x - x.min())
        yield store(x - x.max())
    for digits in () if one_hot else _DIGITS[:2]:
        yield store(x, _round_digits(y, digits))
    rounder = [_round_digits(x, digits) for digits in _DIGITS]
    for logits in (*(x * factor for factor in _FACTORS), *rounder):
        yield store(logits)
    for place in range(len(x)):
        for logits in (0 * x, *rounder):
            yield store(np.where(np.arange(len(x)) == place, logits, x))


def _round_digits(x: "FloatArray", digits: int) -> "FloatArray":
    """Round to as many significant digits."""
    return np.array([float(f"{value:.{digits - 1}e}") for value in x.tolist()])


def _stored(x: "FloatArray", dtype: str) -> "FloatArray":
    """Return numbers of the dtype, as float64."""
    return formats.stored(x, dtype).astype(np.float64)

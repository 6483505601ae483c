"""A seeded search for failures that no case holds yet, and how each is made as small as it goes.

Rows are drawn by what breaks losses: their scale, a common offset, the gap between label and maximum, the
number of classes, the dtype. The search is bounded by a number of rounds; the same seed draws the same rows.
"""

from collections.abc import Callable, Container, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

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


@lru_cache(maxsize=8)  # a test suite searches again and again
def rounds(convention: Convention, seed: int) -> tuple[Probe, ...]:
    """Draw the batch of every round; it has one dtype and number of classes."""
    random = np.random.default_rng(seed)
    dtypes = list(_LARGEST)
    probes = []
    for number in range(ROUNDS):
        dtype = dtypes[number % len(dtypes)]
        classes = 1 if convention.binary else _CLASSES[number // len(dtypes) % len(_CLASSES)]
        rows = [_draw(random, classes, dtype, convention) for _ in range(_ROWS)]
        probes.append(_build(convention, dtype, *map(np.array, zip(*rows, strict=True))))
    return tuple(probes)


def split(probe: Probe) -> list[Probe]:
    """Return a probe of each example."""
    x, y = probe.batch.logits, probe.batch.labels
    return [_build(probe.convention, probe.dtype, x[[row]], y[[row]]) for row in range(len(x))]


def _build(convention: Convention, dtype: str, logits: "FloatArray", labels: "FloatArray") -> Probe:
    """Build a probe of logits (N, C) and label rows (N, C); C = 1 of a binary convention."""
    if convention.binary:
        logits, labels = logits[:, 0], labels[:, 0]
    elif convention.labels == "indices":
        labels = labels.argmax(axis=1)
    return Probe.build(convention, logits, labels, dtype, convention.reduction)


def _draw(random: np.random.Generator, classes: int, dtype: str, convention: Convention) -> tuple[Any, Any]:
    """Draw logits (C,), of a pattern, a scale and an offset, each of which is often nothing, and labels."""
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
    return x * scale + offset, y


def shrink(one: Probe, name: str, findings: Callable[[Probe], Container[str]]) -> Probe:
    """Return the simplest example that still has a finding: fewer classes, no offset, rounder numbers.

    ``findings`` names those of a probe.
    """
    rows = _simpler_rows(one)
    for _ in range(_TRIES):
        if (row := next(rows, None)) is None:
            break
        simpler = _build(one.convention, one.dtype, *(values[None] for values in row))
        pairs = ((simpler.batch.logits, one.batch.logits), (simpler.batch.labels, one.batch.labels))
        if not all(np.array_equal(*pair) for pair in pairs) and name in findings(simpler):
            one, rows = simpler, _simpler_rows(simpler)
    return one


def _simpler_rows(one: Probe) -> "Iterator[tuple[FloatArray, FloatArray]]":
    """Yield logits (C,) and labels (C,) simpler than those of an example, the simplest first."""
    x, y = one.batch.logits[0].astype(np.float64), one.batch.labels[0].astype(np.float64)
    label = y.argmax()
    one_hot = (y == np.eye(len(y))[label]).all()
    if len(x) > 1:
        if not one_hot:
            yield x, np.eye(len(x))[label]
        for place in range(len(x)):
            if not (one_hot and place == label) and len(x) > 2:  # noqa: PLR2004 - one class loses nothing
                yield np.delete(x, place), np.delete(y, place)
        order = np.argsort(-y, kind="stable")
        yield x[order], y[order]
        yield x - x.min(), y
        yield x - x.max(), y
    for digits in () if one_hot else _DIGITS[:2]:
        yield x, _round_digits(y, digits)
    rounder = [_round_digits(x, digits) for digits in _DIGITS]
    for logits in (*(x * factor for factor in _FACTORS), *rounder):
        yield logits, y
    for place in range(len(x)):
        for logits in (0 * x, *rounder):
            yield np.where(np.arange(len(x)) == place, logits, x), y


def _round_digits(x: "FloatArray", digits: int) -> "FloatArray":
    """Round to as many significant digits."""
    return np.array([float(f"{value:.{digits - 1}e}") for value in x.tolist()])

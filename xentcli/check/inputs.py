"""What the properties ask about: batches made for each, the same in every run."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from xentcli.check.conventions import Convention
from xentcli.check.probes import Probe
from xentcli.formats import FORMATS
from xentcli.words import IGNORE_INDEX

DTYPES: Final = ("float32", "float64")
_inf, _nan = math.inf, math.nan


def _rows(labels: Any, convention: Convention, classes: int = 3) -> Any:
    """Return labels as the convention has them: rows are one-hot."""
    if convention.labels != "rows":
        return np.asarray(labels)
    return np.eye(classes)[np.asarray(labels)]


def shifted(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Rows, and the same rows with every logit moved by as much; all sums are exact."""
    if convention.labels == "binary" or convention.probabilities:
        return
    base = np.array([[0.25, -1.5, 3.0], [2.0, 2.0, 2.0], [-7.0, 0.0, 1.25]])
    for dtype, largest in zip(DTYPES, (20, 50), strict=True):  # x + c is exact below 2^22 and 2^51
        for sign in (1, -1):
            offsets = [0.0, 100.0, *(sign * 2.0**n for n in range(10, largest + 1, 5))]
            for offset in offsets:
                yield Probe.of(base + offset, _rows([0, 1, 2], convention), dtype)


def gaps(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Put a label ahead of the others by more and more, and behind."""
    if convention.labels == "binary" or convention.probabilities:
        return
    for dtype, gaps in zip(DTYPES, ((0, 1, 5, 10, 20, 40), (0, 1, 10, 20, 40, 100)), strict=True):
        logits = [[gap, 0, 0.5] for gap in gaps]
        yield Probe.of(logits, _rows([0] * len(gaps), convention), dtype)
        yield Probe.of(logits, _rows([1] * len(gaps), convention), dtype)
        if convention.labels == "rows":
            yield Probe.of(logits, [[0.5, 0.25, 0.25]] * len(gaps), dtype)


def tails(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Losses down to the smallest number of the dtype."""
    for dtype, last in zip(DTYPES, (100.0, 740.0), strict=True):
        gaps = np.round(np.geomspace(1, last, 24), 2)
        if convention.labels == "binary":
            yield Probe.of([*gaps, *-gaps], [1.0] * len(gaps) + [0.0] * len(gaps), dtype)
        elif convention.probabilities:
            rest = 2.0 ** -np.arange(1, FORMATS[dtype].precision + 1)
            p = np.array([[1 - r, r] for r in rest])
            labels = _rows([0] * len(rest), convention, 2)
            yield Probe.of(np.log(p), labels, dtype, probabilities=p)
        else:
            logits = [[gap, 0, 0] for gap in gaps]
            yield Probe.of(logits, _rows([0] * len(gaps), convention), dtype)


def masked(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Classes of no probability beside the label."""
    if convention.labels == "binary" or convention.probabilities:
        return
    logits = [[1, -_inf, 3], [-_inf, -_inf, 5], [1, 2, -_inf], [0.5, 0.25, 0]]
    for dtype in DTYPES:
        yield Probe.of(logits, _rows([0, 2, 1, 0], convention), dtype)


def unnormalised(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Label rows that sum to 2, 0.75, 1.5, 0 and 3."""
    if convention.labels != "rows" or convention.probabilities:
        return
    labels = [[2, 0, 0], [0.25, 0.25, 0.25], [0.5, 1, 0], [0, 0, 0], [1, 1, 1]]
    for dtype in DTYPES:
        yield Probe.of([[1, 2, 3]] * len(labels), labels, dtype)


def ignored(convention: Convention, keywords: Sequence[str]) -> Iterable[Probe]:
    """Ignored rows of numbers, nan and infinities among others; the index is a class in one case."""
    if "ignore_index" not in keywords or convention.labels != "indices":
        return
    logits = [[1, 2, 3], [_nan] * 3, [0.5, 0, 0], [_inf, 0, -_inf], [-_inf] * 3, [2, 1, 0.5]]
    for dtype in DTYPES:
        for index in (-100, 255, 1):
            labels = [0, index, 2, index, index, 0]
            for reduction in _reductions(keywords):
                yield Probe.of(logits, labels, dtype, ignore_index=index, reduction=reduction)


def weighted(convention: Convention, keywords: Sequence[str]) -> Iterable[Probe]:
    """Weigh classes, smooth labels, and both, where the loss has parameters for it."""
    if convention.labels == "binary" or convention.probabilities:
        return
    logits, labels = [[1, 2, 3], [0.5, -4, 0], [2, 1, 0.5], [0.5, 1.5, -1]], _rows([0, 2, 1, 1], convention)
    given: list[dict[str, Any]] = [
        {"class_weights": [0.5, 2, 3]},
        {"label_smoothing": 0.1},
        {"label_smoothing": 1.0},
        {"class_weights": [1, 0, 4], "label_smoothing": 0.25},
    ]
    for dtype in DTYPES:
        for reduction in _reductions(keywords):
            yield from (Probe.of(logits, labels, dtype, reduction, **each) for each in given)


def bad_labels(convention: Convention, keywords: Sequence[str]) -> Iterable[Probe]:
    """Labels that are none, alone and beside a good one."""
    for dtype in DTYPES:
        if convention.labels == "binary":
            for label in (-1.0, 2.0):
                yield Probe.of([10.0], [label], dtype)
        if convention.labels == "indices":
            for label in (-1, 3):
                yield Probe.of([[3, 0.5, 1], [0, 1, 2]], [1, label], dtype)
    if convention.labels == "indices":
        wide = [sign * 2**bits + more for bits in (8, 16, 31, 32) for sign in (1, -1) for more in (0, 1)]
        ignored_unless_told = () if "ignore_index" in keywords else (IGNORE_INDEX,)
        for label in (-2, -3, 4, *wide, *ignored_unless_told):
            yield Probe.of([[3, 0.5, 1]], [label], "float32")


def soft(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Spread labels over classes, near an offset, a mask and a gap too."""
    if convention.labels == "indices":
        return
    for dtype in DTYPES:
        if convention.labels == "binary":
            x, y = np.meshgrid([-40.0, -6.0, -0.5, 0.25, 3.0, 30.0], [0.1, 0.3, 0.5, 0.9])
            yield Probe.of(x.ravel(), y.ravel(), dtype)
            continue
        labels = np.array([[0.9, 0.1, 0], [0.25, 0.25, 0.5], [0.6, 0.3, 0.1], [0.5, 0.5, 0]])
        logits = np.array([[1, 0, 0], [0.5, -3, 2], [4, 4, 4], [-2, 6, 1]])
        masked = np.array([[1, 0, -_inf], [0.5, -3, 2], [4, 4, 4], [-2, 6, -_inf]])
        for x in (logits, logits + 2.0**16, 8 * logits, masked):
            if not (convention.probabilities and x is masked):
                yield Probe.of(x, labels, dtype)


def sizes(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Ask for batches and rows of sizes that blocks leave a rest of; many logits are equal."""
    random = np.random.default_rng(2)
    for examples, classes in ((257, 2), (65, 4), (33, 17), (17, 33), (5, 65), (3, 129), (2, 257)):
        logits = random.integers(-6, 7, size=(examples, classes)) / 2
        labels = random.integers(0, classes, examples)
        if convention.labels == "binary":
            yield Probe.of(logits[:, 0], (labels > 0).astype(float), "float32")
        else:
            yield Probe.of(logits, _rows(labels, convention, classes), "float32")


def permuted(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """One row with its classes in six orders."""
    if convention.labels == "binary":
        return
    row, label = np.array([0.5, -3.0, 12.0, 7.25, -40.0]), 3
    orders = [np.roll(np.arange(5), shift) for shift in range(5)] + [np.array([4, 2, 0, 3, 1])]
    for dtype in DTYPES:
        labels = [int(np.flatnonzero(order == label)[0]) for order in orders]
        yield Probe.of([row[order] for order in orders], _rows(labels, convention, 5), dtype)


def batch_and_rows(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Ask for a batch, then its rows one by one."""
    random = np.random.default_rng(0)
    logits, labels = random.normal(scale=5, size=(7, 3)), random.integers(0, 3, 7)
    for dtype in DTYPES:
        if convention.labels == "binary":
            yield Probe.of(logits[:, 0], (labels > 0).astype(float), dtype)
            yield from (
                Probe.of([x], [float(y > 0)], dtype) for x, y in zip(logits[:, 0], labels, strict=True)
            )
            continue
        yield Probe.of(logits, _rows(labels, convention), dtype)
        yield from (Probe.of([x], _rows([y], convention), dtype) for x, y in zip(logits, labels, strict=True))


def empty(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """No rows."""
    if convention.reduction != "none":  # the mean of no losses is undefined
        return
    for dtype in DTYPES:
        if convention.labels == "binary":
            yield Probe.of(np.zeros(0), np.zeros(0), dtype)
        else:
            yield Probe.of(np.zeros((0, 3)), _rows(np.zeros(0, int), convention), dtype)


def one_class(convention: Convention, _: Sequence[str]) -> Iterable[Probe]:
    """Rows of one class."""
    if convention.labels == "binary" or convention.probabilities:  # -log(1) is -0.0
        return
    for dtype in DTYPES:
        yield Probe.of([[0.0], [3.5], [-1e30]], _rows([0, 0, 0], convention, 1), dtype)


def reduced(convention: Convention, keywords: Sequence[str]) -> Iterable[Probe]:
    """Ask for a batch whose losses are reduced both ways."""
    if "reduction" not in keywords or convention.labels == "binary":
        return
    random = np.random.default_rng(1)
    logits, labels = random.normal(scale=5, size=(7, 3)), random.integers(0, 3, 7)
    for dtype in DTYPES:
        for reduction in _reductions(keywords):
            yield Probe.of(logits, _rows(labels, convention), dtype, reduction=reduction)


def _reductions(keywords: Sequence[str]) -> tuple[str, ...]:
    return ("mean", "sum") if "reduction" in keywords else ("none",)

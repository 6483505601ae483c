"""Rows of many classes, and many rows: each path that a kernel has for them sees what small ones see.

A kernel takes other code from some size on: tiles, a running maximum, a workspace, a narrower sum. What
breaks small losses breaks these too, and ordinary logits do not show it.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.gradients import FINDINGS, digits_findings
from xentcli.check.properties.setting import (
    INF,
    NAN,
    NARROW,
    NO_LOSSES,
    ONE,
    PERCENT,
    WIDE,
    WITHIN,
    Property,
    Setting,
)
from xentcli.frameworks.request import How

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

# Between two tiles of 1,024; a multiple of all tiles, where nothing is left over; and one class more.
_CLASSES: Final = (1500, 8192, 8193)
_NEAR: Final = 24  # classes whose terms count, where the order of a long sum must not
# Of gradients half precision leaves about 1 %: what composes a loss in it is no more wrong of many rows.
_VALUES: Final = NO_LOSSES | {
    *("nan", "overflow", "collapsed", "negative", "off", "plausible"),
    *("mean", "sum", "sum for mean", "mean for sum"),
}
_LONG: Final = 4099  # beyond tiles of 2,048 and 4,096
_SUMMED: Final = 600  # losses whose sum, one after the other, stands still in bfloat16
_PERIOD: Final = 53  # prime: no two rows that are a power of two apart are alike
_MOST: Final = 53 * 1237  # rows: beyond the 65,535 blocks that a grid has in its second dimension
_PADDED: Final = 1025  # rows of which most are ignored, whole chunks of them
# A class of the second tile of 2,048 weighs so much that the order of the others' sum does not matter.
_SPIKE: Final = np.eye(1, _LONG, 3000)[0] * 2.0**20 + 1
_ROWS: Final = 300  # more than bfloat16 counts to in ones, and than blocks of 128 or 256 have


def _hard_rows(classes: int) -> "tuple[FloatArray, IntArray]":
    """Make rows (10, C) of few terms that count, in other places of each row.

    The maximum is the label's, ahead and behind; in other quarters; whole tiles are masked; a tail is made
    of all tiles but the first, far below; the rest of the row is below exp's clamps; it rises from tile to
    tile by less than a rescaling would notice; all of it is below what masks are set to.
    """
    random, last = np.random.default_rng(classes), classes - 1
    x = np.full((10, classes), -45.0)  # 8,193 e^-45 is nothing in float64
    for row in range(6):
        x[row, random.permutation(classes)[:_NEAR]] = np.round(random.normal(scale=2, size=_NEAR), 2)
    labels = np.array([last, 5 * classes // 8, 1024, 0, last, 1023, 7, 7, last, 7])
    x[0, last], x[1, labels[1]], x[2, 1024] = 12.0, 9.0, -3.0  # the first two are confident
    x[3, [0, 3 * classes // 4]] = 1.0, 14.0
    x[4, : 3 * classes // 4], x[4, last] = -INF, 0.5  # tile after tile is empty
    x[5, 1023] = 4.0
    x[6], x[7] = -17.0, -60.0
    x[6, :1024] = -45.0
    x[6:8, 7] = 0.0
    x[8], x[9] = np.arange(classes) * 2.0**-19, -20000.0
    return x, labels


def _rows(setting: Setting) -> Iterable[Probe]:
    """Rows of which each loses much where a tile does not do what it does for small ones."""
    if setting.convention.binary:
        return
    for classes in {"float32": _CLASSES, "float64": _CLASSES[:2]}.get(setting.dtype, _CLASSES[1:2]):
        x, labels = _hard_rows(classes)
        # The others add up many like terms: in float64 the order of the sum counts.
        kept = slice(6) if setting.dtype == "float64" else slice(None)
        yield setting.probe(x[kept], labels[kept])
    x[1, -3] = NAN  # of one row
    yield setting.probe(x[kept], labels[kept])


def _gaps(setting: Setting) -> Iterable[Probe]:
    """Give a confident label two runners-up, equal or near, at every gap down to the smallest loss."""
    if setting.convention.binary or setting.convention.probabilities:
        return
    largest = {"float32": 86.0, "float64": 700.0}[setting.dtype]
    gaps = np.round(np.geomspace(0.5, largest, 48), 2)
    yield setting.probe([[gap, 0.0, 0.0, -0.25] for gap in gaps], [0] * len(gaps))


def _options(setting: Setting) -> Iterable[Probe]:
    """Every option, of many classes and of many rows, with each reduction; and at an offset."""
    random = np.random.default_rng(40)
    weights = random.integers(1, 17, 300) / 8
    x, y = np.round(random.normal(scale=2, size=(70, 300)), 2), random.integers(0, 300, 70)
    offset = 2.0**20 if setting.dtype == "float32" else 1024.0  # where half a unit is a logit yet
    few = np.array([[1.0, 2.0, 3.0], [0.5, -4.0, 0.0]])
    if setting.dtype in ONE:
        yield setting.probe(*_spiked(), label_smoothing=0.125, class_weights=_SPIKE)
    for reduction in dict.fromkeys(("none", *setting.reductions)):
        yield setting.probe(x, y, class_weights=weights, label_smoothing=0.125, reduction=reduction)
        yield setting.probe(few, [0, 1], class_weights=[0.125, 0.25, 0.5], reduction=reduction)
        yield setting.probe(few + offset, [0, 1], label_smoothing=0.125, reduction=reduction)
        tiny = [2.0**-20, 2.0**-21, 2.0**-19]  # as 1 / count of a class would be
        yield setting.probe(few, [0, 1], class_weights=tiny, reduction=reduction)
        if setting.takes_indices:
            labels = np.where(np.arange(70) % 7 < 1, -100, y)
            options = {"class_weights": weights, "ignore_index": -100, "reduction": reduction}
            yield setting.probe(x, labels, **options)
            many = np.where(np.arange(_ROWS) % 30 < 1, -100, np.arange(_ROWS) % 5)
            logits = random.integers(-8, 9, size=(_ROWS, 5)) / 4
            yield setting.probe(logits, many, ignore_index=-100, reduction=reduction)
            if setting.dtype in ONE:  # of all chunks but the first every row is ignored
                few_count = np.where(np.arange(_PADDED) < _PADDED // 8, np.arange(_PADDED) % 5, -100)
                logits = np.resize(logits, (_PADDED, 5))
                yield setting.probe(logits, few_count, ignore_index=-100, reduction=reduction)


def _sums(setting: Setting) -> Iterable[Probe]:
    """Reduce many rows, and not a whole number of blocks."""
    logits = np.random.default_rng(42).integers(-8, 9, size=(_SUMMED, 5)) / 4
    labels = np.arange(_SUMMED) % 5
    for reduction in setting.reductions if "reduction" in setting.parameters else ():
        yield setting.probe(*setting.arguments(logits, labels), reduction=reduction)


def _copies(setting: Setting) -> Iterable[Probe]:
    """Repeat some rows until there are more than a grid of blocks has, or half precision counts to."""
    logits = np.random.default_rng(53).integers(-2, 3, size=(_PERIOD, 2)) / 4
    labels = np.arange(_PERIOD) % 2
    if setting.dtype in ONE and setting.convention.reduction == "none":
        yield setting.repeated(logits, labels, _MOST)
    if "mean" in {*setting.reductions, setting.convention.reduction}:
        yield setting.repeated(logits, labels, _MOST, "mean")


def _gradients(setting: Setting) -> Iterable[Probe]:
    """Ordinary logits of many classes, also with options."""
    random = np.random.default_rng(41)
    if not setting.convention.binary:
        logits = np.round(random.normal(scale=2, size=(10, _CLASSES[0])), 2)
        labels = random.integers(0, _CLASSES[0], 10)
        yield setting.probe(logits, labels)
        yield setting.probe(logits, labels, class_weights=random.integers(1, 17, _CLASSES[0]) / 8)
        yield setting.probe(logits, labels, label_smoothing=0.125)
        yield setting.probe(*_spiked(), label_smoothing=0.125, class_weights=_SPIKE)


def _spiked() -> "tuple[FloatArray, IntArray]":
    """Draw logits of so many classes that weights are read tile by tile, of which one counts."""
    random = np.random.default_rng(51)
    return np.round(random.normal(scale=2, size=(5, _LONG)), 2), random.integers(0, _LONG, 5)


def _soft(setting: Setting) -> Iterable[Probe]:
    """Spread labels evenly over many classes of more, as distillation does: none is left out, and all count.

    In half precision so many that a sum of them in the dtype stands still.
    """
    count = 128 if setting.dtype in WIDE else 4096
    if not setting.convention.binary:
        random = np.random.default_rng(52)
        logits = np.round(random.normal(scale=2, size=(2, _LONG)), 1)
        labels = np.zeros((2, _LONG))
        for row, places in enumerate((random.permutation(_LONG)[:count], np.arange(_LONG)[-count:])):
            labels[row, places] = 1 / count
        yield setting.probe(logits, labels)


def _upstream(setting: Setting) -> Iterable[Probe]:
    """Give each of many rows another upstream gradient, without a pattern."""
    random = np.random.default_rng(43)
    if setting.convention.reduction == "none":
        upstream = (2.0 ** random.integers(-3, 4, _ROWS) * random.choice([-1.0, 1.0], _ROWS)).tolist()
        x = np.round(random.normal(scale=2, size=(_ROWS, 4)), 2)
        probe = setting.probe(*setting.arguments(x, random.integers(0, 4, _ROWS)))
        for ends in (1.0, 0.0):  # what the first and the last row alone would say of all
            given = (ends, *upstream[1:-1], ends)
            yield replace(probe, how=How(upstream=given))


PROPERTIES: Final = (
    Property(
        "wide-rows",
        f"many classes are no other loss, beside masks, far tails and nan, wherever the maximum is: {WITHIN}",
        _rows,
        dtypes=(*WIDE, *NARROW),
        category="sizes",
        since=2,
    ),
    Property(
        "near-runners-up",
        f"of a confident row every runner-up counts, at any gap: {WITHIN}",
        _gaps,
        category="sizes",
        since=2,
    ),
    Property(
        "options-of-many",
        "options are the same of many rows and classes, at an offset, where weights add up to less than 1, "
        f"and where whole chunks are ignored: {WITHIN}",
        _options,
        _VALUES,
        logits_only=True,
        dtypes=(*ONE, *NARROW),
        category="options",
        since=2,
    ),
    Property(
        "reductions-of-many",
        "mean and sum of hundreds of rows are those of their losses: log2 N ulps more than a loss",
        _sums,
        _VALUES,
        logits_only=True,
        dtypes=(*ONE, *NARROW),
        category="options",
        since=2,
    ),
    Property(
        "repeated-rows",
        f"nor are {_MOST:,} rows, more than a grid's 65,535 blocks and float16's largest number: {WITHIN}",
        _copies,
        _VALUES,
        logits_only=True,
        dtypes=(*ONE, *NARROW),
        category="sizes",
        since=2,
    ),
    Property(
        "wide-soft-labels",
        f"labels may be spread evenly over many classes: {WITHIN}",
        _soft,
        logits_only=True,
        dtypes=(*WIDE, *NARROW),
        category="sizes",
        since=2,
    ),
    Property(
        "wide-gradients",
        "of many classes, entries are off by no more than rounding makes them, as gradient-digits has it",
        _gradients,
        FINDINGS,
        digits_findings,
        logits_only=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
    Property(
        "upstream-gradients-of-many",
        f"each of many rows gets what comes back to it, whatever the first and the last get: {PERCENT}",
        _upstream,
        FINDINGS,
        logits_only=True,
        of_autodiff=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
)

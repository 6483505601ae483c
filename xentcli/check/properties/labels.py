"""Labels: one-hot rows, rows that sum to anything, spread ones, invalid ones, every type of integer."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.setting import (
    INF,
    NO_LOSSES,
    ONE,
    PERCENT,
    WIDE,
    WITHIN,
    Property,
    Setting,
)
from xentcli.frameworks.request import How
from xentcli.words import IGNORE_INDEX

_INTEGERS: Final = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64")
_SHARES: Final = (0.1, 0.3, 0.5, 0.9, 2.0**-11, 1 - 2.0**-11)  # nearly 1 is not 1
_WIDE_ROW: Final = 320  # classes of a label row, a tenth of which has a 32nd of its sum


def _masked(setting: Setting) -> Iterable[Probe]:
    """Classes of no probability beside the label."""
    yield setting.probe([[1, -INF, 3], [-INF, -INF, 5], [1, 2, -INF], [0.5, 0.25, 0]], [0, 2, 1, 0])


def _unnormalised(setting: Setting) -> Iterable[Probe]:
    """Label rows that sum to 2, 0.75, 1.5, 0, 3 and nearly 1; of more classes, to a half and to 2."""
    labels = [[2, 0, 0], [0.25, 0.25, 0.25], [0.5, 1, 0], [0, 0, 0], [1, 1, 1]]
    labels += [[0.5, 0.25, 0.25 - 2.0**-bits] for bits in (6, 11)]  # nearly 1 is not 1
    yield setting.probe([[1, 2, 3]] * len(labels), labels)
    if not setting.convention.binary:
        wide = np.zeros((2, _WIDE_ROW))
        wide[:, ::10] = np.array([[0.5], [2.0]]) / (_WIDE_ROW / 10)
        yield setting.probe(np.arange(2 * _WIDE_ROW).reshape(2, -1) % 7 / 2.0, wide)


def _soft(setting: Setting) -> Iterable[Probe]:
    """Spread labels over classes, near an offset, a mask and a gap too."""
    if setting.convention.binary:
        x, y = np.meshgrid([-40.0, -6.0, -0.5, 0.25, 3.0, 30.0], _SHARES)
        yield setting.probe(x.ravel(), y.ravel())
        return
    labels = [[0.9, 0.1, 0], [0.25, 0.25, 0.5], [0.6, 0.3, 0.1], [0.5, 0.5, 0]]
    logits = np.array([[1, 0, 0], [0.5, -3, 2], [4, 4, 4], [-2, 6, 1]])
    for x in (logits, logits + 2.0**16, 8 * logits):
        yield setting.probe(x, labels)
    if not setting.convention.probabilities:
        yield setting.probe(np.where(np.array(labels) == 0, -INF, logits), labels)
    if setting.dtype in ONE and not setting.convention.probabilities:  # a share below 1e-7 is all of it
        yield setting.probe([[40.0, 0.0, 0.5]], [[1 - 2.0**-24, 2.0**-24, 0.0]])
    # A small share of a large gap is a tenth of the loss.
    for bits in (23, 40) if setting.dtype in WIDE else ():
        yield setting.probe([[0.5, -(2.0 ** (bits - 3)), 0.0]], [[0.5, 2.0**-bits, 0.5 - 2.0**-bits]])


def _invalid_labels(setting: Setting) -> Iterable[Probe]:
    """Invalid labels, alone and beside a valid one."""
    if setting.convention.binary:
        for value in (-1.0, 2.0):
            yield setting.probe([10.0], [value])
    if setting.convention.labels != "indices":
        return
    for label in (-1, 3):
        yield setting.probe([[3, 0.5, 1], [0, 1, 2]], [1, label])
        yield setting.probe([[3, 0.5, 1], [0, 1, 2], [1, 0, 0]], [1, label, 0])  # not an end of the batch
    for label in (-1, 1):  # one class needs no sum, and its labels are looked at all the same
        yield setting.probe([[3.0]], [label])
    if "ignore_index" in setting.parameters:  # what is usually ignored is not where another label is
        yield setting.probe([[3, 0.5, 1], [0, 1, 2]], [0, IGNORE_INDEX], ignore_index=1)
    if setting.dtype == "float32":  # indices are cut to fewer bits whatever the dtype of the logits
        wide = [sign * 2**bits + more for bits in (32, 8, 31, 16) for sign in (1, -1) for more in (0, 1)]
        # PyTorch ignores the label -100 by default.
        is_valid = "ignore_index" in setting.parameters or setting.convention.library == "torch"
        ignored = () if is_valid else (IGNORE_INDEX,)
        for label in (-2, -3, 4, *wide, *ignored):
            yield setting.probe([[3, 0.5, 1]], [label])


def _integers(setting: Setting) -> Iterable[Probe]:
    """Label types, each with labels and row numbers times classes that are near its end or beyond it."""
    random = np.random.default_rng(3)
    if setting.convention.binary:
        for dtype in _INTEGERS:  # in which 2 y - 1 may wrap
            probe = setting.probe([-1.5, 0.25, 1.0, 3.0], [0.0, 1.0, 0.0, 1.0])
            yield replace(probe, how=How(label_dtype=dtype), may_decline=True)
    pairs = [(dtype, min(300, np.iinfo(dtype).max + 1)) for dtype in _INTEGERS]
    # Rows times classes are beyond the last number; then there are more classes than numbers.
    pairs += [("int8", 100), ("uint8", 100), ("int16", 9001), ("uint8", 600), ("int8", 300)]
    for dtype, classes in pairs if setting.takes_indices else ():
        logits = random.integers(-6, 7, size=(7, classes)) / 2
        last = min(classes - 1, np.iinfo(dtype).max)
        labels = np.array([0, last, 1, last - 1, last // 2, last, 3])
        if setting.convention.library == "numpy":  # the others' own y != -100 takes 156 for it
            labels[6] = min(IGNORE_INDEX % 256, last - 2)
        logits[1, last] = logits[3, 0] = 9.0
        yield replace(setting.probe(logits, labels), how=How(label_dtype=dtype), may_decline=True)
        if "ignore_index" in setting.parameters and dtype.startswith("u"):
            probe = setting.probe(logits, np.where(labels == 1, 255, labels), ignore_index=255)
            yield replace(probe, how=How(label_dtype=dtype), may_decline=True)


PROPERTIES: Final = (
    Property(
        "one-hot",
        f"a one-hot row says the same as an index, beside masked classes (-inf) too: {WITHIN}",
        _masked,
        logits_only=True,
    ),
    Property(
        "unnormalised-labels",
        f"labels that sum to s have the loss Σ y_j (log Σ exp x - x_j), {WITHIN}, and "
        f"the gradient s·p - y, {PERCENT}, where it counts as wrong",
        _unnormalised,
        logits_only=True,
    ),
    Property(
        "soft-labels",
        f"labels may be spread over classes, at an offset, beside a mask, far from the maximum: {WITHIN}",
        _soft,
    ),
    Property(
        "invalid-labels",
        "an invalid label raises, or its loss is nan or inf: never a plausible number",
        _invalid_labels,
        NO_LOSSES | {"plausible"},
    ),
    Property(
        "label-types",
        f"labels may be integers of any type, or are refused: {WITHIN}",
        _integers,
        dtypes=ONE,
        category="calls",
        since=2,
    ),
)

"""Losses that must not change: by an offset, the order of classes or examples, the company of a batch."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

import numpy as np

from xentcli.check.findings import compare_rows
from xentcli.check.probes import Probe
from xentcli.check.properties.setting import INF, NO_LOSSES, TWICE, WITHIN, Called, Property, Setting, draw
from xentcli.check.report import CheckFinding
from xentcli.check.tolerance import MaxUlps
from xentcli.formats import FORMATS


def _shifted(setting: Setting) -> Iterable[Probe]:
    """Rows, and the same rows with every logit moved by as much; all sums are exact."""
    base = np.array([[0.25, -1.5, 3.0], [2.0, 2.0, 2.0], [-7.0, 0.0, 1.25]])
    largest = {"float32": 20, "float64": 50}[setting.dtype]  # x + c is exact below 2^22 and 2^51
    for sign in (1, -1):
        for offset in (0.0, 100.0, *(sign * 2.0**n for n in range(10, largest + 1, 5))):
            yield setting.probe(base + offset, [0, 1, 2])


def _translation_findings(called: Called, max_ulps: MaxUlps) -> Iterator[CheckFinding]:
    """Compare every shifted batch with the first of its dtype, which is not."""
    for _, group in groupby(called, key=lambda call: call[0].dtype):
        first, *others = group
        for each in others:
            shift = each[0].batch.logits[0, 0] - first[0].batch.logits[0, 0]
            for row in range(len(each[0].batch.logits)):
                message = f"shifted by {shift:g}, the loss changes"
                yield from compare_rows(message, (*first, row), (*each, row), max_ulps)


def _permuted(setting: Setting) -> Iterable[Probe]:
    """One row with its classes in six orders."""
    row, label = np.array([0.5, -3.0, 12.0, 7.25, -40.0]), 3
    orders = [np.roll(np.arange(5), shift) for shift in range(5)] + [np.array([4, 2, 0, 3, 1])]
    labels = [int(np.flatnonzero(order == label)[0]) for order in orders]
    yield setting.probe([row[order] for order in orders], labels)


def _permutation_findings(called: Called, max_ulps: MaxUlps) -> Iterator[CheckFinding]:
    message = "with the classes in another order, the loss changes"
    for each in called:
        for row in range(1, len(each[0].batch.logits)):
            yield from compare_rows(message, (*each, 0), (*each, row), max_ulps)


def _batch_and_rows(setting: Setting) -> Iterable[Probe]:
    """Give a batch, then its rows one by one."""
    logits, labels = draw(setting, seed=0)
    yield setting.probe(logits, labels)
    for row in range(len(logits)):
        yield setting.probe(logits[[row]], labels[[row]])


def _batching_findings(called: Called, max_ulps: MaxUlps) -> Iterator[CheckFinding]:
    """Compare the rows of the first batch of a dtype with the others, which are those rows."""
    for _, group in groupby(called, key=lambda call: call[0].dtype):
        batch, *rows = group
        for row, each in enumerate(rows):
            message = f"alone, the loss of example {row} changes"
            yield from compare_rows(message, (*batch, row), (*each, 0), max_ulps)


def _apart(setting: Setting) -> Iterable[Probe]:
    """Rows of very different offsets and scales side by side, and the other way round."""
    offsets = {
        "float16": (0, 64, -512, 1024),
        "float32": (0, 1e3, -1e4, 1e6),
        "float64": (0, 1e3, -1e8, 1e12),
    }
    base = np.array([[0.5, -1.0, 2.0], [4.0, 4.0, -8.0], [-0.5, 1.5, 0.0], [16.0, 2.0, 1.0]])
    rows = np.concatenate([base + offset for offset in offsets[setting.dtype]])
    labels = np.arange(len(rows)) % 3
    for order in (slice(None), slice(None, None, -1)):
        yield setting.probe(*setting.arguments(rows[order], labels[order]))


def _extreme(setting: Setting) -> Iterable[Probe]:
    """Logits within a factor of 8 of the largest number, losses of that size, and a row at the very end."""
    unit = 2.0 ** {"float16": 13, "float32": 125, "float64": 1021}[setting.dtype]
    rows = unit * np.array([[1, 0.5, 0], [-1, -0.75, -1], [0.25, 1, -0.5], [1, 1, 1]])
    least = np.full((1, 3), -FORMATS[setting.dtype].largest)  # what fills up rows, and masks whole ones
    rows, labels = np.concatenate([rows, least, least]), np.array([0, 0, 2, 1, 0, 1])
    rows[-1, 2] = -INF if setting.takes_indices else rows[-1, 2]
    yield setting.probe(*setting.arguments(rows, labels))


PROPERTIES: Final = (
    Property(
        "translation",
        f"L(x + c) = L(x) where x + c is exact: {TWICE}, for each may be off by as many",
        _shifted,
        NO_LOSSES,
        _translation_findings,
        logits_only=True,
    ),
    Property(
        "permutation",
        f"the order of the classes changes no loss: {TWICE}, as sums round otherwise",
        _permuted,
        NO_LOSSES,
        _permutation_findings,
    ),
    Property(
        "batching",
        f"a row alone has the loss that it has in a batch: {TWICE}, as other vector lengths round otherwise",
        _batch_and_rows,
        NO_LOSSES,
        _batching_findings,
    ),
    Property(
        "extreme-logits",
        f"logits a factor of 8 below the largest number of the dtype: {WITHIN}",
        _extreme,
        logits_only=True,
        dtypes=("float16", "float32", "float64"),
        category="sizes",
        since=2,
    ),
    Property(
        "unlike-rows",
        f"rows of other offsets and scales beside it, in either order, change no loss: {WITHIN}",
        _apart,
        logits_only=True,
        dtypes=("float16", "float32", "float64"),
        category="sizes",
        since=2,
    ),
)

"""What a loss may take besides logits and labels: weights, smoothing, ignored rows, a reduction."""

from collections.abc import Iterable, Iterator
from itertools import combinations, product
from typing import Any, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.setting import INF, NAN, NARROW, ONE, WITHIN, Property, Setting, draw

# Of each option a plain value and awkward ones: weights that sum below 1 or are 0 for a class, all of a
# label's mass spread, an index that is a class and one that is none.
_OPTIONS: Final = (
    ("class_weights", ([0.3, 1.7, 2.9], [0.125, 0.25, 0.25], [1.0, 0.0, 4.0])),
    ("label_smoothing", (0.125, 0.5, 1.0)),
    ("ignore_index", (-100, 1, 7)),
)
_OFFSET: Final = 2.0**30  # quarters beside it are numbers of float64


def _ignored(setting: Setting) -> Iterable[Probe]:
    """Ignored rows of numbers, nan and infinities among others; the index is a class in one case."""
    if setting.convention.labels != "indices":
        return
    logits = [[1, 2, 3], [NAN] * 3, [0.5, 0, 0], [INF, 0, -INF], [-INF] * 3, [2, 1, 0.5]]
    for index in (-100, 255, 1):
        for reduction in setting.reductions:
            labels = [0, index, 2, index, index, 0]
            yield setting.probe(logits, labels, ignore_index=index, reduction=reduction)


def _weighted(setting: Setting) -> Iterable[Probe]:
    """Weigh classes, smooth labels, and both."""
    logits, labels = [[1, 2, 3], [0.5, -4, 0], [2, 1, 0.5], [0.5, 1.5, -1]], [0, 2, 1, 1]
    for reduction in setting.reductions:
        for weights, smoothing in (([0.5, 2, 3], 0.0), (None, 0.1), (None, 1.0), ([1, 0, 4], 0.25)):
            options = {"class_weights": weights, "label_smoothing": smoothing, "reduction": reduction}
            for rows in (4, 3, 1):  # as many rows as classes, too: a weight of each is no weight of the other
                yield setting.probe(logits[:rows], labels[:rows], **options)


def _reduced(setting: Setting) -> Iterable[Probe]:
    """Reduce the losses of a batch both ways."""
    logits, labels = draw(setting, seed=1)
    none = np.array([[0.0, 1.0, 2.0], [900.0, 0.0, 0.0], [2.0, 1.0, 0.0]])  # one loss is 0, and counts
    for reduction in setting.reductions if "reduction" in setting.parameters else ():
        yield setting.probe(logits, labels, reduction=reduction)
        yield setting.probe(*setting.arguments(none, np.array([0, 0, 1])), reduction=reduction)


def _all_ignored(setting: Setting) -> Iterable[Probe]:
    """No row counts; a mean of nothing may be nan or 0."""
    for reduction in ("none", *setting.reductions) if setting.takes_indices else ():
        yield setting.probe([[1, 2, 3], [0, 5, 0]], [-100, -100], ignore_index=-100, reduction=reduction)


def _pairs(setting: Setting) -> Iterable[Probe]:
    """Options two by two, and all together, each reduction of each; far from 0 a sum of logits is rounded."""
    logits = np.array([[1, 2, 3], [0.5, -4, 0], [2, 1, 0.5], [0.5, 1.5, -1], [6, -2, 0.25], [0, 0, 9]])
    offsets = (0.0,) if setting.dtype in ONE else (0.0, _OFFSET)
    for options, offset in product(_combined(), offsets):
        index = options.get("ignore_index")
        labels = np.array([0, 2, 1, 1, 2, 0])
        if index is not None and not setting.takes_indices:
            continue
        if index is not None and index != 1:
            labels[[1, 3]] = index
        for reduction in dict.fromkeys(("none", *setting.reductions)):
            yield setting.probe(logits + offset, labels, reduction=reduction, **options)


def _combined() -> Iterator[dict[str, Any]]:
    """Yield every pair of options, with their values in step, and the three of them."""
    for size in (2, 3):
        for chosen in combinations(_OPTIONS, size):
            for number in range(3):
                # The second of a pair is one value further: no two awkward ones are always together.
                yield {name: values[(number + place) % 3] for place, (name, values) in enumerate(chosen)}


def _large_sums(setting: Setting) -> Iterable[Probe]:
    """Losses that add up to more than the largest number of the dtype, and whose mean is ordinary."""
    if not set(setting.reductions) & {"mean"} and setting.convention.reduction != "mean":
        return
    rows = np.array([[0.0, 200.0, -3.0], [240.0, 0.0, 1.0], [0.5, 0.0, 199.0]])
    logits = np.tile(rows, (120, 1))  # 360 losses of about 200 add up to 77,000
    batch = setting.arguments(logits, np.tile([0, 1, 0], 120))
    yield setting.probe(*batch, reduction="mean")
    if not setting.convention.binary:  # and so do their weights
        yield setting.probe(*batch, reduction="mean", class_weights=[200.0, 400.0, 300.0])


PROPERTIES: Final = (
    Property(
        "ignored-rows",
        f"an ignored row has loss 0 and gradient 0, exactly, even where it holds nan; the others are "
        f"{WITHIN}, and the mean counts only them",
        _ignored,
    ),
    Property(
        "weights-and-smoothing",
        "the targets are w_j ((1 - ε) y_j + ε / C), and a mean divides by the labels' weights, or by N where "
        f"labels are rows, as PyTorch has it: {WITHIN}",
        _weighted,
        logits_only=True,
    ),
    Property(
        "reductions",
        "mean and sum are those of the losses: log2 N ulps more than a loss, for the sum",
        _reduced,
    ),
    Property(
        "option-pairs",
        f"options go together: weights, smoothing and ignored rows, by twos and all three: {WITHIN}",
        _pairs,
        logits_only=True,
        category="options",
        since=2,
    ),
    Property(
        "options-in-half-precision",
        f"each option is what it is in float16 and bfloat16 too: {WITHIN}",
        _weighted,
        logits_only=True,
        dtypes=NARROW,
        category="options",
        since=2,
    ),
    Property(
        "nothing-counts",
        "where every row is ignored, the losses and the sum are 0, and the mean is nan or 0",
        _all_ignored,
        category="options",
        dtypes=("float32",),
        since=2,
    ),
    Property(
        "mean-of-large-losses",
        "a mean is right where the sum of the losses, or of their weights, is beyond float16's 65,504",
        _large_sums,
        logits_only=True,
        dtypes=("float16",),
        category="options",
        since=2,
    ),
)

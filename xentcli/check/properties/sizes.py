"""Sizes: small losses, few and many rows and classes, and what the ends of blocks hold."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.setting import NO_LOSSES, ONE, WITHIN, Called, Property, Setting
from xentcli.check.report import CheckFinding
from xentcli.check.tolerance import MaxUlps
from xentcli.formats import FORMATS
from xentcli.frameworks.conventions import CHUNKS
from xentcli.frameworks.request import How

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

# Around the tiles, warps and chunks of kernels (powers of two from 128 to 1,024) and 600, which is none.
_CLASSES: Final = (127, 128, 129, 255, 256, 257, 511, 512, 513, 600, 1023, 1024, 1025)
_WIDE_CLASSES: Final = (129, 257)  # in float64: what is kept in float32 from some size on
# Beyond 2^12, 2^15 and 2^17: more than one block of most kernels.
_MANY_CLASSES: Final = (4097, 32769, 131073)
# A grid of 1,024 programs, and every rest of eight; and beyond tiles of 2,048, 4,096 and 8,192.
_EXAMPLES: Final = (1, 3, *range(1023, 1031), 2050, 4099, 8195)
_REDUCED: Final = 1030  # of them are reduced
_PERIOD: Final = 53  # prime: no two rows that are a power of two apart are alike
_EDGE: Final = 128  # classes of the smallest tile: larger ones begin and end where some of these do
# Classes, and the powers of two of the labels: tiles up to 4,096, and where 16 bits end.
_EDGE_LABELS: Final = ((4100, range(3, 13)), (65540, (13, 14, 16)))
_BEYOND: Final = 66000  # equal classes whose exponentials add up to more than float16's 65,504


def _tails(setting: Setting) -> Iterable[Probe]:
    """Losses down to the smallest number of the dtype."""
    gaps = np.round(np.geomspace(1, {"float32": 100.0, "float64": 740.0}[setting.dtype], 24), 2)
    if setting.convention.binary:
        for times in (1, 13):  # few and many: a kernel for many may have another logarithm
            labels = [1.0] * len(gaps) + [0.0] * len(gaps)
            yield setting.probe([*gaps, *-gaps] * times, labels * times)
    elif setting.convention.probabilities:
        rest = 2.0 ** -np.arange(1, FORMATS[setting.dtype].precision + 1)
        p = np.array([[1 - r, r] for r in rest])
        yield setting.probe(np.log(p), [0] * len(rest), probabilities=p)
    else:
        yield setting.probe([[gap, 0, 0] for gap in gaps], [0] * len(gaps))


def _sizes(setting: Setting) -> Iterable[Probe]:
    """Batches and rows of sizes that blocks leave a rest of; many logits are equal."""
    if setting.dtype != "float32":  # how a block ends does not depend on the dtype
        return
    random = np.random.default_rng(2)
    for examples, classes in ((257, 2), (65, 4), (33, 17), (17, 33), (5, 65), (3, 129), (2, 257)):
        logits = random.integers(-6, 7, size=(examples, classes)) / 2
        yield setting.probe(*setting.arguments(logits, random.integers(0, classes, examples)))


def _empty(setting: Setting) -> Iterable[Probe]:
    """No rows; the mean of no losses is undefined."""
    if setting.convention.reduction == "none":
        yield setting.probe(np.zeros(0 if setting.convention.binary else (0, 3)), np.zeros(0, int))


def _one_class(setting: Setting) -> Iterable[Probe]:
    """Rows of one class; of probabilities -log(1) is -0.0."""
    if setting.convention.ranks == 1:  # more share no class
        yield setting.probe([[0.0], [3.5], [-1e30]], [0, 0, 0])


def _one_class_findings(called: Called, _: MaxUlps) -> list[CheckFinding]:
    losses = (loss for _, response in called for loss in response.get("losses", ()))
    wrong = next((loss for loss in losses if not (loss == 0 and math.copysign(1, loss) == 1)), None)
    if wrong is None:
        return []
    kind = "one class" if wrong == 0 else "of one class"
    return [CheckFinding(kind, f"the loss of one class is {wrong}, not +0.0")]


def _edges(classes: int) -> "IntArray":
    """Return the first and the last class of each tile, and the last class of all."""
    places = np.arange(classes)
    return np.flatnonzero(np.isin(places % _EDGE, (0, _EDGE - 1)) | (places == classes - 1))


def _tiled(classes: int) -> "tuple[FloatArray, IntArray]":
    """Make rows (8, C) of which each loses much where a class is lost, or a maximum comes late.

    The largest logit is the last class's, beside the label and as the label; the first class's; the tiles'
    edges' alike; all are equal; they rise and fall; the first and the last share the probability.
    """
    random, last = np.random.default_rng(classes), classes - 1
    x = np.round(random.normal(scale=2, size=(8, classes)), 2)
    edges = _edges(classes)
    x[0, last], x[1, last], x[2, 0] = (
        200.0,
        12.0,
        12.0,
    )  # beyond 88 others' maximum is none for its exponential
    x[3] = -20.0
    x[3, edges] = 0.0
    x[4] = 0.5
    x[5], x[6] = np.linspace(-8, 8, classes).round(2), np.linspace(8, -8, classes).round(2)
    x[7, [0, last]] = 30.0
    return x, np.array([0, last, last, edges[len(edges) // 2], classes // 2, 1, last - 1, classes // 3])


def _classes(setting: Setting) -> Iterable[Probe]:
    """Every number of classes, the largest logits where a kernel may lose them."""
    if not setting.convention.binary:
        for classes in _CLASSES if setting.dtype == "float32" else _WIDE_CLASSES:
            x, labels = _tiled(classes)
            rows = slice(None) if setting.dtype == "float32" else slice(3)  # no long sums: their order counts
            yield setting.probe(x[rows], labels[rows])


def _many_classes(setting: Setting) -> Iterable[Probe]:
    """Large numbers of classes, with few rows."""
    if not setting.convention.binary:
        for classes in _MANY_CLASSES:
            x, labels = _tiled(classes)
            rows = [3, 5, 7] if classes > 2**17 else [1, 3, 4, 5, 7]
            yield setting.probe(x[rows], labels[rows])


def _edge_labels(setting: Setting) -> Iterable[Probe]:
    """Labels on both sides of every power of two, none of them the largest logit."""
    for classes, powers in _EDGE_LABELS if not setting.convention.binary else ():
        labels = [2**power + more for power in powers for more in (-1, 0, 1)]
        row = np.arange(classes) * 5 % 11 / 4.0 - 40.0  # no long sum: its order counts
        row[classes // 3] = 9.0
        how = How(with_gradient=classes == _EDGE_LABELS[0][0])
        yield replace(setting.probe(np.tile(row, (len(labels), 1)), labels), how=how)


def _equal_classes(setting: Setting) -> Iterable[Probe]:
    """Add many ones: float16 ends at 65,504 and stands still at 2,048, bfloat16 at 256."""
    if not setting.convention.binary:
        for classes in (300, 4097, _BEYOND):
            x = np.zeros((2, classes))
            x[1, -1] = 1.0
            yield setting.probe(x, [0, classes - 1])


def _examples(setting: Setting) -> Iterable[Probe]:
    """Every number of examples, no two neighbours alike."""
    random = np.random.default_rng(4)
    logits, labels = random.integers(-12, 13, size=(_PERIOD, 5)) / 2, random.integers(0, 5, _PERIOD)
    for number in _EXAMPLES:
        yield setting.repeated(logits, labels, number, setting.convention.reduction)
    for each in setting.reductions if "reduction" in setting.parameters else ():
        yield setting.repeated(logits, labels, _REDUCED, each)


def _small(setting: Setting) -> Iterable[Probe]:
    """Every small number of rows and of classes once."""
    random = np.random.default_rng(5)
    for examples, classes in (
        (12, 2),
        (11, 5),
        (10, 6),
        (9, 7),
        (8, 8),
        (7, 9),
        (6, 10),
        (5, 11),
        (4, 12),
        (2, 15),
    ):
        logits = random.integers(-9, 10, size=(examples, classes)) / 2
        yield setting.probe(*setting.arguments(logits, random.integers(0, classes, examples)))


def _chunks(setting: Setting) -> Iterable[Probe]:
    """Chunks that divide the rows or the classes, that leave a rest, and that are larger than both."""
    random = np.random.default_rng(6)
    logits = np.round(random.normal(scale=3, size=(7, 13)), 2)
    logits[1], logits[2] = np.arange(13) * 1.5, np.arange(13) * -1.5  # the maximum moves from chunk to chunk
    labels = np.array([12, 12, 0, 5, 1, 12, 6])
    for name in (name for name in CHUNKS if name in setting.parameters):
        for chunk in (1, 2, 3, 5, 6, 7, 8, 12, 13, 14, 64):
            for reduction in dict.fromkeys(("none", *setting.reductions)):
                probe = setting.probe(*setting.arguments(logits, labels), reduction=reduction)
                yield replace(probe, how=How(keyword=(name, chunk)), may_decline=chunk > len(logits))


PROPERTIES: Final = (
    Property(
        "no-collapse",
        "a loss that rounds to something positive is not 0, down to the dtype's smallest number "
        f"(or C/2 of those, where every term rounds to 0): {WITHIN}",
        _tails,
        NO_LOSSES | {"collapsed", "negative", "nan", "off"},
    ),
    Property(
        "sizes",
        f"no number of rows or classes is special, nor are logits that are equal: {WITHIN}",
        _sizes,
    ),
    Property("empty-batch", "no rows have no losses, and none is made up: shape (0,)", _empty),
    Property(
        "one-class",
        "the loss of one class is +0.0, exactly, whatever its logit",
        _one_class,
        None,
        _one_class_findings,
        logits_only=True,
    ),
    Property(
        "small-sizes",
        f"no small number of rows or classes is special: {WITHIN}",
        _small,
        dtypes=ONE,
        category="sizes",
        since=2,
    ),
    Property(
        "batch-sizes",
        f"nor is a number of rows, up to 8,195: {WITHIN}",
        _examples,
        dtypes=ONE,
        category="sizes",
        since=2,
    ),
    Property(
        "class-counts",
        f"nor is a number of classes, up to 1,025, and none is lost at the edge of a tile: {WITHIN}",
        _classes,
        category="sizes",
        since=2,
    ),
    Property(
        "labels-at-edges",
        f"a label may be the first or the last class of a tile: {WITHIN}",
        _edge_labels,
        logits_only=True,
        dtypes=ONE,
        category="sizes",
        since=3,
    ),
    Property(
        "equal-classes",
        "sums of many equal terms do not end at 65,504, nor stand still where a dtype counts no further: "
        f"{WITHIN}",
        _equal_classes,
        dtypes=("float16", "bfloat16"),
        category="sizes",
        since=2,
    ),
    Property(
        "large-class-counts",
        f"4,097, 32,769 and 131,073 classes: {WITHIN}",
        _many_classes,
        dtypes=ONE,
        category="sizes",
        since=2,
    ),
    Property(
        "chunks",
        f"a parameter that divides the work ({', '.join(CHUNKS)}) changes no loss: {WITHIN}",
        _chunks,
        dtypes=ONE,
        category="sizes",
        since=2,
    ),
)

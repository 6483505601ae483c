"""Many rows and classes with what few are tried with: options, ignored rows, gradients, layouts.

A kernel for large arrays is another one: its own loop over tiles, its own count of rows, its own sums.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.gradients import FINDINGS, digits_findings
from xentcli.check.properties.setting import INF, NAN, NO_LOSSES, ONE, PERCENT, WITHIN, Property, Setting
from xentcli.frameworks.conventions import CPU
from xentcli.frameworks.request import LAYOUTS, How
from xentcli.methods.steps import STEPS

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

_CLASSES: Final = (1030, 4100)  # beyond tiles of 1,024 and 4,096, and a rest
_UNEVEN: Final = 8200  # rows: beyond two chunks of 4,096, of which one has few that count
_SHORT: Final = (("int8", 8), ("uint8", 8), ("int16", 16), ("uint16", 16))
_PERIOD: Final = 53  # prime: no two rows that are a power of two apart are alike
_BLOCKS: Final = 53 * 1237  # rows: beyond 65,536, which 16 bits count to
_ROWS: Final = 53 * 4947  # beyond 262,144 = 2^18
_WIDTH: Final = 5
_VOCABULARY: Final = 262_209  # classes: beyond 2^18, where Gemma 3's vocabulary of 262,208 ends too
_BEYOND_EXP: Final = 2000.0  # exp of it is beyond float64
_SOME: Final = (66, 600)  # rows, beyond warps and blocks
_LATE: Final = 1500  # rows, of which the last is invalid
_FLAT: Final = (3, 1030)  # a row that is longer than a tile, in arrays whose rows are apart


def _rows(classes: int, seed: int, examples: int = 6) -> "tuple[FloatArray, IntArray]":
    """Draw logits of a few units, of which long sums keep all digits, and labels."""
    random = np.random.default_rng(seed)
    return np.round(random.normal(scale=2, size=(examples, classes)), 2), random.integers(
        0, classes, examples
    )


def _options(setting: Setting) -> Iterable[Probe]:
    """Weights, smoothing and an ignored row that holds nan, two by two, of many classes."""
    for classes in _CLASSES if setting.takes_indices else ():
        x, y = _rows(classes, seed=70)
        weights = np.random.default_rng(71).integers(1, 17, classes) / 8
        weights[0] = 8.0  # what an ignored row would weigh, were its label 0
        ignored = {"ignore_index": -100}
        holed, labels = x.copy(), np.where(np.arange(len(y)) == 2, -100, y)  # noqa: PLR2004 - the third
        holed[2, ::7] = NAN
        reductions = setting.reductions if classes == _CLASSES[0] else ()
        for reduction in dict.fromkeys(("none", *reductions)):
            options: tuple[dict[str, Any], ...]
            options = ({}, {"class_weights": weights}, {"label_smoothing": 0.125})
            for each in options:
                yield setting.probe(holed, labels, reduction=reduction, **ignored, **each)
            yield setting.probe(x, labels, reduction=reduction, **ignored, **options[1], **options[2])


def _weighted_knobs(setting: Setting) -> Iterable[Probe]:
    """Put a step of logits beside class weights, whose gradient has both."""
    x, y = _rows(5, seed=72)
    for step in STEPS if not setting.convention.binary else ():
        yield setting.probe(x, y, class_weights=[0.5, 2, 3, 1, 0.25], **{step.name: step.tried[0]})


def _uneven(setting: Setting) -> Iterable[Probe]:
    """Thousands of rows, of which a chunk has few that count: a mean of chunks is no mean."""
    if setting.takes_indices:
        logits = np.random.default_rng(73).integers(-2, 3, size=(_UNEVEN, 3)) / 4
        counts = (np.arange(_UNEVEN) < _UNEVEN // 2) | (np.arange(_UNEVEN) % 64 == 0)
        labels = np.where(counts, np.arange(_UNEVEN) % 3, -100)
        reduction = "mean" if "mean" in setting.reductions else setting.reductions[0]
        yield setting.probe(logits, labels, ignore_index=-100, reduction=reduction)


def _late(setting: Setting) -> Iterable[Probe]:
    """Put an invalid label behind a thousand valid ones."""
    if setting.takes_indices and setting.convention.device == CPU:  # others lose the device by it
        x, y = _rows(3, seed=74, examples=_LATE)
        for label in (-1, 3):
            yield setting.probe(x, np.where(np.arange(_LATE) == _LATE - 1, label, y))


def _repeated(setting: Setting, rows: int, classes: int, how: How, reduction: str | None = None) -> Probe:
    random = np.random.default_rng(75)
    logits = random.integers(-2, 3, size=(_PERIOD, classes)) / 4  # none of whose losses is small
    labels = random.integers(0, classes, _PERIOD)
    probe = setting.repeated(logits, labels, rows, reduction or setting.convention.reduction)
    return replace(probe, how=how)


def _counted(setting: Setting) -> Iterable[Probe]:
    """Give labels of a short type in more rows than it counts to."""
    reduction = "mean" if "mean" in setting.reductions else setting.reductions[0]
    for dtype, bits in _SHORT if setting.takes_indices and setting.convention.ranks == 1 else ():
        rows = _PERIOD * (1 + 2**bits // _PERIOD)
        how = How(label_dtype=dtype, with_gradient=False)
        yield replace(_repeated(setting, rows, 3, how, reduction), may_decline=True)


def _million(setting: Setting) -> Iterable[Probe]:
    """Repeat rows until there are more than a grid of 2^18 blocks has."""
    if not setting.convention.linear and setting.convention.ranks == 1:  # whose factors are larger yet
        yield _repeated(setting, _ROWS, 2 if setting.convention.binary else _WIDTH, How(with_gradient=False))


def _vocabulary(setting: Setting) -> Iterable[Probe]:
    """Put what counts into the last classes of more than 2^18, and a logit whose exp is no number."""
    if not setting.convention.binary and not setting.convention.linear and setting.convention.ranks == 1:
        for last in (1.5, _BEYOND_EXP):
            x = np.full((1, _VOCABULARY), -50.0)
            x[0, [5, _VOCABULARY - 9]] = 2.0, last
            yield replace(setting.probe(x, [5]), how=How(with_gradient=False))


def _unlike(setting: Setting) -> Iterable[Probe]:
    """Repeat what few rows are tried with: masks, gaps beyond exp, labels behind, a tail at the end."""
    three = [[-INF, 0, 1], [1000, 0, -1000], [0.5, -2, 0.25], [-300, -301, -300], [40, 0, 0], [0, -40, 0]]
    rows = np.array(three)[:, [0, 1, 2, 1, 2]]
    for number in _SOME:
        if setting.convention.binary:
            x = np.array([[INF], [-INF], [0.5], [40], [-40], [1000]])
            yield setting.repeated(x, np.array([1, 0, 1, 1, 0, 0]), number, setting.convention.reduction)
        elif setting.convention.reduction == "none":
            yield setting.repeated(rows, np.array([1, 1, 0, 2, 0, 2]), number)


def _poisoned(setting: Setting) -> Iterable[Probe]:
    """Reduce a batch with a row of nan, which is no row that is left out."""
    x, y = _rows(3, seed=79)
    x[1, 0] = NAN
    for reduction in setting.reductions if "reduction" in setting.parameters else ():
        yield setting.probe(*setting.arguments(x, y), reduction=reduction)


def _gradients_of_rows(setting: Setting) -> Iterable[Probe]:
    """Ask for the gradient of more rows than 16 bits count to."""
    if setting.convention.reduction == "none":
        yield _repeated(setting, _BLOCKS, 2, How())


def _gradients_of_classes(setting: Setting) -> Iterable[Probe]:
    """Ordinary logits of many classes, in either format."""
    if not setting.convention.binary:
        x, y = _rows(_CLASSES[1], seed=76, examples=4)
        x[:, 1024:3072] -= 6.0  # tiles of small entries, which have digits too
        yield setting.probe(x, y)


def _padded(setting: Setting) -> Iterable[Probe]:
    """Rows of a vocabulary that is padded and sliced, and other layouts, of many classes."""
    for layout in LAYOUTS.get(setting.convention.library, ()) if not setting.convention.binary else ():
        if layout != "expanded":
            x, y = _rows(_FLAT[1], seed=77, examples=_FLAT[0])
            yield replace(setting.probe(x, y), how=How(layout=layout), may_decline=True)


def _property(name: str, asserts: str, inputs: Any, category: str, **more: Any) -> Property:  # noqa: ANN401
    return Property(
        name, asserts, inputs, **{"dtypes": ONE, "logits_only": True, **more}, category=category, since=3
    )


PROPERTIES: Final = (
    _property(
        "options-of-many-classes",
        f"weights, smoothing and ignored rows that hold nan are the same of many classes: {WITHIN}",
        _options,
        "options",
    ),
    _property(
        "knobs-with-weights",
        f"a scale, softcap or temperature goes with class weights, in the gradient too: {WITHIN}",
        _weighted_knobs,
        "knobs",
    ),
    _property(
        "means-of-uneven-chunks",
        f"of {_UNEVEN:,} rows, few of which count in one half, the mean is that of all that count: {WITHIN}",
        _uneven,
        "options",
    ),
    _property(
        "late-invalid-labels",
        f"an invalid label raises or makes nan or inf behind {_LATE - 1:,} valid ones too",
        _late,
        "calls",
        kinds=NO_LOSSES | {"plausible"},
    ),
    _property(
        "a-quarter-million-rows",
        f"nor is a number of rows beyond 2^18: {WITHIN}",
        _million,
        "sizes",
    ),
    _property(
        "a-quarter-million-classes",
        f"nor is a number of classes beyond 2^18, as vocabularies have it: {WITHIN}",
        _vocabulary,
        "sizes",
    ),
    _property(
        "rows-beyond-label-types",
        "labels of 8 and 16 bits may be more than these count to, and a mean divides by their number, "
        f"or are refused: {WITHIN}",
        _counted,
        "calls",
    ),
    _property(
        "unlike-rows-of-many",
        f"masks, large gaps and small losses are the same in {_SOME[-1]} rows as in few: {WITHIN}",
        _unlike,
        "sizes",
        dtypes=("float32", "float64"),
    ),
    _property(
        "nan-in-a-reduction",
        "the mean and the sum of losses of which one is nan are nan: it is not left out",
        _poisoned,
        "options",
    ),
    _property(
        "gradients-of-many-rows",
        f"the gradient of {_BLOCKS:,} rows is that of each: {PERCENT}",
        _gradients_of_rows,
        "sizes",
        kinds=FINDINGS,
    ),
    _property(
        "gradient-digits-of-many-classes",
        "of many classes a gradient keeps the digits of its dtype, float64's too, as gradient-digits has it",
        _gradients_of_classes,
        "gradients",
        kinds=FINDINGS,
        rule=digits_findings,
        dtypes=("float32", "float64"),
    ),
    _property(
        "layouts-of-many-classes",
        f"rows of many classes may lie in memory in any way, or are refused: {WITHIN}",
        _padded,
        "calls",
    ),
)

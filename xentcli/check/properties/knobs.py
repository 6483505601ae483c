"""What a loss may do to logits first, and add to itself: a scale, a softcap, a temperature, a z-loss.

And the count of a batch of which it is given a part. Each is a parameter of the loss, by our name or the
convention's.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.setting import INF, NARROW, NO_LOSSES, ONE, WITHIN, Property, Setting
from xentcli.frameworks.conventions import COUNT
from xentcli.frameworks.request import How
from xentcli.judge.verdicts import VERDICTS
from xentcli.methods.steps import NAMES, STEPS
from xentcli.words import Z_LOSS

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

_VALUES: Final = {step.name: step.tried for step in STEPS} | {Z_LOSS: (2.0**-10, 0.125)}
_OFF: Final = {step.name: step.off for step in STEPS if step.off is not None} | {Z_LOSS: 0.0}
_CLASSES: Final = (3, 5, 127, 129, 600, 1025, 8193)  # none fills the lanes of a kernel
_LOW: Final = -40.0  # below either cap: what fills up a tile would be -c, as every class is
# Without 1 - tanh², which in half precision has no digits left of a logit near the cap.
_OF_LOSSES: Final = NO_LOSSES | {*VERDICTS, "mean", "sum"}
_COUNT: Final = 8  # of all parts together; a power of two, by which a sum is divided exactly


def _taken(setting: Setting) -> list[str]:
    """Name the knobs that a loss takes, in the order of models; none of a binary one."""
    return [name for name in _VALUES if name in setting.parameters and not setting.convention.binary]


def _reductions(setting: Setting) -> Iterable[str]:
    return dict.fromkeys(("none", *setting.reductions))


def _rows(seed: int, examples: int, classes: int = 5) -> "tuple[FloatArray, IntArray]":
    """Draw logits up to 7.5 with labels of the second largest: no loss is a small tail, which others try."""
    x = np.random.default_rng(seed).integers(-15, 16, size=(examples, classes)) / 2
    return x, x.argsort(axis=1, kind="stable")[:, -2]


def _off(setting: Setting) -> Iterable[Probe]:
    """Hand over the number of a knob that changes nothing."""
    x, y = _rows(seed=60, examples=7)
    for name in _taken(setting):
        for reduction in _reductions(setting) if name in _OFF else ():
            yield replace(setting.probe(x, y, reduction=reduction), how=How(keyword=(name, _OFF[name])))


def _single(setting: Setting) -> Iterable[Probe]:
    """Each knob alone, with logits up to three times the smaller cap."""
    x, y = _rows(seed=61, examples=9)
    for name in _taken(setting):
        for value in _VALUES[name]:
            for reduction in _reductions(setting):
                yield setting.probe(x, y, reduction=reduction, **{name: value})


def _together(setting: Setting) -> Iterable[Probe]:
    """Knobs by twos and all, in the order of models; and each with smoothing and with ignored rows."""
    x, y = _rows(seed=62, examples=7)
    taken = _taken(setting)
    for size in sorted({2, len(taken)} - {0, 1}):
        for names in combinations(taken, size):  # none of one knob alone
            for place in (0, 1):
                yield setting.probe(x, y, **{name: _VALUES[name][place] for name in names})
    options: list[dict[str, Any]] = [{"label_smoothing": 0.125}]
    options += [{"ignore_index": int(y[0])}] if setting.takes_indices else []
    for name in taken:
        for option in options:
            for reduction in _reductions(setting):
                yield setting.probe(x, y, reduction=reduction, **option, **{name: _VALUES[name][0]})


def _at_edges(setting: Setting) -> Iterable[Probe]:
    """Classes that fill no tile, all far below the cap: nothing else has a share in the sum."""
    for name in _taken(setting):
        for classes in _CLASSES:
            x = np.full((2, classes), _LOW)
            x[1] = np.arange(classes) % 4 + _LOW
            yield setting.probe(x, [0, classes - 1], **{name: _VALUES[name][1]})


def _masked(setting: Setting) -> Iterable[Probe]:
    """Classes masked with -inf, of which a cap may make -c or nothing, but no nan."""
    for name in _taken(setting):
        yield setting.probe([[0.5, -INF, 2], [1, 0, -INF]], [2, 0], **{name: _VALUES[name][1]})


def _counted(setting: Setting) -> Iterable[Probe]:
    """Parts of a batch, with the count of all: their losses add up to its mean, however uneven they are."""
    if COUNT not in setting.parameters or setting.reductions != ("mean",):
        return  # of a loss with other reductions too it is not said which the count is for
    x, y = _rows(seed=63, examples=9)
    options = {"ignore_index": int(y[2])} if "ignore_index" in setting.parameters else {}
    for part in (slice(0, 2), slice(2, 3), slice(3, 9)):
        for more in ({}, {Z_LOSS: 0.125}):
            probe = setting.probe(x[part], y[part], reduction="mean", **options, **more)
            yield replace(probe, how=How(keyword=(COUNT, _COUNT)), count=_COUNT)


PROPERTIES: Final = (
    Property(
        "knobs-that-are-off",
        f"a scale or temperature of 1 and a z-loss of 0 change nothing: {WITHIN}",
        _off,
        logits_only=True,
        category="knobs",
        since=3,
    ),
    Property(
        "single-knobs",
        "logits are multiplied by a scale, become c·tanh(x / c) by a softcap, and are divided by a "
        f"temperature; z (log Σ exp x)² is added, of the logits after that: {WITHIN}",
        _single,
        logits_only=True,
        category="knobs",
        since=3,
    ),
    Property(
        "knobs-together",
        f"knobs go together, in the order {', '.join(NAMES)}, and with smoothing and ignored rows: {WITHIN}",
        _together,
        logits_only=True,
        category="knobs",
        since=3,
    ),
    Property(
        "knobs-at-tile-edges",
        f"what fills up a tile of classes is no class, though a softcap makes -c of its -inf: {WITHIN}",
        _at_edges,
        logits_only=True,
        dtypes=ONE,
        category="knobs",
        since=3,
    ),
    Property(
        "masks-with-knobs",
        "a class masked with -inf makes no nan with any knob; a softcap may make -c of it, or nothing",
        _masked,
        NO_LOSSES | {"nan", "gradient nan"},
        logits_only=True,
        dtypes=ONE,
        category="knobs",
        since=3,
    ),
    Property(
        "knobs-in-half-precision",
        f"losses with each knob are what they are in float16 and bfloat16 too: {WITHIN}",
        _single,
        _OF_LOSSES,
        logits_only=True,
        dtypes=NARROW,
        category="knobs",
        since=3,
    ),
    Property(
        "parts-of-a-batch",
        f"{COUNT} divides the sum: the losses of parts, given that of all, add up to the mean of the whole "
        f"batch: {WITHIN}",
        _counted,
        logits_only=True,
        category="options",
        since=3,
    ),
)

"""Calls: arrays laid out otherwise in memory, results that are kept, calls again and again, from threads."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.setting import ONE, WITHIN, Property, Setting, draw
from xentcli.frameworks.conventions import CPU
from xentcli.frameworks.request import LAYOUTS, How

_SMALL: Final = (5, 4)
_EASY: Final = 0.3  # the scale of logits of which no loss is small, and any formula keeps all digits
_LARGE: Final = 4099  # examples: beyond tiles of 4,096, which a kernel may have a workspace for
_PERIOD: Final = 53  # of them differ, which is a prime
_LATE: Final = 150  # the example that is invalid, in the second of two tiles of 128


def _layouts(setting: Setting) -> Iterable[Probe]:
    """Lay out small arrays and larger ones in every way that the library has."""
    for layout in LAYOUTS.get(setting.convention.library, ()):
        is_one = layout == "expanded"  # the first of each stands for all, which are alike
        for examples, classes in (_SMALL, (33, 130)) if not (is_one and setting.convention.linear) else ():
            x, y = draw(setting, seed=13, examples=examples, classes=classes)
            weights = np.ones(classes) if is_one else np.arange(1, classes + 1) / 4
            if is_one:
                x, y = (np.repeat(each[:1], examples, axis=0) for each in (x, y))
            for options in ({}, {"class_weights": weights}):
                yield replace(setting.probe(x, y, **options), how=How(layout=layout), may_decline=True)
            for how in _mixed(setting, layout) if (examples, classes) == _SMALL and not is_one else ():
                yield replace(setting.probe(x, y), how=how, may_decline=True)


def _mixed(setting: Setting, layout: str) -> Iterable[How]:
    """Lay out one argument and not the others; and labels of another type, whose numbers are as long."""
    for name in setting.convention.arguments if not setting.convention.linear else ():
        yield How(layout=layout, laid_out=name)
    if setting.takes_indices:
        yield How(layout=layout, label_dtype="int32")


def _companies(setting: Setting) -> tuple[Probe, ...]:
    """Draw a batch, and batches of its shape: other numbers, other labels, the same first row."""
    x, y = draw(setting, seed=14, scale=_EASY)
    other, labels = draw(setting, seed=15, scale=_EASY)
    alike = np.concatenate([x[:1], other[1:]])
    pairs = ((x, y), (other, labels), (x, labels), (alike, y))
    return tuple(setting.probe(*pair) for pair in pairs)


def _kept(setting: Setting) -> Iterable[Probe]:
    """Keep what was returned while the loss is called with others."""
    probe, *others = _companies(setting)
    batches = tuple(other.batch for other in others)
    for times in (1, 6):  # some keep a result for as many calls as they have buffers
        yield replace(probe, how=How(when="after", others=batches * times))
    if setting.dtype not in ONE:  # in float64 a buffer is returned without a cast, whatever its size
        return
    random = np.random.default_rng(47)
    logits, labels = random.integers(-3, 4, size=(_PERIOD, 5)) / 4, random.integers(0, 5, _PERIOD)
    large = setting.repeated(logits, labels, _LARGE, setting.convention.reduction)
    yield replace(large, how=How(when="after", others=(setting.repeated(-logits, labels, _LARGE).batch,)))


def _repeated(setting: Setting) -> Iterable[Probe]:
    """Call the loss with other batches first, of the same shape and of others, and with itself."""
    probes = _companies(setting)
    batches = [probe.batch for probe in probes]
    for number, probe in enumerate(probes):
        others = batches[number + 1 :] + batches[: number + 1]  # the batch itself was there before
        yield replace(probe, how=How(when="before", others=tuple(others)))
    larger = [setting.probe(*draw(setting, seed=seed, examples=40, scale=_EASY)) for seed in (20, 21)]
    yield replace(larger[0], how=How(when="before", others=(larger[1].batch,)))
    sizes = [
        setting.probe(*draw(setting, seed=16, examples=n, classes=c)).batch for n, c in ((16, 3), (3, 5))
    ]
    yield replace(probes[0], how=How(when="before", others=tuple(sizes)))
    yield replace(probes[1], how=How(when="before", others=(batches[0],) * 9))
    if not setting.convention.binary:  # weights of one number and one sum, in another order
        batch, each = draw(setting, seed=24, scale=_EASY), ([0.5, 2, 3], [3, 0.5, 2], [2, 3, 0.5])
        weighted = [setting.probe(*batch, class_weights=weights) for weights in each]
        for one in weighted:
            alike = tuple(other.batch for other in weighted if other is not one)
            yield replace(one, how=How(when="before", others=alike))
    x, y = draw(setting, seed=22, examples=40, classes=300, scale=_EASY)
    before = setting.probe(x, y).batch
    changed = np.array(x)
    changed[np.unravel_index(changed.size // 2 + 1, changed.shape)] += (
        9.0  # one number, of which a sample knows nothing
    )
    yield replace(setting.probe(changed, y), how=How(when="before", others=(before,)))


def _in_place(setting: Setting) -> Iterable[Probe]:
    """Call the loss with an array, write other numbers there, and call it again, with it or a new one."""
    if setting.convention.library not in LAYOUTS:
        return
    probe, *others = _companies(setting)
    for when in ("in place", "same memory"):
        yield replace(probe, how=How(when=when, others=tuple(other.batch for other in others)))
    if not setting.convention.binary:
        x, y = draw(setting, seed=14, scale=_EASY)
        probe, other = (setting.probe(x, y, class_weights=each) for each in ([0.5, 2, 3], [4, 0.25, 1]))
        yield replace(probe, how=How(when="in place", others=(other.batch,)))


def _refused(setting: Setting) -> Iterable[Probe]:
    """Call the loss with an invalid label, which it may refuse half-way, and then with valid ones."""
    if setting.takes_indices and setting.convention.device == CPU:  # others have lost the device by then
        x, y = draw(setting, seed=49, examples=200, scale=1)
        invalid = setting.probe(x, np.where(np.arange(len(y)) == _LATE, 3, y))
        yield replace(setting.probe(x[-7:], y[-7:]), how=How(when="refused", others=(invalid.batch,)))


def _evaluated(setting: Setting) -> Iterable[Probe]:
    """Call the loss where no gradient is recorded, with each option."""
    if setting.convention.library != "torch":  # the others have no such mode
        return
    x, y = draw(setting, seed=50, scale=1)
    ignored = {"ignore_index": int(y[0])} if setting.takes_indices else {"class_weights": [0.5, 2, 3]}
    for options in ({}, {"label_smoothing": 0.125}, {"class_weights": [0.5, 2, 3]}, ignored):
        for reduction in setting.reductions if not setting.convention.binary or not options else ():
            probe = setting.probe(x, y, **options, reduction=reduction)
            for mode in ("evaluation", "inference"):
                yield replace(probe, how=How(mode=mode))


def _threads(setting: Setting) -> Iterable[Probe]:
    """Have four threads call the loss at once, each with rows of its own."""
    if setting.convention.reduction == "none" and setting.convention.ranks == 1:  # else who meets whom?
        for examples, classes in ((68, 33), (120, 3000)):  # large arrays may have a workspace
            probe = setting.probe(*draw(setting, seed=17, examples=examples, classes=classes, scale=1))
            yield replace(probe, how=How(when="threads"))


PROPERTIES: Final = (
    Property(
        "memory-layouts",
        "logits, labels and weights, all or one of them, may be strided, have padded rows, be reversed, in "
        "Fortran's order, inside another array, in the other byte order, read-only or one row for all, or "
        f"are refused: {WITHIN}",
        _layouts,
        dtypes=ONE,
        category="calls",
        since=2,
    ),
    Property(
        "kept-results",
        f"what was returned stays what it is when the loss is called again: {WITHIN}",
        _kept,
        category="calls",
        since=2,
    ),
    Property(
        "repeated-calls",
        f"no earlier call changes a loss, of however similar a batch: {WITHIN}",
        _repeated,
        dtypes=ONE,
        category="calls",
        since=2,
    ),
    Property(
        "reused-arrays",
        f"an array that was written into, or is where another one was, holds new numbers: {WITHIN}",
        _in_place,
        dtypes=ONE,
        category="calls",
        since=2,
    ),
    Property(
        "after-a-refusal",
        f"a batch that the loss refused changes no later one: {WITHIN}",
        _refused,
        dtypes=ONE,
        category="calls",
        since=2,
    ),
    Property(
        "losses-in-evaluation",
        f"where no gradient is recorded the losses are the same: {WITHIN}",
        _evaluated,
        logits_only=True,
        dtypes=ONE,
        category="calls",
        since=2,
    ),
    Property(
        "threads",
        f"four threads may call it at once: {WITHIN}",
        _threads,
        dtypes=ONE,
        category="calls",
        since=2,
    ),
)

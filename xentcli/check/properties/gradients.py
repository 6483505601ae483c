"""Gradients: how they sum, what comes back to each loss, several calls, several passes, their digits."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.setting import (
    NO_LOSSES,
    ONE,
    PERCENT,
    WITHIN,
    Called,
    Property,
    Setting,
    draw,
)
from xentcli.check.report import CheckFinding, Place
from xentcli.check.tolerance import MaxUlps
from xentcli.formats import FORMATS, exact_sum, nearest
from xentcli.frameworks.request import LAYOUTS, UPSTREAM_LAYOUTS, How
from xentcli.judge.findings.finding import WRONG

FINDINGS: Final = NO_LOSSES | {"gradient wrong", "gradient dead", "gradient nan", "gradient reduced"}
# Logits and labels of which weights, smoothing and an ignored class each change rows, and not all alike.
_OPTIONED: Final = (
    np.array([[1, 2, 3], [0.5, -4, 0], [2, 1, 0.5], [0.5, 1.5, -1]]),
    np.array([0, 2, 1, 1]),
)
# None is like its neighbour, none is 1; 0 is that of a row that training leaves out.
# What comes back to a mean of many, beside others' losses, and from scaled losses, beyond float16.
_FAR_UPSTREAM: Final = (2.0**-30, 2.0**20)
_UPSTREAM: Final = (0.5, -3.0, 0.0, 4.0, -0.25, 2.0, 1024.0)


def _gaps(setting: Setting) -> Iterable[Probe]:
    """Put a label ahead of the others by more and more, and behind."""
    gaps = {"float32": (0, 1, 2, 5, 10, 20, 40), "float64": (0, 1, 5, 10, 20, 40, 100)}[setting.dtype]
    logits = [[gap, 0, 0.5] for gap in gaps]
    yield setting.probe(logits, [0] * len(gaps))
    yield setting.probe(logits, [1] * len(gaps))
    yield setting.probe(logits, [[0.5, 0.25, 0.25]] * len(gaps))


def _gradient_sum_findings(called: Called, _: MaxUlps) -> Iterator[CheckFinding]:
    for probe, response in called:
        if (gradient := response.get("gradient")) is None:
            continue
        values = np.array(gradient).reshape(probe.batch.logits.shape)
        for number in np.flatnonzero(np.isfinite(values).all(axis=1)).tolist():
            row = values[number]
            largest, residual = np.abs(row).max(), abs(nearest(exact_sum(row.tolist()), FORMATS["float64"]))
            if residual > WRONG * largest:
                place = Place(probe, number, gradient=row)
                message = f"a gradient with the largest entry {largest:.3g} sums to {residual:.3g}"
                yield CheckFinding("gradient sum", message, probe.describe(number), place)
                return


def _upstream(setting: Setting) -> Iterable[Probe]:
    """Give each loss another upstream gradient; then one that is large and the same for all."""
    if setting.convention.reduction == "none":
        probe = setting.probe(*draw(setting, seed=8, examples=len(_UPSTREAM)))
        yield replace(probe, how=How(upstream=_UPSTREAM))
        yield replace(probe, how=How(upstream=_UPSTREAM[::-1]))
        for same in (1024.0,) if setting.dtype == "float16" else (1024.0, *_FAR_UPSTREAM):
            yield replace(probe, how=How(upstream=(same,) * len(_UPSTREAM)))


def _weighted_upstream(setting: Setting) -> Iterable[Probe]:
    """Upstream gradients together with each option."""
    for each in _options(setting) if setting.convention.reduction == "none" else ():
        yield replace(setting.probe(*_OPTIONED, **each), how=How(upstream=(2.0, -1.0, 0.5, 4.0)))


def _options(setting: Setting) -> list[dict[str, Any]]:
    options: list[dict[str, Any]] = [{"class_weights": [0.5, 2.0, 3.0]}, {"label_smoothing": 0.25}]
    return options + ([{"ignore_index": 1}] if setting.takes_indices else [])


def _passes(setting: Setting) -> Iterable[Probe]:
    """Go back twice through one call; and between a call and its way back make others."""
    x, y = draw(setting, seed=9)
    others = [setting.probe(*draw(setting, seed=seed)).batch for seed in (10, 11)]
    yield replace(setting.probe(x, y), how=How(backward="twice"), may_decline=True)
    yield replace(setting.probe(x, y), how=How(backward="interleaved", others=tuple(others)))
    if setting.convention.library in LAYOUTS:  # whose memory a loss can write into: large ones may share it
        draws = (draw(setting, seed=seed, examples=120, classes=600, scale=1) for seed in (44, 45))
        probe, other = (setting.probe(*each) for each in draws)
        yield replace(probe, how=How(backward="interleaved", others=(other.batch,)))
        small = setting.probe(x, y), others[0]  # of whose gradients no entry is small
        for changed in ("overwritten", "relabelled"):
            for one, another in ((probe, other.batch), small):
                yield replace(one, how=How(backward=changed, others=(another,)), may_decline=True)


def _upstream_layouts(setting: Setting) -> Iterable[Probe]:
    """Lay out what comes back as a library does: every second number of another array, one number for all."""
    if setting.convention.reduction == "none":
        probe = setting.probe(*draw(setting, seed=46, examples=len(_UPSTREAM)))
        for layout in UPSTREAM_LAYOUTS.get(setting.convention.library, ()):
            upstream = (1.0,) * len(_UPSTREAM) if layout == "expanded" else _UPSTREAM
            yield replace(probe, how=How(upstream=upstream, backward=layout))


def _reduced(setting: Setting) -> Iterable[Probe]:
    """Have the loss reduce, with ignored rows and weights that do not sum to the number of rows."""
    for reduction in setting.reductions if "reduction" in setting.parameters else ():
        x, y = setting.arguments(*_OPTIONED)
        yield setting.probe(x, y, reduction=reduction)
        for options in _options(setting):
            yield setting.probe(x, y, **options, reduction=reduction)


def _in_training(setting: Setting) -> Iterable[Probe]:
    """Large differences and offsets, labels far behind: ordinary losses, where exp is out of range."""
    far = [[1000, 0, 0.5], [-300, -301, -300.5], [120, 119.5, 118], [0, 95, -95]]
    x = np.array([*far, [0.5, -1, 2], [-60, 0, 1], [3, 3, 3], [20, 0, 1]])  # the last loses a small tail
    labels = np.array([1, 1, 2, 0, 1, 1, 2, 0])
    yield replace(setting.probe(*setting.arguments(x, labels)), how=How(mode="training"))


def _summed(setting: Setting) -> Iterable[Probe]:
    """Add the losses of the same logits with other labels, and go back once."""
    if setting.convention.reduction != "none":
        return
    x, y = draw(setting, seed=12)
    others = tuple(setting.probe(x, np.roll(y, shift)).batch for shift in (1, 2))
    yield replace(setting.probe(x, y), how=How(backward="summed", others=others, upstream=(2.0,) * len(x)))


def _ordinary(setting: Setting) -> Iterable[Probe]:
    """Logits of a few units, of which every digit of the gradient is to be had."""
    for seed, examples, classes in ((18, 7, 3), (19, 17, 33)):
        random = np.random.default_rng(seed)
        logits = np.round(random.normal(scale=2, size=(examples, classes)), 2)
        yield setting.probe(*setting.arguments(logits, random.integers(0, classes, examples)))


def digits_findings(called: Called, max_ulps: MaxUlps) -> Iterator[CheckFinding]:
    """Compare gradients with the true ones, entry by entry."""
    for probe, response in called:
        if probe.only_loss or response.get("gradient") is None:
            continue
        values = np.array(response["gradient"]).reshape(probe.batch.logits.shape)
        for row, true in zip(probe.truth.rows, probe.truth.gradients, strict=True):
            error, allowed = np.abs(values[row] - true).max(), probe.gradient_allowance(row, max_ulps)
            if allowed < error <= WRONG * np.abs(true).max():  # beyond, it is wrong, and said to be
                message = f"the gradient is off by {error:.3g}, {error / allowed:.1f} × what is allowed"
                yield CheckFinding(
                    "gradient off", message, probe.describe(row), Place(probe, row, gradient=values[row])
                )
                return


PROPERTIES: Final = (
    Property(
        "gradient-sum",
        f"the gradient sums to 0 where the labels sum to 1: {PERCENT}, since p - 1 is off by 100 % where "
        "it lost the label's entry",
        _gaps,
        NO_LOSSES,
        _gradient_sum_findings,
        logits_only=True,
    ),
    Property(
        "gradient-digits",
        "of ordinary logits, entries are off by no more than rounding makes them: the allowed ulps, 2 for "
        "each unit of the logits, and log2 C, of the dtype's epsilon",
        _ordinary,
        FINDINGS,
        digits_findings,
        logits_only=True,
        category="gradients",
        since=2,
    ),
    Property(
        "upstream-gradients",
        f"what comes back to each loss, and is not 1 nor the same for all, is multiplied in: {PERCENT}",
        _upstream,
        FINDINGS,
        logits_only=True,
        of_autodiff=True,
        dtypes=("float16", "float32", "float64"),
        category="gradients",
        since=2,
    ),
    Property(
        "upstream-gradients-of-options",
        f"so it is beside weights, smoothing and ignored rows: {PERCENT}",
        _weighted_upstream,
        FINDINGS,
        logits_only=True,
        of_autodiff=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
    Property(
        "backward-passes",
        "a second backward pass, and one after the logits or the labels were overwritten, gives the gradient "
        f"of the call or is refused, and calls in between change none: {PERCENT}",
        _passes,
        FINDINGS,
        logits_only=True,
        of_autodiff=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
    Property(
        "upstream-layouts",
        f"what comes back may lie in memory in any way, and is not written into: {PERCENT}",
        _upstream_layouts,
        FINDINGS,
        logits_only=True,
        of_autodiff=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
    Property(
        "gradients-of-reductions",
        f"where the loss itself takes the mean or the sum, its gradient is that of these: {PERCENT}",
        _reduced,
        FINDINGS,
        logits_only=True,
        of_autodiff=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
    Property(
        "losses-in-training",
        f"a call that is to be differentiated returns the same losses: {WITHIN}",
        _in_training,
        frozenset({*NO_LOSSES, "nan", "overflow", "collapsed", "negative", "off", "plausible"}),
        logits_only=True,
        of_autodiff=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
    Property(
        "gradients-of-sums",
        f"the gradient of a sum of several calls is the sum of theirs: {PERCENT}",
        _summed,
        FINDINGS,
        logits_only=True,
        of_autodiff=True,
        dtypes=ONE,
        category="gradients",
        since=2,
    ),
)

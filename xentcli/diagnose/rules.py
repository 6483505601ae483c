"""Which findings a row has: a rule per finding and method, bound or format that it concerns.

A few numbers of a row, its facts, nearly always decide: by bounds of its rounding errors a method surely
fails, or surely does not. The rows between are decided by the method itself, so that a rule says what the
method does, in the format of the dump, row by row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.diagnose.facts import HALVES, OFF, Facts
from xentcli.formats import FORMATS
from xentcli.judge.findings.rounding import CANCELLED
from xentcli.methods import kernels

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.methods.method import Kernel
    from xentcli.model import Batch

CASE_CLIP: Final = "case clip"  # the rule of a case's own clip

Bounds = tuple["BoolArray", "BoolArray"]
"""The rows (N,) that a rule may apply to, and those that it surely applies to."""
Method = Callable[["Arithmetic", "Batch", "FloatArray"], "BoolArray"]
"""Decides n rows: the dump's arithmetic, a batch of them, their losses (n,) → where the rule applies (n,)."""


class Severity(Enum):
    """How much harm a finding does, the worst first; ``NOTE`` is none in most training."""

    BROKEN = "broken"  # no formula mends it
    NAN = "nan or infinite"
    OFF = "wrong beyond 1 %"
    NOTE = "notes"


@dataclass(frozen=True, slots=True)
class RowRule:
    """How a finding is detected in a row.

    ``finding`` is its name in the catalogue. ``name``, which is distinct, is that of the method, bound or
    format concerned; the finding's where there is none. ``says`` is what happens. ``bounds`` decides rows by
    their facts, and ``method`` those that two bounds leave open. ``clip`` has the bounds of a clip.
    ``severity`` is what it does to ``methods``, to any method where none is named. ``is_invalid`` marks rows
    that have no loss, whatever the method.
    """

    finding: str
    name: str
    says: str
    bounds: "Callable[[Facts], BoolArray | Bounds]"
    method: Method | None = None
    clip: tuple[float, float] | None = None
    needs_labels: bool = True
    is_invalid: bool = False
    severity: Severity = Severity.NOTE
    methods: tuple[str, ...] = ()


def rules_for(form: str, clip: tuple[float, float] | None = None) -> tuple[RowRule, ...]:
    """Return the rules for a dump of that format, with one for the clip of a case."""
    clips = [
        _clip("clip 1e-7", "p is below Keras' clip, 1e-7", 1e-7),
        _clip("clip 1e-8", "p is below a clip at 1e-8", 1e-8),
        _clip("clip 1e-12", "p is below a clip at 1e-12", 1e-12),
        _clip("clip 1e-15", "p is below scikit-learn's old clip, 1e-15", 1e-15),
        _clip("clip eps", "p is below the dtype's eps, scikit-learn's clip", FORMATS[form].eps),
        _clip("clip 1e-36", "p is below the blog's clip, 1e-36", 1e-36, methods=() if clip else ("clipped",)),
        _clip("clip FLT_MIN", "p is below Caffe's floor, FLT_MIN", 2.0**-126),
    ]
    if clip is not None:
        says = f"p is outside the case's clip, {clip[0]:g} to {clip[1]:g}"
        clips.append(_clip(CASE_CLIP, says, *clip, methods=("clipped",)))
    return (*_INPUTS, *_METHODS, *clips, *map(_rounding, HALVES), *map(_sum_in_order, HALVES))


# Bounds


def _is_zero(f: Facts, logit: "FloatArray", rows: "BoolArray", *, shifted: bool = True) -> Bounds:
    """Bound where a logit's probability is 0, or nan."""
    possible, sure = np.zeros((2, len(rows)), bool)
    near = np.flatnonzero(rows & f.may_be_zero(logit, shifted=shifted))
    low, high = f.probability(logit, near, shifted=shifted)
    possible[near], sure[near] = ~(low > 0), ~(high > 0)
    return possible, sure


def _collapses(f: Facts) -> Bounds:
    """Bound where 1 + t is 1 although t, the sum of the other terms, is a loss above 0.

    It is where t is at most a unit. It is not where more than a unit is added to 1 at once: where t is more
    than depth units, or its part in the other half of the classes more than one.
    """
    underflow = f.form.smallest * f.classes
    largest = f.unit * (1 + f.sum_error) + underflow
    # expm1(loss) is no less than the loss, which rules out most rows.
    possible = f.counts & (f.loss > f.form.smallest / 2) & (f.loss <= f.depth * largest)
    sure = np.zeros_like(possible)
    rows = np.flatnonzero(possible)
    others = np.expm1(f.loss[rows])
    possible[rows] = (others <= f.depth * largest) & (f.other_half[rows] <= largest)
    sure[rows] = possible[rows] & (others + underflow <= f.unit * (1 - f.sum_error))
    return possible, sure


def _cancels(f: Facts) -> Bounds:
    """Bound where log Σ exp x - x_k is off, and loses six bits.

    The logarithm is rounded twice, the difference once. Both operands, and so their difference, are multiples
    of a unit in the last place of the smaller one: where no multiple is near the loss, the difference is off.
    """
    log_sum_exp = f.max + f.log_sum
    scale = np.minimum(np.abs(log_sum_exp), np.abs(f.label_logit))
    error = 1.1 * (f.unit * 2 * (np.abs(log_sum_exp) + f.loss) + f.sum_error + f.form.smallest * f.classes)
    possible = f.counts & (scale > CANCELLED * f.loss) & (OFF * f.loss <= error)
    sure, rows = np.zeros_like(possible), np.flatnonzero(possible)
    loss, surely = f.loss[rows], scale[rows] - error[rows]
    ulp = np.ldexp(f.unit, np.frexp(np.maximum(surely, 0))[1])
    sure[rows] = (np.abs(np.rint(loss / ulp) * ulp - loss) > 1.1 * OFF * loss) & (surely > 0)
    return possible, sure


def _is_off(result: "FloatArray", loss: "FloatArray") -> "BoolArray":
    return ~(np.abs(result - loss) <= OFF * np.abs(loss)) & (result != loss)


# Rules


def _result(kernel: "Kernel", applies: "Callable[[FloatArray, FloatArray], BoolArray]") -> Method:
    """Decide rows by what a kernel returns and the losses."""
    return lambda ar, batch, loss: applies(kernel(ar, batch)[:, 0].astype(np.float64), loss)


def _clip(name: str, says: str, low: float, high: float = 1.0, methods: tuple[str, ...] = ()) -> RowRule:
    """Return the rule of a clip: it changes the label's probability. A bound that rounds to 0 does not."""

    def bounds(f: Facts) -> Bounds:
        floor, cap = np.array([low, high]).astype(f.dtype).astype(np.float64).tolist()
        possible, sure = np.zeros((2, len(f.loss)), bool)
        may_be_outside = f.may_be_above(f.loss, cap)
        if floor:
            may_be_outside |= f.may_be_below(f.loss, floor)
        rows = np.flatnonzero(f.counts & may_be_outside)
        least, most = f.probability(f.label_logit, rows)
        possible[rows] = (least < floor) | (most > cap)
        sure[rows] = (most < floor) | (least > cap)
        return possible, sure

    def method(ar: "Arithmetic", batch: "Batch", _: "FloatArray") -> "BoolArray":
        p = kernels.softmax(ar, batch)
        changed = ar.clip(p, low, high) != p
        return changed[np.arange(len(p)), batch.indices]

    return RowRule("clip-active", name, says, bounds, method, (low, high), methods=methods)


def _rounding(form: str) -> RowRule:
    """Return the rule of logits rounded to a format."""
    says = f"rounded to {form} the logits' loss is off by 1 %"
    return RowRule("rounded-logits", form, says, lambda f: f.counts & _is_off(f.rounded[form], f.loss))


def _sum_in_order(form: str) -> RowRule:
    """Return the rule of Σ exp(x - m) 1 % beyond 2^p, where a sum in order ends: 2^p + 1 rounds to 2^p."""
    name, precision = f"sum in {form}", FORMATS[form].precision
    says = f"Σ exp(x - m) is more than a sum in order in {form} reaches, {2**precision}"
    limit = precision * math.log(2) - math.log1p(-OFF)
    return RowRule(
        "low-precision-sum", name, says, lambda f: f.sound & (f.log_sum > limit), needs_labels=False
    )


def _input(finding: str, says: str, applies: "Callable[[Facts], BoolArray]") -> RowRule:
    """Return the rule of an input that leaves a row without a loss."""
    return RowRule(
        finding, finding, says, applies, needs_labels=False, is_invalid=True, severity=Severity.BROKEN
    )


def _is_not_finite(result: "FloatArray", _: "FloatArray") -> "BoolArray":
    return ~np.isfinite(result)


_INPUTS: Final = (
    _input("nan-logit", "a logit is nan", lambda f: np.isnan(f.max)),
    _input("infinite-logit", "a logit is +inf", lambda f: f.max == np.inf),
    _input("undefined-softmax", "every logit is -inf", lambda f: f.max == -np.inf),
    _input("label-out-of-range", "the label is no class", lambda f: f.invalid_label),
    RowRule(
        "label-on-mask",
        "label-on-mask",
        "the label's logit is -inf, the loss inf",
        lambda f: f.sound & (f.label_logit == -np.inf),
        severity=Severity.BROKEN,
    ),
    RowRule(
        "difference-overflow",
        "difference-overflow",
        "the range of the logits overflows: dense gives nan or inf",
        lambda f: f.sound & np.isneginf(f.min_finite.astype(f.dtype) - f.max.astype(f.dtype)),
        needs_labels=False,
        severity=Severity.NAN,
        methods=("dense",),
    ),
)
_METHODS: Final = (
    RowRule(
        "zero-times-infinity",
        "naive",
        "a probability is 0: naive and by_hand give nan or inf",
        lambda f: _is_zero(f, f.min, f.sound),
        _result(kernels.naive, _is_not_finite),
        needs_labels=False,
        severity=Severity.NAN,
        methods=("naive", "by_hand"),
    ),
    RowRule(
        "exp-overflow",
        "textbook",
        "exp without a shift overflows or is 0: textbook gives nan or inf",
        lambda f: _is_zero(f, f.min, f.sound, shifted=False),
        _result(kernels.textbook, _is_not_finite),
        needs_labels=False,
        severity=Severity.NAN,
        methods=("textbook",),
    ),
    RowRule(
        "ignored-row-leaks",
        "ignored-row-leaks",
        "an ignored row is multiplied by 0: naive, by_hand and textbook give nan",
        lambda f: _is_zero(f, f.min, f.ignored & (f.max < np.inf))[1],
        severity=Severity.NAN,
        methods=("naive", "by_hand", "textbook"),
    ),
    RowRule(
        "masked-infinity",
        "dense",
        "a class other than the label is -inf: dense gives nan",
        lambda f: f.sound & f.other_masked,
        needs_labels=False,
        severity=Severity.NAN,
        methods=("dense",),
    ),
    RowRule(
        "tail-collapse",
        "sparse",
        "1 + tail is 1: dense and sparse give 0",
        _collapses,
        _result(kernels.sparse, lambda result, _: result == 0),
        severity=Severity.OFF,
        methods=("dense", "sparse"),
    ),
    RowRule(
        "log-of-zero",
        "guarded",
        "the label's probability is 0: guarded gives inf",
        lambda f: _is_zero(f, f.label_logit, f.counts),
        _result(kernels.guarded, _is_not_finite),
        severity=Severity.NAN,
        methods=("guarded",),
    ),
    RowRule(
        "offset-cancellation",
        "unshifted",
        "log Σ exp x - x_k cancels six bits and is off by 1 %",
        _cancels,
        _result(kernels.unshifted, _is_off),
        severity=Severity.OFF,
        methods=("unshifted",),
    ),
)

"""Two oracles of the true loss and gradient, independent of the code under test and of each other.

With the targets t_j = w_j ((1 - ε) y_j + ε / C), their sum s and the softmax p: loss = -Σ t_j ln p_j and
gradient_j = s p_j - t_j (PyTorch 2.13, ``cross_entropy_loss_prob_target`` in
``aten/src/ATen/native/LossNLL.cpp``).
``oracle_mpmath`` and ``oracle_arb`` share the definition of a batch and of a format, which stand here, and no
formula.

A number is nan where there is no true value, infinite where the limit is, a fraction where it is rational by
algebra, else ``Irrational``: it can say whether it exceeds a fraction, and rounding needs no more. Where a
number is a fraction and a tail, such as exp(-16777217), the tail alone is compared. ``UndecidedError`` says
that the most bits do not tell a number from a fraction; nothing is guessed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NamedTuple

import mpmath

from xentcli.formats import FORMATS, Format
from xentcli.model import Batch

inf, nan = math.inf, math.nan
BITS: Final = (256, 1280, 6400, 32_000)  # beside 1 the square of 5e-324 takes 2,200


class UndecidedError(AssertionError):
    """The most bits do not tell a number from a fraction."""


@dataclass(frozen=True)
class Irrational:
    """An irrational number: whether it exceeds a fraction, and roughly what it is."""

    exceeds: Callable[[Fraction], bool]
    roughly: Callable[[], float]


Real = float | Fraction | Irrational  # a float is nan or infinite


class Truth(NamedTuple):
    """True losses and gradients per example, and the reduced loss, None under reduction none."""

    losses: list[Real]
    gradients: list[list[Real]]
    loss: Real | None


class Row(NamedTuple):
    """The logits and targets of an example: nan logits have no true loss; an ignored one has 0 everywhere."""

    logits: list[float]
    targets: list[Fraction]


def read(batch: Batch) -> list[Row]:
    """Read the examples of a batch. A binary one has two classes, of the logits 0 and x."""
    ignored, invalid = batch.weighting.ignored, batch.invalid
    rows = []
    for row, (x, y) in enumerate(zip(batch.logits.tolist(), batch.labels.tolist(), strict=True)):
        if ignored is not None and ignored[row]:
            rows.append(Row([0.0] * len(x), [Fraction(0)] * len(x)))
        elif invalid is not None and invalid[row]:
            classes = 2 if batch.binary else len(x)
            rows.append(Row([nan] * classes, [Fraction(0)] * classes))
        elif batch.binary:
            rows.append(Row(_limit([0.0, *x]), [1 - Fraction(y[0]), Fraction(y[0])]))
        else:
            rows.append(Row(_limit(x), _targets(batch, y)))
    return rows


def _targets(batch: Batch, y: list[float]) -> list[Fraction]:
    smooth, weights = Fraction(batch.weighting.smoothing), batch.weighting.class_weights
    shares = [(1 - smooth) * Fraction(label) + smooth / len(y) for label in y]
    each = [1.0] * len(y) if weights is None else weights.tolist()
    return [Fraction(weight) * share for weight, share in zip(each, shares, strict=True)]


def _limit(x: list[float]) -> list[float]:
    """Leave all probability to one infinite logit; nan where no softmax is defined."""
    if any(map(math.isnan, x)) or max(x) == -inf or x.count(inf) > 1:
        return [nan] * len(x)
    return [0.0 if value == inf else -inf for value in x] if inf in x else x


def divisor(batch: Batch) -> Fraction:
    """Return what a mean divides by: the weights of the labels that count, or N where labels are rows."""
    if batch.label_rows or batch.class_labels is None:
        return Fraction(len(batch.logits))
    ignored, weights = batch.weighting.ignored, batch.weighting.class_weights
    labels = [x for i, x in enumerate(batch.class_labels.tolist()) if ignored is None or not ignored[i]]
    if weights is None:
        return Fraction(len(labels))
    return sum(
        (Fraction(float(weights[label])) for label in labels if 0 <= label < len(weights)), Fraction(0)
    )


# The numbers of a format, counted from 0; after the largest comes 2^(emax + 1), which stands for infinity.


def number(index: int, form: Format) -> Fraction:
    """Return the number of a format that so many steps lead to from 0."""
    step, within = divmod(abs(index), 2 ** (form.precision - 1))
    significand = within + (2 ** (form.precision - 1) if step else 0)
    exponent = form.emin - form.precision + max(step, 1)
    value = Fraction(significand << max(exponent, 0), 1 << max(-exponent, 0))
    return value if index >= 0 else -value


def infinite(form: Format) -> int:
    """Return the index of infinity."""
    return (form.emax - form.emin + 2) * 2 ** (form.precision - 1)


def index_near(value: float, form: Format) -> int:
    """Return the index of a number of a format that is near a value: within one, unless that is infinite."""
    if not math.isfinite(value) or abs(value) >= number(infinite(form), form):
        return infinite(form) if value > 0 else -infinite(form)
    exponent = max(math.frexp(value)[1] - 1, form.emin) if value else form.emin
    steps = int(Fraction(abs(value)) / Fraction(2) ** (exponent - form.precision + 1))
    index = steps + (exponent - form.emin) * 2 ** (form.precision - 1)
    return index if value >= 0 else -index


def midpoint(index: int, form: Format) -> Fraction:
    """Return the middle between a number of a format and the next larger one: a number of one more bit."""
    return number(2 * index + 1, Format(form.name, form.precision + 1, form.emin, form.emax))


def rounded(value: Any, dtype: str) -> float:
    """Round a Real or an mpf to a format, once and to even, by comparing it with midpoints alone."""
    form = FORMATS[dtype]
    if isinstance(value, float) or (isinstance(value, mpmath.mpf) and not mpmath.isfinite(value)):
        return float(value)
    if isinstance(value, mpmath.mpf):
        sign, mantissa, exponent, _ = value._mpf_  # exact; an operation of mpmath would round
        value = Fraction(int(mantissa)) * Fraction(2) ** exponent * (-1 if sign else 1)
    index = _index(value, form)
    if index == infinite(form) or index == -infinite(form):
        return math.copysign(inf, index)
    return float(number(index, form))


def _index(value: Fraction | Irrational, form: Format) -> int:
    """Return the index of the nearest number: the first whose upper midpoint the value does not exceed."""
    end = infinite(form)
    exceeds = value.exceeds if isinstance(value, Irrational) else value.__gt__

    def is_below(index: int) -> bool:
        return index < -end or (index < end and exceeds(midpoint(index, form)))

    low = index_near(value.roughly() if isinstance(value, Irrational) else _float(value), form) - 1
    high, step = low + 1, 1
    while not is_below(low):
        low, high, step = low - step, low, 2 * step
    while is_below(high):
        low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    tie = isinstance(value, Fraction) and high < end and value == midpoint(high, form)
    return high + 1 if tie and high % 2 else high


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf

"""Two oracles of the true loss and gradient, independent of the code under test and of each other.

With the targets t_j = w_j ((1 - ε) y_j + ε / C), their sum s and the softmax p: loss = -Σ t_j ln p_j and
gradient_j = s p_j - t_j (PyTorch 2.13, ``cross_entropy_loss_prob_target`` in ``aten/src/ATen/native/LossNLL.cpp``).
``mpmath_truth`` evaluates with mpmath, whose functions are right to a few units of the last of many bits;
``arb_truth`` with the balls of Arb, which prove their own errors. They share the definition of a batch and of
a format, and no formula.

A number is nan where there is no true value, infinite where the limit is, a fraction where it is rational by
algebra, else ``Irrational``: it can say whether it exceeds a fraction, and rounding needs no more. Where a
number is a fraction and a tail, such as exp(-16777217), the tail alone is compared. ``Undecided`` is raised
where the most bits do not tell a number from a fraction; nothing is guessed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import flint
import mpmath
from flint import arb, fmpq

from xentcli.formats import FORMATS, Format
from xentcli.model import Batch

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

inf, nan = math.inf, math.nan
_BITS: Final = (256, 1280, 6400, 32_000)  # beside 1 the square of 5e-324 takes 2,200
_SUMS: Final = 64  # bits that sums of a few thousand terms and a dozen operations do not use up


class Undecided(AssertionError):
    """The most bits do not tell a number from a fraction."""


@dataclass(frozen=True)
class Irrational:
    """An irrational number: whether it exceeds a fraction, and roughly what it is."""

    exceeds: Callable[[Fraction], bool]
    roughly: float


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
    rows = []
    weighting = batch.weighting
    smooth = Fraction(weighting.smoothing)
    for row, (x, y) in enumerate(zip(batch.logits.tolist(), batch.labels.tolist(), strict=True)):
        if weighting.ignored is not None and weighting.ignored[row]:
            rows.append(Row([0.0] * len(x), [Fraction(0)] * len(x)))
            continue
        weights = [1.0] * len(x) if weighting.class_weights is None else weighting.class_weights.tolist()
        is_undefined = batch.invalid is not None and batch.invalid[row]
        labels = [Fraction(0)] * len(x) if is_undefined else list(map(Fraction, y))
        shares = [(1 - smooth) * label + smooth / len(x) for label in labels]
        targets = [Fraction(weight) * share for weight, share in zip(weights, shares, strict=True)]
        if batch.binary:
            x, targets = [0.0, *x], [1 - labels[0], labels[0]]
        if is_undefined or any(map(math.isnan, x)) or max(x) == -inf or x.count(inf) > 1:
            x = [nan] * len(x)
        elif inf in x:  # the limit: all probability on that class
            x = [0.0 if value == inf else -inf for value in x]
        rows.append(Row(x, targets))
    return rows


def divisor(batch: Batch) -> Fraction:
    """Return what a mean divides by: the weights of the labels that count, or N where labels are rows."""
    if batch.label_rows or batch.class_labels is None:
        return Fraction(len(batch.logits))
    ignored, weights = batch.weighting.ignored, batch.weighting.class_weights
    labels = [x for i, x in enumerate(batch.class_labels.tolist()) if ignored is None or not ignored[i]]
    if weights is None:
        return Fraction(len(labels))
    return sum((Fraction(float(weights[label])) for label in labels if 0 <= label < len(weights)), Fraction(0))


# The numbers of a format, counted from 0; the one after the largest is 2^(emax + 1), which stands for infinity.


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
    exponent = max(math.frexp(value)[1] - 1, form.emin)
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

    low = index_near(value.roughly if isinstance(value, Irrational) else _float(value), form) - 1
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


# mpmath


class _Parts(NamedTuple):
    """A loss: a fraction, and positive irrational numbers, each a function of the bits that it is evaluated to."""

    rational: Fraction | float
    tails: list[Callable[[int], Any]]


def mpmath_truth(batch: Batch, reduction: str) -> Truth:
    """Evaluate a batch with mpmath."""
    rows = read(batch)
    losses = [_mp_loss(row) for row in rows]
    total = None if reduction == "none" else _mp_sum(losses, divisor(batch) if reduction == "mean" else Fraction(1))
    own = slice(1, None) if batch.binary else slice(None)
    gradients = [[_mp_gradient(row, j) for j in range(len(row.logits))][own] for row in rows]
    return Truth([_mp_sum([loss], Fraction(1)) for loss in losses], gradients, total)


def mpmath_loss_of_probabilities(batch: Batch, probabilities: "FloatArray", reduction: str) -> tuple[list[Real], Real | None]:
    """Evaluate the losses -Σ t_j ln p_j of probabilities, and their reduction, with mpmath."""
    losses = []
    for row, p in zip(read(batch), probabilities.astype(float).tolist(), strict=True):
        counting = [(t, value) for t, value in zip(row.targets, p, strict=True) if t]
        if any(map(math.isnan, row.logits)) or not all(0 <= value <= 1 for value in p):
            losses.append(_Parts(nan, []))
        elif any(value == 0 for _, value in counting):
            losses.append(_Parts(inf, []))
        else:
            tails = [partial(_mp_log, t, value) for t, value in counting if value != 1]
            losses.append(_Parts(Fraction(0), tails))
    total = None if reduction == "none" else _mp_sum(losses, divisor(batch) if reduction == "mean" else Fraction(1))
    return [_mp_sum([loss], Fraction(1)) for loss in losses], total


def _mp_log(target: Fraction, p: float, _: int) -> Any:
    return -_mpf(target) * mpmath.log(p)


def _mpf(value: Fraction) -> Any:
    return mpmath.mpf(value.numerator) / value.denominator


def _mp_loss(row: Row) -> _Parts:
    """Separate Σ t_j (m - x_j), which is rational, from s log1p(Σ exp(x_i - m)), one m left out."""
    x, targets = row
    if any(map(math.isnan, x)):
        return _Parts(nan, [])
    if any(t and value == -inf for value, t in zip(x, targets, strict=True)):
        return _Parts(inf, [])
    top = x.index(max(x))
    rational = sum((t * (Fraction(x[top]) - Fraction(v)) for v, t in zip(x, targets, strict=True) if t), Fraction(0))
    others = [value for index, value in enumerate(x) if index != top and value != -inf]
    total = sum(targets, Fraction(0))

    def tail(_: int) -> Any:
        return _mpf(total) * mpmath.log1p(_mp_exps(others, x[top]))

    return _Parts(rational, [tail] if total and others else [])


def _mp_sum(losses: Sequence[_Parts], over: Fraction) -> Real:
    unusual = [loss.rational for loss in losses if isinstance(loss.rational, float)]
    if unusual or not over:
        return inf if over and all(value == inf for value in unusual) else nan
    rational = sum((Fraction(loss.rational) for loss in losses), Fraction(0))
    if not any(loss.tails for loss in losses):
        return rational / over

    @cache
    def tail(bits: int) -> Any:
        with mpmath.workprec(bits + _SUMS):
            return sum(part(bits) for loss in losses for part in loss.tails)

    with mpmath.workprec(_BITS[0]):
        roughly = float((_mpf(rational) + tail(_BITS[0])) / _mpf(over))
    return Irrational(lambda b: _mp_is_below(b * over - rational, tail), roughly)


def _mp_gradient(row: Row, j: int) -> Real:
    """Compare s e_j / Z - t_j with b as (s - (t_j + b) n) / (t_j + b) with O / e_j.

    n logits are equal to x_j, and O is the sum of the exponentials of the others.
    """
    x, targets = row
    total = sum(targets, Fraction(0))
    possible = [value for value in x if value != -inf]
    if any(map(math.isnan, x)):
        return nan
    if total == 0 or x[j] == -inf:
        return -targets[j]
    if len(set(possible)) == 1:
        return total / len(possible) - targets[j]
    others, equal = [value for value in possible if value != x[j]], possible.count(x[j])

    @cache
    def ratio(bits: int) -> Any:
        with mpmath.workprec(bits + _SUMS):
            top = max(possible)
            return _mp_exps(others, top) / _mp_exps([x[j]], top)

    def exceeds(b: Fraction) -> bool:
        least = targets[j] + b
        if least <= 0:
            return True
        return not _mp_is_below((total - least * equal) / least, ratio)

    with mpmath.workprec(_BITS[0]):
        roughly = float(_mpf(total) / (equal + ratio(_BITS[0])) - _mpf(targets[j]))
    return Irrational(exceeds, roughly)


def _mp_exps(x: Sequence[float], top: float) -> Any:
    differences = [mpmath.fsub(value, top, exact=True) for value in x]
    return sum(map(mpmath.exp, differences))


def _mp_is_below(fraction: Fraction, positive: Callable[[int], Any]) -> bool:
    """Whether a fraction is below a positive irrational number, evaluated to 2^-bits of itself."""
    if fraction <= 0:
        return True
    for bits in _BITS:
        with mpmath.workprec(bits + _SUMS):
            left, right = _mpf(fraction), positive(bits)
            if abs(left - right) > mpmath.ldexp(left + right, -bits):
                return bool(left < right)
    raise Undecided(f"{float(left)} and {_BITS[-1]} bits")


# Arb


def arb_truth(batch: Batch, reduction: str) -> Truth:
    """Evaluate a batch with the balls of Arb."""
    rows = read(batch)
    own = 1 if batch.binary else 0
    gradients = [_arb_gradients(row)[own:] for row in rows]
    one_by_one = [_arb_loss([row], Fraction(1)) for row in rows]
    if reduction == "none":
        return Truth(one_by_one, gradients, None)
    return Truth(one_by_one, gradients, _arb_loss(rows, divisor(batch) if reduction == "mean" else Fraction(1)))


def arb_loss_of_probabilities(batch: Batch, probabilities: "FloatArray", reduction: str) -> tuple[list[Real], Real | None]:
    """Evaluate the losses -Σ t_j ln p_j of probabilities, and their reduction, with Arb."""
    rows = [
        [(nan if math.isnan(x) or not 0 <= p <= 1 else p, t) for p, x, t in zip(*example, strict=True)]
        for example in (
            (p, *row) for p, row in zip(probabilities.astype(float).tolist(), read(batch), strict=True)
        )
    ]
    over = {"none": None, "sum": Fraction(1), "mean": divisor(batch)}[reduction]
    return [_arb_logs([row], Fraction(1)) for row in rows], None if over is None else _arb_logs(rows, over)


def _arb_logs(rows: list[list[tuple[float, Fraction]]], over: Fraction) -> Real:
    pairs = [pair for row in rows for pair in row]
    if over == 0 or any(math.isnan(p) for p, _ in pairs):
        return nan
    if any(p == 0 < t for p, t in pairs):
        return inf
    logs = [(p, t) for p, t in pairs if p < 1 and t > 0]
    if not logs:
        return Fraction(0)
    return _arb_real(Fraction(0), over, lambda: -sum((_ball(t) * arb(p).log() for p, t in logs), arb(0)))


def _arb_loss(rows: Sequence[Row], over: Fraction) -> Real:
    """Take Σ t_j (m - x_j) of all rows as a fraction, and Σ -s ln p of their largest logits as a ball."""
    if not over or any(math.isnan(row.logits[0]) for row in rows):
        return nan
    pairs = [(max(row.logits), x, t) for row in rows for x, t in zip(*row, strict=True) if t > 0]
    if any(x == -inf for _, x, _ in pairs):
        return inf
    rational = sum((t * Fraction(m) - t * Fraction(x) for m, x, t in pairs), Fraction(0))
    open_rows = [row for row in rows if sum(row.targets) > 0 and sum(x > -inf for x in row.logits) > 1]
    if not open_rows:
        return rational / over

    def tail() -> arb:
        total = arb(0)
        for x, targets in open_rows:
            others = _exps(sorted(x)[:-1], max(x))  # the largest left out once
            total += _ball(sum(targets, Fraction(0))) * others.log1p()
        return total

    return _arb_real(rational, over, tail)


def _arb_real(rational: Fraction, over: Fraction, tail: Callable[[], arb]) -> Irrational:
    """Describe (rational + tail) / over of a positive tail."""
    balls = _at_bits(tail)
    with flint.ctx.workprec(_BITS[1]):
        roughly = float(((_ball(rational) + balls(_BITS[1])) / _ball(over)).mid())
    return Irrational(lambda b: _arb_exceeds(balls, b * over - rational), roughly)


def _arb_gradients(row: Row) -> list[Real]:
    """Compare p_j with (t_j + b) / s, as the sum of exp(x_i - x_j) with the inverse of that."""
    x, targets = row
    s = sum(targets, Fraction(0))
    if math.isnan(x[0]):
        return [nan] * len(x)
    gradients: list[Real] = []
    for x_j, t_j in zip(x, targets, strict=True):
        different = [value for value in x if value not in {x_j, -inf}]
        if x_j == -inf or not s:
            gradients.append(-t_j)
        elif not different:
            gradients.append(s * Fraction(1, x.count(x_j)) - t_j)
        else:
            balls = _at_bits(partial(_exps, different, x_j))
            with flint.ctx.workprec(_BITS[1]):
                roughly = float((_ball(s) / (x.count(x_j) + balls(_BITS[1])) - _ball(t_j)).mid())
            gradients.append(Irrational(partial(_arb_gradient_exceeds, balls, s, t_j, x.count(x_j)), roughly))
    return gradients


def _arb_gradient_exceeds(balls: Callable[[int], arb], s: Fraction, t: Fraction, equal: int, b: Fraction) -> bool:
    return t + b <= 0 or not _arb_exceeds(balls, s / (t + b) - equal)


def _exps(x: Sequence[float], top: float) -> arb:
    return sum(((arb(value) - arb(top)).exp() for value in x if value != -inf), arb(0))


def _ball(value: Fraction) -> arb:
    return arb(fmpq(value.numerator, value.denominator))


def _at_bits(ball: Callable[[], arb]) -> Callable[[int], arb]:
    @cache
    def evaluated(bits: int) -> arb:
        with flint.ctx.workprec(bits):
            return ball()

    return evaluated


def _arb_exceeds(balls: Callable[[int], arb], fraction: Fraction) -> bool:
    """Whether a positive number in a ball exceeds a fraction."""
    if fraction <= 0:
        return True
    for bits in _BITS:
        with flint.ctx.workprec(bits):
            exact = _ball(fraction)
            if balls(bits) > exact or balls(bits) < exact:
                return bool(balls(bits) > exact)
    raise Undecided(f"{fraction.numerator.bit_length()} bits of a fraction, {_BITS[-1]} bits of a ball")

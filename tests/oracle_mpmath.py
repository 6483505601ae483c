"""The oracle that evaluates with mpmath, whose functions are right to a few units of the last bit."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import mpmath
from oracles import BITS, Irrational, Real, Row, Truth, UndecidedError, divisor, inf, nan, read

from xentcli.model import Batch

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_SUMS = 64  # bits that sums of a few thousand terms and a dozen operations do not use up


class _Parts(NamedTuple):
    """A loss: a fraction, and positive irrational numbers that are added, each a function of bits."""

    rational: Fraction | float
    tails: Sequence[Callable[[int], Any]]


def mpmath_truth(batch: Batch, reduction: str) -> Truth:
    """Evaluate a batch with mpmath."""
    rows = read(batch)
    losses = [_mp_loss(row) for row in rows]
    total = (
        None
        if reduction == "none"
        else _mp_sum(losses, divisor(batch) if reduction == "mean" else Fraction(1))
    )
    own = slice(1, None) if batch.binary else slice(None)
    gradients = [[_mp_gradient(row, j) for j in range(len(row.logits))][own] for row in rows]
    return Truth([_mp_sum([loss], Fraction(1)) for loss in losses], gradients, total)


def mpmath_loss_of_probabilities(
    batch: Batch, probabilities: "FloatArray", reduction: str
) -> tuple[list[Real], Real | None]:
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
    total = (
        None
        if reduction == "none"
        else _mp_sum(losses, divisor(batch) if reduction == "mean" else Fraction(1))
    )
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
    rational = sum(
        (t * (Fraction(x[top]) - Fraction(v)) for v, t in zip(x, targets, strict=True) if t), Fraction(0)
    )
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

    def roughly() -> float:
        with mpmath.workprec(BITS[0]):
            return float((_mpf(Fraction(rational)) + tail(BITS[0])) / _mpf(over))

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

    def roughly() -> float:
        for bits in BITS[:2]:
            with mpmath.workprec(bits):
                target = _mpf(targets[j])
                value = _mpf(total) / (equal + ratio(bits)) - target
                if abs(value) > mpmath.ldexp(target, 60 - bits):
                    break
        return float(value)

    return Irrational(exceeds, roughly)


def _mp_exps(x: Sequence[float], top: float) -> Any:
    differences = [mpmath.fsub(value, top, exact=True) for value in x]
    return sum(map(mpmath.exp, differences))


def _mp_is_below(fraction: Fraction, positive: Callable[[int], Any]) -> bool:
    """Whether a fraction is below a positive irrational number, evaluated to 2^-bits of itself."""
    if fraction <= 0:
        return True
    for bits in BITS:
        with mpmath.workprec(bits + _SUMS):
            left, right = _mpf(fraction), positive(bits)
            if abs(left - right) > mpmath.ldexp(left + right, -bits):
                return bool(left < right)
    raise UndecidedError(f"{float(left)} and {BITS[-1]} bits")

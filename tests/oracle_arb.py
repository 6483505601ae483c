"""The oracle that evaluates with the balls of Arb, which prove their own errors."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, partial
from typing import TYPE_CHECKING

import flint
from flint import arb, fmpq
from oracles import BITS, Irrational, Real, Row, Truth, UndecidedError, divisor, inf, nan, read

from xentcli.model import Batch

if TYPE_CHECKING:
    from xentcli.formats import FloatArray


def arb_truth(batch: Batch, reduction: str) -> Truth:
    """Evaluate a batch with the balls of Arb."""
    rows = read(batch)
    own = 1 if batch.binary else 0
    gradients = [_arb_gradients(row)[own:] for row in rows]
    one_by_one = [_arb_loss([row], Fraction(1)) for row in rows]
    if reduction == "none":
        return Truth(one_by_one, gradients, None)
    return Truth(
        one_by_one, gradients, _arb_loss(rows, divisor(batch) if reduction == "mean" else Fraction(1))
    )


def arb_loss_of_probabilities(
    batch: Batch, probabilities: "FloatArray", reduction: str
) -> tuple[list[Real], Real | None]:
    """Evaluate the losses -Σ t_j ln p_j of probabilities, and their reduction, with Arb."""
    rows = [
        [(nan if math.isnan(x) or not 0 <= p <= 1 else p, t) for p, x, t in zip(values, *row, strict=True)]
        for values, row in zip(probabilities.astype(float).tolist(), read(batch), strict=True)
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
    return Irrational(
        lambda b: _arb_exceeds(balls, b * over - rational),
        lambda: _arb_middle(lambda bits: (_ball(rational) + balls(bits)) / _ball(over)),
    )


def _arb_gradients(row: Row) -> list[Real]:
    x, targets = row
    s = sum(targets, Fraction(0))
    return (
        [nan] * len(x)
        if math.isnan(x[0])
        else [_arb_gradient(x, x_j, t_j, s) for x_j, t_j in zip(*row, strict=True)]
    )


def _arb_gradient(x: list[float], x_j: float, t_j: Fraction, s: Fraction) -> Real:
    """Compare p_j with (t_j + b) / s, as the sum of exp(x_i - x_j) with the inverse of that."""
    different, equal = [value for value in x if value not in {x_j, -inf}], x.count(x_j)
    if x_j == -inf or not s:
        return -t_j
    if not different:
        return s / equal - t_j
    balls = _at_bits(partial(_exps, different, x_j))

    def exceeds(b: Fraction) -> bool:
        return t_j + b <= 0 or not _arb_exceeds(balls, s / (t_j + b) - equal)

    return Irrational(
        exceeds, lambda: _arb_middle(lambda bits: _ball(s) / (equal + balls(bits)) - _ball(t_j))
    )


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


def _arb_middle(ball: Callable[[int], arb]) -> float:
    """Return the middle of the first ball with the digits of a float."""
    for bits in BITS[:3]:
        with flint.ctx.workprec(bits):
            if ball(bits).rel_accuracy_bits() > 53:
                break
    return float(ball(bits).mid())


def _arb_exceeds(balls: Callable[[int], arb], fraction: Fraction) -> bool:
    """Whether a positive number in a ball exceeds a fraction."""
    if fraction <= 0:
        return True
    for bits in BITS:
        with flint.ctx.workprec(bits):
            exact = _ball(fraction)
            if balls(bits) > exact or balls(bits) < exact:
                return bool(balls(bits) > exact)
    raise UndecidedError(f"{fraction.numerator.bit_length()} bits of a fraction, {BITS[-1]} bits of a ball")

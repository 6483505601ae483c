"""The true loss and gradient of the inputs as stored, correctly rounded: Ziv's rule over decimal arithmetic.

Everything is evaluated at P and at 2P digits and accepted when both round to the same numbers of the format,
else P is doubled (A. Ziv, "Fast evaluation of elementary mathematical functions with correctly rounded last
bit", 1991, doi:10.1145/114697.116813). No subtraction of nearly equal numbers is left in the formulas, so
that few digits suffice: with m the largest logit and t the sum of exp(x_i - m) over the others,
loss = Σ y_j ((m - x_j) + log1p(t)) has only positive terms. What the rule does not see is a tail 10^80 times
smaller than the loss: where a loss is a tie between two numbers of the format but for such a tail, it goes to
the even one.

Cost: about 0.2 s for 1,000 logits. Batches of more than 5,000 are sampled, see ``rows_of``.
"""

import math
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from xentcli.formats import EXTREME, FORMATS, nearest
from xentcli.model import Exact

if TYPE_CHECKING:
    from xentcli.model import Batch

_DIGITS = 40
_MOST_DIGITS = 5120
_MOST_NUMBERS = 5_000  # logits that are evaluated; more are sampled by rows
_NAN, _INF, _ZERO, _ONE = Decimal("NaN"), Decimal("Infinity"), Decimal(0), Decimal(1)
_SERIES_BELOW = -12  # decimal exponent from which log1p is summed as a series

Row = tuple[Decimal, tuple[Decimal, ...]]


def exact(batch: "Batch", dtype: str, reduction: str) -> Exact:
    """Evaluate a batch so that every number rounds correctly to ``dtype``."""
    rows = rows_of(*batch.logits.shape)
    pairs = [(batch.logits[row].tolist(), batch.labels[row].tolist()) for row in rows]
    whole = len(rows) == len(batch.logits)
    digits = _DIGITS
    before = _evaluate(pairs, digits, reduction if whole else "none")
    while digits < _MOST_DIGITS:
        digits *= 2
        after = _evaluate(pairs, digits, reduction if whole else "none")
        if _rounded(before, dtype) == _rounded(after, dtype):
            break
        before = after
    evaluated, loss = after
    return Exact(rows, tuple(row[0] for row in evaluated), tuple(row[1] for row in evaluated), loss)


def rows_of(examples: int, classes: int) -> tuple[int, ...]:
    """Name the rows that are evaluated: all, or a seeded sample of as many as 5,000 numbers allow."""
    most = max(1, _MOST_NUMBERS // classes)
    if examples <= most:
        return tuple(range(examples))
    import random

    return tuple(sorted(random.Random(0).sample(range(examples), most)))  # noqa: S311 - no secret


def _evaluate(
    pairs: Sequence[tuple[list[float], list[float]]], digits: int, reduction: str
) -> tuple[list[Row], Decimal | None]:
    context = EXTREME.copy()
    context.prec = digits
    rows = [_row(logits, labels, context) for logits, labels in pairs]
    if reduction == "none":
        return rows, None
    total = _sum([loss for loss, _ in rows], context)
    return rows, context.divide(total, Decimal(len(rows))) if reduction == "mean" else total


def _rounded(evaluated: tuple[list[Row], Decimal | None], dtype: str) -> list[str]:
    form = FORMATS[dtype]
    rows, loss = evaluated
    values = [value for row_loss, gradient in rows for value in (row_loss, *gradient)]
    # As text, where nan is nan and -0 is 0.
    return [str(nearest(value, form) + 0.0) for value in [*values, loss if loss is not None else _ZERO]]


def _row(logits: list[float], labels: list[float], context: Context) -> Row:
    """Evaluate one example at the digits of the context."""
    top = math.nan if any(map(math.isnan, logits)) else max(logits)
    if math.isnan(top) or top == -math.inf or (top == math.inf and logits.count(top) > 1):
        return _NAN, (_NAN,) * len(logits)
    if top == math.inf:  # the limit: all probability on that class
        logits = [0.0 if x == top else -math.inf for x in logits]
    maximum = logits.index(max(logits))
    below = [context.subtract(Decimal(x), Decimal(logits[maximum])) for x in logits]  # x - m, at most 0
    exps = [context.exp(x) for x in below]
    tail = _sum([e for index, e in enumerate(exps) if index != maximum], context)
    log1p = _log1p(tail, context)
    terms = [
        context.multiply(Decimal(y), context.subtract(log1p, x))
        for y, x in zip(labels, below, strict=True)
        if y != 0  # 0 · log 0 = 0
    ]
    return _sum(terms, context), _gradient(labels, exps, tail, maximum, context)


def _gradient(
    labels: list[float], exps: list[Decimal], tail: Decimal, maximum: int, context: Context
) -> tuple[Decimal, ...]:
    """Return s·p_j - y_j with s the sum of the labels, as ((s - y_j) e_j - y_j (z - e_j)) / z.

    Where that cancels, as Σ_i (y_i e_j - y_j e_i) / z, in which equal logits cancel exactly.
    """
    total = sum(map(Fraction, labels), Fraction(0))
    z = context.add(_ONE, tail)
    gradient = []
    for index, (label, e) in enumerate(zip(labels, exps, strict=True)):
        others = total - Fraction(label)
        weight = context.divide(Decimal(others.numerator), Decimal(others.denominator))
        rest = tail if index == maximum else context.subtract(z, e)
        first, second = context.multiply(weight, e), context.multiply(Decimal(label), rest)
        difference = context.subtract(first, second)
        lost = first.adjusted() - difference.adjusted() if difference else context.prec
        if first and lost > context.prec // 4:
            difference = _pairwise(index, labels, exps, context)
        gradient.append(context.divide(difference, z))
    return tuple(gradient)


def _pairwise(index: int, labels: list[float], exps: list[Decimal], context: Context) -> Decimal:
    """Return Σ_i (y_i e_j - y_j e_i) for one class j."""
    label, e = Decimal(labels[index]), exps[index]
    terms = []
    for other, exp in zip(map(Decimal, labels), exps, strict=True):
        if exp == e:
            terms.append(context.multiply(context.subtract(other, label), e))
        else:
            terms += [context.multiply(other, e), context.multiply(label, exp).copy_negate()]
    return _sum(sorted(terms, key=Decimal.copy_abs), context)


def _sum(values: Sequence[Decimal], context: Context) -> Decimal:
    total = _ZERO
    for value in values:
        total = context.add(total, value)
    return total


def _log1p(t: Decimal, context: Context) -> Decimal:
    """Return ln(1 + t) for t ≥ 0 to the digits of the context, however small t is."""
    if t == 0 or t.adjusted() >= _SERIES_BELOW:
        wide = context.copy()
        wide.prec += -2 * _SERIES_BELOW
        return context.plus(wide.ln(wide.add(_ONE, t)))
    total, power, n = _ZERO, t, 1
    while n == 1 or power.adjusted() > total.adjusted() - context.prec - 2:
        term = context.divide(power, Decimal(n))
        total = context.add(total, term) if n % 2 else context.subtract(total, term)
        power, n = context.multiply(power, t), n + 1
        if power == 0:
            break
    return total

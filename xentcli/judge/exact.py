"""The true loss and gradient of the inputs as stored, correctly rounded: Ziv's rule over decimal arithmetic.

Everything is evaluated at P and at 2P digits and accepted when both round to the same numbers of the format,
else P is doubled (A. Ziv, "Fast evaluation of elementary mathematical functions with correctly rounded last
bit", 1991, doi:10.1145/114697.116813). No subtraction of nearly equal numbers is left in the formulas, so
that few digits suffice: with m the largest logit and t the sum of exp(x_i - m) over the others,
loss = Σ y_j ((m - x_j) + log1p(t)) has only positive terms. What the rule does not see is a tail 10^80 times
smaller than the loss: where a loss is a tie between two numbers of the format but for such a tail, it goes to
the even one.

Classes of the same logit and label are evaluated once. Cost: about 0.2 s for 1,000 different logits. Batches
of more than 5,000 are sampled, see ``rows_of``.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xentcli.formats import EXTREME, FORMATS, nearest
from xentcli.model import Exact

if TYPE_CHECKING:
    from xentcli.model import Batch, FloatArray

_DIGITS = 40
_MOST_DIGITS = 5120
_MOST_NUMBERS = 5_000  # logits that are evaluated; more are sampled by rows
_NAN, _INF, _ZERO, _ONE = Decimal("NaN"), Decimal("Infinity"), Decimal(0), Decimal(1)
_SERIES_BELOW = -12  # decimal exponent from which log1p and expm1 are summed as series


class _Kind(NamedTuple):
    """Classes of one example that are alike: their logit, the target it is held to, how many they are."""

    x: float
    y: Fraction
    number: int


_Row = tuple[Decimal, list[Decimal]]  # the loss, and the gradient of every kind


@dataclass(frozen=True, slots=True)
class _Example:
    """One example: its kinds of classes, and of which kind each class is. Without kinds it is ignored.

    A binary example has two classes here, of the logits 0 and x and the labels 1 - y and y.
    """

    kinds: tuple[_Kind, ...]
    places: tuple[int, ...]

    @property
    def is_undefined(self) -> bool:
        """Whether there is no true loss: nan, no finite logit, several infinite ones."""
        if any(math.isnan(kind.x) for kind in self.kinds):
            return True
        top = max(kind.x for kind in self.kinds)
        several = sum(kind.number for kind in self.kinds if kind.x == top) > 1
        return top == -math.inf or (top == math.inf and several)


def exact(batch: "Batch", dtype: str, reduction: str) -> Exact:
    """Evaluate a batch so that every number rounds correctly to ``dtype``."""
    rows = rows_of(*batch.logits.shape)
    examples = [_example(batch, row) for row in rows]
    divisor = _divisor(batch, reduction) if len(rows) == len(batch.logits) else None
    digits = _DIGITS
    before = _evaluate(examples, digits, divisor)
    while digits < _MOST_DIGITS:
        digits *= 2
        after = _evaluate(examples, digits, divisor)
        if _rounded(before, dtype) == _rounded(after, dtype):
            break
        before = after
    evaluated, loss = after
    pairs = zip(examples, evaluated, strict=True)
    gradients = [_expanded(example, row[1], dtype)[-batch.logits.shape[1] :] for example, row in pairs]
    return Exact(rows, tuple(row[0] for row in evaluated), tuple(gradients), loss)


def _example(batch: "Batch", row: int) -> _Example:
    """Read one example; a label that is out of range leaves nothing defined."""
    logits, labels = batch.logits[row].tolist(), batch.labels[row].tolist()
    weighting = batch.weighting
    weights, smoothing = [1.0] * len(logits), Fraction(0)
    if weighting is not None:
        smoothing = Fraction(weighting.smoothing)
        weights = weights if weighting.weights is None else weighting.weights[row].tolist()
    if batch.is_mislabelled(row):
        logits, labels = [math.nan] * len(logits), [0.0] * len(logits)
    if batch.binary:
        y = Fraction(labels[0])
        return _Example((_Kind(0.0, 1 - y, 1), _Kind(logits[0], y, 1)), (0, 1))
    if batch.ignores(row):
        return _Example((), (0,) * len(logits))
    kinds: dict[tuple[float, float, float], int] = {}
    classes = zip(logits, labels, weights, strict=True)
    places = tuple([kinds.setdefault(kind, len(kinds)) for kind in classes])
    numbers, share = Counter(places), smoothing / len(logits)
    made = (
        _Kind(x, Fraction(weight) * ((1 - smoothing) * Fraction(label) + share), numbers[place])
        for (x, label, weight), place in kinds.items()
    )
    return _Example(tuple(made), places)


def _divisor(batch: "Batch", reduction: str) -> Decimal | None:
    """Return what the sum of the losses is divided by; None where there is no one loss."""
    if reduction == "none":
        return None
    of_mean = len(batch.logits) if batch.weighting is None else batch.weighting.divisor
    return Decimal(of_mean) if reduction == "mean" else _ONE


def rows_of(examples: int, classes: int) -> tuple[int, ...]:
    """Name the rows that are evaluated: all, or a seeded sample of as many as 5,000 numbers allow."""
    most = max(1, _MOST_NUMBERS // classes)
    if examples <= most:
        return tuple(range(examples))
    import random

    return tuple(sorted(random.Random(0).sample(range(examples), most)))  # noqa: S311 - no secret


def _evaluate(
    examples: Sequence[_Example], digits: int, divisor: Decimal | None
) -> tuple[list[_Row], Decimal | None]:
    context = EXTREME.copy()
    context.prec = digits
    rows = [_row(example, context) for example in examples]
    if divisor is None:
        return rows, None
    total = _sum([loss for loss, _ in rows], context)
    return rows, context.divide(total, divisor) if divisor else _NAN


def _rounded(evaluated: tuple[list[_Row], Decimal | None], dtype: str) -> list[str]:
    form = FORMATS[dtype]
    rows, loss = evaluated
    values = [value for row_loss, gradient in rows for value in (row_loss, *gradient)]
    # As text, where nan is nan and -0 is 0.
    return [str(nearest(value, form) + 0.0) for value in [*values, loss if loss is not None else _ZERO]]


def _expanded(example: _Example, gradient: list[Decimal], dtype: str) -> "FloatArray":
    """Return the gradient class by class, rounded to the format."""
    rounded = np.array([nearest(value, FORMATS[dtype]) for value in gradient or [_ZERO]])
    return rounded[np.array(example.places)]


def _row(example: _Example, context: Context) -> _Row:
    """Evaluate one example at the digits of the context."""
    if not example.kinds:
        return _ZERO, []
    kinds = example.kinds
    if example.is_undefined:
        return _NAN, [_NAN] * len(kinds)
    top = max(kind.x for kind in kinds)
    if top == math.inf:  # the limit: all probability on that class
        kinds = tuple(kind._replace(x=0.0 if kind.x == top else -math.inf) for kind in kinds)
        top = 0.0
    below = [context.subtract(Decimal(kind.x), Decimal(top)) for kind in kinds]  # x - m, at most 0
    exps = [context.exp(value) for value in below]
    tail = _tail(kinds, exps, top, context)
    log1p = _log1p(tail, context)
    terms = [
        context.multiply(_decimal(kind.number * kind.y, context), context.subtract(log1p, x))
        for kind, x in zip(kinds, below, strict=True)
        if kind.y != 0  # 0 · log 0 = 0
    ]
    return _sum(terms, context), _gradient(kinds, exps, tail, context)


def _tail(kinds: Sequence[_Kind], exps: Sequence[Decimal], top: float, context: Context) -> Decimal:
    """Return the sum of the exponentials but one of the largest logit, which is 1."""
    largest = next(index for index, kind in enumerate(kinds) if kind.x == top)
    numbers = (kind.number - (index == largest) for index, kind in enumerate(kinds))
    pairs = zip(numbers, exps, strict=True)
    return _sum([context.multiply(Decimal(number), e) for number, e in pairs if number], context)


def _gradient(
    kinds: Sequence[_Kind], exps: Sequence[Decimal], tail: Decimal, context: Context
) -> list[Decimal]:
    """Return s·p_j - y_j with s the sum of the targets, as ((s - y_j) e_j - y_j (z - e_j)) / z.

    Where that cancels, as Σ_i (y_i e_j - y_j e_i) / z, in which nearly equal logits lose nothing.
    """
    total = sum((kind.number * kind.y for kind in kinds), Fraction(0))
    z = context.add(_ONE, tail)
    gradient = []
    for kind, e in zip(kinds, exps, strict=True):
        rest = tail if e == 1 else context.subtract(z, e)
        first = context.multiply(_decimal(total - kind.y, context), e)
        difference = context.subtract(first, context.multiply(_decimal(kind.y, context), rest))
        lost = first.adjusted() - difference.adjusted() if difference else context.prec
        if first and lost > context.prec // 4:
            difference = _pairwise(kind, e, kinds, context)
        gradient.append(context.divide(difference, z))
    return gradient


def _pairwise(kind: _Kind, e: Decimal, kinds: Sequence[_Kind], context: Context) -> Decimal:
    """Return Σ_i (y_i e_j - y_j e_i) for a class j, as e_j Σ_i (y_i - y_j exp(x_i - x_j)).

    Of logits less than 1 apart y_i - y_j and exp - 1 are taken together, so that nothing is lost in 1 - 1.
    """
    terms = []
    for other in kinds:
        apart = context.subtract(Decimal(other.x), Decimal(kind.x))
        near = apart.copy_abs() < _ONE
        own = other.y - kind.y if near else other.y
        grown = _expm1(apart, context) if near else context.exp(apart)
        lost = context.multiply(_decimal(other.number * kind.y, context), grown)
        terms += [_decimal(other.number * own, context), lost.copy_negate()]
    return context.multiply(e, _sum(sorted(terms, key=Decimal.copy_abs), context))


def _expm1(x: Decimal, context: Context) -> Decimal:
    """Return exp(x) - 1 to the digits of the context, however small x is."""
    if x == 0 or x.adjusted() >= _SERIES_BELOW:
        wide = context.copy()
        wide.prec += -2 * _SERIES_BELOW
        return context.plus(wide.subtract(wide.exp(x), _ONE))
    total, term, n = _ZERO, x, 1
    while n == 1 or term.adjusted() > total.adjusted() - context.prec - 2:
        total, n = context.add(total, term), n + 1
        term = context.divide(context.multiply(term, x), Decimal(n))
    return total


def _decimal(value: Fraction, context: Context) -> Decimal:
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))


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

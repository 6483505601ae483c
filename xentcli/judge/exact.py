"""The true loss and gradient of the inputs as stored, correctly rounded, each rounding proved.

With m the largest logit of an example, t_j the targets, s their sum and Z the sum of exp(x_i - m),
loss = Σ t_j (m - x_j) + s log Z and gradient_j = (s exp(x_j - m) - t_j Z) / Z. Everything transcendental is
enclosed (``enclosures``) and evaluated with more digits until each number rounds to the same value from both
ends of its enclosure, after A. Ziv, "Fast evaluation of elementary mathematical functions with correctly
rounded last bit", 1991, doi:10.1145/114697.116813.

That ends, because what is rational is decided first, and an irrational number is no midpoint. By the theorem
of Lindemann and Weierstrass exponentials of different rational numbers are linearly independent over the
rationals. Suppose that Σ s_r log Z_r over some rows is a rational number q. With a k that makes each k s_r a
whole number, the product of all Z_r^(k s_r) is exp(k q). Multiplied out, it is a sum of exponentials with
positive whole coefficients. So it is one exponential only where every Z_r is 1: where one class alone has a
finite logit. And if p_j is a rational number r, then exp(x_j - m) = r Z: all finite logits are equal, or r is
0 and x_j is -inf.

The rational part of a number stays a fraction: a number that lies beside a midpoint by nothing but a tail
of exp(-16777217) is decided by the sign of the tail. Of an exponential below 10^-(10^18) no more than its
sign is known. A loss needs no more, as all its terms are positive; nor does a gradient, unless its larger
terms agree to 10^18 digits.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.enclosures import Enclosing, Enclosure, decided
from xentcli.formats import EXTREME, FORMATS, agreed, nearest
from xentcli.judge.first_stage import first_stage, unknown
from xentcli.judge.knobbed import KnobbedExample
from xentcli.model import Exact

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, Format
    from xentcli.model import Batch

_DIGITS: Final = 40  # 23 more than float64 has: one rounding in 10^23 needs more
_MOST_DIGITS: Final = 5_000  # beyond which a loss is rational but for a tail that no number of digits shows
_MOST_NUMBERS: Final = 2**22  # logits of rows that are evaluated, in a second; of more, rows are sampled
_MOST_ROWS: Final = 2**17  # whose losses, as decimals, and four methods judged take eight seconds
_MOST_SLOW: Final = 5_000  # logits that are evaluated by decimals, in half a second
_APART: Final = (
    2**20
)  # errors: a loss that far from its float64 neighbour has six digits of any error in ulps
_NAN, _INFINITY = Decimal("NaN"), Decimal("Infinity")
_LONG: Final = EXTREME.copy()  # for a rational number: every midpoint and number of a format is exact in it
_LONG.prec = 2500


def compute_exact(batch: "Batch", dtype: str, reduction: str) -> Exact:
    """Return the true losses, gradients and loss of a batch.

    Labels and class weights are finite and not negative.
    ``losses`` and ``loss`` are decimals that round correctly to every format; ``gradients`` are float64
    arrays (C,) of numbers of ``dtype``. All rows are evaluated, or a seeded sample of a batch of more than
    131,072 rows or millions of logits, and of one where double-double decides few rows; the loss is None
    then, and under reduction none.
    An infinite loss is a limit; nan says that there is no true value.
    """
    shape = len(batch.logits), batch.logits.shape[1]
    truth = _Truth(batch, rows_of(*shape, _MOST_NUMBERS), FORMATS[dtype])
    if truth.slow * shape[1] > _MOST_SLOW:
        truth = _Truth(batch, rows_of(*shape, _MOST_SLOW), FORMATS[dtype])
    is_whole = len(truth.rows) == len(batch.logits) and reduction != "none"
    loss = truth.reduced(batch.divisor if reduction == "mean" else Fraction(1)) if is_whole else None
    return Exact(truth.rows, truth.losses(), truth.gradients(), loss)


class _Truth:
    """Rows of a batch: what the first stage knows of them, and examples of those that it leaves open."""

    def __init__(self, batch: "Batch", rows: Sequence[int], form: "Format") -> None:
        self.rows, self._form = tuple(rows), form
        # Of changed logits nothing is known in double-double.
        whole, places = batch.knobs.is_plain, np.array(rows, np.int64)
        self._stage = first_stage(batch, places, form) if whole else unknown(batch, places)
        self._settled = [None if loss is None else _settled(loss) for loss in self._stage.losses]
        self._example = cache(lambda at: _example(batch, self.rows[at]))

    @property
    def slow(self) -> int:
        """How many rows have exponentials that decimals have to evaluate."""
        open_losses = np.array([loss is None for loss in self._settled], bool)
        return int((self._stage.usual & (open_losses | ~self._stage.decided.all(axis=1))).sum())

    def losses(self) -> tuple[Decimal, ...]:
        """Return the loss of each row."""
        return tuple(
            _sum([self._example(at).loss()], Fraction(1)) if loss is None else loss
            for at, loss in enumerate(self._settled)
        )

    def gradients(self) -> "tuple[FloatArray, ...]":
        """Return the gradient of each row."""
        stage = self._stage
        return tuple(
            stage.gradients[at] if stage.decided[at].all() else self._example(at).gradient(self._form)
            for at in range(len(self.rows))
        )

    def reduced(self, divisor: Fraction) -> Decimal:
        """Return the sum of the losses over a divisor, nan for one of 0."""
        if not divisor:
            return _NAN
        known = [loss for loss in self._stage.losses if loss is not None]
        others = [self._example(at).loss() for at, loss in enumerate(self._stage.losses) if loss is None]
        if known and all(value == 0 and part is None for value, part in others):
            e = Enclosing(_DIGITS)
            settled = _settled(e.scale(e.sum(known), 1 / divisor))
            if settled is not None:
                return settled
        if any(isinstance(value, Decimal) for value, _ in others):
            return _sum(others, divisor)
        return _sum([self._example(at).loss() for at in range(len(self.rows))], divisor)


def _settled(loss: Enclosure) -> Decimal | None:
    """Return a number that rounds to every format as the loss does, and is as far from its neighbours."""
    middle = EXTREME.divide(EXTREME.add(*loss), 2)
    near, width = float(middle), EXTREME.subtract(loss.high, loss.low)
    if not float(loss.low) == near == float(loss.high):
        return None
    # Numbers of narrower formats are float64 numbers too: the nearest of these is the nearest of all.
    if abs(EXTREME.subtract(middle, Decimal(near))) < EXTREME.multiply(width, _APART):
        return None
    return middle if all(agreed(near, near, form) is not None for form in FORMATS.values()) else None


def compute_from_probabilities(batch: "Batch", probabilities: "FloatArray", reduction: str) -> Exact:
    """Return the true losses -Σ t_j ln p_j of probabilities (N, C), and no gradients.

    Everything else is as of ``compute_exact``. A row with a number outside [0, 1] has no true loss.
    """
    rows = tuple(range(len(probabilities)))
    pairs = zip(rows, probabilities.astype(np.float64).tolist(), strict=True)
    losses = [_loss_from_probabilities(_Example(batch, row), p) for row, p in pairs]
    each = tuple(_sum([loss], Fraction(1)) for loss in losses)
    return Exact(rows, each, (), _reduced(losses, batch, reduction))


def losses_to_digits(batch: "Batch", rows: Sequence[int], digits: int) -> tuple[Decimal, ...]:
    """Return the true losses of rows, correctly rounded to so many significant decimal digits.

    nan and infinity as of ``compute_exact``. Of a loss below 10^-(10^18) no digit is right.
    """
    return tuple(_to_digits(_example(batch, row).loss(), digits) for row in rows)


def _to_digits(loss: "_Loss", digits: int) -> Decimal:
    value, part = loss
    if isinstance(value, Decimal):
        return value
    context = EXTREME.copy()
    context.prec = digits
    if part is None:
        return context.divide(Decimal(value.numerator), Decimal(value.denominator))
    ends: list[Decimal] = []
    enough = digits
    while len(set(ends)) != 1 and enough < _MOST_DIGITS:
        enough *= 2
        ends = [context.plus(end) for end in Enclosing(enough).add_rational(part(enough), value)]
    return ends[-1]


def rows_of(examples: int, classes: int, numbers: int) -> tuple[int, ...]:
    """Name the rows that are evaluated: all, or a seeded sample of 131,072 and of so many numbers at most."""
    most = max(1, min(_MOST_ROWS, numbers // classes))
    if examples <= most:
        return tuple(range(examples))
    import random

    return tuple(sorted(random.Random(0).sample(range(examples), most)))  # noqa: S311 - no secret


# A rational number, nan or infinity; and what is added to it: a function that encloses a transcendental
# number with so many digits, or None.
_Loss = tuple[Fraction | Decimal, Callable[[int], Enclosure] | None]


def _reduced(losses: Sequence[_Loss], batch: "Batch", reduction: str) -> Decimal | None:
    if reduction == "none":
        return None
    divisor = batch.divisor if reduction == "mean" else Fraction(1)
    return _sum(losses, divisor) if divisor else _NAN


def _sum(losses: Sequence[_Loss], divisor: Fraction) -> Decimal:
    """Add losses and divide, with as many digits as it takes to round the result to every format."""
    unusual = [value for value, _ in losses if isinstance(value, Decimal)]
    if unusual:
        return _NAN if any(value.is_nan() for value in unusual) else _INFINITY
    parts = [part for _, part in losses if part is not None]
    rational = sum((Fraction(value) for value, _ in losses), Fraction(0)) / divisor
    if not parts:  # no target, or the only class with a finite logit: 0 but for a z-loss
        return _LONG.divide(Decimal(rational.numerator), Decimal(rational.denominator))

    @cache
    def rest(digits: int) -> tuple[Enclosing, Enclosure]:
        e = Enclosing(digits)
        return e, e.scale(e.sum(part(digits) for part in parts), 1 / divisor)

    def less(digits: int, b: Fraction) -> Enclosure:
        e, tail = rest(digits)  # alone, however small it is, where b is the rational part
        return e.add_rational(tail, rational - b) if rational != b else tail

    return _decided(less, FORMATS.values())


def _decided(less: Callable[[int, Fraction], Enclosure], forms: Iterable["Format"]) -> Decimal:
    """Decide a number with as many digits as it takes; ``less(digits, b)`` encloses the number less b."""
    digits, result = _DIGITS, None
    while result is None:
        result = decided(partial(less, digits), forms)
        digits *= 2
    return result


def _loss_from_probabilities(example: "_Example", p: Sequence[float]) -> _Loss:
    """Return -Σ t_j ln p_j: by Lindemann's theorem irrational unless each p_j that counts is 1."""
    if example.is_undefined or not all(0 <= value <= 1 for value in p):
        return _NAN, None
    targets = [example.groups[group].target for group in example.group_of_class] if example.groups else []
    pairs = [(target, Decimal(value)) for target, value in zip(targets, p, strict=False) if target]
    if any(value == 0 for _, value in pairs):
        return _INFINITY, None

    def transcendental(digits: int) -> Enclosure:
        e = Enclosing(digits)
        return e.sum(e.scale(e.log(value), -target) for target, value in pairs)

    return Fraction(0), transcendental if any(value != 1 for _, value in pairs) else None


def _example(batch: "Batch", row: int) -> "_Example | KnobbedExample":
    return _Example(batch, row) if batch.knobs.is_plain else KnobbedExample(batch, row)


@dataclass(frozen=True, slots=True)
class _Group:
    """The classes of an example with one logit and one target, and how many they are."""

    x: float
    target: Fraction
    count: int


class _Example:
    """One example: its groups of classes, and the group of each class. An ignored one has no groups.

    A binary example has two classes here, of the logits 0 and x and the targets 1 - y and y. A group is near
    where its logit is less than 1 below the largest: exp(d) - 1 keeps the digits of nearly equal logits.
    """

    def __init__(self, batch: "Batch", row: int) -> None:
        self.groups, self.group_of_class = _groups(batch, row)
        self._classes = batch.logits.shape[1]
        self._largest = max((group.x for group in self.groups), default=0.0)
        at_largest = sum(group.count for group in self.groups if group.x == self._largest)
        self.is_undefined = (
            batch.is_invalid(row)
            or any(math.isnan(group.x) for group in self.groups)
            or self._largest == -math.inf
            or (self._largest == math.inf and at_largest > 1)
        )
        if self._largest == math.inf:  # the limit: all probability on that class
            self.groups = [replace(g, x=0.0 if g.x == math.inf else -math.inf) for g in self.groups]
            self._largest = 0.0
        self._total = sum((g.count * g.target for g in self.groups), Fraction(0))
        self._near = sum(group.count for group in self.groups if self._is_near(group))
        self._evaluated = cache(self._evaluate)

    def loss(self) -> _Loss:
        """Return Σ t_j (m - x_j) and s log Z."""
        if self.is_undefined:
            return _NAN, None
        counting = [group for group in self.groups if group.target]
        if any(group.x == -math.inf for group in counting):
            return _INFINITY, None
        top = Fraction(self._largest)
        rational = sum((g.count * g.target * (top - Fraction(g.x)) for g in counting), Fraction(0))
        possible = sum(group.count for group in self.groups if group.x != -math.inf)
        return rational, None if self._total == 0 or possible == 1 else cache(self._scaled_log)

    def gradient(self, form: "Format") -> "FloatArray":
        """Return the gradient (C,), of a binary example (1,), in numbers of the format."""
        if self.is_undefined or not self.groups:
            return np.full(self._classes, np.nan if self.is_undefined else 0.0)
        values = np.zeros(len(self.groups))
        rational = self._total == 0 or len({group.x for group in self.groups} - {-math.inf}) == 1
        for index, group in enumerate(self.groups):
            number: Fraction | Decimal
            if rational or group.x == -math.inf:
                p = Fraction(int(group.x != -math.inf), self._near or 1)
                number = self._total * p - group.target
            else:
                number = _decided(partial(self._gradient_less, index), [form])
            values[index] = nearest(number, form)
        return values[np.array(self.group_of_class)][-self._classes :] + 0.0  # without the sign of zero

    def _is_near(self, group: _Group) -> bool:
        return group.x - self._largest > -1

    def _evaluate(self, digits: int) -> tuple[Enclosing, list[Enclosure], Enclosure, Enclosure]:
        """Enclose the term of each group, exp(d) - 1 of a near one, else exp(d); Σ count · term; and Z."""
        e = Enclosing(digits)
        each = [
            (e.expm1 if self._is_near(group) else e.exp)(e.difference(group.x, self._largest))
            for group in self.groups
        ]
        pairs = zip(self.groups, each, strict=True)
        rest = e.sum(e.scale(term, Fraction(group.count)) for group, term in pairs)
        return e, each, rest, e.add(e.rational(Fraction(self._near)), rest)

    def _scaled_log(self, digits: int) -> Enclosure:
        """Return s log Z."""
        e, _, rest, _ = self._evaluated(digits)
        return e.scale(e.log1p(e.add(e.rational(Fraction(self._near - 1)), rest)), self._total)

    def _gradient_less(self, index: int, digits: int, b: Fraction) -> Enclosure:
        """Return a group's gradient less b: ((s - (t + b) n) + s term - (t + b) rest) / Z, n near classes.

        Where the group is far the first s is missing. The rational part stands alone: where it is 0, as at a
        midpoint b of equal logits, the sign of the rest is known however small the rest is.
        """
        e, each, rest, z = self._evaluated(digits)
        group = self.groups[index]
        target = group.target + b
        rational = (self._total if self._is_near(group) else 0) - target * self._near
        numerator = e.scale(each[index], self._total)
        if target:
            numerator = e.subtract(numerator, e.scale(rest, target))
        if rational:
            numerator = e.add(e.rational(rational), numerator)
        return e.divide(numerator, z)


def _groups(batch: "Batch", row: int) -> tuple[list[_Group], tuple[int, ...]]:
    """Read a row: its classes by logit and target, each with its number, and the group of each class."""
    logits, labels = batch.logits[row].tolist(), batch.labels[row].tolist()
    if batch.is_ignored(row):
        return [], (0,) * len(logits)
    if batch.binary:
        y = Fraction(0 if batch.is_invalid(row) else labels[0])
        return [_Group(0.0, 1 - y, 1), _Group(logits[0], y, 1)], (0, 1)
    weights = batch.weighting.class_weights
    own, each = batch.weighting.mix(len(logits))
    kinds: dict[tuple[float, float, float], int] = {}
    classes = zip(logits, labels, [1.0] * len(logits) if weights is None else weights.tolist(), strict=True)
    group_of_class = tuple([kinds.setdefault(kind, len(kinds)) for kind in classes])
    counts = Counter(group_of_class)
    is_plain = batch.weighting.is_plain
    groups = [
        _Group(
            x,
            Fraction(label) if is_plain else Fraction(weight) * (own * Fraction(label) + each),
            counts[group],
        )
        for (x, label, weight), group in kinds.items()
    ]
    return groups, group_of_class

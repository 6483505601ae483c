"""The first stage of the exact loss: enclosures in double-double, of all rows of a batch at once.

With e_j = exp(x_j - m), T the sum of all but one of the largest logit m, Z = 1 + T, targets t_j and their
sum s, loss = Σ t_j (m - x_j) + s log1p(T) and gradient_j = (s - t_j) e_j / Z - t_j (Z - e_j) / Z. All terms
are positive, so that relative errors do not grow when they are added; u is 2^-53:

- e_j is off by 2^-94 (``double_double.exp``), T, a sum of these, by 2^-94 + 2^-96 < 2^-93 of itself. So are
  log1p(T), whose derivative by log T is below 1, and Z.
- Targets are products and sums of at most 25 u² < 2^-101; t_j (m - x_j) and their sum are off by 2^-95.
  Together the loss is off by less than 2^-92 of itself.
- Z - e_j is T at the largest logit. Elsewhere it is at least 1 >= e_j and at least Z / 2: off by 2^-91. With
  four more products of 7 u² each of the two terms of the gradient is off by less than 2^-90 of itself. The
  factor s - t_j, of which the first has 4 u² (s + t_j), is exactly 0 or s where only one target is not 0.

What that leaves open is undecided here, and so is what double-double does not hold: rows with a tail below
2^-900, targets or differences that are extreme, numbers near the smallest of float64.
"""

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.enclosures import Enclosure
from xentcli.formats import EXTREME, Format, rounded
from xentcli.judge.double_double import LOWEST, Pair, add, exp, inverse, multiply, pair, total, two_sum

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, IntArray
    from xentcli.model import Batch

_LOSS_ERROR: Final = Decimal(2) ** -92
_GRADIENT_ERROR: Final = 2.0**-90
_DIFFERENCE_ERROR: Final = 2.0**-99  # of s e_j / Z: 4 u² (s + t_j) <= 8 u² s, and as much to spare
_LEAST_TAIL: Final = 2.0**-900  # terms lose bits below 2^-960; these are then no part of a tail that counts
_TINY: Final = 2.0**-960  # from here on the low part of a number is no subnormal one
_LARGEST: Final = 2.0**900  # of differences: from 2^996 on products overflow
_LEAST_TARGET, _LARGEST_TARGET = 2.0**-100, 2.0**20  # with which s e^d below LOWEST still rounds to 0
_UNKNOWN: Final = 0.0  # a target below _LEAST_TARGET: its row is undecided
_AT_ONCE: Final = 2**15  # numbers whose arrays are held at once
_DIGITS: Final = Context(prec=40, Emin=EXTREME.Emin, Emax=EXTREME.Emax, traps=[])  # 12 more than _LOSS_ERROR
_SERIES_BELOW: Final = -20  # decimal exponent: 1 + T of more has at most 20 + 33 digits
_ONE, _TWO = Decimal(1), Decimal(2)


@dataclass(frozen=True, slots=True, eq=False)
class FirstStage:
    """What is known of rows: an enclosure of each one's loss, or None; gradients (n, C).

    ``gradients`` are numbers of the format that was asked for, float64, where ``decided`` (n, C); of a binary
    batch (n, 1). ``usual`` (n,) marks rows of finite logits, -inf apart, with a label that counts.
    """

    losses: tuple[Enclosure | None, ...]
    gradients: "FloatArray"
    decided: "BoolArray"
    usual: "BoolArray"


@np.errstate(all="ignore")  # what overflows is undecided
def first_stage(batch: "Batch", rows: "IntArray", form: Format) -> FirstStage:
    """Enclose the losses of rows of a batch, and round their gradients to a format."""
    number = max(1, _AT_ONCE // batch.logits.shape[1])
    parts = [_Rows(batch, rows[start : start + number]) for start in range(0, max(1, len(rows)), number)]
    gradients, decided = zip(*(part.gradients(form) for part in parts), strict=True)
    return FirstStage(
        tuple(loss for part in parts for loss in part.losses()),
        np.concatenate(gradients),
        np.concatenate(decided),
        np.concatenate([part.usual for part in parts]),
    )


def unknown(batch: "Batch", rows: "IntArray") -> FirstStage:
    """Return that nothing is known of rows: all are for decimals to evaluate."""
    number, classes = len(rows), batch.logits.shape[1]
    undecided = np.zeros((number, classes), bool)
    return FirstStage((None,) * number, np.zeros((number, classes)), undecided, np.ones(number, bool))


class _Rows:
    """Some rows of a batch: exponentials and targets as pairs (n, C), sums (n,).

    ``holds`` marks rows that double-double holds; a binary example has the logits 0 and x.
    """

    def __init__(self, batch: "Batch", rows: "IntArray") -> None:
        self.binary = batch.binary
        x, (self.t, counts) = _logits(batch, rows), _targets(batch, rows)
        self.n, self.top = np.arange(len(x)), x.argmax(axis=1)
        largest = x[self.n, self.top]
        self.d = two_sum(x, -largest[:, None])
        self.e = exp(self.d)
        others = Pair(self.e.high.copy(), self.e.low.copy())
        others.high[self.n, self.top] = others.low[self.n, self.top] = 0
        self.tail, self.s = total(others), total(self.t)
        self.is_single = counts.sum(axis=1) == 1
        self.usual = np.isfinite(largest) & ~np.isnan(x).any(axis=1) & counts.any(axis=1)
        for marks in (batch.weighting.ignored, batch.invalid):
            self.usual &= True if marks is None else ~marks[rows]
        least = np.where(counts, self.t.high, 1.0).min(axis=1)
        self._distance = Pair(*(np.where(counts, -each, 0.0) for each in self.d))
        self.holds = self.usual & (self.tail.high >= _LEAST_TAIL) & (least >= _LEAST_TARGET)
        self.holds &= (self.s.high <= _LARGEST_TARGET) & (self._distance.high.max(axis=1) <= _LARGEST)

    def losses(self) -> list[Enclosure | None]:
        """Enclose the loss of each row that double-double holds."""
        rational = total(multiply(self.t, self._distance))
        numbers = zip(self.tail.decimals(), self.s.decimals(), rational.decimals(), self.holds, strict=True)
        return [_enclosed(*each) if holds else None for *each, holds in numbers]

    def gradients(self, form: Format) -> "tuple[FloatArray, BoolArray]":
        """Return gradients rounded to a format, and which of them are decided."""
        columns = self.n[:, None]
        z = add(Pair(np.ones(len(self.n)), np.zeros(len(self.n))), self.tail)
        weight = multiply(inverse(z), self.s)  # s / Z
        if self.is_single.all():
            value = multiply(self.e, weight.at(columns))
            error = _GRADIENT_ERROR * value.high
            at = self.n, self.t.high.argmax(axis=1)
            own = multiply(self._rest(z, *at), weight)
            value.high[at], value.low[at], error[at] = -own.high, -own.low, _GRADIENT_ERROR * own.high
        else:
            p = multiply(self.e, inverse(z).at(columns))
            rest = self._rest(z.at(columns), columns, np.arange(p.high.shape[1]))
            first = multiply(add(self.s.at(columns), -self.t), p)
            second = multiply(self.t, multiply(rest, inverse(z).at(columns)))
            value = add(first, -second)
            difference = np.where(self.is_single, 0.0, _DIFFERENCE_ERROR * self.s.high)
            error = _GRADIENT_ERROR * (first.high + second.high) + difference[:, None] * p.high
        # An exp that underflows to 0 comes back where s is above 1; below LOWEST even 2^20 of it does not.
        lost = (self.e.high == 0) & (self.d.high >= LOWEST) & (self.s.high > 1)[:, None]
        values, decided = _rounded(value, error + np.where(lost, _TINY, 0.0), form)
        decided &= self.holds[:, None]
        own_logit = slice(1, None) if self.binary else slice(None)
        return values[:, own_logit], decided[:, own_logit]

    def _rest(self, z: Pair, rows: "IntArray", classes: "IntArray") -> Pair:
        """Return Z - e_j of some classes: at the largest logit the tail itself."""
        rest, is_top = add(z, -self.e.at((rows, classes))), classes == self.top[rows]
        tail = self.tail.at(rows)
        return Pair(np.where(is_top, tail.high, rest.high), np.where(is_top, tail.low, rest.low))


def _logits(batch: "Batch", rows: "IntArray") -> "FloatArray":
    x = batch.logits[rows].astype(np.float64)
    return np.hstack([np.zeros_like(x), x]) if batch.binary else x


def _targets(batch: "Batch", rows: "IntArray") -> "tuple[Pair, BoolArray]":
    """Return w_j (a y_j + b), as ``exact`` has them, and which are not 0, however small they are.

    Of a binary batch they are 1 - y and y.
    """
    y, weighting = batch.labels[rows].astype(np.float64), batch.weighting
    zero = np.zeros_like(y)
    if batch.binary:
        other = two_sum(np.ones_like(y), -y)
        t = Pair(np.hstack([other.high, y]), np.hstack([other.low, zero]))
        return t, t.high != 0
    own, each = weighting.mix(y.shape[1])
    t, counts = Pair(y, zero), np.where(y == 0, each != 0, (y != 1) | (own + each != 0))
    if each and own >= 0:
        t = add(multiply(t, pair(own)), pair(each))
    elif each:  # the sum would lose digits: it is only known of labels of 0 and 1
        no, yes = pair(each), pair(own + each)
        high = np.where(y == 0, no.high, np.where(y == 1, yes.high, _UNKNOWN))
        t = Pair(high, np.where(y == 0, no.low, np.where(y == 1, yes.low, 0.0)))
    if weighting.class_weights is not None:
        weights = weighting.class_weights.astype(np.float64)
        t, counts = multiply(t, Pair(weights, np.zeros_like(weights))), counts & (weights != 0)
    return t, counts


def _enclosed(tail: Decimal, s: Decimal, rational: Decimal) -> Enclosure:
    """Enclose a loss by its parts; digits beyond 40 are those of 1 + T."""
    if tail.adjusted() > _SERIES_BELOW:
        log = _DIGITS.ln(EXTREME.add(_ONE, tail))
    else:  # the next term is below 10^-39 of it
        log = _DIGITS.subtract(tail, _DIGITS.divide(_DIGITS.multiply(tail, tail), _TWO))
    loss = _DIGITS.add(rational, _DIGITS.multiply(s, log))
    error = _DIGITS.multiply(loss, _LOSS_ERROR)
    return Enclosure(_DIGITS.subtract(loss, error), _DIGITS.add(loss, error))


def _rounded(value: Pair, error: "FloatArray", form: Format) -> "tuple[FloatArray, BoolArray]":
    """Round pairs that are off by an error at most, and say which surely round so: both ends do.

    Twice the error, for the sums here are rounded; 2^-52 of a number is twice its low part.
    """
    high, low = value
    if form.name == "float64":
        ends = (high + (low + 2 * error) == high) & (high + (low - 2 * error) == high)
        return high + 0.0, ends & ((np.abs(high) >= _TINY) | ((high == 0) & (error == 0)))
    width = 2.0**-52 * np.abs(high) + 2 * error + np.where(high == 0, 0.0, _TINY)
    below, above = rounded(np.array([high - width, high + width]), form)
    return above + 0.0, below == above

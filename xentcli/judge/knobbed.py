"""The true loss and gradient of an example whose logits are scaled, capped or tempered, or with a z-loss.

With x' the final logits, m the largest of them, rest the sum of exp(x'_i - m) over all classes but one of the
largest, and Z = 1 + rest, loss = Σ t_j (m - x'_j) + s ln(1 + rest) + z (m + ln(1 + rest))², and the gradient
by x_j is ((s - t_j) e_j / Z - t_j (Z - e_j) / Z + 2 z (m + ln Z) e_j / Z) f'(x_j), with e_j = exp(x'_j - m)
and f the way from x to x'. The sums are enclosed as in ``exact``, each number with more digits until both
ends of its enclosure round to the same.

That is a proof for every number that is returned. That it ends is one only where nothing is capped and z is
0, by the argument in ``exact``: x' is rational there. Else numbers that are rational are found first: a
single class, equal logits. That no other one is a midpoint of a format follows from Schanuel's conjecture.

tanh(u) = (1 - q) / (1 + q) and its derivative 4 q / (1 + q)², with q = exp(-2 |u|): both keep their digits
however large u is.
"""

import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.enclosures import ONE, ZERO, Enclosing, Enclosure, decided
from xentcli.formats import nearest
from xentcli.methods.steps import BY_NAME

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, Format
    from xentcli.model import Batch

_DIGITS: Final = 40  # as in ``exact``
_NAN, _INFINITY = Decimal("NaN"), Decimal("Infinity")
Loss = tuple[Fraction | Decimal, Callable[[int], Enclosure] | None]


class KnobbedExample:
    """One example of a batch with knobs; ``loss`` and ``gradient`` as of an example of ``exact``."""

    def __init__(self, batch: "Batch", row: int) -> None:
        own, each = batch.weighting.mix(batch.logits.shape[1])
        weights = batch.weighting.class_weights
        of_class = [1.0] * batch.logits.shape[1] if weights is None else weights.tolist()
        pairs = zip(of_class, batch.labels[row].tolist(), strict=True)
        self._targets = [Fraction(w) * (own * Fraction(label) + each) for w, label in pairs]
        self._knobs, self._total = batch.knobs, sum(self._targets, Fraction(0))
        self._is_ignored, x = batch.is_ignored(row), batch.logits[row].tolist()
        self._steps = [(BY_NAME[name].truth, Fraction(value)) for name, value in batch.knobs.steps]
        self._largest, self._is_bounded = max(x), any(step.is_bounded for step, _ in self._steps)
        self._has_limit = self._largest == math.inf and not self._is_bounded
        self._is_undefined = batch.is_invalid(row) or any(map(math.isnan, x))
        if not self._is_bounded:
            self._is_undefined |= self._largest == -math.inf or (self._has_limit and x.count(math.inf) > 1)
        if self._has_limit:  # all probability is on that class
            x, self._largest = [0.0 if each == math.inf else -math.inf for each in x], 0.0
        self._x, self._counts = x, Counter(x)
        self._enclosed = cache(self._enclose)

    def loss(self) -> Loss:
        """Return a rational part, nan or infinity, and what encloses the rest."""
        if self._is_ignored:
            return Fraction(0), None
        if self._is_undefined:
            return _NAN, None
        has_lost = any(t and self._is_lost(x) for t, x in zip(self._targets, self._x, strict=True))
        if has_lost or (self._has_limit and self._knobs.z_loss):
            return _INFINITY, None
        size = self._final_rational(self._largest) if self._is_alone else None
        if size is not None:
            return Fraction(self._knobs.z_loss) * size * size, None
        return Fraction(0), cache(self._loss)

    def gradient(self, form: "Format") -> "FloatArray":
        """Return the gradient (C,) by the logits, in numbers of the format."""
        if self._is_ignored:
            return np.zeros(len(self._x))
        if self._is_undefined or (self._has_limit and self._knobs.z_loss):
            return np.full(len(self._x), np.nan)
        pairs = list(zip(self._x, self._targets, strict=True))
        slopes = {pair: self._slope(*pair, form) for pair in dict.fromkeys(pairs)}
        return np.array([slopes[pair] for pair in pairs]) + 0.0  # without the sign of zero

    @property
    def _is_alone(self) -> bool:
        """Whether one class alone has a probability."""
        return sum(number for x, number in self._counts.items() if not self._is_lost(x)) == 1

    def _is_lost(self, x: float) -> bool:
        """Whether the exponential of a logit is 0: a cap makes -c of -inf."""
        return x == -math.inf and not self._is_bounded

    def _slope(self, x: float, target: Fraction, form: "Format") -> float:
        possible = {y: number for y, number in self._counts.items() if not self._is_lost(y)}
        if self._is_lost(x) or (len(possible) == 1 and not self._knobs.z_loss):
            p = Fraction(0 if self._is_lost(x) else 1, sum(possible.values()))
            number, derivative = self._total * p - target, self._derivative_rational(x)
            if derivative is not None or not number:
                return nearest(number * (derivative or 0), form)
            return self._nearest(lambda digits: self._equal_slope(x, number, digits), form)
        if not self._total and not self._knobs.z_loss:
            return 0.0
        size, derivative = self._final_rational(x), self._derivative_rational(x)
        if self._is_alone and size is not None and derivative is not None:  # p = 1, and ln Z = 0
            return nearest(
                (self._total - target + 2 * Fraction(self._knobs.z_loss) * size) * derivative, form
            )
        return self._nearest(partial(self._slope_of, x, target), form)

    @staticmethod
    def _nearest(value: Callable[[int], Enclosure], form: "Format") -> float:
        """Round an enclosed number, with as many digits as it takes."""

        def less(digits: int, b: Fraction) -> Enclosure:
            return Enclosing(digits).add_rational(value(digits), -b)

        digits, result = _DIGITS, None
        while result is None:
            result = decided(partial(less, digits), [form])
            digits *= 2
        return nearest(result, form)

    # Enclosures

    def _final_rational(self, x: float) -> Fraction | None:
        """Return a final logit where every step is rational, and it is finite."""
        made = self._rational_steps(x)
        return made[0] if isinstance(made[0], Fraction) else None

    def _derivative_rational(self, x: float) -> Fraction | None:
        """Return the derivative of a final logit by the logit where that of every step is rational."""
        return self._rational_steps(x)[1]

    def _rational_steps(self, x: float) -> "tuple[Fraction | float | None, Fraction | None]":
        """Return a final logit and its derivative as far as they are rational; None where one is not."""
        made: Fraction | float | None = x if math.isinf(x) else Fraction(x)
        derivative: Fraction | None = Fraction(1)
        for step, value in self._steps:
            slope = None if made is None else step.slope(made, value)
            derivative = None if slope is None or derivative is None else derivative * slope
            made = None if made is None else step.rational(made, value)
        return made, derivative

    def _final(self, e: Enclosing, x: float) -> Enclosure:
        """Enclose a final logit."""
        return self._enclosed_steps(e, x)[0]

    def _derivative(self, e: Enclosing, x: float) -> Enclosure:
        """Enclose the derivative of a final logit by the logit."""
        return self._enclosed_steps(e, x)[1]

    def _enclosed_steps(self, e: Enclosing, x: float) -> tuple[Enclosure, Enclosure]:
        """Enclose a final logit and its derivative; what is rational stays so as long as it can."""
        exact: Fraction | float | None = x if math.isinf(x) else Fraction(x)
        made, derivative = ZERO, ONE
        for step, value in self._steps:
            if exact is not None:
                slope, after = step.slope(exact, value), step.rational(exact, value)
                if slope is not None and after is not None:
                    derivative, exact = e.scale(derivative, slope), after
                    continue
                made, exact = e.rational(Fraction(exact)), None
            made, by_it = step.enclose(e, made, value)
            derivative = e.multiply(derivative, by_it)
        return (made if exact is None else e.rational(Fraction(exact))), derivative

    def _enclose(
        self, digits: int
    ) -> tuple[Enclosing, dict[float, Enclosure], dict[float, Enclosure], Enclosure]:
        """Enclose how far logits are below the largest, their exponentials, and the rest of the sum."""
        e = Enclosing(digits)
        top = self._final(e, self._largest)
        rational = self._final_rational(self._largest)
        below: dict[float, Enclosure] = {}
        for x in self._counts:
            if x == self._largest or self._is_lost(x):
                below[x] = ZERO
                continue
            own = self._final_rational(x)
            apart = e.rational(rational - own) if rational is not None and own is not None else None
            distance = e.subtract(top, self._final(e, x)) if apart is None else apart
            below[x] = Enclosure(max(distance.low, Decimal(0)), distance.high)
        exps = {
            x: ZERO if self._is_lost(x) else ONE if x == self._largest else e.exp_of_minus(below[x])
            for x in self._counts
        }
        others = self._counts - Counter([self._largest])
        return e, below, exps, e.sum(e.scale(exps[x], Fraction(number)) for x, number in others.items())

    def _loss(self, digits: int) -> Enclosure:
        e, below, _, rest = self._enclosed(digits)
        log = e.log1p(rest)
        pairs = zip(self._targets, self._x, strict=True)
        value = e.add(e.sum(e.scale(below[x], t) for t, x in pairs if t), e.scale(log, self._total))
        if not self._knobs.z_loss:
            return value
        size = e.add(self._final(e, self._largest), log)
        return e.add(value, e.scale(e.multiply(size, size), Fraction(self._knobs.z_loss)))

    def _slope_of(self, x: float, target: Fraction, digits: int) -> Enclosure:
        e, _, exps, rest = self._enclosed(digits)
        own = exps[x]
        others = rest
        if x != self._largest:  # all terms are positive: no digits are lost
            left = self._counts - Counter([x])
            others = e.sum(e.scale(exps[y], Fraction(number)) for y, number in left.items())
        value = e.subtract(e.scale(own, self._total - target), e.scale(others, target))
        if self._knobs.z_loss:
            size = e.add(self._final(e, self._largest), e.log1p(rest))
            value = e.add(value, e.multiply(e.scale(size, 2 * Fraction(self._knobs.z_loss)), own))
        return e.multiply(e.divide(value, e.add(ONE, rest)), self._derivative(e, x))

    def _equal_slope(self, x: float, number: Fraction, digits: int) -> Enclosure:
        e = Enclosing(digits)
        return e.scale(self._derivative(e, x), number)

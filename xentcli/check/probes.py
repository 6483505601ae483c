"""A batch that a loss is called with, its true losses and gradients, and how near a loss must come."""

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats
from xentcli.check.tolerance import MaxUlps
from xentcli.formats import EXTREME, FORMATS
from xentcli.frameworks.conventions import Convention
from xentcli.frameworks.request import PLAIN, How, request, scores
from xentcli.frameworks.shard import fill
from xentcli.judge.exact import compute_exact, compute_from_probabilities
from xentcli.load.build import build_batch
from xentcli.methods.arithmetic import Arithmetic
from xentcli.methods.knobs import final_logits
from xentcli.methods.steps import BY_NAME
from xentcli.model import Batch, Exact

if TYPE_CHECKING:
    from collections.abc import Collection

    from xentcli.formats import BoolArray, Decimals, FloatArray, IntArray
    from xentcli.process import Fields

_MANY = 64  # examples: a loss that only reduces is called with each of fewer, to have their losses
_LARGE = 2**14  # numbers: for more, a right loss may be too slow or run out of memory
_LONG = 256  # examples: for more, one may be too slow that an interpreter runs example by example
_FEW = 4  # classes of which all numbers are shown: they stay on two lines


@dataclass(frozen=True, eq=False)
class Probe:
    """One batch for a loss of a convention, in a dtype, and the reduction that is requested.

    ``may_decline``: a loss may raise, for it need not support how it is called. Where ``repeated`` is a batch
    of logits, ``batch`` has its rows again and again, and their truth. ``count`` is what a mean divides by
    where that is said to the loss.
    """

    convention: Convention
    batch: Batch
    dtype: str
    reduction: str = "none"
    how: How = PLAIN
    may_decline: bool = False
    repeated: Batch | None = None
    count: int | None = None

    @classmethod
    def build(
        cls,
        convention: Convention,
        logits: Any,  # noqa: ANN401 - numbers come as lists or arrays
        labels: Any,  # noqa: ANN401 - whatever NumPy takes
        dtype: str,
        reduction: str = "none",
        **options: Any,  # noqa: ANN401 - those of build_batch
    ) -> "Probe":
        """Build a probe of numbers; class indices become one-hot rows where the convention has rows."""
        if convention.labels == "rows" and np.ndim(labels) == 1:
            labels = 1.0 * (np.asarray(labels)[:, None] == np.arange(np.shape(logits)[1]))
        batch = fill(build_batch(logits, labels, dtype, **options), convention.ranks)
        return cls(convention, batch, dtype, reduction)

    def is_supported(self, parameters: "Collection[str]") -> bool:
        """Whether a loss with these parameters supports it."""
        batch, rows = self.batch, self.convention.labels == "rows"
        is_product = self.how.product is not None
        if self.convention.why_unsupported(batch, parameters, is_product=is_product) is not None:
            return False
        if is_product and not self.convention.linear:
            return False
        if self.dtype in self.convention.lacks:
            return False
        if rows and (batch.invalid is not None or batch.weighting.ignored is not None):
            return False  # a row of labels states neither
        x = scores(batch, self.dtype, self.convention)
        if self.convention.flushes and not np.array_equal(formats.flush(x), x, equal_nan=True):
            return False
        return not self.convention.probabilities or bool(np.isfinite(x).all())

    def request(self) -> "Fields":
        """Return the request for its losses."""
        batch = self.batch if self.repeated is None else self.repeated
        fields = request(batch, self.dtype, self.reduction, self.convention, self.how)
        fields |= {} if self.repeated is None else {"rows": len(self.batch.logits)}
        return {**fields, "may_be_refused": self.may_be_refused, "only_loss": self.only_loss}

    @property
    def has_odd_labels(self) -> bool:
        """Whether its labels are other integers than most losses take: nan is as good as an exception."""
        return self.how.label_dtype != "int64"

    @property
    def is_large(self) -> bool:
        """Whether a right loss may take too long for it, or too much memory."""
        return self.batch.logits.size > _LARGE or len(self.batch.logits) > _LONG

    @property
    def only_loss(self) -> bool:
        """Whether the losses are not asked for: a call for each would take too long, or is another loss.

        In the mean of one example its weight cancels out, and there is none of an ignored one.
        """
        is_whole, weighting = (
            self.how.product is not None or self.count is not None or len(self.batch.logits) > _MANY,
            self.batch.weighting,
        )
        if self.convention.reduction == "mean":
            is_whole |= weighting.class_weights is not None or weighting.ignored is not None
        return self.convention.reduction != "none" and is_whole

    @cached_property
    def truth(self) -> Exact:
        """The true losses of what the loss receives, and where it receives logits the true gradients."""
        if self.convention.probabilities:
            p = scores(self.batch, self.dtype, self.convention)
            return compute_from_probabilities(self.batch, p, self.reduction)
        if self._places is None:
            return self._of_whole
        places, part = self._places.tolist(), self._part
        losses, gradients = ([values[place] for place in places] for values in (part.losses, part.gradients))
        return Exact(tuple(range(len(places))), tuple(losses), tuple(gradients), part.loss)

    @property
    def divisor(self) -> Fraction:
        """What a mean divides the sum of the losses by."""
        return self.batch.divisor if self.count is None else Fraction(self.count)

    @property
    def _of_whole(self) -> Exact:
        """The truth of the batch row by row; its sum over a count that is a power of two is exact."""
        if self.count is None or self.reduction != "mean":
            return compute_exact(self.batch, self.dtype, self.reduction)
        exact = compute_exact(self.batch, self.dtype, "sum")
        return replace(exact, loss=None if exact.loss is None else EXTREME.divide(exact.loss, self.count))

    @property
    def distinct(self) -> int:
        """The number of rows at the beginning that have all rows among them."""
        return len((self.repeated or self.batch).logits)

    @cached_property
    def true_losses(self) -> "Decimals":
        """The true losses as arrays."""
        if self._places is None or self.convention.probabilities:
            return self.truth.numbers.at(slice(-1))
        return self._part.numbers.at(self._places)

    @cached_property
    def _part(self) -> Exact:
        assert self.repeated is not None  # noqa: S101 - else there are no places
        return compute_exact(self.repeated, self.dtype, self.reduction)

    @cached_property
    def _places(self) -> "IntArray | None":
        """Where each row is in the batch that is repeated; None where none is, or it has another mean."""
        examples, rows = len(self.batch.logits), 0 if self.repeated is None else len(self.repeated.logits)
        if not rows or (self.reduction != "none" and (self.reduction != "mean" or examples % rows)):
            return None
        return np.arange(examples) % rows

    @cached_property
    def truth_of_gradient(self) -> Exact:
        """The true gradients of the losses, as they come back: of what is called with others, the sum."""
        exact, how = self.truth, self.how
        gradients = exact.gradients
        if how.backward == "summed":
            for other in how.others:
                more = compute_exact(other, self.dtype, self.reduction).gradients
                gradients = tuple(one + another for one, another in zip(gradients, more, strict=True))
        if how.upstream:
            factors = (float(how.upstream[row] != 0) for row in exact.rows)
            gradients = tuple(factor * each for factor, each in zip(factors, gradients, strict=True))
        return replace(exact, gradients=gradients)

    @cached_property
    def _logits(self) -> "FloatArray":
        return self.batch.logits.astype(np.float64)

    @cached_property
    def _final(self) -> "FloatArray":
        """The logits after scale, softcap and temperature, in float64."""
        if not self.batch.knobs.steps:
            return self._logits
        with np.errstate(all="ignore"):
            return final_logits(Arithmetic(), replace(self.batch, logits=self._logits))

    @property
    def may_be_refused(self) -> bool:
        """Whether a loss may raise: at an invalid label, at nan or +inf, at a row of masks alone."""
        masks = (self._logits == -np.inf).all(axis=1)
        is_odd = self.batch.invalid is not None or bool((masks | self._poisoned).any())
        return is_odd or self.may_decline

    def is_poisoned(self, row: int) -> bool:
        """Whether a logit is nan or +inf: something went wrong before the loss, and nan may say so."""
        return bool(self._poisoned[row]) and not self.batch.is_ignored(row)

    @cached_property
    def _poisoned(self) -> "BoolArray":
        return (np.isnan(self._logits) | (self._logits == np.inf)).any(axis=1)

    def allowance(self, row: int, true: Decimal, max_ulps: "MaxUlps") -> float:
        """Return the ulps that an example's loss may be off.

        ``max_ulps`` of the dtype, log2 C for a pairwise sum (Higham 1993, doi:10.1137/0914050), and the
        loss's condition: 2 (Σ_i p_i |x_i - m| + m - x_y) / loss ulps, m the largest logit, are what rounding
        each difference and a log may cost. Large differences matter so: exp turns half an ulp of a
        difference of 80 into 40 ulps. An exponential below the normal numbers is off by half of the smallest
        number instead, or lost.
        """
        x = self._final[row]
        allowance = max_ulps.of(self.dtype) + math.log2(max(2, len(x)))
        if self.convention.probabilities or self.batch.binary or not true.is_finite() or true == 0:
            return allowance
        targets = self.batch.targets[row].astype(np.float64)
        with np.errstate(all="ignore"):
            below = x.max() - x
            p = np.exp(-below)
            spread = np.where(p > 0, p * below, 0).sum() / p.sum()
            counts = targets > 0
            condition = 2 * (targets[counts] * (spread + below[counts])).sum() / float(true)
        condition = float(condition) if np.isfinite(condition) else 0.0
        form = FORMATS[self.dtype]
        errors = np.minimum(p[p < form.smallest_normal], form.smallest / 2)
        subnormal = float(errors.sum() * targets.sum()) / float(formats.ulp(true, form))
        return allowance + condition + subnormal + self._allowance_of_logits(row, true)

    def _allowance_of_logits(self, row: int, true: Decimal) -> float:
        """Return the ulps that a loss may be off where its logits are a product, or knobs change them.

        A kernel may round each logit of a product, or keep it in float32, in which it is exact. With errors
        δ_i, at most d, L(x + δ) - L(x) is Σ (p_i - y_i) δ_i, and half the variance of δ under some p at most,
        which is below d² / 2: Σ |p_i - y_i| |δ_i| + d² / 2. Nothing is allowed for sums in the dtype itself.

        Of the z-loss z l², l = log Σ exp x, the derivative is 2 z l: l is off by Σ p_i |δ_i|, by eps for each
        unit of l itself and for log C, and the two products by eps of what they make.
        """
        knobs = self.batch.knobs
        if self.how.product is None and knobs.is_plain:
            return 0.0
        x, y = self._final[row], self.batch.targets[row].astype(np.float64)
        errors = self.rounding_of_logits(row) + self._rounding_of_knobs(row)
        p = np.exp(x - x.max())
        size = abs(float(x.max()) + math.log(p.sum()))
        p /= p.sum()
        error = (np.abs(p * y.sum() - y) * errors).sum() + errors.max() ** 2 / 2
        eps = float(FORMATS[self.dtype].eps)
        off = (p * errors).sum() + eps * (size + math.log2(max(2, len(x))))
        error += knobs.z_loss * size * (2 * off + eps * size)
        return float(error) / float(formats.ulp(true, FORMATS[self.dtype]))

    def _rounding_of_knobs(self, row: int) -> "FloatArray":
        """Return how much each final logit (C,) may be off: the rounding of each step, carried on."""
        x, ar, eps = self._logits[[row]], Arithmetic(), float(FORMATS[self.dtype].eps)
        x = np.where(np.isfinite(x), x, 0.0)
        errors = np.zeros(x.shape)
        for name, value in self.batch.knobs.steps:
            step = BY_NAME[name]
            errors = np.abs(step.back(ar, x, value, errors)) + eps * step.rounding(x[0], value)
            x = step.apply(ar, x, value)
        return np.asarray(errors[0])

    def rounding_of_logits(self, row: int) -> "FloatArray":
        """Return half an ulp of each logit (C,) of a product, 0 for one that is a number of the dtype."""
        x = self._logits[row]
        if self.how.product is None:
            return np.zeros(len(x))
        _, exponents = np.frexp(x)
        halves = np.ldexp(float(FORMATS[self.dtype].eps) / 2, exponents - 1)
        is_exact = formats.stored(x[None], self.dtype)[0].astype(np.float64) == x
        return np.where(is_exact, 0.0, halves)

    def gradient_allowance(self, row: int, max_ulps: MaxUlps) -> float:
        """Return how much an entry of an example's gradient may be off; its logits are ordinary numbers.

        p_i = exp(x_i - log Σ exp x): rounding the difference, of two numbers up to M = max |x| + log C, and
        the logarithm makes exp off by 2 M half ulps, the sum by log2 C, and 1 that is subtracted by one more,
        of 1. So max_ulps + log2 C + 2 M units of the dtype's epsilon, times what the labels sum to.
        """
        x, classes = self._logits[row], max(2, self.batch.logits.shape[1])
        units = (
            max_ulps.of(self.dtype)
            + math.log2(classes)
            + 2 * (float(np.abs(x[np.isfinite(x)]).max(initial=0)) + math.log(classes))
        )
        return units * float(FORMATS[self.dtype].eps) * float(np.abs(self._labels_sum(row)))

    def _labels_sum(self, row: int) -> float:
        """Return what an example's labels sum to; of a binary one 1, for the other class has the rest."""
        return 1.0 if self.batch.binary else float(self.batch.targets[row].astype(np.float64).sum())

    def describe(self, row: int) -> str:
        """Write an example: the dtype, and where they are few the numbers and the label."""
        x, y = self._logits[row], self.batch.labels[row].astype(np.float64)
        if (product := self.how.product) is not None:
            return f"{self.dtype}, hidden {product.hidden.shape}, weight {product.weight.shape}"
        if len(x) > _FEW:
            return f"{self.dtype}, {len(x)} classes"
        indices = self.batch.class_labels
        label = f"labels {_list(y)}" if indices is None else f"label {indices[row]}"
        return f"{self.dtype}, logits {_list(x)}, {label}"


def _list(values: "FloatArray") -> str:
    return f"[{', '.join(f'{value:.10g}' for value in values.tolist())}]"

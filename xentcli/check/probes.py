"""A batch that a loss is called with, its true losses and gradients, and how near a loss must come."""

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats
from xentcli.frameworks.conventions import Convention
from xentcli.frameworks.request import request, scores
from xentcli.judge.exact import compute_exact, compute_from_probabilities
from xentcli.load.build import build_batch
from xentcli.model import Batch, Exact

if TYPE_CHECKING:
    from collections.abc import Collection

    from xentcli.formats import BoolArray, FloatArray
    from xentcli.process import Fields

_FEW = 4  # classes of which all numbers are shown: they stay on two lines


@dataclass(frozen=True, eq=False)
class Probe:
    """One batch for a loss of a convention, in a dtype, and the reduction that is requested."""

    convention: Convention
    batch: Batch
    dtype: str
    reduction: str = "none"

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
            labels = np.eye(np.shape(logits)[1])[np.asarray(labels)]
        return cls(convention, build_batch(logits, labels, dtype, **options), dtype, reduction)

    def is_supported(self, parameters: "Collection[str]") -> bool:
        """Whether a loss with these parameters supports it."""
        batch, rows = self.batch, self.convention.labels == "rows"
        if self.convention.why_unsupported(batch, parameters) is not None:
            return False
        if rows and (batch.invalid is not None or batch.weighting.ignored is not None):
            return False  # a row of labels states neither
        x = scores(batch, self.dtype, self.convention)
        if self.convention.flushes and not np.array_equal(formats.flush(x), x, equal_nan=True):
            return False
        return not self.convention.probabilities or bool(np.isfinite(x).all())

    def request(self) -> "Fields":
        """Return the request for its losses."""
        fields = request(self.batch, self.dtype, self.reduction, self.convention)
        return {**fields, "may_be_refused": self.may_be_refused}

    @cached_property
    def truth(self) -> Exact:
        """The true losses of what the loss receives, and where it receives logits the true gradients."""
        if self.convention.probabilities:
            p = scores(self.batch, self.dtype, self.convention)
            return compute_from_probabilities(self.batch, p, self.reduction)
        return compute_exact(self.batch, self.dtype, self.reduction)

    @cached_property
    def _logits(self) -> "FloatArray":
        return self.batch.logits.astype(np.float64)

    @property
    def may_be_refused(self) -> bool:
        """Whether a loss may raise: at an invalid label, at nan or +inf, at a row of masks alone."""
        masks = (self._logits == -np.inf).all(axis=1)
        return self.batch.invalid is not None or bool((masks | self._poisoned).any())

    def is_poisoned(self, row: int) -> bool:
        """Whether a logit is nan or +inf: something went wrong before the loss, and nan may say so."""
        return bool(self._poisoned[row]) and not self.batch.is_ignored(row)

    @property
    def _poisoned(self) -> "BoolArray":
        return (np.isnan(self._logits) | (self._logits == np.inf)).any(axis=1)

    def allowance(self, row: int, true: Decimal, max_ulps: float) -> float:
        """Return the ulps that an example's loss may be off.

        ``max_ulps``, log2 C for a pairwise sum (Higham 1993, doi:10.1137/0914050), and the loss's condition:
        2 (Σ_i p_i |x_i - m| + m - x_y) / loss ulps, m the largest logit, are what rounding each difference
        and a log may cost. Large differences matter so: exp turns half an ulp of a difference of 80 into 40
        ulps.
        """
        x = self._logits[row]
        allowance = max_ulps + math.log2(max(2, len(x)))
        if self.convention.probabilities or self.batch.binary or not true.is_finite() or true == 0:
            return allowance
        targets = self.batch.targets[row].astype(np.float64)
        with np.errstate(all="ignore"):
            below = x.max() - x
            p = np.exp(-below)
            spread = np.where(p > 0, p * below, 0).sum() / p.sum()
            counts = targets > 0
            condition = 2 * (targets[counts] * (spread + below[counts])).sum() / float(true)
        return allowance + (float(condition) if np.isfinite(condition) else 0.0)

    def describe(self, row: int) -> str:
        """Write an example: the dtype, and where they are few the numbers and the label."""
        x, y = self._logits[row], self.batch.labels[row].astype(np.float64)
        if len(x) > _FEW:
            return f"{self.dtype}, {len(x)} classes"
        indices = self.batch.class_labels
        label = f"labels {_list(y)}" if indices is None else f"label {indices[row]}"
        return f"{self.dtype}, logits {_list(x)}, {label}"


def _list(values: "FloatArray") -> str:
    return f"[{', '.join(f'{value:.10g}' for value in values.tolist())}]"

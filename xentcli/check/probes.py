"""What a loss is asked and what is true of it: a batch with its exact losses and gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats
from xentcli.check import batches
from xentcli.check.conventions import Convention
from xentcli.formats import EXTREME
from xentcli.judge.exact import exact
from xentcli.model import Batch, Exact
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.model import FloatArray
    from xentcli.process import Fields


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One batch for a loss, in a dtype; ``ignore_index`` is what its ignored examples are labelled with."""

    batch: Batch
    dtype: str
    reduction: str = "none"
    ignore_index: int = IGNORE_INDEX

    @classmethod
    def of(
        cls,
        logits: Any,
        labels: Any,
        dtype: str,
        reduction: str = "none",
        **particulars: Any,
    ) -> "Probe":
        """Make a probe of numbers."""
        if np.ndim(logits) == 1:
            return cls(batches.binary(logits, labels, dtype), dtype, reduction)
        made = batches.batch(logits, labels, dtype, **particulars)
        return cls(made, dtype, reduction, particulars.get("ignore_index", IGNORE_INDEX))

    def unfit(self, convention: Convention, keywords: Sequence[str]) -> str | None:
        """Say why a loss of the convention and with these parameters cannot take it, where it cannot."""
        batch = self.batch
        if batch.binary != (convention.labels == "binary"):
            return "takes one logit an example" if batch.binary else "takes a logit for every class"
        if convention.labels == "indices" and batch.indices is None:
            return "is of soft labels"
        if convention.labels == "rows" and batch.out_of_range is not None:
            return "is of a label that no row can say"
        scores = _softmax(self) if convention.probabilities else batch.logits
        if convention.flushes and not np.array_equal(formats.flush(scores), scores, equal_nan=True):
            return "has subnormal numbers"
        if convention.probabilities and not np.isfinite(scores).all():
            return "has no finite probabilities"
        return self._lacks(convention, keywords)

    def _lacks(self, convention: Convention, keywords: Sequence[str]) -> str | None:
        lacking = [keyword for keyword in self._keywords() if keyword not in keywords]
        if lacking:
            return f"asks for {lacking[0]}"
        ignored = None if self.batch.weighting is None else self.batch.weighting.ignored
        return "has ignored rows" if ignored is not None and convention.labels == "rows" else None

    def question(self, convention: Convention) -> "Fields":
        """Return what is asked, as plain values."""
        batch = self.batch
        scores = _softmax(self) if convention.probabilities else batch.logits
        labels = batch.class_labels if convention.labels == "indices" else batch.labels
        assert labels is not None  # noqa: S101 - else it is unfit
        if convention.labels == "indices" and self.ignore_index != IGNORE_INDEX:
            labels = np.where(labels == IGNORE_INDEX, self.ignore_index, labels)
        if batch.binary:
            scores, labels = scores[:, 0], labels[:, 0]
        return {
            "dtype": self.dtype,
            "shape": list(scores.shape),
            "scores": scores.astype(np.float64).ravel().tolist(),
            "labels_are": convention.labels,
            "labels_shape": list(labels.shape),
            "labels": labels.astype(np.float64 if labels.dtype.kind not in "iu" else np.int64)
            .ravel()
            .tolist(),
            "keywords": self._keywords(),
            "reduction": self.reduction,
        }

    def _keywords(self) -> dict[str, Any]:
        weighting = self.batch.weighting
        if weighting is None:
            return {}
        given: dict[str, Any] = {}
        if weighting.weights is not None:
            given["class_weights"] = weighting.weights[0].astype(np.float64).tolist()
        if weighting.smoothing:
            given["label_smoothing"] = weighting.smoothing
        if weighting.ignored is not None:
            given["ignore_index"] = self.ignore_index
        return given


@lru_cache(maxsize=1000)
def truth(probe: Probe, convention: Convention) -> Exact:
    """Return the true losses of what the loss is given, and where it is given logits the true gradients."""
    if not convention.probabilities:
        return exact(probe.batch, probe.dtype, probe.reduction)
    p = _softmax(probe).astype(np.float64)
    labels = probe.batch.labels.astype(np.float64)
    rows = tuple(range(len(p)))
    losses = [_of_probabilities(labels[row], p[row]) for row in rows]
    bad = probe.batch.out_of_range
    losses = [
        Decimal("NaN") if bad is not None and bad[row] else loss
        for row, loss in zip(rows, losses, strict=True)
    ]
    total = sum(losses, Decimal(0))
    loss = {"none": None, "sum": total, "mean": total / len(losses) if losses else Decimal("NaN")}[
        probe.reduction
    ]
    return Exact(rows, tuple(losses), (), loss)


def _of_probabilities(labels: "FloatArray", p: "FloatArray") -> Decimal:
    """Return -Σ y ln p of the numbers as stored."""
    total = Decimal(0)
    for label, probability in zip(labels.tolist(), p.tolist(), strict=True):
        if label:
            log = EXTREME.ln(Decimal(probability)) if probability else Decimal("-Infinity")
            total = EXTREME.subtract(total, EXTREME.multiply(Decimal(label), log))
    return total


def _softmax(probe: Probe) -> "FloatArray":
    """Return the probabilities: those of the case, else the softmax in float64, rounded to the dtype."""
    if probe.batch.probabilities is not None:
        return probe.batch.probabilities
    with np.errstate(all="ignore"):
        x = probe.batch.logits.astype(np.float64)
        e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
        return formats.stored(e / e.sum(axis=1, keepdims=True), probe.dtype)

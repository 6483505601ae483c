"""What a loss is asked and what is true of it: a batch with its exact losses and gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats
from xentcli.check.conventions import Convention
from xentcli.judge.exact import exact, exact_from_probabilities
from xentcli.load.build import build_batch
from xentcli.model import Batch, Exact

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.process import Fields


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One batch for a loss, in a dtype, and the reduction asked for."""

    batch: Batch
    dtype: str
    reduction: str = "none"

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
        return cls(build_batch(logits, labels, dtype, **particulars), dtype, reduction)

    def unfit(self, convention: Convention, keywords: Sequence[str]) -> str | None:
        """Say why a loss of the convention and with these parameters cannot take it, where it cannot."""
        batch = self.batch
        if batch.binary != (convention.labels == "binary"):
            return "takes one logit an example" if batch.binary else "takes a logit for every class"
        if convention.labels == "indices" and batch.indices is None:
            return "is of soft labels"
        if convention.labels == "rows" and batch.invalid is not None:
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
        ignored = self.batch.weighting.ignored
        return "has ignored rows" if ignored is not None and convention.labels == "rows" else None

    def question(self, convention: Convention) -> "Fields":
        """Return what is asked, as plain values."""
        batch = self.batch
        scores = _softmax(self) if convention.probabilities else batch.logits
        labels = batch.class_labels if convention.labels == "indices" else batch.labels
        assert labels is not None  # noqa: S101 - else it is unfit
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
        given: dict[str, Any] = {}
        if weighting.class_weights is not None:
            given["class_weights"] = weighting.class_weights.astype(np.float64).tolist()
        if weighting.smoothing:
            given["label_smoothing"] = weighting.smoothing
        if weighting.ignored is not None:
            given["ignore_index"] = weighting.ignore_index
        return given


@lru_cache(maxsize=1000)
def truth(probe: Probe, convention: Convention) -> Exact:
    """Return the true losses of what the loss is given, and where it is given logits the true gradients."""
    if not convention.probabilities:
        return exact(probe.batch, probe.dtype, probe.reduction)
    return exact_from_probabilities(probe.batch, _softmax(probe), probe.reduction)


def _softmax(probe: Probe) -> "FloatArray":
    """Return the probabilities: those of the case, else the softmax in float64, rounded to the dtype."""
    if probe.batch.probabilities is not None:
        return probe.batch.probabilities
    with np.errstate(all="ignore"):
        x = probe.batch.logits.astype(np.float64)
        e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
        return formats.stored(e / e.sum(axis=1, keepdims=True), probe.dtype)

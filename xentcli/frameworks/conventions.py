"""How losses are called: the conventions, by name."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError, did_you_mean
from xentcli.methods.method import why_unsupported

if TYPE_CHECKING:
    from xentcli.model import Batch

# What a loss may have a parameter for besides scores and labels, and what it is called in a sentence.
NAMES: Final = {
    "class_weights": "class weights",
    "label_smoothing": "label smoothing",
    "ignore_index": "ignored examples",
}


def keywords(batch: "Batch") -> dict[str, Any]:
    """Return what a batch holds besides scores and labels, by the keys of NAMES, as plain values."""
    weighting = batch.weighting
    values: dict[str, Any] = {}
    if weighting.class_weights is not None:
        values["class_weights"] = weighting.class_weights.astype(np.float64).tolist()
    if weighting.smoothing:
        values["label_smoothing"] = weighting.smoothing
    if weighting.ignored is not None:
        values["ignore_index"] = weighting.ignore_index
    return values


@dataclass(frozen=True, slots=True)
class Convention:
    """The order and kind of a loss's arguments, and what it returns.

    ``library`` makes the arrays; ``labels`` are indices, rows or binary (one logit and label per example);
    ``labels_first`` puts them before the scores, which are logits or, with ``probabilities``, the softmax.
    ``reduction`` is that of a loss that has no parameter for it. ``parameters`` pairs our name of a parameter
    with the convention's, where they differ; ``classes`` is the name of one for the list of classes.
    ``flushes``: the library has no subnormal numbers.
    """

    name: str
    library: str
    labels: str
    labels_first: bool = False
    probabilities: bool = False
    reduction: str = "none"
    parameters: tuple[tuple[str, str], ...] = ()
    classes: str | None = None
    flushes: bool = False

    @property
    def signature(self) -> str:
        """How a loss is called and what it returns: ``f(logits (N, C), labels (N,) int64) → losses (N,)``."""
        axes = "(N,)" if self.binary else "(N, C)"
        scores = f"{'probabilities' if self.probabilities else 'logits'} {axes}"
        labels = "labels (N,) int64" if self.labels == "indices" else f"labels {axes}"
        arguments = (labels, scores) if self.labels_first else (scores, labels)
        returned = "losses (N,)" if self.reduction == "none" else f"their {self.reduction}"
        return f"f({', '.join(arguments)}) → {returned}"

    @property
    def binary(self) -> bool:
        """Whether a loss expects one logit per example."""
        return self.labels == "binary"

    def parameter(self, name: str) -> str:
        """Return the convention's name of a parameter."""
        return dict(self.parameters).get(name, name)

    def why_unsupported(self, batch: "Batch", parameters: Collection[str]) -> str | None:
        """Say why a loss with these parameters does not support a batch; None where it does."""
        reason = why_unsupported(batch, binary=self.binary, soft_labels=self.labels != "indices")
        lacking = (NAMES[name] for name in keywords(batch) if name not in parameters)
        return reason or next((f"does not support {name}" for name in lacking), None)


_TORCH: Final = (("class_weights", "weight"),)
_SKLEARN = Convention(
    "sklearn", "numpy", "indices", labels_first=True, probabilities=True, reduction="mean", classes="labels"
)

_ALL: Final = (
    Convention("numpy", "numpy", "indices"),
    Convention("numpy.rows", "numpy", "rows"),
    Convention("numpy.binary", "numpy", "binary"),
    Convention("torch", "torch", "indices", parameters=_TORCH),
    Convention("torch.rows", "torch", "rows", parameters=_TORCH),
    Convention("torch.binary", "torch", "binary"),
    Convention("optax", "jax", "indices"),
    Convention("optax.rows", "jax", "rows"),
    Convention("optax.binary", "jax", "binary"),
    Convention("tensorflow", "tensorflow", "rows", labels_first=True),
    Convention("tensorflow.indices", "tensorflow", "indices", labels_first=True),
    Convention("tensorflow.binary", "tensorflow", "binary", labels_first=True),
    Convention("keras", "tensorflow", "rows", labels_first=True, probabilities=True),
    _SKLEARN,
)
CONVENTIONS: Final = {convention.name: convention for convention in _ALL}
_CONVENTION_OF: Final = {"jax": "optax"}  # of a library that has none of its own name


def convention_of_library(name: str) -> str:
    """Return the name of the convention of a library's losses; numpy of one that has none."""
    return name if name in CONVENTIONS else _CONVENTION_OF.get(name, "numpy")


def find_convention(name: str | None, target: str, reduction: str | None = None) -> Convention:
    """Return the convention of a name; without one that of the library the target is in, else numpy's.

    ``reduction`` is that of the loss where it is not the convention's. Raises XentError for an unknown name.
    """
    if name is None:
        name = convention_of_library(target.partition(":")[0].partition(".")[0])
    if name not in CONVENTIONS:
        raise XentError(f"unknown convention '{name}'{did_you_mean(name, list(CONVENTIONS))}")
    return replace(CONVENTIONS[name], reduction=reduction or CONVENTIONS[name].reduction)

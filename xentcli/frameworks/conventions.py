"""How losses are called: the conventions, by name."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from xentcli.errors import XentError, did_you_mean
from xentcli.frameworks.request import NAMES, keywords
from xentcli.methods.method import why_unsupported

if TYPE_CHECKING:
    from xentcli.model import Batch


@dataclass(frozen=True, slots=True)
class Convention:
    """The order and kind of a loss's arguments, and what it returns.

    ``library`` makes the arrays; ``labels`` are indices, rows or binary (one logit and label per example);
    ``labels_first`` puts them before the scores, which are logits or, with ``probabilities``, the softmax.
    ``reduction`` is that of a loss that has no parameter for it. ``parameters`` are pairs of a keyword and the
    name of its parameter, where they differ; ``classes`` is the name of one for the list of classes.
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
    def call(self) -> str:
        """The call, as a signature."""
        axes = "(N,)" if self.labels == "binary" else "(N, C)"
        scores = f"{'probabilities' if self.probabilities else 'logits'} {axes}"
        labels = "labels (N,) int64" if self.labels == "indices" else f"labels {axes}"
        arguments = (labels, scores) if self.labels_first else (scores, labels)
        returned = "losses (N,)" if self.reduction == "none" else f"their {self.reduction}"
        return f"f({', '.join(arguments)}) → {returned}"

    def parameter(self, keyword: str) -> str:
        """Return the name of a keyword's parameter."""
        return dict(self.parameters).get(keyword, keyword)

    def why_unsupported(self, batch: "Batch", supported: Collection[str]) -> str | None:
        """Say why a loss does not support a batch; ``supported`` are the keywords that it does."""
        reason = why_unsupported(batch, binary=self.labels == "binary", soft_labels=self.labels != "indices")
        lacking = (NAMES[keyword] for keyword in keywords(batch) if keyword not in supported)
        return reason or next((f"does not support {name}" for name in lacking), None)


_TORCH: Final = (("class_weights", "weight"),)
_SKLEARN = Convention(
    "sklearn", "numpy", "indices", labels_first=True, probabilities=True, reduction="mean", classes="labels"
)

CONVENTIONS: Final = {
    convention.name: convention
    for convention in (
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
}
_CONVENTION_OF: Final = {"jax": "optax"}  # of a library that has none of its own name


def find_convention(name: str | None, target: str, reduction: str | None = None) -> Convention:
    """Return the convention of a name; without one that of the library the target is in, else numpy's.

    ``reduction`` is that of the loss where it is not the convention's. Raises XentError for an unknown name.
    """
    if name is None:
        package = target.partition(":")[0].partition(".")[0]
        name = package if package in CONVENTIONS else _CONVENTION_OF.get(package, "numpy")
    if name not in CONVENTIONS:
        raise XentError(f"unknown convention '{name}'{did_you_mean(name, list(CONVENTIONS))}")
    return replace(CONVENTIONS[name], reduction=reduction or CONVENTIONS[name].reduction)

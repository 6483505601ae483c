"""How losses are called: the conventions, by name."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError, did_you_mean
from xentcli.frameworks.own import read_table
from xentcli.methods.method import why_unsupported
from xentcli.methods.steps import NAMES as STEP_NAMES
from xentcli.methods.steps import STEPS
from xentcli.words import SMOOTHINGS, Z_LOSS

if TYPE_CHECKING:
    from xentcli.model import Batch

# What a loss may have a parameter for besides scores and labels, and what it is called in a sentence.
OPTIONS: Final = {
    "class_weights": "class weights",
    "label_smoothing": "label smoothing",
    "ignore_index": "ignored examples",
}
NAMES: Final = {
    **OPTIONS,
    **{step.name: step.noun for step in STEPS},
    Z_LOSS: "a z-loss",
}
COUNT: Final = "num_items_in_batch"  # a parameter for what a mean divides by: how many of all parts count
LOGITS: Final = ("logits", "labels")  # the arguments of most losses, in their usual order
FACTORS: Final = ("hidden", "weight", "labels")  # logits are hidden · weightᵀ
SHARD: Final = ("logits", "labels", "rank", "world", "group")  # the classes are shared out
CPU: Final = "cpu"
FILE: Final = ".toml"  # the end of the name of a convention that a file has
# Parameters that say into how many parts, or how large ones, a loss divides its work.
CHUNKS: Final = (
    "chunk_size",
    "num_chunks",
    "n_chunks",
    "chunks",
    "chunk",
    "block_size",
    "tile_size",
    "num_splits",
)


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
    values |= batch.knobs.steps
    if batch.knobs.z_loss:
        values[Z_LOSS] = batch.knobs.z_loss
    return values


@dataclass(frozen=True, slots=True)
class Convention:
    """The order and kind of a loss's arguments, and what it returns.

    ``library`` makes the arrays; ``labels`` are indices, rows or binary (one logit and label per example).
    ``arguments`` are in their order: labels, and logits or the factors that they are a product of; the
    logits are a softmax with ``probabilities``. ``reduction`` is that of a loss that has no parameter for it.
    ``parameters`` pairs our name of a parameter with the convention's, where they differ; ``classes`` is the
    name of one for the list of classes, and ``constants`` are passed by name as they are. ``result`` is the
    place or the name of the losses in what is returned, None where they are all of it. The classes are shared
    out to ``ranks`` processes where these are more than one.

    What is found out of a loss where it is called: ``flushes``, the library has no subnormal numbers;
    ``lacks``, the dtypes that ``device`` has no arrays of.
    """

    name: str
    library: str
    labels: str
    arguments: tuple[str, ...] = LOGITS
    probabilities: bool = False
    reduction: str = "none"
    parameters: tuple[tuple[str, str], ...] = ()
    classes: str | None = None
    constants: tuple[tuple[str, Any], ...] = ()
    result: int | str | None = None
    ranks: int = 1
    flushes: bool = False
    device: str = CPU
    lacks: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        """How a loss is called and what it returns: ``f(logits (N, C), labels (N,) int64) → losses (N,)``."""
        axes = "(N,)" if self.binary else "(N, C)"
        shown = {
            "logits": f"{'probabilities' if self.probabilities else 'logits'} {axes}",
            "labels": "labels (N,) int64" if self.labels == "indices" else f"labels {axes}",
            "hidden": "hidden (N, H)",
            "weight": "weight (C, H)",
        }
        if self.ranks > 1:
            shown["logits"] = f"logits (N, C / {self.ranks})"
        arguments = [shown.get(name, name) for name in self.arguments] + ["bias=None"] * self.linear
        returned = "losses (N,)" if self.reduction == "none" else f"their {self.reduction}"
        return f"f({', '.join(arguments)}) → {returned}"

    @property
    def labels_first(self) -> bool:
        """Whether labels go before scores; where those are a product, this is of the function made of it."""
        return self.arguments == LOGITS[::-1]

    @property
    def linear(self) -> bool:
        """Whether a loss expects the factors of the logits."""
        return "hidden" in self.arguments

    @property
    def binary(self) -> bool:
        """Whether a loss expects one logit per example."""
        return self.labels == "binary"

    def parameter(self, name: str) -> str:
        """Return the convention's name of a parameter."""
        return dict(self.parameters).get(name, name)

    def why_unsupported(
        self, batch: "Batch", parameters: Collection[str], *, is_product: bool = False
    ) -> str | None:
        """Say why a loss with these parameters does not support a batch; None where it does.

        ``is_product``: its logits come as factors that are given, and none is made for it.
        """
        reason = why_unsupported(batch, binary=self.binary, soft_labels=self.labels != "indices")
        reason = reason or (_why_no_product(batch) if self.linear and not is_product else None)
        lacking = (NAMES[name] for name in keywords(batch) if name not in parameters)
        others = ["padding"] * (batch.padding is not None)
        if [name for name, _ in batch.knobs.steps] != [
            name for name in STEP_NAMES if name in keywords(batch)
        ]:
            others.append(f"another order than {', '.join(STEP_NAMES)}")
        if batch.weighting.smoothing and batch.weighting.over != SMOOTHINGS[0]:
            others.append("smoothing over the other classes")
        return reason or next((f"does not support {name}" for name in (*lacking, *others)), None)


def _why_no_product(batch: "Batch") -> str | None:
    """Say why logits are no product with ones and zeros: 0 · inf is nan, which reaches the whole row."""
    if np.isfinite(batch.logits.astype(np.float64)).all():
        return None
    return "logits that are infinite or nan are no product: 0 · inf is nan"


_TORCH: Final = (("class_weights", "weight"),)
_TORCH_LINEAR: Final = (("class_weights", "ce_weight"),)  # weight is that of the product
_SKLEARN = Convention(
    "sklearn", "numpy", "indices", LOGITS[::-1], probabilities=True, reduction="mean", classes="labels"
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
    Convention("tensorflow", "tensorflow", "rows", LOGITS[::-1]),
    Convention("tensorflow.indices", "tensorflow", "indices", LOGITS[::-1]),
    Convention("tensorflow.binary", "tensorflow", "binary", LOGITS[::-1]),
    Convention("keras", "tensorflow", "rows", LOGITS[::-1], probabilities=True),
    _SKLEARN,
    Convention("linear", "torch", "indices", FACTORS, parameters=_TORCH_LINEAR),
    Convention("linear.numpy", "numpy", "indices", FACTORS),
    Convention("linear.jax", "jax", "indices", FACTORS),
    Convention("vocab_parallel", "torch", "indices", SHARD, parameters=_TORCH, ranks=2),
    Convention("vocab_parallel.3", "torch", "indices", SHARD, parameters=_TORCH, ranks=3),
    Convention("vocab_parallel.4", "torch", "indices", SHARD, parameters=_TORCH, ranks=4),
)
CONVENTIONS: Final = {convention.name: convention for convention in _ALL}
_CONVENTION_OF: Final = {"jax": "optax"}  # of a library that has none of its own name


def convention_of_library(name: str) -> str:
    """Return the name of the convention of a library's losses; numpy of one that has none."""
    return name if name in CONVENTIONS else _CONVENTION_OF.get(name, "numpy")


def find_convention(
    name: str | None, target: str, reduction: str | None = None, device: str = CPU
) -> Convention:
    """Return the convention of a name; without one that of the library the target is in, else numpy's.

    A name that ends in .toml is that of a file with a convention of one's own. ``reduction`` is that of the
    loss where it is not the convention's, and ``device`` where its arrays are. Raises XentError for an
    unknown name and for a file that has no convention.
    """
    if name is None:
        name = convention_of_library(target.partition(":")[0].partition(".")[0])
    if name.endswith(FILE):
        found = Convention(name, **read_table(name))
    elif name in CONVENTIONS:
        found = CONVENTIONS[name]
    else:
        hint = did_you_mean(name, list(CONVENTIONS), f"expected one that --list has, or a file *{FILE}")
        raise XentError(f"unknown convention '{name}'{hint}")
    return replace(found, reduction=reduction or found.reduction, device=device)

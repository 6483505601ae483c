"""METHODS and QUANTITIES: what can be computed, in the order in which it is shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli import frameworks
from xentcli.errors import XentError, did_you_mean
from xentcli.methods import binary, gradients, kernels

if TYPE_CHECKING:
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch, FloatArray, IntArray

Kernel = Callable[["Arithmetic", "Batch"], "FloatArray"]
QuantityKernel = Callable[["Arithmetic", "Batch"], "FloatArray | IntArray"]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to compute the loss. ``dtype`` is that of the losses where it is not the case's own.

    ``gradient`` is None where nothing that differentiates would compute the loss so.
    """

    name: str
    kernel: Kernel
    gradient: Kernel | None
    formula: str
    soft_labels: bool = True
    dtype: str | None = None
    by_default: bool = True
    binary: bool = False

    def unfit(self, batch: "Batch") -> str | None:
        """Say why the method cannot take a batch, where it cannot."""
        if self.binary != batch.binary:
            return "takes one logit an example" if self.binary else "takes a logit for every class"
        if batch.indices is None and not self.soft_labels:
            return "takes one class an example, not soft labels"
        return None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A printed number that is no loss. ``shape`` names its axes: () a scalar, N examples, C classes."""

    name: str
    kernel: QuantityKernel
    shape: tuple[str, ...]
    dtype: str | None = None
    needs_probabilities: bool = False


METHODS: Final = (
    Method("naive", kernels.naive, gradients.naive, "-Σ y·log p"),
    Method("clipped", kernels.clipped, gradients.clipped, "-Σ y·log(clip(p, low, high))"),
    Method("dense", kernels.dense, gradients.dense, "Σ y·(log Σ exp(x-m) - (x-m))"),
    Method("sparse", kernels.sparse, gradients.dense, "log Σ exp(x-m) - (x[label]-m)", soft_labels=False),
    Method("by_hand", kernels.by_hand, None, "-Σ y·math.log(p), float64", dtype="float64", by_default=False),
    Method(
        "log1p", kernels.log1p, gradients.log1p, "log1p(Σ but the largest) - (x[label]-m)", by_default=False
    ),
    Method(
        "unshifted",
        kernels.unshifted,
        gradients.dense,
        "(m + log Σ exp(x-m)) - x[label]",
        soft_labels=False,
        by_default=False,
    ),
    Method(
        "online",
        kernels.online,
        gradients.online,
        "log d - (x[label]-m), one pass in tiles",
        soft_labels=False,
        by_default=False,
    ),
    Method("guarded", kernels.guarded, gradients.naive, "-Σ where(y > 0, y·log p, 0)", by_default=False),
    Method("textbook", kernels.textbook, gradients.textbook, "-Σ y·log(exp x / Σ exp x)", by_default=False),
    Method("bce_naive", binary.naive, binary.gradient_of_naive, "-(y·log p + (1-y)·log(1-p))", binary=True),
    Method(
        "bce_clipped",
        binary.clipped,
        binary.gradient_of_clipped,
        "the same, p clipped to [low, high]",
        binary=True,
    ),
    Method(
        "bce_clamped",
        binary.clamped,
        binary.gradient_of_clamped,
        "the same, logs clamped at -100",
        binary=True,
    ),
    Method(
        "bce_with_logits",
        binary.with_logits,
        binary.gradient_with_logits,
        "max(x, 0) - x·y + log1p(exp(-|x|))",
        binary=True,
    ),
)

QUANTITIES: Final = (
    Quantity("softmax", kernels.softmax, ("N", "C")),
    Quantity("softmax_sum", kernels.softmax_sum, ()),
    Quantity("softmax_matches", kernels.softmax_matches, (), needs_probabilities=True),
    Quantity("class_indices", kernels.class_indices, ("N",), dtype="int64"),
)

METHOD_NAMES: Final = tuple(method.name for method in METHODS)
GROUPS: Final = {
    "default": tuple(method.name for method in METHODS if method.by_default),
    "all": METHOD_NAMES,
}


def select(names: str) -> tuple[Method, ...]:
    """Return the methods of a list such as ``naive,dense`` or ``all``, in the order of the table.

    Raises XentError for a name that is neither a method nor a group.
    """
    wanted: set[str] = set()
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in METHOD_NAMES and name not in GROUPS:
            known = (*METHOD_NAMES, *GROUPS, *frameworks.NAMES)
            raise XentError(f"unknown method '{name}'" + did_you_mean(name, known))
        wanted.update(GROUPS.get(name, (name,)))
    if not wanted:
        raise XentError(f"no method named; known are {', '.join((*METHOD_NAMES, *GROUPS))}")
    return tuple(method for method in METHODS if method.name in wanted)

"""What a method is: its loss, its gradient, its formula, and what it supports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch

Kernel = Callable[["Arithmetic", "Batch"], "FloatArray"]
QuantityKernel = Callable[["Arithmetic", "Batch"], "FloatArray | IntArray"]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to compute the loss; its row stands under its functions in ``kernels`` or ``binary``.

    ``loss`` takes a batch and returns losses (N, 1) in its dtype, or in ``dtype`` where that is not None.
    ``gradient`` returns d loss / d logits of each example (N, C), without the reduction's factor; None where
    no framework would compute the loss so. Both take every number from the Arithmetic they are given, change
    no input and raise nothing: nan and infinities are results. ``from_probabilities``: the loss is the log of
    a probability that was rounded before. ``most_tiles`` are as many as it reads in seconds.
    """

    name: str
    loss: Kernel
    gradient: Kernel | None
    formula: str
    from_probabilities: bool = False
    soft_labels: bool = True
    dtype: str | None = None
    by_default: bool = False
    binary: bool = False
    most_tiles: int | None = None

    def why_unsupported(self, batch: "Batch") -> str | None:
        """Say why the method does not support a batch; None where it does."""
        tiles = -(-batch.logits.shape[1] // batch.tile)
        if self.most_tiles is not None and tiles > self.most_tiles:
            return f"reads at most {self.most_tiles} tiles, not {tiles}: make tile larger"
        return why_unsupported(batch, binary=self.binary, soft_labels=self.soft_labels)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A printed number that is no loss. ``shape`` names its axes: () a scalar, N examples, C classes."""

    name: str
    kernel: QuantityKernel
    shape: tuple[str, ...]
    summary: str
    dtype: str | None = None
    needs_probabilities: bool = False


def why_unsupported(batch: "Batch", *, binary: bool, soft_labels: bool) -> str | None:
    """Say why a loss does not support a batch: by the logits and the labels it expects."""
    if binary != batch.binary:
        return EXPECTS_ONE_LOGIT if binary else EXPECTS_ROWS
    if batch.indices is None and not (binary or soft_labels):
        return EXPECTS_ONE_CLASS
    return None


EXPECTS_ONE_LOGIT = "expects one logit per example"
EXPECTS_ROWS = "expects one logit per class"
EXPECTS_ONE_CLASS = "expects one class per example, not soft labels"

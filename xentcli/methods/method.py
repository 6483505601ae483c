"""What a method is: its loss, its gradient, its formula, and what it supports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from xentcli.words import Z_LOSS

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch

Kernel = Callable[["Arithmetic", "Batch"], "FloatArray"]
QuantityKernel = Callable[["Arithmetic", "Batch"], "FloatArray | IntArray"]


@dataclass(frozen=True, slots=True)
class Totals:
    """What a mean over parts may divide by: n_k and w_k per part, N and K."""

    n: tuple[Fraction, ...]
    w: tuple[Fraction, ...]
    N: Fraction
    K: int

    @classmethod
    def of(cls, batch: "Batch") -> "Totals":
        """Count those of a batch in parts along the examples, or in copies."""
        if batch.parts is None:
            raise ValueError("a batch that is not in parts; Method.why_unsupported says so")
        w = tuple(map(batch.divisor_of, batch.parts.slices))
        n = tuple(map(Fraction, batch.parts.sizes))
        return cls(n, w, Fraction(len(batch.logits)), batch.parts.number)


@dataclass(frozen=True, slots=True)
class PartsMean:
    """A way to put the losses of parts together: what divides the sum of each part, then that of all."""

    divisors: Callable[[Totals], tuple[Sequence[Fraction], Fraction]]

    def reduce(self, ar: "Arithmetic", batch: "Batch", losses: "FloatArray") -> "FloatArray":
        """Return the mean (1, 1) of losses (N, 1), each sum and division rounded; by 0 it is nan."""
        assert batch.parts is not None  # noqa: S101 - Totals.of raises
        inner, outer = self.divisors(Totals.of(batch))
        pairs = zip(batch.parts.slices, inner, strict=True)
        means = [ar.mean(losses[rows], float(divisor)) for rows, divisor in pairs]
        return ar.mean(ar.stack(*means), float(outer))

    def factors(self, batch: "Batch") -> "list[Fraction | None]":
        """Return what the loss of each example is multiplied by (N,); None where that is 1 / 0."""
        assert batch.parts is not None  # noqa: S101 - Totals.of raises
        inner, outer = self.divisors(Totals.of(batch))
        factors: list[Fraction | None] = [Fraction(0)] * len(batch.logits)
        for rows, divisor in zip(batch.parts.slices, inner, strict=True):
            for row in range(len(batch.logits))[rows]:
                before, product = factors[row], divisor * outer
                factors[row] = before + 1 / product if product and before is not None else None
        return factors


@dataclass(frozen=True, slots=True)
class Method:
    """One way to compute the loss; its row stands under its functions in ``kernels`` or ``binary``.

    ``loss`` takes a batch and returns losses (N, 1) in its dtype, or in ``dtype`` where that is not None.
    ``gradient`` returns d loss / d logits of each example (N, C), without the reduction's factor; None where
    no framework would compute the loss so. Both take every number from the Arithmetic they are given, change
    no input and raise nothing: nan and infinities are results. ``from_probabilities``: the loss is the log of
    a probability that was rounded before. ``most_tiles`` are as many as it reads in seconds. ``parts`` is
    what the parts are along that it needs; ``mean`` its own way from losses to a loss, without it that of
    the case. ``needs`` are the keys of a case without which it is no other method; ``takes`` makes of a batch
    the one that it has in its place, and ``penalty`` is what it adds for a z-loss.
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
    parts: tuple[str, ...] = ()
    mean: PartsMean | None = None
    needs: tuple[str, ...] = ()
    takes: Callable[["Batch"], "Batch"] | None = None
    penalty: Kernel | None = None

    @property
    def described(self) -> Callable[..., Any]:
        """The function whose docstring says what the method does otherwise."""
        own = self.takes or self.penalty or self.loss
        return own if self.mean is None else self.mean.divisors

    def is_for(self, batch: "Batch") -> bool:
        """Whether the method is for batches of this kind: binary ones, those in parts, or the others."""
        if not set(self.needs) <= given(batch):
            return False
        along = () if batch.parts is None else (batch.parts.along,)
        return self.binary == batch.binary and (set(along) <= set(self.parts) if along else not self.parts)

    def why_unsupported(self, batch: "Batch") -> str | None:
        """Say why the method does not support a batch; None where it does."""
        tiles = -(-batch.logits.shape[1] // batch.tile)
        if self.most_tiles is not None and tiles > self.most_tiles:
            return f"reads at most {self.most_tiles} tiles, not {tiles}: make tile larger"
        if lacking := [name for name in self.needs if name not in given(batch)]:
            return f"expects {' and '.join(lacking)}"
        if self.parts and (batch.parts is None or batch.parts.along not in self.parts):
            return f"expects parts along the {' or '.join(self.parts)}"
        return why_unsupported(batch, binary=self.binary, soft_labels=self.soft_labels)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A printed number that is no loss. ``shape`` has its axes: N examples, C classes, K parts; () a scalar.

    ``needs_parts`` is what the parts are along that it needs.
    """

    name: str
    kernel: QuantityKernel
    shape: tuple[str, ...]
    summary: str
    dtype: str | None = None
    needs_probabilities: bool = False
    needs_parts: str | None = None


def given(batch: "Batch") -> set[str]:
    """Name the keys of a case that change logits, labels, or what is added to the loss."""
    holds = {
        Z_LOSS: bool(batch.knobs.z_loss),
        "padding": batch.padding is not None,
        "label_smoothing": bool(batch.weighting.smoothing),
    }
    return {name for name, _ in batch.knobs.steps} | {name for name, is_there in holds.items() if is_there}


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

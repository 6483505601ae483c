"""What is known of examples under one method, and of one reduction: what findings are detected from."""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.model import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, Decimals, FloatArray, IntArray
    from xentcli.model import Batch, Step

_AT_ONCE: Final = 2**15  # numbers of a part


@dataclass(frozen=True, eq=False)
class Evidence:
    """Examples (n,): their inputs, the recorded steps, the outcomes and the truth.

    ``rows`` are their places in the batch. ``gradients`` are the states of their gradients, "" where the
    method has none.
    """

    batch: "Batch"
    rows: "IntArray"
    steps: "tuple[Step, ...]"
    dtype: str
    losses: "FloatArray"
    exact: "Decimals"
    verdicts: "NDArray[np.str_]"
    gradients: "NDArray[np.str_]"

    def at(self, places: "slice | IntArray") -> "Evidence":
        """Return what is known of some examples."""
        return replace(
            self,
            rows=self.rows[places],
            losses=self.losses[places],
            exact=self.exact.at(places),
            verdicts=self.verdicts[places],
            gradients=self.gradients[places],
        )

    def parts(self) -> "Iterator[Evidence]":
        """Cut them into parts whose arrays stay in the cache."""
        number = max(1, _AT_ONCE // self.batch.logits.shape[1])
        return (self.at(slice(start, start + number)) for start in range(0, len(self.rows), number))

    @cached_property
    def logits(self) -> "FloatArray":
        """The examples' logits (n, C), float64."""
        return self.batch.logits[self.rows].astype(np.float64)

    @cached_property
    def targets(self) -> "FloatArray":
        """What the examples' labels count for (n, C), weighted and smoothed, float64."""
        return self.batch.targets[self.rows].astype(np.float64)

    @property
    def weights(self) -> "FloatArray":
        """The sum of each example's targets: 1 for an ordinary example."""
        with np.errstate(over="ignore"):
            return np.asarray(self.targets.sum(axis=1))

    @property
    def infinite(self) -> "BoolArray":
        """Where the logit is +inf, or infinite at all where there is only one."""
        return np.isinf(self.logits) if self.batch.binary else np.isposinf(self.logits)

    @cached_property
    def masked(self) -> "BoolArray":
        """Where the logit is -inf and the class does not count."""
        return np.isneginf(self.logits) & (self.targets == 0) & (not self.batch.binary)

    @property
    def ignored(self) -> "BoolArray":
        """Which examples do not count."""
        return self._marked(self.batch.weighting.ignored)

    @property
    def invalid(self) -> "BoolArray":
        """Which labels are invalid."""
        return self._marked(self.batch.invalid)

    def _marked(self, marks: "BoolArray | None") -> "BoolArray":
        return np.zeros(len(self.rows), bool) if marks is None else marks[self.rows]

    @cached_property
    def is_wrong(self) -> "BoolArray":
        """Which examples have a true loss and another one here."""
        return ~self.has_verdict("accurate", "undefined")

    def has_verdict(self, *words: str) -> "BoolArray":
        """Which examples have one of these verdicts."""
        return reduce(np.logical_or, (self.verdicts == word for word in words))

    def steps_named(self, *operations: Operation) -> "Iterator[Step]":
        """Return the steps of these operations."""
        return (step for step in self.steps if step.operation in operations)

    def operand(self, step: "Step", number: int) -> "FloatArray":
        """Return an operand of a step, (n, …) or a number."""
        return step.operand(number, self.rows)

    def result(self, step: "Step") -> "FloatArray":
        """Return the result of a step, (n, C) or (n, 1)."""
        return np.asarray(step.result[self.rows], np.float64)

    def multiplied_by_nonzero(self, step: "Step") -> "BoolArray":
        """Where a step's result is multiplied by something that is not 0."""
        reached = np.zeros((len(self.rows), step.result.shape[1]), bool)
        for product in self.steps_named(Operation.MULTIPLY):
            for number, name in enumerate(product.inputs):
                if name == step.name:
                    reached |= self.operand(product, 1 - number) != 0
        return reached

    def any_of(self, marks: "Iterable[NDArray[Any]]") -> "BoolArray":
        """Which examples are marked in any place of these arrays (n, …)."""
        found = np.zeros(len(self.rows), bool)
        for each in marks:
            found |= each.any(axis=1)
        return found


@dataclass(frozen=True, slots=True)
class Reduction:
    """The losses of a method and the loss that they were reduced to; what the sum is divided by (0: nothing).

    ``exact`` is the true loss, None where rows were sampled.
    """

    losses: tuple[float, ...]
    loss: float | None
    divisor: Fraction
    dtype: str
    exact: Decimal | None

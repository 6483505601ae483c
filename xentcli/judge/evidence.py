"""What is known of one example under one method, and of one reduction: what findings are detected from."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.model import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xentcli.formats import FloatArray
    from xentcli.model import Batch, Step


@dataclass(frozen=True, eq=False)
class Evidence:
    """One example: its inputs, the recorded steps, the outcome and the truth.

    ``gradient`` is the state of its gradient, None where the method has none.
    """

    batch: "Batch"
    row: int
    steps: "tuple[Step, ...]"
    dtype: str
    loss: float
    exact: Decimal
    verdict: str
    gradient: str | None

    @cached_property
    def logits(self) -> "FloatArray":
        """The example's logits, float64."""
        return self.batch.logits[self.row].astype(np.float64)

    @cached_property
    def targets(self) -> "FloatArray":
        """What the example's labels count for, weighted and smoothed, float64."""
        return self.batch.targets[self.row].astype(np.float64)

    @property
    def weight(self) -> float:
        """The sum of the example's targets: 1 for an ordinary example."""
        with np.errstate(over="ignore"):
            return float(self.targets.sum())

    @property
    def infinite(self) -> "NDArray[Any]":
        """Where the logit is +inf, or infinite at all where there is only one."""
        return np.isinf(self.logits) if self.batch.binary else np.isposinf(self.logits)

    @cached_property
    def masked(self) -> "NDArray[Any]":
        """Where the logit is -inf and the class does not count."""
        return np.isneginf(self.logits) & (self.targets == 0) & (not self.batch.binary)

    def steps_named(self, *operations: Operation) -> "Iterator[Step]":
        """Return the steps of these operations."""
        return (step for step in self.steps if step.operation in operations)

    def multiplied_by_nonzero(self, step: "Step") -> "NDArray[Any]":
        """Where a step's result is multiplied by something that is not 0."""
        reached = np.zeros(step.row(self.row).size, bool)
        for product in self.steps_named(Operation.MULTIPLY):
            for number, name in enumerate(product.inputs):
                if name == step.name:
                    reached |= product.operand(1 - number, self.row) != 0
        return reached


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

"""What is known of one example under one method: the ground that findings stand on."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from xentcli.model import Batch, FloatArray, Step


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One example: its inputs, the recorded steps, the outcome and the truth."""

    batch: "Batch"
    row: int
    steps: "tuple[Step, ...]"
    dtype: str
    loss: float
    exact: Decimal
    verdict: str
    gradient: str | None

    def judged(self, verdict: str) -> "Evidence":
        """Return the same with its verdict."""
        return replace(self, verdict=verdict)

    @property
    def logits(self) -> "FloatArray":
        """The example's logits, float64."""
        return self.batch.logits[self.row].astype(np.float64)

    @property
    def labels(self) -> "FloatArray":
        """The example's labels, float64."""
        return self.batch.labels[self.row].astype(np.float64)

    @property
    def targets(self) -> "FloatArray":
        """The example's labels as they count, weighted and smoothed, float64."""
        return self.batch.targets[self.row].astype(np.float64)

    @property
    def weight(self) -> float:
        """What the example's labels sum to as they count: 1 of an ordinary example."""
        return float(self.targets.sum())

    @property
    def is_ignored(self) -> bool:
        """Whether the example does not count."""
        return self.batch.ignores(self.row)

    @property
    def is_out_of_range(self) -> bool:
        """Whether the example's label is none."""
        return self.batch.is_mislabelled(self.row)

    @property
    def infinite(self) -> "NDArray[Any]":
        """Where the logit is +inf, or infinite at all where there is only one."""
        return np.isinf(self.logits) if self.batch.binary else np.isposinf(self.logits)

    def of(self, *operations: str) -> "Iterator[Step]":
        """Return the steps of these operations."""
        return (step for step in self.steps if step.operation in operations)

    def reaching(self, step: "Step") -> "NDArray[Any]":
        """Where a step's result is multiplied by something that is not 0."""
        reached = np.zeros(step.row(self.row).size, bool)
        for product in self.of("multiply"):
            for number, operand in enumerate(product.operands):
                if operand is step.result:
                    reached |= product.operand(1 - number, self.row) != 0
        return reached

    @property
    def masked(self) -> "NDArray[Any]":
        """Where the logit is -inf and the class does not count."""
        return np.isneginf(self.logits) & (self.targets == 0) & (not self.batch.binary)

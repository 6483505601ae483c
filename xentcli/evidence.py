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

    def of(self, *operations: str) -> "Iterator[Step]":
        """Return the steps of these operations."""
        return (step for step in self.steps if step.operation in operations)

    @property
    def masked(self) -> "NDArray[Any]":
        """Where the logit is -inf and the label 0."""
        return np.isneginf(self.logits) & (self.labels == 0)

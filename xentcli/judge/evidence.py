"""What is known of examples under one method, and of one reduction: what findings are detected from."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.model import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, Decimals, FloatArray, IntArray
    from xentcli.model import Batch, Step

    Question = Callable[["Examples"], BoolArray]

_AT_ONCE: Final = 2**15  # numbers of a part


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples (n,), whatever the method: their inputs and the true losses.

    ``rows`` are their places in the batch, in ascending order.
    """

    batch: "Batch"
    rows: "IntArray"
    exact: "Decimals"

    def at(self, places: "slice | IntArray") -> "Examples":
        """Return some of the examples."""
        return Examples(self.batch, self.rows[places], self.exact.at(places))

    @cached_property
    def parts(self) -> "tuple[tuple[slice, Examples], ...]":
        """The examples cut into parts whose arrays stay in the cache, each with its place."""
        number = max(1, _AT_ONCE // self.batch.logits.shape[1])
        if len(self.rows) <= number:
            return ((slice(None), self),)
        places = (slice(start, start + number) for start in range(0, len(self.rows), number))
        return tuple((place, self.at(place)) for place in places)

    @cached_property
    def place(self) -> "slice | IntArray":
        """The rows as an index: a slice where they stand together, so that nothing is copied."""
        first, last = self.rows[0], self.rows[-1]
        return slice(first, last + 1) if last - first == len(self.rows) - 1 else self.rows

    @cached_property
    def logits(self) -> "FloatArray":
        """The examples' logits (n, C), float64."""
        return self.batch.logits[self.place].astype(np.float64)

    @cached_property
    def targets(self) -> "FloatArray":
        """What the examples' labels count for (n, C), weighted and smoothed, float64."""
        return self.batch.targets[self.place].astype(np.float64)

    @cached_property
    def weights(self) -> "FloatArray":
        """The sum of each example's targets: 1 for an ordinary example."""
        return np.asarray(self.targets.sum(axis=1))

    @cached_property
    def has_nan(self) -> "BoolArray":
        """Which examples have a logit that is nan."""
        return np.asarray(np.isnan(self.logits).any(axis=1))

    @cached_property
    def has_finite(self) -> "BoolArray":
        """Which examples have a finite logit."""
        return np.asarray(np.isfinite(self.logits).any(axis=1))

    @cached_property
    def has_infinite(self) -> "BoolArray":
        """Which examples have a logit of +inf, or an infinite one at all where there is only one."""
        is_infinite = np.isinf if self.batch.binary else np.isposinf
        return np.asarray(is_infinite(self.logits).any(axis=1))

    @cached_property
    def masked(self) -> "BoolArray":
        """Where the logit is -inf and the class does not count."""
        return np.isneginf(self.logits) & (self.targets == 0) & (not self.batch.binary)

    @cached_property
    def ignored(self) -> "BoolArray":
        """Which examples do not count."""
        return self._marked(self.batch.weighting.ignored)

    @cached_property
    def invalid(self) -> "BoolArray":
        """Which labels are invalid."""
        return self._marked(self.batch.invalid)

    def _marked(self, marks: "BoolArray | None") -> "BoolArray":
        return np.zeros(len(self.rows), bool) if marks is None else marks[self.place]

    @cached_property
    def _answers(self) -> "dict[Question, BoolArray]":
        return {}

    def answer(self, question: "Question") -> "BoolArray":
        """Return what a predicate of the examples alone says; it is asked once."""
        if question not in self._answers:
            self._answers[question] = question(self)
        return self._answers[question]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Examples (n,) under one method: the recorded steps and the outcomes.

    ``gradients`` are the states of their gradients, "" where the method has none.
    """

    examples: Examples
    steps: "tuple[Step, ...]"
    dtype: str
    losses: "FloatArray"
    verdicts: "NDArray[np.str_]"
    gradients: "NDArray[np.str_]"

    def at(self, places: "IntArray") -> "Evidence":
        """Return what is known of some examples."""
        if len(places) == len(self.losses):
            return self
        numbers = self.losses[places], self.verdicts[places], self.gradients[places]
        return Evidence(self.examples.at(places), self.steps, self.dtype, *numbers)

    @cached_property
    def is_nan(self) -> "BoolArray":
        """Which losses are nan."""
        return np.isnan(self.losses)

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
        return step.operand(number, self.examples.place)

    def result(self, step: "Step") -> "FloatArray":
        """Return the result of a step, (n, C) or (n, 1)."""
        return np.asarray(step.result[self.examples.place], np.float64)

    def multiplied_by_nonzero(self, step: "Step") -> "BoolArray":
        """Where a step's result is multiplied by something that is not 0."""
        reached = np.zeros((len(self.losses), step.result.shape[1]), bool)
        for product in self.steps_named(Operation.MULTIPLY):
            for number, name in enumerate(product.inputs):
                if name == step.name:
                    reached |= self.operand(product, 1 - number) != 0
        return reached

    def any_of(self, marks: "Iterable[NDArray[Any]]") -> "BoolArray":
        """Which examples are marked in any place of these arrays (n, …)."""
        found = np.zeros(len(self.losses), bool)
        for each in marks:
            found |= np.logical_or.reduce(each, axis=1)
        return found


@dataclass(frozen=True, slots=True)
class Reduction:
    """The losses of a method and the loss that they were reduced to; what the sum is divided by (0: nothing).

    ``exact`` is the true loss, None where rows were sampled. ``batch`` is what the losses are of.
    """

    losses: tuple[float, ...]
    loss: float | None
    divisor: Fraction
    dtype: str
    exact: Decimal | None
    batch: "Batch"

"""The values that travel the pipeline: Case → Outcome → Result."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.floating[Any]]
    IntArray = NDArray[np.integer[Any]]

Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a kernel reads; every array is read-only and in the dtype of the case.

    ``logits`` (N, C); ``labels`` (N, C) probabilities, one-hot where the case gives indices; ``indices``
    (N,) or None where a label row is not one-hot; ``probabilities`` (N, C) or None; ``clip`` two bounds.
    """

    logits: "FloatArray"
    labels: "FloatArray"
    indices: "IntArray | None"
    probabilities: "FloatArray | None"
    clip: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Expectation:
    """Numbers that the source printed for one quantity (a method's losses or loss, the softmax, …).

    ``texts`` are the numbers as written, flattened; ``shape`` is () for a scalar, (N,) or (N, C).
    """

    quantity: str
    texts: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One experiment, checked and ready to run. ``overridden`` names what the command line changed."""

    name: str
    path: str
    title: str
    source: str | None
    dtype: str
    arithmetic: str
    reduction: str
    batch: Batch
    expectations: tuple[Expectation, ...]
    overridden: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one method returned for one case; nothing is judged yet.

    ``losses`` (N,) and ``loss`` hold numbers of ``dtype`` exactly; ``loss`` is None under reduction none.
    ``inapplicable`` says why the method cannot take this case; there are no numbers then.
    """

    method: str
    dtype: str
    losses: Floats
    loss: float | None
    inapplicable: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What a quantity that is no loss came out as, flattened (the softmax, its sum, …)."""

    quantity: str
    dtype: str
    values: Floats


@dataclass(frozen=True, slots=True)
class Check:
    """An expectation beside what came out: number by number, whether it was reproduced."""

    expectation: Expectation
    dtype: str
    got: Floats
    hits: tuple[bool, ...]

    @property
    def reproduced(self) -> bool:
        """Whether every number was."""
        return all(self.hits)


@dataclass(frozen=True, slots=True)
class Result:
    """One case with all its outcomes and checks."""

    case: Case
    outcomes: tuple[Outcome, ...]
    checks: tuple[Check, ...]

    @property
    def numbers(self) -> int:
        """How many single numbers were expected of what was run."""
        return sum(len(check.hits) for check in self.checks)

    @property
    def reproduced(self) -> int:
        """How many of them came out."""
        return sum(sum(check.hits) for check in self.checks)

    @property
    def as_expected(self) -> bool:
        """Whether the case decides for exit code 0: an overridden case always does."""
        return bool(self.case.overridden) or self.reproduced == self.numbers

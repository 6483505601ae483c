"""The values that travel the pipeline: Case → Outcome → Result."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
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
    accumulate: str | None
    reduction: str
    batch: Batch
    expectations: tuple[Expectation, ...]
    overridden: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operation: its word and formula, the operands as arrays, the result (N, C) or (N, 1)."""

    operation: str
    name: str
    formula: str
    operands: tuple[Any, ...]
    result: "FloatArray"

    def operand(self, number: int, row: int) -> "FloatArray":
        """Return an operand's row as float64, as wide as the result's (a sum's own width for a sum)."""
        values = np.asarray(self.operands[number])
        chosen = values if values.ndim == 0 else values[row]
        return np.asarray(chosen, np.float64)

    def row(self, row: int) -> "FloatArray":
        """Return the result's row as float64."""
        return np.asarray(self.result[row], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one method returned for one case; nothing is judged yet.

    ``losses`` (N,) and ``loss`` hold numbers of ``dtype`` exactly; ``loss`` is None under reduction none.
    ``gradient`` holds d loss / d logits of each example, (N, C), or is None where the method has none.
    ``steps`` is how the losses came about. ``inapplicable`` says why the method cannot take this case; there
    are no numbers then.
    """

    method: str
    dtype: str
    losses: Floats
    loss: float | None
    gradient: "FloatArray | None"
    steps: tuple[Step, ...]
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
class Exact:
    """True values, accurate far beyond the format that they were found for.

    ``rows`` names the examples evaluated, ``losses`` and ``gradients`` (d loss / d logits of each example) go
    with them. ``loss`` is None under reduction none and where rows were sampled. nan: no true value exists.
    """

    rows: tuple[int, ...]
    losses: tuple[Decimal, ...]
    gradients: tuple[tuple[Decimal, ...], ...]
    loss: Decimal | None


@dataclass(frozen=True, slots=True)
class Gradient:
    """How a method's gradient stands to the true one.

    ``state`` is the worst of ``states``, one an example evaluated: nan, wrong (off by more than 1 % of the
    largest true entry), dead (all 0 while the truth is not), undefined, alive, or zero (rightly). ``error``
    is the largest of those ratios, None where there is a nan; ``residual`` the largest |sum over classes|.
    """

    state: str
    states: tuple[str, ...]
    error: float | None
    residual: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome held against the truth; ``verdicts`` and ``findings`` go with the examples evaluated.

    ``ulps`` and ``verdict`` are those of the loss, or of the worst example where there is no one loss;
    ``of_reduction`` names what was found between the losses and the loss.
    """

    ulps: Decimal | None
    verdict: str
    verdicts: tuple[str, ...]
    gradient: Gradient | None
    findings: tuple[tuple[str, ...], ...]
    of_reduction: tuple[str, ...]

    @property
    def all_findings(self) -> tuple[str, ...]:
        """Every finding of any example, once, in the order of the catalogue."""
        return tuple(dict.fromkeys(name for names in (*self.findings, self.of_reduction) for name in names))


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One case with its truth, its outcomes, their judgements (None where inapplicable) and the checks."""

    case: Case
    exact: Exact
    outcomes: tuple[Outcome, ...]
    judgements: tuple[Judgement | None, ...]
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

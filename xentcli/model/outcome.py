"""What methods return for a case, step by step, and how that stands to the truth."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.formats import Decimals
from xentcli.model.case import Expectation

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

Floats = tuple[float, ...]


class Operation(Enum):
    """What an Arithmetic can do: its method, what the result is called, how the operation is written."""

    ROW_MAX = "row_max", "maximum", "max {0}"
    MAXIMUM = "maximum", "larger", "larger of {0}, {1}"
    ADD = "add", "total", "{0} + {1}"
    SUBTRACT = "subtract", "difference", "{0} - {1}"
    MULTIPLY = "multiply", "product", "{0} × {1}"
    DIVIDE = "divide", "quotient", "{0} / {1}"
    NEGATIVE = "negative", "negated", "-{0}"
    CLIP = "clip", "clipped", "clip({0}, {1}, {2})"
    EXP = "exp", "exp", "exp({0})"
    EXP_IN_ROWS = "exp_in_rows", "exp", "exp({0})"
    LOG = "log", "log", "log({0})"
    LOG_SCALAR = "log_scalar", "log", "log({0})"
    LOG1P = "log1p", "log1p", "log1p({0})"
    ABSOLUTE = "absolute", "magnitude", "|{0}|"
    ONE_PLUS = "one_plus", "sum", "1 + {0}"
    ONE_MINUS = "one_minus", "complement", "1 - {0}"
    RECIPROCAL = "reciprocal", "reciprocal", "1 / {0}"
    SCALE = "scale", "scaled", "{1} × {0}"
    SUM = "sum", "sum", "Σ {0}"
    SUM_LOSSES = "sum_losses", "reduction", "sum {0}"
    MEAN = "mean", "reduction", "mean {0}"
    FINITE_OR_ZERO = "finite_or_zero", "finite", "{0}, or 0"
    PICK = "pick", "picked", "{0}[label]"
    WHERE = "where", "kept", "{1} where it counts"
    WHERE_INSIDE = "where_inside", "inside", "{1} where {0} is inside the clip"
    ZERO_CLASS = "zero_class", "rest", "{0} but the largest"
    TANH = "tanh", "tanh", "tanh({0})"
    OVER = "over", "quotient", "{0} / {1}"
    FINAL = "final", "final logits", "{0}"
    STACK = "stack", "means", "one mean per part"
    WIDEN = "widen", "float64", "float64({0})"

    def notation(self, operands: tuple[Any, ...]) -> tuple[str, str]:
        """Return what the result is called and how the operation is written; a clip may have one bound."""
        has_one_bound = self is Operation.CLIP and len(operands) == 2  # noqa: PLR2004 - an array, a bound
        return ("clamped", "max({0}, {1})") if has_one_bound else self.value[1:]


LOGARITHMS = frozenset({Operation.LOG, Operation.LOG_SCALAR})
EXPONENTIALS = frozenset({Operation.EXP, Operation.EXP_IN_ROWS})
# Of the losses of several examples, whose results belong to all of them.
LOSS_REDUCTIONS = frozenset({Operation.MEAN, Operation.SUM_LOSSES, Operation.STACK})


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operation: its name and formula, the operands with their names, the result (N, C) or (N, 1).

    ``inputs`` names each operand: an earlier step or an array of the batch; None: a bound, an index, a start.
    """

    operation: Operation
    name: str
    formula: str
    operands: tuple[Any, ...]
    inputs: tuple[str | None, ...]
    result: "FloatArray"

    def operand(self, number: int, row: "int | slice | IntArray") -> "FloatArray":
        """Return an operand's row, or rows, as float64, as wide as the result's (a sum's own for a sum)."""
        values = np.asarray(self.operands[number])
        return np.asarray(values if values.ndim == 0 else values[row], np.float64)

    def row(self, row: int) -> "FloatArray":
        """Return the result's row as float64; what is reduced belongs to every example."""
        if self.operation in LOSS_REDUCTIONS:
            return np.asarray(self.result.ravel(), np.float64)
        return np.asarray(self.result[row if len(self.result) > row else 0], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one method returned for one case; nothing is judged yet.

    ``losses`` (N,) and ``loss`` hold numbers of ``dtype`` exactly; ``loss`` is None under reduction none.
    ``gradient`` holds d loss / d logits of each example, (N, C), or is None where the method has none.
    ``steps`` is how the losses came about. ``inapplicable`` says why the method does not support the case and
    ``raised`` what a framework raised on it; there are no numbers then. ``version`` is that of a framework.
    """

    method: str
    dtype: str
    losses: Floats
    loss: float | None
    gradient: "FloatArray | None"
    steps: tuple[Step, ...]
    inapplicable: str | None = None
    version: str | None = None
    raised: str | None = None

    @property
    def failure(self) -> str | None:
        """Why there are no numbers, where there are none."""
        return self.inapplicable or self.raised


@dataclass(frozen=True, slots=True)
class Observation:
    """A computed quantity that is no loss, flattened (the softmax, its sum, …)."""

    quantity: str
    dtype: str
    values: Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """An expectation beside the numbers computed; ``hits`` says of each number whether it was reproduced."""

    expectation: Expectation
    dtype: str
    values: Floats
    hits: tuple[bool, ...]

    @property
    def reproduced(self) -> bool:
        """Whether every number was."""
        return all(self.hits)


@dataclass(frozen=True, eq=False)
class Exact:
    """True values of a batch.

    ``rows`` names the examples evaluated. ``losses``, per example evaluated, and ``loss`` round correctly to
    every format, as is proved for each; ``gradients`` are d loss / d logits of each example, (C,), rounded to
    one. ``loss`` is None under reduction none and where rows were sampled. nan: there is no true value.
    """

    rows: tuple[int, ...]
    losses: tuple[Decimal, ...]
    gradients: "tuple[FloatArray, ...]"
    loss: Decimal | None

    @cached_property
    def numbers(self) -> Decimals:
        """The losses as arrays, and after them the loss: nan where there is none."""
        return Decimals.of((*self.losses, Decimal("nan") if self.loss is None else self.loss))


@dataclass(frozen=True, slots=True)
class GradientJudgement:
    """A method's gradient beside the true one.

    ``state`` is the worst of ``states``, one per example evaluated: nan, wrong (off by more than 1 % of the
    largest true entry), dead (all 0 while the truth is not), undefined, alive, or zero (rightly). ``error``
    is the largest of those ratios, None where there is a nan; ``residual`` the largest |sum over classes|,
    None for a binary batch.
    """

    state: str
    states: tuple[str, ...]
    error: float | None
    residual: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome beside the truth; ``verdicts`` and ``findings`` per example evaluated.

    ``ulps`` and ``verdict`` are those of the loss, or of the worst example where there is no one loss;
    ``reduction_findings`` are those between the losses and the loss. ``ratio`` is what the loss is to the
    true one where it was divided by another number, None where that is not one number for all losses.
    """

    ulps: Decimal | None
    verdict: str
    verdicts: tuple[str, ...]
    gradient: GradientJudgement | None
    findings: tuple[tuple[str, ...], ...]
    reduction_findings: tuple[str, ...]
    ratio: Fraction | None = None

    @property
    def has_wrong_gradient(self) -> bool:
        """Whether the gradient is nan, wrong or dead where there is a true one."""
        return self.gradient is not None and self.gradient.state in {"nan", "wrong", "dead"}

    @property
    def is_right(self) -> bool:
        """Whether the loss is accurate and its gradient, where the method has one, is not wrong."""
        return self.verdict == "accurate" and not self.has_wrong_gradient

    @property
    def is_right_in_part(self) -> bool:
        """Whether the loss is accurate although the loss of an example is not."""
        return self.verdict == "accurate" and any(v not in {"accurate", "undefined"} for v in self.verdicts)

    @property
    def all_findings(self) -> tuple[str, ...]:
        """Every finding of any example, once."""
        names = (name for findings in (*self.findings, self.reduction_findings) for name in findings)
        return tuple(dict.fromkeys(names))

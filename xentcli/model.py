"""The values that travel the pipeline: Case → Outcome → Result."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.formats import Decimals, read_only, stored
from xentcli.words import DTYPES

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, IntArray

Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a case comes from; ``date`` as the source gives it: 2018-09-17, 2018-09 or 2018."""

    url: str
    title: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class AffectedVersions:
    """Which versions of a library show the failure, and whether it is open, intended or fixed there."""

    library: str
    versions: str
    state: str


@dataclass(frozen=True, slots=True)
class LibraryOutput:
    """What a version of a library printed, as text, and the call that did."""

    library: str
    version: str
    call: str
    text: str


@dataclass(frozen=True, slots=True)
class About:
    """What a case says about itself that changes no number."""

    title: str
    sources: tuple[Reference, ...] = ()
    affects: tuple[AffectedVersions, ...] = ()
    prints: tuple[LibraryOutput, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Weighting:
    """How labels count, as torch.nn.functional.cross_entropy takes it.

    ``class_weights`` (C,) in the dtype of the batch; ``smoothing`` ε from 0 to 1; ``ignored`` (N,) marks the
    examples labelled ``ignore_index``. None: the case does not say.
    """

    class_weights: "FloatArray | None" = None
    smoothing: float = 0.0
    ignored: "BoolArray | None" = None
    ignore_index: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether every label counts as it is."""
        return self.class_weights is None and not self.smoothing and self.ignored is None


@dataclass(frozen=True, eq=False)
class Batch:
    """What a kernel reads; every array is read-only and in the dtype of the case.

    ``logits`` (N, C); ``labels`` (N, C) probabilities, one-hot where the case gives indices, zeros for an
    ignored or invalid label; ``indices`` (N,) the class that a kernel picks, None where a label row is not
    one-hot; ``class_labels`` (N,) the labels as the case states them; ``label_rows``: the case gives rows.
    ``probabilities`` (N, C) or None; ``clip`` two bounds; ``tile`` the classes of a tile; ``invalid`` (N,)
    marks invalid labels, None: there are none. A ``binary`` batch has one logit and one label per example:
    C = 1.
    """

    logits: "FloatArray"
    labels: "FloatArray"
    indices: "IntArray | None"
    class_labels: "IntArray | None"
    probabilities: "FloatArray | None"
    clip: tuple[float, float]
    tile: int
    weighting: Weighting
    label_rows: bool
    binary: bool
    invalid: "BoolArray | None"

    @cached_property
    @np.errstate(all="ignore")
    def targets(self) -> "FloatArray":
        """What the labels count for (N, C): w_j ((1 - ε) y_j + ε / C), and 0 in an ignored row.

        Source: PyTorch 2.13, ``cross_entropy_loss_label_smoothing`` in ``aten/src/ATen/native/LossNLL.cpp``.
        """
        weighting = self.weighting
        if weighting.class_weights is None and not weighting.smoothing:
            return self.labels
        smooth = weighting.smoothing
        mixed = (1 - smooth) * self.labels.astype(np.float64) + smooth / self.labels.shape[1]
        if weighting.class_weights is not None:
            mixed = weighting.class_weights.astype(np.float64) * mixed
        if weighting.ignored is not None:
            mixed = np.where(weighting.ignored[:, None], 0.0, mixed)
        return read_only(stored(mixed, str(self.labels.dtype)))

    @cached_property
    def class_weights(self) -> "FloatArray | None":
        """The class weights, repeated for every example: (N, C)."""
        weights = self.weighting.class_weights
        return None if weights is None else np.broadcast_to(weights, self.logits.shape)

    @cached_property
    def label_weights(self) -> "FloatArray | None":
        """The class weight of each example's label, (N, 1)."""
        if self.class_weights is None or self.indices is None:
            return None
        indices = (self.indices % self.logits.shape[1])[:, None]
        return read_only(np.take_along_axis(self.class_weights, indices, axis=1))

    @cached_property
    def divisor(self) -> Fraction:
        """What a mean divides by: the weights of the labels that count; N where labels are given as rows."""
        if self.label_rows or self.label_weights is None:
            ignored = None if self.label_rows else self.weighting.ignored
            return Fraction(len(self.logits) - (0 if ignored is None else int(ignored.sum())))
        weights = self.label_weights[:, 0].astype(np.float64)
        if self.weighting.ignored is not None:
            weights = weights[~self.weighting.ignored]
        return sum(map(Fraction, weights.tolist()), Fraction(0))

    @property
    def sizes(self) -> tuple[int, ...]:
        """(N, C), or (N,) of a binary batch."""
        return self.logits.shape[: 1 if self.binary else 2]

    def is_ignored(self, row: int) -> bool:
        """Whether an example does not count."""
        return self.weighting.ignored is not None and bool(self.weighting.ignored[row])

    def is_invalid(self, row: int) -> bool:
        """Whether the label is invalid: not a class index, or outside [0, 1] in a binary batch."""
        return self.invalid is not None and bool(self.invalid[row])


@dataclass(frozen=True, slots=True)
class Expectation:
    """Numbers that the source printed for one quantity (a method's losses or loss, the softmax, …).

    ``texts`` are the numbers as written, flattened; ``shape`` is () for a scalar, (N,) or (N, C). ``derived``
    says that they follow from the definition instead.
    """

    quantity: str
    texts: tuple[str, ...]
    shape: tuple[int, ...]
    derived: bool = False


@dataclass(frozen=True, slots=True)
class Numerics:
    """How numbers are carried out: everything is rounded to ``dtype``, see ``methods.arithmetic.get``."""

    dtype: str
    arithmetic: str
    accumulate: str | None = None
    sequential: bool = False
    flush_subnormals: bool = False

    @property
    def loss_dtype(self) -> str:
        """The dtype of the losses: the wider of the dtype and what sums are carried in."""
        return max(self.dtype, self.accumulate or self.dtype, key=DTYPES.index)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One experiment, checked and ready to run. ``overridden`` names what the command line changed."""

    name: str
    path: str
    about: About = field(repr=False)
    numerics: Numerics
    reduction: str
    batch: Batch = field(repr=False)
    expectations: tuple[Expectation, ...] = field(repr=False)
    overridden: tuple[str, ...]

    @property
    def title(self) -> str:
        """One line that says what the case shows."""
        return self.about.title

    @property
    def dtype(self) -> str:
        """The format that inputs are stored in."""
        return self.numerics.dtype


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
    WIDEN = "widen", "float64", "float64({0})"

    def notation(self, operands: tuple[Any, ...]) -> tuple[str, str]:
        """Return what the result is called and how the operation is written; a clip may have one bound."""
        has_one_bound = self is Operation.CLIP and len(operands) == 2  # noqa: PLR2004 - an array, a bound
        return ("clamped", "max({0}, {1})") if has_one_bound else self.value[1:]


LOGARITHMS = frozenset({Operation.LOG, Operation.LOG_SCALAR})
EXPONENTIALS = frozenset({Operation.EXP, Operation.EXP_IN_ROWS})
LOSS_REDUCTIONS = frozenset({Operation.MEAN, Operation.SUM_LOSSES})


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
        """Return the result's row as float64; the reduced loss belongs to every example."""
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
    ``reduction_findings`` are those between the losses and the loss.
    """

    ulps: Decimal | None
    verdict: str
    verdicts: tuple[str, ...]
    gradient: GradientJudgement | None
    findings: tuple[tuple[str, ...], ...]
    reduction_findings: tuple[str, ...]

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

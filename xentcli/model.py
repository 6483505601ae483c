"""The values that travel the pipeline: Case → Outcome → Result."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.about import About
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.floating[Any]]
    IntArray = NDArray[np.integer[Any]]
    BoolArray = NDArray[np.bool_]

Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Weighting:
    """What is made of the labels before they count, as torch.nn.functional.cross_entropy defines it.

    ``targets`` (N, C) is w_c ((1 - ε) y_c + ε / C), and 0 in an ignored row; ``weights`` (N, C) is a row of
    class weights for every example, ``own`` (N, 1) that of its class; ``ignored`` (N, 1). None: not given.
    ``divisor`` is what a mean divides by: the weights of the classes that count, or for soft labels N.

    Source: PyTorch 2.13, ``cross_entropy_loss_label_smoothing`` in ``aten/src/ATen/native/LossNLL.cpp``.
    """

    targets: "FloatArray"
    weights: "FloatArray | None"
    own: "FloatArray | None"
    smoothing: float
    ignored: "BoolArray | None"
    divisor: float
    ignore_index: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a kernel reads; every array is read-only and in the dtype of the case.

    ``logits`` (N, C); ``labels`` (N, C) probabilities, one-hot where the case gives indices; ``indices``
    (N,) or None where a label row is not one-hot; ``probabilities`` (N, C) or None; ``clip`` two bounds;
    ``tile`` the classes of a tile; ``weighting`` or None where every label counts as it is. A label that is
    out of range has a row of zeros. A ``binary`` batch has one logit and label an example: C = 1.
    """

    logits: "FloatArray"
    labels: "FloatArray"
    indices: "IntArray | None"
    probabilities: "FloatArray | None"
    clip: tuple[float, float]
    tile: int = 4
    weighting: Weighting | None = None
    binary: bool = False
    out_of_range: "BoolArray | None" = None

    @property
    def targets(self) -> "FloatArray":
        """The labels, weighted and smoothed, 0 in ignored rows."""
        return self.labels if self.weighting is None else self.weighting.targets

    @property
    def class_labels(self) -> "IntArray | None":
        """The class indices (N,) as a library is given them: an ignored one is -100, none is wrapped."""
        if self.indices is None:
            return None
        given, classes = self.indices, self.logits.shape[1]
        if self.out_of_range is not None:
            given = np.where(self.out_of_range & (given >= 0) & (given < classes), given - classes, given)
        ignored = None if self.weighting is None else self.weighting.ignored
        return given if ignored is None else np.where(ignored[:, 0], IGNORE_INDEX, given)

    def ignores(self, row: int) -> bool:
        """Whether an example does not count."""
        ignored = None if self.weighting is None else self.weighting.ignored
        return ignored is not None and bool(ignored[row])

    def is_mislabelled(self, row: int) -> bool:
        """Whether an example's label is none."""
        return self.out_of_range is not None and bool(self.out_of_range[row])


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
    """How the numbers are carried out: everything is rounded to ``dtype``, see ``arithmetic.get``."""

    dtype: str
    arithmetic: str
    accumulate: str | None = None
    in_order: bool = False
    flush_subnormals: bool = False

    @property
    def of_losses(self) -> str:
        """The dtype of the losses: the wider of the dtype and what sums are carried in."""
        widest = ("float16", "bfloat16", "float32", "float64")
        return max(self.dtype, self.accumulate or self.dtype, key=widest.index)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One experiment, checked and ready to run. ``overridden`` names what the command line changed."""

    name: str
    path: str
    about: About
    numerics: Numerics
    reduction: str
    batch: Batch
    expectations: tuple[Expectation, ...]
    overridden: tuple[str, ...]

    @property
    def title(self) -> str:
        """One line that says what the case shows."""
        return self.about.title

    @property
    def dtype(self) -> str:
        """The format that inputs are stored in."""
        return self.numerics.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C), or (N,) of a binary case."""
        return self.batch.logits.shape[: 1 if self.batch.binary else 2]


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
    ``steps`` is how the losses came about. ``inapplicable`` says why the method cannot take this case and
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
    def missing(self) -> str | None:
        """Why there are no numbers, where there are none."""
        return self.inapplicable or self.raised


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


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """True values, accurate far beyond the format that they were found for.

    ``rows`` names the examples evaluated, ``losses`` and ``gradients`` (d loss / d logits of each example,
    (C,), rounded to the format) go with them. ``loss`` is None under reduction none and where rows were
    sampled. nan: no true value exists.
    """

    rows: tuple[int, ...]
    losses: tuple[Decimal, ...]
    gradients: "tuple[FloatArray, ...]"
    loss: Decimal | None


@dataclass(frozen=True, slots=True)
class Gradient:
    """How a method's gradient stands to the true one.

    ``state`` is the worst of ``states``, one an example evaluated: nan, wrong (off by more than 1 % of the
    largest true entry), dead (all 0 while the truth is not), undefined, alive, or zero (rightly). ``error``
    is the largest of those ratios, None where there is a nan; ``residual`` the largest |sum over classes|,
    None of a binary batch.
    """

    state: str
    states: tuple[str, ...]
    error: float | None
    residual: float | None


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

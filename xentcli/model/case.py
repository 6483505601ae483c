"""A case: what a kernel reads, where it comes from, what its source printed."""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xentcli.formats import read_only, stored
from xentcli.words import COPIES, DTYPES, SMOOTHINGS, SWAPPED

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, IntArray


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

    ``class_weights`` (C,) in the dtype of the batch; ``smoothing`` ε from 0 to 1, spread over what ``over``
    says; ``ignored`` (N,) marks the examples labelled ``ignore_index``. None: the case does not say.
    """

    class_weights: "FloatArray | None" = None
    smoothing: float = 0.0
    ignored: "BoolArray | None" = None
    ignore_index: int | None = None
    over: str = SMOOTHINGS[0]

    def mix(self, classes: int) -> tuple[Fraction, Fraction]:
        """Return a and b of what a label y counts for before its weight, a y + b.

        Over all classes a = 1 - ε and b = ε / C, as in PyTorch; over the others, as in Megatron-LM, the label
        keeps 1 - ε, each other class has ε / (C - 1), and one class alone loses nothing. A mistake (SWAPPED)
        has b = (1 - ε) / C.
        """
        smoothing = Fraction(self.smoothing)
        if self.over == SWAPPED:
            return 1 - smoothing, (1 - smoothing) / classes
        if self.over == SMOOTHINGS[0]:
            return 1 - smoothing, smoothing / classes
        each = smoothing / (classes - 1) if classes > 1 else Fraction(0)
        return 1 - (smoothing if classes > 1 else 0) - each, each

    @property
    def is_plain(self) -> bool:
        """Whether every label counts as it is."""
        return self.class_weights is None and not self.smoothing and self.ignored is None


@dataclass(frozen=True, slots=True)
class Knobs:
    """What is done to logits before the loss, and what is added to it.

    ``steps`` are those of ``methods.steps`` that are taken, by name, each with its number, in their order.
    ``z_loss`` times the squared log-sum-exp of what comes of them is added to the loss of each example that
    counts.
    """

    steps: tuple[tuple[str, float], ...] = ()
    z_loss: float = 0.0

    def value(self, name: str) -> float | None:
        """Return the number of a step, None where it is not taken."""
        return dict(self.steps).get(name)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done, and nothing added."""
        return not self.steps and not self.z_loss


@dataclass(frozen=True, slots=True)
class Parts:
    """How a batch is divided: ``along`` the examples, the classes, or in copies of the whole.

    Parts of the examples are micro-batches, chunks or data-parallel ranks, parts of the classes the shards of
    a vocabulary; ranks that hold the same batch are copies. ``sizes`` are their numbers of examples or
    classes, in order; of each copy that of the examples.
    """

    along: str
    sizes: tuple[int, ...]

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.sizes)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each part lies in the batch; each copy is all of it."""
        if self.along == COPIES:
            return (slice(None),) * self.number
        ends = np.cumsum(self.sizes).tolist()
        return tuple(slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True))


@dataclass(frozen=True, eq=False)
class Batch:
    """What a kernel reads; every array is read-only and in the dtype of the case.

    ``logits`` (N, C); ``labels`` (N, C) probabilities, one-hot where the case gives indices, zeros for an
    ignored or invalid label; ``indices`` (N,) the class that a kernel picks, None where a label row is not
    one-hot; ``class_labels`` (N,) the labels as the case states them; ``label_rows``: the case gives rows.
    ``probabilities`` (N, C) or None; ``clip`` two bounds; ``tile`` the classes of a tile; ``invalid`` (N,)
    marks invalid labels, None: there are none. A ``binary`` batch has one logit and one label per example:
    C = 1. ``parts`` is how it is divided, None: it is not. ``knobs`` are what is done to the logits first;
    ``padding`` (N, P) the logits of classes that do not exist, which are no part of ``logits``.
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
    parts: Parts | None = None
    knobs: Knobs = Knobs()
    padding: "FloatArray | None" = None

    @cached_property
    @np.errstate(all="ignore")
    def targets(self) -> "FloatArray":
        """What the labels count for (N, C): w_j (a y_j + b) as ``Weighting.mix`` says; 0 in an ignored row.

        Source: PyTorch 2.13, ``cross_entropy_loss_label_smoothing`` in ``aten/src/ATen/native/LossNLL.cpp``.
        """
        weighting = self.weighting
        if weighting.class_weights is None and not weighting.smoothing:
            return self.labels
        own, each = map(float, weighting.mix(self.labels.shape[1]))
        mixed = own * self.labels.astype(np.float64) + each
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
        return self.divisor_of(slice(None))

    def divisor_of(self, rows: slice) -> Fraction:
        """Return what the mean of some examples divides by."""
        ignored = None if self.weighting.ignored is None else self.weighting.ignored[rows]
        if self.label_rows or self.label_weights is None:
            number = len(self.logits[rows])
            return Fraction(number - (0 if ignored is None or self.label_rows else int(ignored.sum())))
        weights = self.label_weights[rows, 0].astype(np.float64)
        return sum(map(Fraction, (weights if ignored is None else weights[~ignored]).tolist()), Fraction(0))

    @property
    def sizes(self) -> tuple[int, ...]:
        """(N, C), or (N,) of a binary batch."""
        return self.logits.shape[: 1 if self.binary else 2]

    @property
    def is_one_call(self) -> bool:
        """Whether a loss can be called with it, once: all that it has is there for an argument."""
        return self.parts is None and self.padding is None

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

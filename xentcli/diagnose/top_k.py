"""A top-k dump: of each row the k largest logits alone, as teachers of distillation save them.

Let x be a row of logits, L = log Σ exp(x) and y its label: the loss is L - x_y. Stored are k of the logits,
v, of which m is the smallest, their classes, and perhaps L. Let S = log Σ exp(v). What follows is exact, or a
bound:

- y is among the k, and L is stored: the loss is L - v_y.
- y is among the k: the loss is at least S - v_y, for S lacks terms of L, and all terms are positive.
- y is another class: x_y <= m, for the k are the largest. L has the terms of S and that of y, so the loss is
  at least log(exp(S) + exp(x_y)) - x_y = log(exp(S - x_y) + 1). That falls as x_y rises: it is at least
  log(exp(S - m) + 1). Where L is stored, it is also at least L - m; and, for x_y is among the terms that S
  lacks, exp(x_y) <= exp(L) - exp(S), at least -log(1 - exp(S - L)).

That is true of the numbers as stored, whose rounding keeps their order. Where L and v were rounded apart, a
loss is as far from that before rounding as ``TopK.rounding`` says. Bounds are evaluated in float64, and
lowered by what that may be off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from xentcli.diagnose.distribution import NO_NUMBERS, Distribution, distribution_of, exact_mean, exact_sum
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Shard
    from xentcli.formats import BoolArray, FloatArray, IntArray

_TAKEN_OFF: Final = 2.0**-14  # by which a float32 logsumexp up to 1024 is rounded
BROKEN: Final = {
    "nan-logit": "a value is nan",
    "infinite-logit": "a value is +inf",
    "undefined-softmax": "every value is -inf",
    "negative-index": "an index is negative",
    "repeated-index": "an index is there twice",
    "infinite-logsumexp": "logsumexp is nan or infinite",
    "small-logsumexp": "the probabilities of the k sum to more than 1: logsumexp is too small",
    "label-out-of-range": "the label is no class",
    "infinite-loss": "the value of the label, or the smallest, is -inf: the loss is infinite",
}


class BrokenRow(NamedTuple):
    """A row of the dump of which nothing follows, why, a name of ``BROKEN``, and its label if it has one."""

    row: int
    why: str
    label: int | None


@dataclass(frozen=True, slots=True)
class TopK:
    """Rows of a top-k dump in a few numbers.

    ``inside`` are the losses, or their bounds, of rows whose label is among the k, ``outside`` the bounds of
    the others; sums are in units of 2^-1126. ``rounding`` is how far a loss inside may be from that before
    rounding. ``why`` counts the broken rows of each kind, and ``broken`` has the first ``most``.
    """

    most: int
    rows: int = 0
    ignored: int = 0
    inside: Distribution = NO_NUMBERS
    inside_sum: int = 0
    outside: Distribution = NO_NUMBERS
    outside_sum: int = 0
    rounding: float = 0.0
    why: Mapping[str, int] = field(default_factory=dict)
    broken: tuple[BrokenRow, ...] = ()

    def merge(self, other: "TopK") -> "TopK":
        """Return the summary of the rows of both, which have no row in common."""
        return TopK(
            self.most,
            self.rows + other.rows,
            self.ignored + other.ignored,
            self.inside.merge(other.inside),
            self.inside_sum + other.inside_sum,
            self.outside.merge(other.outside),
            self.outside_sum + other.outside_sum,
            max(self.rounding, other.rounding),
            {why: self.why.get(why, 0) + other.why.get(why, 0) for why in (*self.why, *other.why)},
            tuple(sorted(self.broken + other.broken)[: self.most]),
        )

    @property
    def number(self) -> int:
        """How many rows count: those with a label that are not broken."""
        return self.inside.number + self.outside.number

    @property
    def mean_inside(self) -> float:
        """The mean of the losses, or the bounds, of rows whose label is among the k."""
        return exact_mean(self.inside_sum, max(self.inside.number, 1))

    @property
    def mean_outside(self) -> float:
        """The mean of the bounds of the others."""
        return exact_mean(self.outside_sum, max(self.outside.number, 1))

    @property
    def mean(self) -> float:
        """The mean of all losses, or, where some are bounds, what it is at least."""
        return exact_mean(self.inside_sum + self.outside_sum, max(self.number, 1))


@dataclass(frozen=True, slots=True)
class TopKQuestion:
    """What is asked of each row; ``most`` is how many broken rows are to be shown."""

    ignore_index: int
    most: int
    in_order: bool = False

    def nothing(self) -> TopK:
        """Return the summary of no rows."""
        return TopK(self.most)

    @np.errstate(all="ignore")
    def summarise(self, shard: "Shard", rows: slice) -> TopK:
        """Read rows start to stop of a shard, and sum them up; raises ReadError where it has changed."""
        return _Part(shard, rows, self).summary()


class _Part:
    """Rows that were read together: their values (n, k), normalisers and labels (n,), and what follows."""

    def __init__(self, shard: "Shard", rows: slice, question: TopKQuestion) -> None:
        self.shard, self.question = shard, question
        self.first = shard.first + rows.indices(len(shard.logits))[0]
        self.values: FloatArray = shard.logits[rows].astype(np.float64)
        self.indices: IntArray = shard.indices[rows].astype(np.int64)  # beyond int64 they are negative
        self.lse = None if shard.logsumexp is None else shard.logsumexp[rows].astype(np.float64)
        labels = np.full(len(self.values), -1) if shard.labels is None else shard.labels[rows]
        self.ignored = (labels == question.ignore_index) & (shard.labels is not None)
        self.labels: IntArray = labels.astype(np.int64)
        self.smallest, self.largest = self.values.min(axis=1), self.values.max(axis=1)
        self.terms: FloatArray = np.exp(self.values - self.largest[:, None])
        self.total: FloatArray = self.terms.sum(axis=1)  # S is the largest and the log of this
        found = self.indices == self.labels[:, None]
        self.is_inside = found.any(axis=1)
        self.own = self.values[np.arange(len(found)), found.argmax(axis=1)]
        self.loss = np.where(self.is_inside, self._inside(), self._outside())

    def _inside(self) -> "FloatArray":
        """Return the losses of rows whose label is among the k, or their bounds."""
        if self.lse is not None:
            return self.lse - self.own
        return self._lowered(np.log(self.total) + (self.largest - self.own))

    def _outside(self) -> "FloatArray":
        """Return the bounds of the losses of other rows."""
        bound = np.log(self.total + np.exp(self.smallest - self.largest)) + (self.largest - self.smallest)
        if self.lse is not None:
            beyond = -np.log(-np.expm1(-self._room(self.lse)))
            bound = np.fmax(bound, np.fmax(self.lse - self.smallest, beyond))
        return self._lowered(bound)

    def _lowered(self, bound: "FloatArray") -> "FloatArray":
        """Lower bounds by what they may be off, with u = 2^-53.

        Of a sum of n = k + 1 terms exp(-d), the largest of them 1: d rounds to (1 + u) d, which moves the sum
        by Σ d exp(-d) u, at most log n of it; exp is off by 4 u, the additions by (n - 1) u, and the log by
        2 u of itself, at most log n. Together that is less than (2 n + 8) u. A difference, the last
        addition and the lowering itself are off by at most 4 u of the bound.
        """
        return np.maximum(bound * (1 - 2.0**-51) - (self.values.shape[1] + 5) * 2.0**-52, 0)

    def _broken(self) -> "dict[str, BoolArray]":
        """Mark the rows that are broken, by why; of a row the first counts."""
        in_order, has_labels = np.sort(self.indices, axis=1), self.shard.labels is not None
        none, lse = np.zeros(len(self.loss), bool), self.lse
        marks = {
            "nan-logit": np.isnan(self.values).any(axis=1),
            "infinite-logit": self.largest == np.inf,
            "undefined-softmax": self.largest == -np.inf,
            "negative-index": in_order[:, 0] < 0,
            "repeated-index": (in_order[:, 1:] == in_order[:, :-1]).any(axis=1),
            "infinite-logsumexp": none if lse is None else ~np.isfinite(lse),
            "small-logsumexp": none if lse is None else self._room(lse) < 0,
            "label-out-of-range": (self.labels < 0) & has_labels,
            "infinite-loss": (self.loss == np.inf) & has_labels,
        }
        return {why: mark & ~self.ignored for why, mark in marks.items()}

    def _room(self, lse: "FloatArray") -> "FloatArray":
        """Return by how much L, before it and v were rounded, may be more than S; below 0, L is too small.

        With the weights p of the softmax over the k, S is convex: rounding v by δ raises it by at most
        Σ p |δ|, and δ is at most eps |v|, also of log-probabilities, whose difference is rounded too. L is
        rounded by eps |L|; where that is 0, it was taken off the logits, and is not known. A sum of more
        terms in float32 is never less than that of the k in the same order, for rounding keeps order: its log
        is off by (2 k + 8) 2^-24 at most, as in ``_lowered``.
        """
        weighted = np.where(self.terms > 0, self.terms * np.abs(self.values), 0).sum(axis=1) / self.total
        rounding = np.where(lse == 0, _TAKEN_OFF, _eps(self.shard.logsumexp) * np.abs(lse))
        rounding += _eps(self.shard.logits) * weighted + (self.values.shape[1] + 4) * 2.0**-23
        return (lse - self.largest) - np.log(self.total) + rounding

    def _rounding(self, rows: "BoolArray") -> float:
        """Return how far the losses L - v of some rows may be from those before rounding."""
        if self.lse is None:
            return 0.0
        parts = [(self.shard.logsumexp, self.lse[rows]), (self.shard.logits, self.own[rows])]
        forms = [(FORMATS[str(array.dtype.newbyteorder("="))], numbers) for array, numbers in parts]
        halves = [form.eps / 2 * np.maximum(np.abs(numbers), form.smallest_normal) for form, numbers in forms]
        return float(np.max(halves[0] + halves[1], initial=0))

    def summary(self) -> TopK:
        """Sum them up."""
        marks = self._broken()
        whys = np.select(list(marks.values()), list(range(1, len(marks) + 1)), 0)
        counts = ~self.ignored & (whys == 0) & (self.shard.labels is not None)
        inside, outside = self.is_inside & counts, ~self.is_inside & counts
        inside_sum = exact_sum(self.loss[inside])
        if self.lse is not None:  # the differences, before they are rounded
            inside_sum = exact_sum(self.lse[inside]) - exact_sum(self.own[inside])
        numbers = {why: int((whys == at).sum()) for at, why in enumerate(marks, 1)}
        return TopK(
            self.question.most,
            len(self.loss),
            int(self.ignored.sum()),
            distribution_of(self.loss[inside]),
            inside_sum,
            distribution_of(self.loss[outside]),
            exact_sum(self.loss[outside]),
            self._rounding(inside),
            {why: number for why, number in numbers.items() if number},
            self._first(whys, tuple(marks)),
        )

    def _first(self, whys: "IntArray", names: tuple[str, ...]) -> tuple[BrokenRow, ...]:
        """Return the first broken rows; ``whys`` (n,) has the numbers of names, from 1, and 0 for no row."""
        rows = np.flatnonzero(whys)[: self.question.most].tolist()
        labels: list[Any] = self.labels.tolist() if self.shard.labels is not None else [None] * len(whys)
        return tuple(BrokenRow(self.first + row, names[whys[row] - 1], labels[row]) for row in rows)


def _eps(array: Any) -> float:  # noqa: ANN401 - a stored array
    """Return the eps of a format, or that of float32, in which wider numbers may have been evaluated."""
    return max(FORMATS[str(array.dtype.newbyteorder("="))].eps, FORMATS["float32"].eps)

"""The facts of rows: the few numbers that rules look at, and bounds of what the methods make of them."""

import math
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.bulk import Rows, Terms, evaluate, in_batches, in_blocks, round_fractions, round_in_place
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from xentcli.bulk.rows import Workspace
    from xentcli.formats import BoolArray, FloatArray, IntArray

    Interval = tuple[FloatArray, FloatArray]  # (N,) each: the least and the most that a number may be

_PER_ROW: Final = ("min", "max", "min_finite", "log_sum", "label_logit", "loss", "other_half", "other_masked")
OFF: Final = 0.01  # of the loss: from here a method is off
HALVES: Final = ("float16", "bfloat16")
BLOCK: Final = 128  # classes that NumPy's pairwise sum adds in eight lanes
_LANES: Final = 8
_AT_ONCE: Final = 2**20  # numbers that are rounded at once, those of a block
_SHORT: Final = 256  # classes up to which it pays to turn rows into columns
NEAR_COLLAPSE: Final = 2  # times ``depth`` units: other terms of at most this, over the label's, may be lost
_ROUGH: Final = 1e-4  # of the loss: ten times what rough losses are off
_SURELY_WITHIN: Final = 0.99 * OFF  # of the loss: leaves room for the rounding of the bound and the losses
_SURELY_LOG: Final = math.log1p(_SURELY_WITHIN)  # of the loss's logarithm


class Facts:
    """The numbers of rows (N, C) that rules look at; of each row, (N,), float64 unless they are flags.

    ``log_sum`` is log Σ exp(x_j - max); ``loss`` is nan for an invalid label and 0 for an ignored one;
    ``rounded`` has the losses of the logits rounded to float16 and bfloat16. ``min_finite`` is the smallest
    finite logit, ``other_masked`` flags a class of -inf that is not the label's. ``other_half`` is a part of
    Σ_{j≠k} exp(x_j - x_k) that a pairwise sum adds up apart from the label's term.
    """

    def __init__(self, rows: Rows) -> None:
        examples, self.classes = rows.logits.shape
        self.dtype, self.form = rows.dtype, FORMATS[str(rows.dtype)]
        self.unit = self.form.eps / 2  # the largest relative error of rounding
        self.min, self.max, self.min_finite, self.log_sum = np.full((4, examples), np.nan)
        self.label_logit, self.loss = np.full((2, examples), np.nan)
        self.other_half, self.other_masked = np.zeros(examples), np.zeros(examples, bool)
        self.rounded: dict[str, FloatArray] = dict.fromkeys(HALVES, self.loss)
        self.invalid_label, self.ignored = ~rows.counts & ~rows.ignored, rows.ignored

    def put(self, rows: "IntArray", other: "Facts") -> None:
        """Take the facts of some rows from others."""
        for name in _PER_ROW:
            getattr(self, name)[rows] = getattr(other, name)
        for form, losses in self.rounded.items():
            losses[rows] = other.rounded[form]

    @cached_property
    def sound(self) -> "BoolArray":
        """Rows of numbers, at least one of them not -inf."""
        return np.isfinite(self.max) & np.isfinite(self.log_sum) & ~self.ignored

    @cached_property
    def counts(self) -> "BoolArray":
        """Sound rows with a finite loss."""
        return self.sound & ~self.invalid_label & np.isfinite(self.loss)

    @cached_property
    def depth(self) -> int:
        """The most additions that a term passes through in a pairwise sum of a row.

        Up to 128 numbers: those of its lane, one of eight, 3 that join the lanes, and what is left over. Of
        more, 15 + 3 + 7 in a block, and one for each halving.

        Source: NumPy, ``pairwise_sum`` in ``numpy/_core/src/umath/loops_utils.h.src``.
        """
        lane, rest = divmod(self.classes, _LANES)
        return min(self.classes, lane + 3 + rest) if self.classes <= BLOCK else 26 + self.classes.bit_length()

    @cached_property
    def sum_error(self) -> float:
        """A bound of the error of log Σ exp(x_j - m) as a method sums it.

        In units: one for each addition; |x_j - m| for each difference, on the average weighted by exp at most
        ln C; 8 for exp, 4 ulps; 1 for the facts. Each term may underflow, by less than the smallest number,
        in a sum of at least 1. And float64's exp and log of up to 750 are off by less than 1e-12.
        """
        units = self.depth + math.log(self.classes) + 9
        return self.unit * units + self.form.smallest * self.classes + 1e-12

    def may_be_below(self, surprisal: "FloatArray", bound: float) -> "BoolArray":
        """Mark rows whose probability, exp(-surprisal), methods may compute as less than ``bound``, or nan.

        Of one above the smallest normal number, the logits' difference is off by |log p| units at most, exp
        by 8, a quotient and its parts by 2, the sum by ``sum_error``. Rows are marked from twice as far.
        """
        limit = -math.log(max(bound, self.form.smallest_normal))
        return ~(surprisal < limit - self._off_by(limit))

    def may_be_above(self, surprisal: "FloatArray", bound: float) -> "BoolArray":
        """Mark rows whose probability, exp(-surprisal), methods may compute as more than ``bound``."""
        if bound >= 1 or bound < self.form.smallest_normal:  # a quotient of a term and a sum is at most 1
            return np.full(len(surprisal), bound < 1)
        limit = -math.log(bound)
        return ~(surprisal > limit + self._off_by(limit))

    def may_be_zero(self, logit: "FloatArray", *, shifted: bool = True) -> "BoolArray":
        """Mark rows of which methods may compute exp(logit) / Σ exp(x_j) as 0 or nan."""
        log_sum, form = self.max + self.log_sum, self.form
        marks = self.may_be_below(self.max - logit + self.log_sum, form.smallest_normal)
        if not shifted:  # the term, and the sum
            limit = math.log(form.largest)
            marks |= self.may_be_below(-logit, form.smallest_normal) | ~(
                log_sum < limit - self._off_by(limit)
            )
        return marks

    def _off_by(self, log_p: float) -> float:
        return 2 * (self.unit * (log_p + 10) + self.sum_error)

    def probability(self, logit: "FloatArray", rows: "IntArray", *, shifted: bool = True) -> "Interval":
        """Bound exp(logit) / Σ exp(x_j) of some rows as methods compute it.

        Not ``shifted``, it is nan where both are 0 or inf. Only the sum is not known exactly, and rounding is
        monotone: their quotient lies between. The sum is at least as large as the term.
        """
        highest = self.max[rows]
        shift = highest if shifted else np.zeros(1)
        term = np.exp(logit[rows].astype(self.dtype) - shift.astype(self.dtype))
        log_sum = highest - shift + self.log_sum[rows]
        most = np.exp(log_sum + self.sum_error).astype(self.dtype)
        least = np.maximum(np.exp(log_sum - self.sum_error).astype(self.dtype), term)
        return (term / most).astype(np.float64), (term / least).astype(np.float64)


def facts_of(rows: Rows, *, labelled: bool) -> Facts:
    """Evaluate rows block by block, and note their facts.

    Rows that are not ``labelled`` have labels of 0, and nan for the facts that need labels.
    """
    facts = Facts(rows)
    forms = HALVES if labelled and str(rows.dtype) not in HALVES else ()
    facts.rounded |= {form: np.empty_like(facts.loss) for form in forms}

    def note(block: slice, workspace: "Workspace") -> None:
        terms = rows.evaluate(block, workspace)
        facts.min[block], facts.max[block] = limits(terms.x)
        facts.log_sum[block] = terms.log_sum(facts.max[block])
        if labelled:
            facts.label_logit[block] = np.where(rows.counts[block], terms.label_logit, np.nan)
            facts.loss[block] = rows.losses(block, terms)
        _note_masks(facts, block, terms.x)
        _note_other_half(facts, block, terms)
        for form in forms:  # the last, for it evaluates in the workspace
            facts.rounded[form][block] = _rounded_losses(form, facts, block, terms, workspace)

    in_blocks(rows, note, threads=1)
    return facts


def limits(x: "FloatArray") -> "tuple[FloatArray, FloatArray]":
    """Return the smallest and the largest logit of rows; of short rows in columns, which is faster."""
    if x.shape[1] > _SHORT:
        return x.min(axis=1), x.max(axis=1)
    columns = np.ascontiguousarray(x.T)
    return columns.min(axis=0), columns.max(axis=0)


def _note_masks(facts: Facts, block: slice, x: "FloatArray") -> None:
    """Note the smallest finite logit of rows, and whether a class other than the label's is -inf."""
    min_finite, other_masked = facts.min_finite[block], facts.other_masked[block]
    min_finite[...] = facts.min[block]
    rows = np.flatnonzero(~np.isfinite(min_finite))
    if len(rows):
        logits = x[rows]
        min_finite[rows] = np.where(np.isfinite(logits), logits, np.inf).min(axis=1)
        label_masked = np.isneginf(facts.label_logit[block][rows])
        other_masked[rows] = np.isneginf(logits).sum(axis=1) > label_masked


def _note_other_half(facts: Facts, block: slice, terms: Terms) -> None:
    """Note the terms that a pairwise sum adds up apart from the label's, where they may be lost beside it.

    It adds up two halves of more than 128 classes, and two times four lanes of fewer.
    """
    near = terms.other_terms <= NEAR_COLLAPSE * facts.depth * facts.unit * terms.label_term
    rows = np.flatnonzero(near)
    e, label, classes = terms.e[rows], terms.label[rows], facts.classes
    if classes > BLOCK:
        half = classes // 2 // _LANES * _LANES
        in_second, sums = label >= half, (e[:, :half].sum(axis=1), e[:, half:].sum(axis=1))
    else:
        full, half = classes // _LANES, _LANES // 2
        lanes = e[:, : full * _LANES].reshape(len(e), full, _LANES).sum(axis=1)
        in_second, sums = label % _LANES >= half, (lanes[:, :half].sum(axis=1), lanes[:, half:].sum(axis=1))
    facts.other_half[block][rows] = np.where(in_second, *sums) / terms.label_term[rows]


def open_rows(form: str, facts: Facts, block: slice) -> "tuple[IntArray, FloatArray, FloatArray]":
    """Return the rows of a block whose loss may change by ``OFF`` of itself when logits are rounded.

    And, for all its rows, by how much x_k changes, d_k, within 2^-25, and another logit at most, h: half a
    unit in the last place of the largest. Each term of the loss log1p(Σ exp(x_j - x_k)) is multiplied by
    e^±(h + |d_k|) at most: the loss changes by no more than h + |d_k|, and by no larger factor than that.
    """
    target, loss, label_logit = FORMATS[form], facts.loss[block], facts.label_logit[block]
    size = np.maximum(np.abs(facts.max[block]), np.abs(facts.min_finite[block]))
    own = np.empty_like(label_logit)
    round_fractions(form, label_logit, own)
    own -= label_logit
    half = target.eps / 2 * _power_of_2(np.maximum(size, target.smallest_normal))
    change = half + np.abs(own)
    is_within = (change <= _SURELY_LOG) | (change <= _SURELY_WITHIN * loss)
    is_open = np.isfinite(loss) & np.isfinite(label_logit) & (~is_within | (size > target.largest))
    return np.flatnonzero(is_open), own, np.asarray(half)


def is_near(rough: "FloatArray", true: "FloatArray") -> "BoolArray":
    """Mark losses (n,) that are so rough that they may or may not be off."""
    return np.asarray(np.abs(np.abs(rough - true) - OFF * true) < _ROUGH * true)


def _power_of_2(x: "FloatArray") -> "FloatArray":
    """Return the largest powers of 2 that are no larger than normal float64 numbers: their exponents."""
    return (x.view(np.uint64) & np.uint64(0x7FF0000000000000)).view(np.float64)


def _rounded_losses(
    form: str, facts: Facts, block: slice, terms: Terms, workspace: "Workspace"
) -> "FloatArray":
    """Return the losses of the logits rounded to a format; where that surely matters little, of the logits.

    So one exp does for most rows, and rough losses for most of the others.
    """
    loss, target = facts.loss[block], FORMATS[form]
    losses = loss.copy()
    is_open, _, half = open_rows(form, facts, block)
    beyond = half >= target.eps / 2 * 2.0**target.emax  # or nearly
    for rows in in_batches(is_open, terms.x, _AT_ONCE):
        x, label, true = terms.x[rows], terms.label[rows], loss[rows]
        # As wide as they are: the fewer bytes, the faster.
        logits, room = np.empty_like(x), workspace[0].reshape(-1).view(x.dtype)[: x.size].reshape(x.shape)
        round_fractions(form, x, logits)
        rounded = evaluate(logits, label, room, is_rough=True).losses()
        near = is_near(rounded, true) | beyond[rows]
        if near.any():
            logits = np.array(x[near])
            round_in_place(form, logits)
            rounded[near] = evaluate(logits, label[near], workspace[0]).losses()
        losses[rows] = rounded
    return losses

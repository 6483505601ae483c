"""The facts of rows: the few numbers that rules look at, and bounds of what the methods make of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.bulk import Rows, Terms, Workspace, evaluate, in_batches, in_blocks, round_in_place
from xentcli.formats import FORMATS, dtype

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, IntArray

    Interval = tuple[FloatArray, FloatArray]  # (N,) each: the least and the most that a number may be

OFF: Final = 0.01  # of the loss: from here a method is off
HALVES: Final = ("float16", "bfloat16")
_BLOCK: Final = 128  # classes that NumPy's pairwise sum adds in eight lanes
_LANES: Final = 8
_NEAR_COLLAPSE: Final = 2  # times ``depth`` units: other terms of at most this, over the label's, may be lost
_ROUGH: Final = 1e-4  # of the loss: ten times what rough losses are off
_SURELY_WITHIN: Final = (
    0.99 * OFF
)  # of the loss, which leaves room for the rounding of the bound and of the losses


@dataclass(frozen=True, eq=False)
class Facts:
    """The numbers of rows (N, C) that rules look at; of each row, (N,), float64 unless they are flags.

    ``log_sum`` is log Σ exp(x_j - max); ``loss`` is nan for an invalid label and 0 for an ignored one;
    ``rounded`` has the losses of the logits rounded to float16 and bfloat16. ``min_finite`` is the smallest
    finite logit, ``other_masked`` flags a class of -inf that is not the label's. ``other_half`` is a part of
    Σ_{j≠k} exp(x_j - x_k) that a pairwise sum adds up apart from the label's term.
    """

    dtype: str
    classes: int
    min: "FloatArray"
    max: "FloatArray"
    min_finite: "FloatArray"
    log_sum: "FloatArray"
    label_logit: "FloatArray"
    loss: "FloatArray"
    other_half: "FloatArray"
    rounded: "dict[str, FloatArray]"
    other_masked: "BoolArray"
    invalid_label: "BoolArray"
    ignored: "BoolArray"

    @cached_property
    def sound(self) -> "BoolArray":
        """Rows of numbers, at least one of them not -inf."""
        return np.isfinite(self.max) & np.isfinite(self.log_sum) & ~self.ignored

    @cached_property
    def counts(self) -> "BoolArray":
        """Sound rows with a finite loss."""
        return self.sound & ~self.invalid_label & np.isfinite(self.loss)

    @cached_property
    def unit(self) -> float:
        """The largest relative error of rounding to the dtype."""
        return FORMATS[self.dtype].eps / 2

    @property
    def smallest(self) -> float:
        """The smallest number of the dtype above 0; half of it rounds to 0."""
        return FORMATS[self.dtype].smallest

    @cached_property
    def depth(self) -> int:
        """The most additions that a term passes through in a pairwise sum of a row.

        15 in its lane of a block of 128, 3 that join the lanes, 7 for what is left over, one for each
        halving.

        Source: NumPy, ``pairwise_sum`` in ``numpy/_core/src/umath/loops_utils.h.src``.
        """
        return min(self.classes, 26 + self.classes.bit_length())

    @cached_property
    def sum_error(self) -> float:
        """A bound of the error of log Σ exp(x_j - m) as a method sums it.

        In units: one for each addition; |x_j - m| for each difference, on the average weighted by exp at most
        ln C; 8 for exp, 4 ulps; 24 for the facts. Each term may underflow, by less than the smallest number,
        in a sum of at least 1. And float64's exp and log of up to 750 are off by less than 1e-12.
        """
        units = self.depth + math.log(self.classes) + 32
        return self.unit * units + self.smallest * self.classes + 1e-12

    @cached_property
    def label_probability(self) -> "Interval":
        """Bounds of the label's probability."""
        return self._probability(self.label_logit)

    @cached_property
    def min_probability(self) -> "Interval":
        """Bounds of the smallest probability."""
        return self._probability(self.min)

    @cached_property
    def unshifted_min_probability(self) -> "Interval":
        """Bounds of the smallest exp(x_j) / Σ exp(x_j); nan where both are 0 or infinite."""
        return self._quotient(np.exp(self.min.astype(dtype(self.dtype))), self.max + self.log_sum)

    def _probability(self, logit: "FloatArray") -> "Interval":
        form = dtype(self.dtype)
        return self._quotient(np.exp(logit.astype(form) - self.max.astype(form)), self.log_sum)

    def _quotient(self, term: "FloatArray", log_sum: "FloatArray") -> "Interval":
        """Divide a term, as the methods do, by the largest and the smallest that their sum may be.

        Only the sum is not known exactly, and rounding is monotone: their quotient lies between. The sum is
        at least as large as the term.
        """
        most = np.exp(log_sum + self.sum_error).astype(term.dtype)
        least = np.maximum(np.exp(log_sum - self.sum_error).astype(term.dtype), term)
        return (term / most).astype(np.float64), (term / least).astype(np.float64)


def facts_of(
    rows: Rows, check: Callable[[], object], workspaces: list[Workspace], *, labelled: bool
) -> Facts:
    """Evaluate rows block by block, and note their facts; ``check`` is called before each block.

    Rows that are not ``labelled`` have labels of 0, and nan for the facts that need labels.
    """
    examples, classes = rows.logits.shape
    forms = HALVES if labelled and str(rows.dtype) not in HALVES else ()
    low, high, min_finite, log_sum, label_logit, loss = np.full((6, examples), np.nan)
    facts = Facts(
        str(rows.dtype),
        classes,
        low,
        high,
        min_finite,
        log_sum,
        label_logit,
        loss,
        np.zeros(examples),
        dict.fromkeys(HALVES, loss) | {form: np.empty(examples) for form in forms},
        np.zeros(examples, bool),
        ~rows.counts & ~rows.ignored,
        rows.ignored,
    )

    def note(block: slice, workspace: Workspace) -> None:
        check()
        terms = rows.evaluate(block, workspace)
        facts.min[block], facts.max[block] = terms.x.min(axis=1), terms.x.max(axis=1)
        facts.log_sum[block] = terms.log_sum(facts.max[block])
        if labelled:
            facts.label_logit[block] = np.where(rows.counts[block], terms.label_logit, np.nan)
            facts.loss[block] = rows.losses(block, terms)
        _note_masks(facts, block, terms.x)
        _note_other_half(facts, block, terms)
        for form in forms:  # the last, for it evaluates in the workspace
            facts.rounded[form][block] = _rounded_losses(form, facts, block, terms, workspace)

    in_blocks(rows, note, workspaces=workspaces)
    return facts


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
    near = terms.other_terms <= _NEAR_COLLAPSE * facts.depth * facts.unit * terms.label_term
    rows = np.flatnonzero(near)
    e, label, classes = terms.e[rows], terms.label[rows], facts.classes
    if classes > _BLOCK:
        half = classes // 2 // _LANES * _LANES
        in_second, sums = label >= half, (e[:, :half].sum(axis=1), e[:, half:].sum(axis=1))
    else:
        full, half = classes // _LANES, _LANES // 2
        lanes = e[:, : full * _LANES].reshape(len(e), full, _LANES).sum(axis=1)
        in_second, sums = label % _LANES >= half, (lanes[:, :half].sum(axis=1), lanes[:, half:].sum(axis=1))
    facts.other_half[block][rows] = np.where(in_second, *sums) / terms.label_term[rows]


def _rounded_losses(
    form: str, facts: Facts, block: slice, terms: Terms, workspace: Workspace
) -> "FloatArray":
    """Return the losses of the logits rounded to a format, or those of the logits where these surely do.

    Rounding changes x_j - x_k by δ at most, which multiplies each term of the loss log1p(Σ exp(x_j - x_k)) by
    e^±δ: the loss changes by no more than δ, and by no larger factor than e^δ. So one exp does for most rows.
    """
    target, loss, label_logit = FORMATS[form], facts.loss[block], facts.label_logit[block]
    size = np.maximum(np.abs(facts.max[block]), np.abs(facts.min_finite[block]))
    change = target.eps / 2 * (size + np.abs(label_logit))
    is_within = (np.expm1(change) <= _SURELY_WITHIN) | (change <= _SURELY_WITHIN * loss)
    is_open = np.isfinite(loss) & np.isfinite(label_logit) & (~is_within | (size > target.largest))
    losses = loss.copy()
    for rows in in_batches(np.flatnonzero(is_open), terms.x):
        logits = np.array(terms.x[rows])
        round_in_place(form, logits)
        losses[rows] = _losses(logits, terms.label[rows], loss[rows], workspace)
    return losses


def _losses(
    logits: "FloatArray", label: "IntArray", loss: "FloatArray", workspace: Workspace
) -> "FloatArray":
    """Return the losses of rows: roughly, but where they are next to being off from ``loss``."""
    losses = evaluate(logits, label, workspace, is_rough=True).losses()
    change = np.abs(losses - loss)
    near = (change > (OFF - _ROUGH) * loss) & (change < (OFF + _ROUGH) * loss)
    if near.any():
        losses[near] = evaluate(logits[near], label[near], workspace).losses()
    return losses

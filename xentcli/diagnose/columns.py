"""What is kept of each row of a part: its loss, its logits' limits, and a bit for each rule that applies."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xentcli.bulk import Rows, in_batches
from xentcli.bulk.backend import load_fast
from xentcli.diagnose.evaluated import evaluated
from xentcli.diagnose.facts import Facts, facts_of
from xentcli.diagnose.rules import RowRule
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Numbers per row (N,).

    ``loss``, float64, as ``xentcli.bulk`` has it before it is rounded; ``low`` and ``high``, float64, the
    smallest and largest finite logit, nan where there is none; ``bits``, uint32, of which bit r is set where
    rule r applies; ``ignored``.
    """

    loss: "FloatArray"
    low: "FloatArray"
    high: "FloatArray"
    bits: "IntArray"
    ignored: "BoolArray"

    @property
    def midrange(self) -> "FloatArray":
        """The middle of the finite logits, float32."""
        return self._rounded(self.high / 2 + self.low / 2)

    @property
    def range(self) -> "FloatArray":
        """The largest finite logit less the smallest, float32."""
        return self._rounded(self.high - self.low)

    @staticmethod
    def _rounded(values: "FloatArray") -> "FloatArray":
        with np.errstate(all="ignore"):
            return values.astype(np.float32)

    def applies(self, rule: int) -> "BoolArray":
        """Mark the rows that rule number ``rule`` applies to."""
        return (self.bits >> np.uint32(rule) & np.uint32(1)).astype(bool)

    def invalid(self, rules: tuple[RowRule, ...]) -> "BoolArray":
        """Mark the rows whose label is invalid."""
        marks = np.zeros(len(self.bits), bool)
        for at, rule in enumerate(rules):
            if rule.finding == "label-out-of-range":
                marks |= self.applies(at)
        return marks


def columns_of(
    logits: "FloatArray",
    labels: "NDArray[Any] | None",
    rules: tuple[RowRule, ...],
    ignore_index: int,
    kind: str = "indices",
) -> Columns:
    """Return the columns of logits (n, C) at labels of a kind, as ``Shard`` has it, or at none."""
    if labels is not None and kind != "indices":
        return _evaluated(logits, labels, rules, binary=kind == "binary")
    labelled = labels is not None
    rows = Rows(
        logits,
        np.zeros(len(logits), np.int64) if labels is None else labels,
        ignore_index if labelled else None,
    )
    facts = _facts(rows, labelled=labelled)
    with np.errstate(all="ignore"):
        bits = _bits(rows, facts, rules, labelled=labelled)
    return _columns(facts.loss, facts.min_finite, facts.max, bits, rows.ignored)


def _facts(rows: Rows, *, labelled: bool) -> Facts:
    """Return the facts of rows: of float32 by the compiled kernels, where numba is installed."""
    if labelled and rows.dtype == np.float32 and load_fast() is not None:
        from xentcli.diagnose.fast_facts import facts_by_kernels

        return facts_by_kernels(rows)
    return facts_of(rows, labelled=labelled)


def _evaluated(
    logits: "FloatArray", labels: "NDArray[Any]", rules: tuple[RowRule, ...], *, binary: bool
) -> Columns:
    """Return the columns of rows that the methods decide."""
    found, bits = evaluated(logits, labels, binary=binary), np.zeros(len(logits), np.uint32)
    for bit, rule in enumerate(rules):
        applies = rule.bounds(cast("Facts", found))
        bits |= cast("BoolArray", applies).astype(np.uint32) << np.uint32(bit)
    wide = logits.astype(np.float64)
    finite = np.where(np.isfinite(wide), wide, np.inf).min(axis=1)
    return _columns(found.loss, finite, found.max, bits, np.zeros(len(logits), bool))


def _columns(
    loss: "FloatArray", low: "FloatArray", high: "FloatArray", bits: "IntArray", ignored: "BoolArray"
) -> Columns:
    low, high = (np.where(np.isfinite(limit), limit, np.nan) for limit in (low, high))
    return Columns(loss, low, high, bits, ignored)


def _bits(rows: Rows, facts: Facts, rules: tuple[RowRule, ...], *, labelled: bool) -> "IntArray":
    """Return the bits of rows; those that facts leave open are decided by the methods."""
    dtype, bits = str(facts.dtype), np.zeros(len(facts.loss), np.uint32)
    for bit, rule in enumerate(rules):
        if not labelled and rule.needs_labels:
            continue
        bounds = rule.bounds(facts)
        possible, applies = bounds if isinstance(bounds, tuple) else (bounds, bounds)
        if rule.method is not None:
            for part in in_batches(np.flatnonzero(possible > applies), rows.logits):
                batch = build_batch(rows.logits[part], rows.label[part], dtype)
                applies[part] = rule.method(arithmetic.get("numpy", dtype), batch, facts.loss[part])
        if applies.any():
            bits |= applies.astype(np.uint32) << np.uint32(bit)
    return bits

"""The facts of float32 rows by the compiled kernels: one exp for each logit."""

from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.bulk import Rows
from xentcli.bulk.kernels import LOSSES, ROUNDED, long_facts, short_facts
from xentcli.diagnose.facts import BLOCK, HALVES, NEAR_COLLAPSE, Facts, facts_of, is_near, open_rows
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

_EXPANDED: Final = 2.0**-3  # changes of logits up to which the kernels expand exp
_TINY: Final = 2.0**-80  # 2^18 terms that float32 rounds to multiples of 2^-149 are off by 2^-51 of it


@np.errstate(all="ignore")
def facts_by_kernels(rows: Rows) -> Facts:
    """Return the facts of labelled rows.

    They are NumPy's where there are other numbers than finite ones, or some beyond a half format, and where a
    sum that is added up in lanes may collapse.
    """
    facts, x, label = Facts(rows), np.ascontiguousarray(rows.logits, rows.dtype), rows.label
    (low, high), (total, second), changes = (np.empty((2, len(x)), kind) for kind in ("f4", "f8", "f8"))
    is_long = facts.classes > BLOCK
    if is_long:
        x.min(axis=1, out=low)
        x.max(axis=1, out=high)
        long_facts(x, label, np.maximum(np.abs(low), np.abs(high)), total, second, changes)
    else:
        short_facts(x, label, low, high, total, changes)
    own = x.reshape(-1)[np.arange(0, x.size, facts.classes) + label].astype(np.float64)
    LOSSES["float64"](total, facts.loss)
    facts.min[:] = facts.min_finite[:] = low
    facts.max[:] = high
    facts.log_sum[:] = facts.loss + (own - facts.max)
    facts.label_logit[:] = np.where(rows.counts, own, np.nan)
    rows.mark(slice(None), facts.loss)
    may_collapse = total <= NEAR_COLLAPSE * facts.depth * facts.unit
    refused = np.isnan(total) | ~np.isfinite(low) | ~np.isfinite(high)
    if is_long:
        in_second = label >= facts.classes // 2 // 8 * 8
        facts.other_half[may_collapse] = np.where(in_second, total - second, second)[may_collapse]
    else:
        refused |= may_collapse
    for form, change in zip(HALVES, changes, strict=True):
        refused |= np.maximum(-low, high) > FORMATS[form].largest
        facts.rounded[form] = _rounded_losses(form, facts, (x, label), total, change)
    if refused.any():
        others = np.flatnonzero(refused)
        facts.put(others, facts_of(rows.some(others), labelled=True))
    return facts


def _rounded_losses(
    form: str, facts: Facts, rows: "tuple[FloatArray, IntArray]", total: "FloatArray", change: "FloatArray"
) -> "FloatArray":
    """Return the losses of rounded logits; where rounding surely matters little, those of the logits."""
    losses, (chosen, own, half) = facts.loss.copy(), open_rows(form, facts, slice(None))
    is_expanded = (half[chosen] <= _EXPANDED) & (total[chosen] >= _TINY)
    others, chosen = chosen[~is_expanded], chosen[is_expanded]
    losses[chosen] = np.log1p((total[chosen] + change[chosen]) * np.exp(-own[chosen]))
    for some in (others, chosen[is_near(losses[chosen], facts.loss[chosen])]):
        ROUNDED[form](*rows, some, change)
        losses[some] = np.log1p(change[some])
    return losses

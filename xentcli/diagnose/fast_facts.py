"""The facts of float32 rows by the compiled kernels: one pass, another where rounding may change a loss."""

from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.bulk import Rows
from xentcli.bulk.kernels import ROUNDED, limits, totals
from xentcli.diagnose.facts import BLOCK, HALVES, NEAR_COLLAPSE, Facts, facts_of, open_rows
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from xentcli.formats import IntArray

_AT_ONCE: Final = 2**19  # logits, 2 MiB, which stay in the cache for the second pass
_SHORT: Final = 256  # classes up to which the kernel's limits are faster than NumPy's


@np.errstate(all="ignore")
def facts_by_kernels(rows: Rows) -> Facts:
    """Return the facts of labelled rows.

    They are NumPy's where there are other numbers than finite ones, or some beyond a half format, and where a
    sum that is added up in lanes may collapse.
    """
    facts, number = Facts(rows), max(1, _AT_ONCE // rows.logits.shape[1])
    facts.rounded = {form: np.empty_like(facts.loss) for form in HALVES}
    blocks = (slice(start, start + number) for start in range(0, len(rows.logits), number))
    refused = np.concatenate(
        [np.zeros(0, np.int64), *(block.start + _note(rows, facts, block) for block in blocks)]
    )
    if len(refused):
        facts.put(refused, facts_of(rows.some(refused), labelled=True))
    return facts


def _note(rows: Rows, facts: Facts, block: slice) -> "IntArray":
    """Note the facts of a block; return which of its rows are refused."""
    x, label, counts = rows.logits[block], rows.label[block], rows.counts[block]
    low, high = np.empty((2, len(x)), np.float32)
    if facts.classes > _SHORT:
        low, high = x.min(axis=1), x.max(axis=1)
    else:
        limits(x, low, high)
    total, second = np.empty((2, len(x)))
    totals(x, label, total, second)
    own = x[np.arange(len(x)), label].astype(np.float64)
    facts.min[block] = facts.min_finite[block] = low
    facts.max[block] = high
    facts.log_sum[block] = np.log(total + 1) + (own - facts.max[block])
    facts.label_logit[block] = np.where(counts, own, np.nan)
    facts.loss[block] = rows.marked(block, np.log1p(total))
    near = total <= NEAR_COLLAPSE * facts.depth * facts.unit
    refused = np.isnan(total) | ~np.isfinite(facts.min[block]) | ~np.isfinite(facts.max[block])
    if facts.classes > BLOCK:
        half = facts.classes // 2 // 8 * 8
        facts.other_half[block][near] = np.where(label >= half, total - second, second)[near]
    else:
        refused |= near
    for form in HALVES:
        facts.rounded[form][block] = facts.loss[block]
        rounded, chosen = np.zeros(len(x)), open_rows(form, facts, block)
        ROUNDED[form](x, label, chosen, rounded)
        facts.rounded[form][block][chosen] = np.log1p(rounded[chosen])
        size = np.maximum(np.abs(low), np.abs(high))
        refused |= np.isnan(rounded) | (size > FORMATS[form].largest)
    return np.flatnonzero(refused)

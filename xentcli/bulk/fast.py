"""Losses and gradients by the compiled kernels; what they refuse goes to NumPy, block by block."""

from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.bulk import rows as by_numpy
from xentcli.bulk.kernels import KERNELS, LOSSES, SHORT
from xentcli.bulk.terms import in_batches
from xentcli.threads import for_each

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_BLOCK: Final = 2**19  # numbers: a thread is soon back for more, and seldom


def losses_of(rows: by_numpy.Rows, gradient: "FloatArray | None", threads: int | None) -> "FloatArray":
    """Return the losses (N,), and write the gradient if there is an array for it.

    float64 is NumPy's, and rows of nan, infinities and huge losses. Blocks of a foreign byte order or layout
    are copied.
    """
    if str(rows.dtype) not in KERNELS:
        return by_numpy.losses_of(rows, gradient, threads)
    examples, classes = rows.logits.shape
    result, number = np.empty(examples, rows.dtype), max(1, _BLOCK // classes)
    made = _bits(np.empty((examples, 0), rows.dtype) if gradient is None else gradient)
    long, short = KERNELS[str(rows.dtype)]
    kernel = short if classes <= SHORT else long

    def evaluate(start: int) -> None:
        part = slice(start, min(start + number, examples))
        block, losses = rows.block(part), result[part]
        totals = np.empty(len(losses))
        kernel(_bits(np.ascontiguousarray(block.logits, rows.dtype)), block.label, totals, made[part])
        LOSSES[str(rows.dtype)](totals, _bits(losses))
        gradients = None if gradient is None else gradient[part]
        block.mark(slice(None), losses)
        _evaluate_refused(block, totals, losses, gradients)
        if gradients is not None:
            block.mark(slice(None), gradients)

    for_each(range(0, examples, number), evaluate, threads)
    return result


def _evaluate_refused(
    block: by_numpy.Rows, totals: "FloatArray", losses: "FloatArray", gradients: "FloatArray | None"
) -> None:
    """Have NumPy evaluate the rows of a block, with labels that count, whose totals are nan."""
    is_refused = np.isnan(totals)
    if not is_refused.any():
        return
    for batch in in_batches(np.flatnonzero(is_refused & block.counts), block.logits):
        some = block.take(batch)
        of_some = None if gradients is None else np.empty(some.logits.shape, block.dtype)
        losses[batch] = by_numpy.losses_of(some, of_some, 1)
        if gradients is not None:
            gradients[batch] = of_some


def _bits(array: "FloatArray") -> "FloatArray":
    """Return an array as numba takes it: float16 and bfloat16 as uint16."""
    return array.view(np.uint16) if array.dtype.itemsize == 2 else array  # noqa: PLR2004 - bytes

"""Losses and gradients of large arrays of logits, at most 1 ulp off; gradients of float64 at most 4.

Rows are evaluated in blocks that stay in the cache, by as many threads as there are processors: NumPy
releases the GIL during ufuncs. ``terms.py`` says how, and proves the bound.

The loss and the gradient of a row depend on its logits, its label and the dtype alone: not on the rows beside
it, the number of threads, the memory layout or the byte order. Threads share nothing that is written, how a
row is shifted follows from its own numbers, and each operation is elementwise or a reduction of one row of a
C-contiguous array, whose order of additions follows from C.
"""

from typing import TYPE_CHECKING

import numpy as np

from xentcli.bulk.backend import load_fast
from xentcli.bulk.halves import round_fractions, round_in_place, to_float16
from xentcli.bulk.rows import Rows, in_blocks, losses_of
from xentcli.bulk.terms import Terms, evaluate, in_batches

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from xentcli.formats import FloatArray

__all__ = [
    "Rows",
    "Terms",
    "evaluate",
    "in_batches",
    "in_blocks",
    "losses",
    "losses_and_gradient",
    "round_fractions",
    "round_in_place",
    "to_float16",
]


def losses(
    logits: "ArrayLike",
    labels: "ArrayLike",
    *,
    ignore_index: int | None = None,
    threads: int | None = None,
    backend: str | None = None,
) -> "FloatArray":
    """Return the losses (N,) of logits (N, C) and class indices (N,), in the dtype of the logits.

    Any float dtype (float16, bfloat16, float32, float64), byte order and memory layout; any N and C ≥ 1; of
    NumPy, torch, JAX or TensorFlow, in the memory of the processor or copied there.
    The loss of a row is log Σ_j exp(x_j) - x_k as the sparse form defines it: a class of -inf has no part,
    the label's -inf makes inf, nan and +inf make nan, so do a row of nothing but -inf and an invalid label; a
    label ``ignore_index`` makes 0. float16 and bfloat16 are computed in float32 and rounded once, float32 in
    float64, float64 in pairs of float64 numbers.

    Errors are at most 1 ulp of the dtype at any C up to 262,144, as ``xentcli.bulk.terms`` proves: 0.51 in
    float32, 0.55 in float16, 0.51 in bfloat16, 0.9 in float64 where long double is wider. A loss that rounds
    to something positive is not 0.

    Working memory: at most 8 MiB per thread. ``threads`` is the number of processors unless given.
    ``backend`` is ``numpy`` or ``fast``, which needs numba: ``pip install 'xent[fast]'``. Unless given it is
    the variable XENT_BACKEND, else fast where numba is installed. Both keep the bounds; the same backend
    gives the same bits. Raises XentError for arrays of other dtypes or shapes, and a backend that is missing.
    """
    return _losses(Rows(logits, labels, ignore_index), None, threads, backend)


def losses_and_gradient(
    logits: "ArrayLike",
    labels: "ArrayLike",
    *,
    ignore_index: int | None = None,
    threads: int | None = None,
    backend: str | None = None,
) -> "tuple[FloatArray, FloatArray]":
    """Return the losses (N,) and d loss / d logits of each row (N, C), softmax less one-hot; see ``losses``.

    Both are in native byte order. The label's entry is minus the sum of the others, so that the row sums to 0
    however small it is; the row of an ignored label is 0, and that of a loss of nan is nan. Entries are off
    by 1 ulp at most, those of float64 by 4, of which 3.2 were seen. Those of float16 and bfloat16 below 2^-40
    may be 0.
    """
    rows = Rows(logits, labels, ignore_index)
    gradient = np.empty(rows.logits.shape, rows.dtype)
    return _losses(rows, gradient, threads, backend), gradient


def _losses(
    rows: Rows, gradient: "FloatArray | None", threads: int | None, backend: str | None
) -> "FloatArray":
    """Return the losses (N,), and write the gradient if there is an array for it."""
    if fast := load_fast(backend):
        return fast.losses_of(rows, gradient, threads)
    return losses_of(rows, gradient, threads)

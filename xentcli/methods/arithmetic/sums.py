"""Orders of addition: the rows of (N, C) added up, rounding after every addition, to (N, 1)."""

from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.methods.arithmetic.cephes import PACKET, TINY, flush

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.methods.arithmetic.cephes import Float32

_FEW: Final = 64  # sums at a time, to begin with


def pairwise(x: "FloatArray") -> "FloatArray":
    """Add the rows of (N, C) in NumPy's order, rounding after every addition: (N, 1).

    NumPy itself would carry the sums of half types in float32.

    Source: NumPy, ``pairwise_sum`` in ``numpy/_core/src/umath/loops_utils.h.src``.
    """
    lanes, block, classes = 8, 128, x.shape[1]
    if classes > block:
        half = classes // 2 // lanes * lanes
        if 2 * half < classes:
            return pairwise(x[:, :half]) + pairwise(x[:, half:])
        both = pairwise(np.concatenate([x[:, :half], x[:, half:]]))  # as rows of one array, which is faster
        return both[: len(x)] + both[len(x) :]
    total = np.zeros((x.shape[0], 1), x.dtype)
    full = classes // lanes * lanes
    if full:
        running = x[:, :lanes]
        for start in range(lanes, full, lanes):
            running = running + x[:, start : start + lanes]
        pairs = running[:, 0::2] + running[:, 1::2]
        fours = pairs[:, 0::2] + pairs[:, 1::2]
        total = fours[:, :1] + fours[:, 1:]
    for column in range(full, classes):
        total = total + x[:, column : column + 1]
    return total


def sequential(x: "FloatArray") -> "FloatArray":
    """Add one class after another."""
    return np.add.accumulate(x, axis=1)[:, -1:]


def flushed_in_order(x: "Float32") -> "Float32":
    """Add the rows of (N, C), class after class: (N, 1)."""
    return _in_order(x[:, :, None])


def _in_order(x: "Float32") -> "Float32":
    """Add (N, K, L) over K, one after another, each sum flushed: (N, L).

    NumPy adds many at once; it starts again behind a sum that is subnormal and has to be flushed.
    """
    total = np.zeros((len(x), 1, x.shape[2]), np.float32)
    start, many = 0, _FEW
    while start < x.shape[1]:
        totals = np.add.accumulate(np.concatenate([total, x[:, start : start + many]], axis=1), axis=1)[:, 1:]
        is_flushed = ((totals != 0) & (np.abs(totals) < TINY)).any(axis=(0, 2))
        first = int(is_flushed.argmax()) if is_flushed.any() else len(is_flushed) - 1
        total = flush(totals[:, first : first + 1])
        start, many = start + first + 1, _FEW if is_flushed.any() else 2 * many
    return total[:, 0]


def in_packets(x: "Float32") -> "Float32":
    """Add the rows of (N, C) as an AVX build does: (N, 1).

    Eight running sums over the full packets, folded 8 → 4 → 2 → 1; what is left over is added in order.

    Source: Eigen 3.3, ``InnerMostDimReducer`` and ``predux<Packet8f>``.
    """
    full = x.shape[1] // PACKET * PACKET
    lanes = _in_order(x[:, :full].reshape(len(x), -1, PACKET))
    for half in (4, 2, 1):
        lanes = flush(lanes[:, :half] + lanes[:, half : 2 * half])
    return flush(flushed_in_order(x[:, full:]) + lanes)

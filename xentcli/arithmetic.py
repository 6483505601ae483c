"""How exp, log, sum and division are carried out: the only place where kernels get their numbers from.

Arrays are (N, C) or (N, 1), in and out, in one dtype; every operation rounds to it, a sum after each
addition. A result is nan or infinite where IEEE 754 says so; nothing is raised.
"""

import math
import operator
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from xentcli import eigen
from xentcli.errors import XentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.model import FloatArray, IntArray


class Arithmetic:
    """NumPy's own arithmetic, and the operations that every other one offers too.

    ``accumulate`` names the dtype that sums are carried in; without it that is the dtype of their terms.
    """

    name = "numpy"
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    accumulates = True

    def __init__(self, accumulate: str | None = None) -> None:
        self.accumulate = accumulate

    @property
    def python(self) -> "Arithmetic":
        """The arithmetic of Python floats, for what is checked by hand."""
        return PYTHON

    def maximum(self, x: "FloatArray") -> "FloatArray":
        """Return the largest entry of each row, (N, 1); nan where a row has one."""
        return x.max(axis=1, keepdims=True)

    def subtract(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x - y."""
        return np.subtract(x, y)

    def larger(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return the larger of x and y; nan where either is."""
        return np.maximum(x, y)

    def add(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x + y."""
        return np.add(x, y)

    def multiply(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x · y; 0 · inf is nan."""
        return np.multiply(x, y)

    def divide(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x / y."""
        return np.divide(x, y)

    def negative(self, x: "FloatArray") -> "FloatArray":
        """Return -x."""
        return np.negative(x)

    def clip(self, x: "FloatArray", low: float, high: float) -> "FloatArray":
        """Return x brought into [low, high], the bounds rounded to the dtype; nan stays nan."""
        return np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high))

    def exp(self, x: "FloatArray") -> "FloatArray":
        """Return e^x."""
        return np.exp(x)

    def exp_by_row(self, x: "FloatArray") -> "FloatArray":
        """Return e^x as computed inside a sum over each row."""
        return self.exp(x)

    def log(self, x: "FloatArray") -> "FloatArray":
        """Return ln x."""
        return np.log(x)

    def log1p(self, x: "FloatArray") -> "FloatArray":
        """Return ln(1 + x)."""
        return np.log1p(x)

    def log_one_by_one(self, x: "FloatArray") -> "FloatArray":
        """Return ln x as scalar code computes it, which may not be the function for arrays."""
        return self.log(x)

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, (N, 1)."""
        if self.accumulate is not None:
            return x.sum(axis=1, keepdims=True, dtype=self.accumulate).astype(x.dtype)
        if x.dtype.itemsize < np.dtype(np.float32).itemsize:
            return _pairwise(x)
        return x.sum(axis=1, keepdims=True, dtype=x.dtype)

    def total(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of a column of losses (N, 1) as (1, 1)."""
        return self.sum(x.T)

    def mean(self, x: "FloatArray") -> "FloatArray":
        """Return the total of a column of losses divided by their number, (1, 1); nan for none."""
        # The number of losses may be too large for a half format; float64 holds it, and one rounding is left.
        return np.divide(self.total(x).astype(np.float64), len(x)).astype(x.dtype)

    # Choosing among numbers: nothing is computed.

    def pick(self, x: "FloatArray", indices: "IntArray") -> "FloatArray":
        """Return the entry of each example's own class, (N, 1)."""
        return np.take_along_axis(x, indices[:, None], axis=1)

    def without(self, x: "FloatArray", indices: "IntArray") -> "FloatArray":
        """Return x with 0 for one class of each example."""
        return np.where(np.arange(x.shape[1]) == indices[:, None], x.dtype.type(0), x)

    def inside(self, x: "FloatArray", of: "FloatArray", low: float, high: float) -> "FloatArray":
        """Return x where ``of`` lies within [low, high], bounds rounded to the dtype, and 0 elsewhere."""
        outside = (of < of.dtype.type(low)) | (of > of.dtype.type(high))
        return np.where(outside, x.dtype.type(0), x)

    def widen(self, x: "FloatArray") -> "FloatArray":
        """Return x as float64."""
        return x.astype(np.float64)


class Eigen(Arithmetic):
    """TensorFlow 1.x on the CPU (Eigen 3.3, float32), with sums in class order as the blog's numbers have.

    Rows of fewer than eight classes come out bit for bit as TensorFlow 1.10.1 computes them.
    """

    name = "eigen"
    dtypes = ("float32",)
    accumulates = False

    def maximum(self, x: "FloatArray") -> "FloatArray":
        """Return the largest entry of each row; subnormal operands are zero, here as in all that follows."""
        return super().maximum(eigen.flush(x))

    def larger(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return the larger of x and y."""
        return super().larger(eigen.flush(x), eigen.flush(y))

    def add(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x + y."""
        return eigen.flush(np.add(eigen.flush(x), eigen.flush(y)))

    def subtract(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x - y."""
        return eigen.flush(np.subtract(eigen.flush(x), eigen.flush(y)))

    def multiply(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x · y."""
        return eigen.flush(np.multiply(eigen.flush(x), eigen.flush(y)))

    def divide(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x · (1 / y): a multiplication by the reciprocal, rounded twice."""
        return self.multiply(x, eigen.flush(np.divide(np.float32(1), eigen.flush(y))))

    def clip(self, x: "FloatArray", low: float, high: float) -> "FloatArray":
        """Return x brought into [low, high]."""
        return eigen.flush(super().clip(eigen.flush(x), low, high))

    def exp(self, x: "FloatArray") -> "FloatArray":
        """Return e^x: full packets of the whole array by polynomial, the rest by the C library."""
        return _split(x.reshape(1, -1), eigen.exp, eigen.expf).reshape(x.shape)

    def log(self, x: "FloatArray") -> "FloatArray":
        """Return ln x, split as exp is."""
        return _split(x.reshape(1, -1), eigen.log, eigen.logf).reshape(x.shape)

    def log_one_by_one(self, x: "FloatArray") -> "FloatArray":
        """Return ln x by the C library alone."""
        return eigen.logf(x)

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, class after class."""
        return eigen.sum_in_order(x)

    def total(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of a column of losses, packet after packet."""
        return eigen.sum_in_packets(x.T)

    def mean(self, x: "FloatArray") -> "FloatArray":
        """Return the total of a column of losses divided by their number."""
        return eigen.flush(super().mean(x))

    def exp_by_row(self, x: "FloatArray") -> "FloatArray":
        """Return e^x, the packets those of each row: the function is fused into its sum."""
        return _split(x, eigen.exp, eigen.expf)

    def log1p(self, x: "FloatArray") -> "FloatArray":
        """Return ln(1 + x) by the C library, taken as correctly rounded: no packet form exists."""
        return eigen.flush(np.log1p(eigen.flush(x).astype(np.float64)).astype(np.float32))


class EigenAvx(Eigen):
    """TensorFlow 1.10.1's own x86-64 wheel, bit for bit: it adds the classes in packets of eight."""

    name = "eigen-avx"

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, packet after packet."""
        return eigen.sum_in_packets(x)


class Python(Arithmetic):
    """Python floats: ``math.log`` (float64) and sums in order, as someone checks a loss by hand."""

    name = "python"

    def log(self, x: "FloatArray") -> "FloatArray":
        """Return ln x; -inf for 0 and nan below, where ``math.log`` would raise."""
        values = (math.log(v) if v > 0 else (-math.inf if v == 0 else math.nan) for v in x.ravel().tolist())
        return np.fromiter(values, np.float64, x.size).reshape(x.shape)

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, class after class."""
        # Not the built-in sum, which compensates for rounding from Python 3.12 on.
        totals = [reduce(operator.add, row, 0.0) for row in x.tolist()]
        return np.array(totals, np.float64).reshape(len(x), 1)


PYTHON = Python()
ARITHMETICS = (Arithmetic, Eigen, EigenAvx)


def get(name: str, dtype: str, accumulate: str | None = None) -> Arithmetic:
    """Return the arithmetic of that name; raises XentError where it does not work in the dtype."""
    found = next(arithmetic for arithmetic in ARITHMETICS if arithmetic.name == name)
    if dtype not in found.dtypes:
        raise XentError(
            f"arithmetic {name} works in {' and '.join(found.dtypes)}, not in {dtype}; "
            f"take arithmetic numpy or dtype {found.dtypes[0]}"
        )
    if accumulate is not None and not found.accumulates:
        raise XentError(f"arithmetic {name} has sums of its own; accumulate goes with arithmetic numpy")
    return found(accumulate)


def _pairwise(x: "FloatArray") -> "FloatArray":
    """Add the rows of (N, C) in NumPy's order, rounding after every addition: (N, 1).

    NumPy itself would carry the sums of half types in float32.

    Source: NumPy, ``pairwise_sum`` in ``numpy/_core/src/umath/loops_utils.h.src``.
    """
    lanes, block, classes = 8, 128, x.shape[1]
    if classes > block:
        half = classes // 2 // lanes * lanes
        return _pairwise(x[:, :half]) + _pairwise(x[:, half:])
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


def _split(
    x: "FloatArray", packets: "Callable[..., FloatArray]", one_by_one: "Callable[..., FloatArray]"
) -> "FloatArray":
    """Apply one function to the full packets of each row and the other to what is left over."""
    full = x.shape[1] // eigen.PACKET * eigen.PACKET
    return np.concatenate([packets(x[:, :full]), one_by_one(x[:, full:])], axis=1)

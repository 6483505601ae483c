"""How exp, log, sum and division are carried out: the only place where kernels get their numbers from.

Arrays are (N, C) or (N, 1), in and out, in one dtype; every operation rounds to it. A result is nan or
infinite where IEEE 754 says so; nothing is raised.
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

    from xentcli.model import FloatArray


class Arithmetic:
    """NumPy's own arithmetic, and the operations that every other one offers too."""

    name = "numpy"
    about = "NumPy's own functions and pairwise sums, in the dtype of the case"
    dtypes: tuple[str, ...] = ("float16", "float32", "float64")

    def maximum(self, x: "FloatArray") -> "FloatArray":
        """Return the largest entry of each row, (N, 1); nan where a row has one."""
        return x.max(axis=1, keepdims=True)

    def subtract(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x - y."""
        return np.subtract(x, y)

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

    def log(self, x: "FloatArray") -> "FloatArray":
        """Return ln x."""
        return np.log(x)

    def log_one_by_one(self, x: "FloatArray") -> "FloatArray":
        """Return ln x as scalar code computes it, which may not be the function for arrays."""
        return self.log(x)

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, (N, 1)."""
        return x.sum(axis=1, keepdims=True, dtype=x.dtype)

    def sum_of_exp(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of e^x over each row, (N, 1)."""
        return self.sum(self.exp(x))

    def total(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of a column of losses (N, 1) as (1, 1)."""
        return self.sum(x.T)

    def mean(self, x: "FloatArray") -> "FloatArray":
        """Return the total of a column of losses divided by their number, (1, 1); nan for none."""
        return np.divide(self.total(x), x.dtype.type(len(x)))


class Eigen(Arithmetic):
    """TensorFlow 1.x on the CPU (Eigen 3.3, float32), with sums in class order as the blog's numbers have.

    Rows of fewer than eight classes come out bit for bit as TensorFlow 1.10.1 computes them.
    """

    name = "eigen"
    about = "TensorFlow 1.x on the CPU: Cephes polynomials, sums in order, subnormals are zero"
    dtypes = ("float32",)

    def maximum(self, x: "FloatArray") -> "FloatArray":
        """Return the largest entry of each row; subnormal operands are zero, here as in all that follows."""
        return super().maximum(eigen.flush(x))

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

    def sum_of_exp(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of e^x over each row: fused, so that the packets are those of the row."""
        return self.sum(_split(x, eigen.exp, eigen.expf))


class EigenAvx(Eigen):
    """TensorFlow 1.10.1's own x86-64 wheel, bit for bit: it adds the classes in packets of eight."""

    name = "eigen-avx"
    about = "TensorFlow 1.10.1's own wheel: as eigen, but from 8 classes on sums go in packets of 8"

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
ARITHMETICS = (Arithmetic(), Eigen(), EigenAvx())


def get(name: str, dtype: str) -> Arithmetic:
    """Return the arithmetic of that name; raises XentError where it does not work in the dtype."""
    found = next(arithmetic for arithmetic in ARITHMETICS if arithmetic.name == name)
    if dtype not in found.dtypes:
        raise XentError(
            f"arithmetic {name} works in {' and '.join(found.dtypes)}, not in {dtype}; "
            f"take arithmetic numpy or dtype {found.dtypes[0]}"
        )
    return found


def _split(
    x: "FloatArray", packets: "Callable[..., FloatArray]", one_by_one: "Callable[..., FloatArray]"
) -> "FloatArray":
    """Apply one function to the full packets of each row and the other to what is left over."""
    full = x.shape[1] // eigen.PACKET * eigen.PACKET
    return np.concatenate([packets(x[:, :full]), one_by_one(x[:, full:])], axis=1)

"""How exp, log, sum and division are carried out: the only place where kernels get their numbers from.

Arrays are (N, C) or (N, 1), in and out, in one dtype; every operation rounds to it, a sum after each
addition. A result is nan or infinite where IEEE 754 says so; nothing is raised.
"""

import math
import operator
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from xentcli.methods.arithmetic import sums

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, IntArray


class Arithmetic:
    """NumPy's own arithmetic, and the operations that every other one offers too.

    ``accumulate`` names the dtype that sums are carried in, and what follows from a sum is then in it too, as
    after ``sum(dtype=...)``; without it that is the dtype of the terms. ``sequential`` adds term after term.
    """

    name = "numpy"
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    own_sums = False
    has_sigmoid = True
    has_tanh = True

    def __init__(self, accumulate: str | None = None, *, sequential: bool = False) -> None:
        self.accumulate, self.sequential = accumulate, sequential

    @property
    def python(self) -> "Arithmetic":
        """The arithmetic of Python floats, for what is checked by hand."""
        return PYTHON

    def row_max(self, x: "FloatArray") -> "FloatArray":
        """Return the largest entry of each row, (N, 1); nan where a row has one."""
        return x.max(axis=1, keepdims=True)

    def subtract(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x - y."""
        return np.subtract(x, y)

    def maximum(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
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

    def clip(self, x: "FloatArray", low: float, high: float | None = None) -> "FloatArray":
        """Return x brought into [low, high], the bounds rounded to the dtype; nan stays nan."""
        raised = np.maximum(x, x.dtype.type(low))
        return raised if high is None else np.minimum(raised, x.dtype.type(high))

    def exp(self, x: "FloatArray") -> "FloatArray":
        """Return e^x."""
        return np.exp(x)

    def exp_in_rows(self, x: "FloatArray") -> "FloatArray":
        """Return e^x as computed inside a sum over each row."""
        return self.exp(x)

    def log(self, x: "FloatArray") -> "FloatArray":
        """Return ln x."""
        return np.log(x)

    def log1p(self, x: "FloatArray") -> "FloatArray":
        """Return ln(1 + x)."""
        return np.log1p(x)

    def log_scalar(self, x: "FloatArray") -> "FloatArray":
        """Return ln x as scalar code computes it, which may not be the function for arrays."""
        return self.log(x)

    def absolute(self, x: "FloatArray") -> "FloatArray":
        """Return |x|."""
        return np.absolute(x)

    def one_plus(self, x: "FloatArray") -> "FloatArray":
        """Return 1 + x."""
        return np.add(x.dtype.type(1), x)

    def one_minus(self, x: "FloatArray") -> "FloatArray":
        """Return 1 - x."""
        return np.subtract(x.dtype.type(1), x)

    def reciprocal(self, x: "FloatArray") -> "FloatArray":
        """Return 1 / x."""
        return np.divide(x.dtype.type(1), x)

    def scale(self, x: "FloatArray", factor: float) -> "FloatArray":
        """Return x times a number, which is not rounded to the dtype before."""
        return np.multiply(x.astype(np.float64), factor).astype(x.dtype)

    def over(self, x: "FloatArray", divisor: float) -> "FloatArray":
        """Return x over a number, which is not rounded to the dtype before."""
        return np.divide(x.astype(np.float64), divisor).astype(x.dtype)

    def tanh(self, x: "FloatArray") -> "FloatArray":
        """Return the hyperbolic tangent of x."""
        return np.tanh(x)

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, (N, 1), in the wider of its dtype and ``accumulate``."""
        terms = x if self.accumulate is None else x.astype(self.accumulate)
        return self._added(terms).astype(np.promote_types(x.dtype, terms.dtype))

    def _added(self, x: "FloatArray") -> "FloatArray":
        if self.sequential:
            return sums.sequential(x)
        if x.dtype.itemsize < np.dtype(np.float32).itemsize:
            return sums.pairwise(x)
        return x.sum(axis=1, keepdims=True, dtype=x.dtype)

    def sum_losses(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of a column of losses (N, 1) as (1, 1)."""
        return self.sum(x.T)

    def mean(self, x: "FloatArray", divisor: float | None = None) -> "FloatArray":
        """Return the total of a column of losses by their number or a divisor, (1, 1); by 0 it is nan."""
        # The number of losses may be too large for a half format; float64 holds it, and one rounding is left.
        total = self.sum_losses(x)
        number = len(x) if divisor is None else divisor
        return np.divide(total.astype(np.float64), number or np.nan).astype(total.dtype)

    # Choosing among numbers: nothing is computed.

    def finite_or_zero(self, x: "FloatArray") -> "FloatArray":
        """Return x where it is finite, and 0 elsewhere."""
        return np.where(np.isfinite(x), x, x.dtype.type(0))

    def pick(self, x: "FloatArray", indices: "IntArray") -> "FloatArray":
        """Return the entry of each example's class, (N, 1); nan where there is no such class."""
        known = (indices >= 0) & (indices < x.shape[1])
        picked = np.take_along_axis(x, np.where(known, indices, 0)[:, None], axis=1)
        return picked if known.all() else np.where(known[:, None], picked, x.dtype.type(np.nan))

    def where(self, condition: "BoolArray", x: "FloatArray") -> "FloatArray":
        """Return x where the condition holds, and 0 elsewhere."""
        return np.where(condition, x, x.dtype.type(0))

    def where_inside(self, p: "FloatArray", x: "FloatArray", low: float, high: float) -> "FloatArray":
        """Return x where p lies within [low, high], bounds rounded to the dtype, and 0 elsewhere."""
        outside = (p < p.dtype.type(low)) | (p > p.dtype.type(high))
        return np.where(outside, x.dtype.type(0), x)

    def zero_class(self, x: "FloatArray", indices: "IntArray") -> "FloatArray":
        """Return x with 0 for one class of each example."""
        return np.where(np.arange(x.shape[1]) == indices[:, None], x.dtype.type(0), x)

    def final(self, x: "FloatArray") -> "FloatArray":
        """Return logits to which all was done that is done before a loss."""
        return x[:]

    def stack(self, *columns: "FloatArray") -> "FloatArray":
        """Return columns (n, 1) below one another."""
        return np.concatenate(columns)

    def widen(self, x: "FloatArray") -> "FloatArray":
        """Return x as float64."""
        return x.astype(np.float64)


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

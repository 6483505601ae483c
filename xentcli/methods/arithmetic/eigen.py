"""TensorFlow 1.x's arithmetic on the CPU, as the blog ran it."""

from typing import TYPE_CHECKING

import numpy as np

from xentcli.methods.arithmetic import cephes, sums
from xentcli.methods.arithmetic.base import Arithmetic
from xentcli.methods.arithmetic.cephes import flush

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.formats import FloatArray


class Eigen(Arithmetic):
    """TensorFlow 1.x on the CPU (Eigen 3.3, float32), with sums in class order as the blog's numbers have.

    Rows of fewer than eight classes come out bit for bit as TensorFlow 1.10.1 computes them.
    """

    name = "eigen"
    dtypes = ("float32",)
    own_sums = True
    has_sigmoid = False
    has_tanh = False

    def row_max(self, x: "FloatArray") -> "FloatArray":
        """Return the largest entry of each row; subnormal operands are zero, here as in all that follows."""
        return super().row_max(flush(x))

    def maximum(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return the larger of x and y."""
        return super().maximum(flush(x), flush(y))

    def add(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x + y."""
        return flush(np.add(flush(x), flush(y)))

    def subtract(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x - y."""
        return flush(np.subtract(flush(x), flush(y)))

    def multiply(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x · y."""
        return flush(np.multiply(flush(x), flush(y)))

    def divide(self, x: "FloatArray", y: "FloatArray") -> "FloatArray":
        """Return x · (1 / y): a multiplication by the reciprocal, rounded twice."""
        return self.multiply(x, flush(np.divide(np.float32(1), flush(y))))

    def clip(self, x: "FloatArray", low: float, high: float | None = None) -> "FloatArray":
        """Return x brought into [low, high]."""
        return flush(super().clip(flush(x), low, high))

    def exp(self, x: "FloatArray") -> "FloatArray":
        """Return e^x: full packets of the whole array by polynomial, the rest by the C library."""
        return _split(x.reshape(1, -1), cephes.exp, cephes.expf).reshape(x.shape)

    def log(self, x: "FloatArray") -> "FloatArray":
        """Return ln x, split as exp is."""
        return _split(x.reshape(1, -1), cephes.log, cephes.logf).reshape(x.shape)

    def log_scalar(self, x: "FloatArray") -> "FloatArray":
        """Return ln x by the C library alone."""
        return cephes.logf(x)

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, class after class."""
        return sums.flushed_in_order(x)

    def sum_losses(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of a column of losses, packet after packet."""
        return sums.in_packets(x.T)

    def mean(self, x: "FloatArray", divisor: float | None = None) -> "FloatArray":
        """Return the total of a column of losses by their number or another divisor."""
        return flush(super().mean(x, divisor))

    def scale(self, x: "FloatArray", factor: float) -> "FloatArray":
        """Return x times a number."""
        return flush(super().scale(flush(x), factor))

    def exp_in_rows(self, x: "FloatArray") -> "FloatArray":
        """Return e^x, the packets those of each row: the function is fused into its sum."""
        return _split(x, cephes.exp, cephes.expf)

    def log1p(self, x: "FloatArray") -> "FloatArray":
        """Return ln(1 + x) by the C library, taken as correctly rounded: no packet form exists."""
        return flush(np.log1p(flush(x).astype(np.float64)).astype(np.float32))


class EigenAvx(Eigen):
    """TensorFlow 1.10.1's own x86-64 wheel, bit for bit: it adds the classes in packets of eight."""

    name = "eigen-avx"

    def sum(self, x: "FloatArray") -> "FloatArray":
        """Return the sum of each row, packet after packet."""
        return sums.in_packets(x)


def _split(
    x: "FloatArray", packets: "Callable[..., FloatArray]", one_by_one: "Callable[..., FloatArray]"
) -> "FloatArray":
    """Apply one function to the full packets of each row and the other to what is left over."""
    full = x.shape[1] // cephes.PACKET * cephes.PACKET
    if full in {0, x.shape[1]}:
        return packets(x) if full else one_by_one(x)
    return np.concatenate([packets(x[:, :full]), one_by_one(x[:, full:])], axis=1)

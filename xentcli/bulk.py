"""Losses and gradients of large arrays of logits, at the speed of exp.

NumPy only. Rows are evaluated in blocks that stay in the cache, by as many threads as there are processors:
NumPy releases the GIL during ufuncs. A block costs one exp and one sum. Logits near 0 are not shifted by
their maximum: exp(x) is as exact as exp(x - m), and more so where x - m would round.

The loss and the gradient of a row depend on its logits, its label and the dtype alone: not on the rows beside
it, the number of threads, the memory layout or the byte order. Threads share nothing that is written, whether
a row is shifted or refined follows from its own numbers, and each operation is elementwise or a reduction of
one row of a C-contiguous array, whose order of additions follows from C.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli import formats
from xentcli.arrays import to_numpy
from xentcli.errors import XentError
from xentcli.threads import for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike

    from xentcli.formats import FloatArray, IntArray

    Positions = IntArray | slice  # of rows in a block
    Workspace = tuple[FloatArray, ...]

_BLOCK_BYTES: Final = 2**22  # of a block, so that it stays in the cache
_REFINE_BYTES: Final = 2**20  # of the rows evaluated again at once: their temporaries are wider
# Up to this |x_k| exp is tried without a shift. Any bound up to 82 is as exact: where the loss is above 8 and
# so not refined, a term of a sum over at most 2^18 classes is e^(8 - 82 - 12.5) on average, still a normal
# float32.
_UNSHIFTED: Final = 57.0
_LARGEST_SUM: Final = 2.0**126  # its reciprocal, by which the gradient is multiplied, is a normal float32
_REFINED: Final = math.expm1(8)  # the other terms / the label's of a loss of 8, whose ulp is 3 errors of exp
_LEADING: Final = 4096  # terms above the sum / 4096 are refined one by one
_SAMPLE: Final = 1024  # terms from which the error of the remaining ones is estimated
_PARTIAL_SUM: Final = {"float32": 256, "float64": 16}  # terms added in exp's format; their sums are wider
_REFINED_PARTIAL_SUM: Final = {"float32": 32, "float64": 1}
# Below, terms may be subnormal, with fewer digits: 2^20 times the smallest normal number, for 2^18 terms.
_TINY_SUM: Final = {name: math.ldexp(1, formats.FORMATS[name].emin + 20) for name in ("float32", "float64")}
_CACHED: Final = 2**16  # numbers rounded to float16 at once, so that temporaries stay in the cache
# x86's 80 bits; where long double is no wider than float64, float64 has to do.
_WIDER: Final = {"float32": np.float64, "float64": np.longdouble}


def losses(
    logits: "ArrayLike", labels: "ArrayLike", *, ignore_index: int | None = None, threads: int | None = None
) -> "FloatArray":
    """Return the losses (N,) of logits (N, C) and class indices (N,), in the dtype of the logits.

    Any float dtype (float16, bfloat16, float32, float64), byte order and memory layout; any N and C ≥ 1; of
    NumPy, torch, JAX or TensorFlow, in the memory of the processor or copied there.
    The loss of a row is log Σ_j exp(x_j) - x_k as the sparse form defines it: a class of -inf has no part,
    the label's -inf makes inf, nan and +inf make nan, so do a row of nothing but -inf and an invalid label; a
    label ``ignore_index`` makes 0. float16 and bfloat16 are computed in float32 and rounded once.

    Errors are at most 1 ulp of the dtype (float64: where long double is wider than it), at any C up to
    262,144; a loss that rounds to something positive is not 0. The label is left out of the sum, so that
    log1p loses no tail. Sums are taken in two levels, short blocks in float32 and across in float64. NumPy's
    exp in float32 is off by up to 2.5 ulps: where the loss is below 8, so that it matters, the terms above
    1/4096 of the sum are evaluated again in float64, and the error of the others is estimated from a seeded
    sample of 1,024 of them, to a tenth of an ulp; of up to 4,096 classes all terms are.

    Working memory: at most 8 MiB per thread. ``threads`` is the number of processors unless given. Raises
    XentError for arrays of other dtypes or shapes.
    """
    return _losses(Rows(logits, labels, ignore_index), None, threads)


def losses_and_gradient(
    logits: "ArrayLike", labels: "ArrayLike", *, ignore_index: int | None = None, threads: int | None = None
) -> "tuple[FloatArray, FloatArray]":
    """Return the losses (N,) and d loss / d logits of each row (N, C), softmax less one-hot; see ``losses``.

    Both are in native byte order. The label's entry is minus the sum of the others, so that the row sums to 0
    however small it is; the row of an ignored label is 0, and that of a loss of nan is nan.
    """
    rows = Rows(logits, labels, ignore_index)
    gradient = np.empty(rows.logits.shape, rows.dtype)
    return _losses(rows, gradient, threads), gradient


def _losses(rows: "Rows", gradient: "FloatArray | None", threads: int | None) -> "FloatArray":
    """Return the losses (N,), and write the gradient if there is an array for it."""
    result = np.empty(len(rows.logits), rows.dtype)

    def evaluate(part: slice, workspace: "Workspace") -> None:
        terms = rows.evaluate(part, workspace)
        loss = rows.losses(part, terms)
        result[part] = loss if rows.dtype == rows.format else formats.stored(loss, str(rows.dtype))
        if gradient is not None:
            gradient[part] = rows.gradient(part, terms)

    in_blocks(rows, evaluate, threads)
    return result


def in_blocks(
    rows: "Rows",
    evaluate: "Callable[[slice, Workspace], object]",
    threads: int | None = None,
) -> None:
    """Call ``evaluate`` with every block of rows, in threads, with a workspace that no other uses meanwhile.

    A workspace, 1 or 2 arrays (n, C), has room for exp of n rows, and for their logits where they are copied.
    """
    (examples, classes), arrays = rows.logits.shape, 1 if rows.is_plain else 2
    spare: list[Workspace] = []
    number = max(1, _BLOCK_BYTES // (classes * rows.format.itemsize * arrays))

    def work(start: int) -> None:
        try:
            workspace = spare.pop()
        except IndexError:
            # Apart: where input and output touch, NumPy 1.23 takes another exp, with other bits.
            workspace = tuple(np.empty((number, classes), rows.format) for _ in range(arrays))
        with np.errstate(all="ignore"):
            evaluate(slice(start, min(start + number, examples)), workspace)
        spare.append(workspace)

    for_each(range(0, examples, number), work, threads)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The exponentials of n rows: loss = log1p(other_terms / label_term).

    (n, C), in the format of exp: the logits ``x``, and ``e`` = exp(x_j - shift), 0 at the label. (n,), in a
    wider format: ``label_logit`` x_k, ``shift``, ``label_term`` = exp(x_k - shift), ``other_terms`` = Σ_{j≠k}
    e_j. ``label`` (n,) is k.
    """

    x: "FloatArray"
    e: "FloatArray"
    label: "IntArray"
    label_logit: "FloatArray"
    shift: "FloatArray"
    label_term: "FloatArray"
    other_terms: "FloatArray"

    def losses(self) -> "FloatArray":
        """Return the losses (n,), in the wider format."""
        ratio = self.other_terms / self.label_term
        return np.where(ratio > 1, self.log_sum(self.label_logit), np.log1p(ratio))

    def log_sum(self, shift: "FloatArray") -> "FloatArray":
        """Return log Σ exp(x_j - shift), (n,), in the wider format."""
        return np.log(self.other_terms + self.label_term) + (self.shift - shift)


class Rows:
    """Logits (N, C) and labels (N,) of one call. Nothing in it changes.

    ``dtype`` is native, and ``format`` what exp is evaluated in. ``is_plain`` is False where logits have to
    be copied for it. (N,): ``label`` is 0 where a label is no class, ``counts`` marks labels with a loss.
    """

    def __init__(self, logits: "ArrayLike", labels: "ArrayLike", ignore_index: int | None) -> None:
        logits, labels = to_numpy(logits, "logits"), to_numpy(labels, "labels")
        self.logits, self.dtype = logits, logits.dtype.newbyteorder("=")
        if str(self.dtype) not in formats.FORMATS or logits.ndim != 2 or not logits.shape[1]:  # noqa: PLR2004 - (N, C)
            expected = f"{', '.join(formats.FORMATS)} of shape (N, C), C at least 1"
            raise XentError(f"logits are {logits.dtype} of shape {logits.shape}; expected {expected}")
        if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
            expected = f"class indices of shape {logits.shape[:1]}"
            raise XentError(f"labels are {labels.dtype} of shape {labels.shape}; expected {expected}")
        examples, classes = logits.shape
        self.format = np.dtype(np.float64 if self.dtype == np.float64 else np.float32)
        self.is_plain = logits.dtype == self.format and logits.dtype.isnative and logits.flags.c_contiguous
        valid = (labels >= 0) & (labels < classes)
        self.label = np.where(valid, labels, 0).astype(np.int64)
        self.ignored = np.zeros(examples, bool) if ignore_index is None else labels == ignore_index
        self.counts = valid & ~self.ignored

    def evaluate(self, part: slice, workspace: "Workspace") -> Terms:
        """Evaluate the rows of a block; the result lies in the workspace, until it is used again."""
        x = self.logits[part]
        if not self.is_plain:
            workspace[1][: len(x)] = x
            x = workspace[1][: len(x)]
        return evaluate(x, self.label[part], workspace[0])

    def losses(self, part: slice, terms: Terms) -> "FloatArray":
        """Return the losses of a block, in the wider format: nan at an invalid label, 0 at an ignored one."""
        return np.where(self.counts[part], terms.losses(), np.where(self.ignored[part], 0, np.nan))

    def gradient(self, part: slice, terms: Terms) -> "FloatArray":
        """Return the gradients of a block, in the place of the exponentials."""
        total = terms.other_terms + terms.label_term
        gradient = terms.e
        np.multiply(gradient, (1 / total).astype(self.format)[:, None], out=gradient)
        gradient[np.arange(len(total)), terms.label] = -terms.other_terms / total
        gradient[~self.counts[part]] = np.nan
        gradient[self.ignored[part]] = 0
        return to_float16(gradient) if self.dtype == np.float16 else gradient


def evaluate(x: "FloatArray", label: "IntArray", room: "FloatArray", *, is_rough: bool = False) -> Terms:
    """Evaluate the terms of logits (n, C), native and C-contiguous, at labels (n,), each a class.

    The exponentials are the first n rows of ``room``.
    If ``is_rough``, losses are off by up to 1e-5 of themselves: gaps of up to 103 are rounded by 2^-24 of
    themselves, and exp by 4 times as much.
    """
    e = room[: len(x)]
    label_logit = x[np.arange(len(x)), label].astype(_WIDER[str(x.dtype)])
    far, shift = ~(np.abs(label_logit) <= _UNSHIFTED), np.zeros_like(label_logit)
    if far.any():
        np.copyto(shift, x.max(axis=1), where=far)
    other_terms = _exponentials(x, label, shift, e)
    terms = Terms(x, e, label, label_logit, shift, np.exp(label_logit - shift), other_terms)
    too_large = ~far & ~(other_terms + terms.label_term <= _LARGEST_SUM)
    for rows in in_batches(np.flatnonzero(too_large), x):
        _shift_rows(terms, rows)
    _refine(terms, is_rough=is_rough)
    return terms


def _exponentials(x: "FloatArray", label: "IntArray", shift: "FloatArray", e: "FloatArray") -> "FloatArray":
    """Write exp(x_j - shift) to e, 0 at the label; return the sums of rows."""
    if shift.any():  # x - 0 is x: a row without a shift keeps its bits beside others
        np.subtract(x, shift.astype(x.dtype)[:, None], out=e)
        np.exp(e, out=e)
    else:
        np.exp(x, out=e)
    e[np.arange(len(e)), label] = 0
    return _sums(e, _PARTIAL_SUM)


def _shift_rows(t: Terms, rows: "Positions") -> None:
    """Evaluate rows again, shifted by their maxima."""
    x = t.x[rows]
    e = np.empty_like(x)
    t.shift[rows] = x.max(axis=1)
    t.label_term[rows] = np.exp(t.label_logit[rows] - t.shift[rows])
    t.other_terms[rows] = _exponentials(x, t.label[rows], t.shift[rows], e)
    t.e[rows] = e


def _refine(t: Terms, *, is_rough: bool) -> None:
    """Evaluate rows with a small loss again in the wider format: all of their terms, or the leading ones."""
    small = t.other_terms < _REFINED * t.label_term
    tiny = t.other_terms < _TINY_SUM[str(t.x.dtype)]
    if is_rough:
        small &= tiny
    whole = small & (tiny | (t.x.shape[1] <= _LEADING))
    for rows in in_batches(np.flatnonzero(whole), t.x):
        _refine_all(t, rows)
    for rows in in_batches(np.flatnonzero(small & ~whole), t.x):
        _refine_leading(t, rows)


def _refine_all(t: Terms, rows: "Positions") -> None:
    """Evaluate every term again, as exp(x_j - x_k)."""
    terms = t.x[rows].astype(t.shift.dtype)
    terms -= t.label_logit[rows][:, None]
    np.exp(terms, out=terms)
    terms[np.arange(len(terms)), t.label[rows]] = 0
    t.shift[rows], t.label_term[rows], t.other_terms[rows] = t.label_logit[rows], 1, terms.sum(axis=1)
    t.e[rows] = terms


def _refine_leading(t: Terms, rows: "Positions") -> None:
    """Evaluate again the terms that make much of the sum, and estimate the error of the others."""
    x, e, shift = t.x[rows], t.e[rows], t.shift[rows]
    leading = e > (t.other_terms[rows] / _LEADING).astype(e.dtype)[:, None]
    row, column = np.divmod(np.flatnonzero(leading), x.shape[1])
    terms = np.exp(x[row, column].astype(shift.dtype) - shift[row])
    e[row, column] = 0
    sums = _sums(e, _REFINED_PARTIAL_SUM)
    np.add.at(sums, row, terms)  # in the order of classes
    t.other_terms[rows] = sums + _error(x, e, shift)
    e[row, column] = terms
    t.e[rows] = e


def _error(x: "FloatArray", e: "FloatArray", shift: "FloatArray") -> "FloatArray":
    """Estimate what the sums of rows lack, from a sample of their terms; terms already refined are 0."""
    classes = x.shape[1]
    columns = _sample(classes)
    # take, for x[:, columns] is in Fortran order: how a row is added would depend on the number of rows.
    x, e = x.take(columns, axis=1), e.take(columns, axis=1)
    exact = np.exp(x.astype(shift.dtype) - shift[:, None])
    missing = np.where(e > 0, exact - e, 0).sum(axis=1)
    return missing * (classes / len(columns))


@lru_cache(maxsize=1)
def _sample(classes: int) -> "IntArray":
    columns = np.random.default_rng(0).integers(0, classes, _SAMPLE)
    columns.flags.writeable = False
    return columns


def _sums(e: "FloatArray", partial_sum: dict[str, int]) -> "FloatArray":
    """Sum rows in two levels, the second in the wider format."""
    size = partial_sum[str(e.dtype)]
    number = e.shape[1] // size
    whole = number * size
    partial = np.einsum("ijk->ij", e[:, :whole].reshape(len(e), number, size))
    # astype, for sum(dtype=) casts in buffers that may end within a row.
    return partial.astype(_WIDER[str(e.dtype)]).sum(axis=1) + np.einsum("ij->i", e[:, whole:])


def in_batches(rows: "IntArray", x: "FloatArray") -> "Iterator[Positions]":
    """Yield rows of x, 1 MiB at once; consecutive ones as a slice, which needs no copy."""
    number = max(1, _REFINE_BYTES // (x.shape[1] * x.itemsize))
    for start in range(0, len(rows), number):
        batch = rows[start : start + number]
        consecutive = batch[-1] - batch[0] + 1 == len(batch)
        yield slice(int(batch[0]), int(batch[-1]) + 1) if consecutive else batch


def round_in_place(form: str, x: "FloatArray") -> None:
    """Round float32 or float64 numbers to those of float16 or bfloat16, once, ties to even; x holds no nan.

    x is contiguous and keeps its dtype. From float32 it takes a quarter of the time of NumPy's casts to
    float16 and back; ml_dtypes' casts to bfloat16 are as fast, but it may not be installed.
    """
    target, source = formats.FORMATS[form], formats.FORMATS[str(x.dtype)]
    # Below its smallest normal number, a format has the multiples of its smallest one: few logits lie there.
    has_tiny = target.emin > source.emin
    tiny = np.flatnonzero(np.abs(x) < target.smallest_normal) if has_tiny else np.zeros(0, np.intp)
    multiples = np.rint(x.flat[tiny] / target.smallest)
    bits = x.view(f"u{x.itemsize}")
    dropped = source.precision - target.precision
    carry = (bits >> bits.dtype.type(dropped)) & bits.dtype.type(1)  # takes a tie up to an even number
    carry += bits.dtype.type(2 ** (dropped - 1) - 1)
    bits += carry
    bits &= ~bits.dtype.type(2**dropped - 1)
    x.flat[tiny] = multiples * target.smallest
    if x.max(initial=0) > target.largest or x.min(initial=0) < -target.largest:
        np.copyto(x, np.copysign(x.dtype.type(np.inf), x), where=np.abs(x) > target.largest)


def to_float16(x: "FloatArray") -> "FloatArray":
    """Round float32 numbers (N, C) of at most 1 to float16, once, ties to even.

    NumPy's cast takes as long for numbers above 2^-14 and 20 times as long for those below, of which a
    gradient has many. Adding 0.5 rounds to multiples of 2^-24, float16's smallest number: the lower bits
    count them.
    """
    rounded = np.empty(x.shape, np.uint16)
    count = max(1, _CACHED // x.shape[1])
    for start in range(0, len(x), count):
        bits = x[start : start + count].view(np.uint32)
        size = bits & np.uint32(0x7FFFFFFF)
        small = (size.view(np.float32) + np.float32(0.5)).view(np.uint32) - np.uint32(0x3F000000)
        normal = (
            (size + ((size >> np.uint32(13)) & np.uint32(1)) + np.uint32(0xFFF)) >> np.uint32(13)
        ) - np.uint32(112 << 10)
        half = np.where(size < np.uint32(113 << 23), small, normal)
        half[size > np.uint32(0x7F800000)] = 0x7E00  # nan
        rounded[start : start + count] = half | (bits >> np.uint32(16) & np.uint32(0x8000))
    return rounded.view(np.float16)

"""Losses and gradients of large arrays of logits, at the speed of exp.

NumPy only. Rows are taken in blocks that stay in the cache, by as many threads as there are processors: NumPy
lets go of the interpreter while it computes. A block costs one exp and one sum: nothing is shifted by its
maximum unless exp leaves the format's range, for exp(x) of |x| < 80 is as exact as exp(x - m), and more so
where x - m would round.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.errors import XentError
from xentcli.threads import in_threads, processors

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

    Places = IntArray | slice  # rows of an array

_BLOCK: Final = 2**22  # bytes of a block
_AGAIN: Final = 2**20  # bytes of what is evaluated again at once: there are temporaries
_SHORT: Final = {"float32": 256, "float64": 16}  # numbers that are added in the format of exp
_LEADING: Final = 4096  # a term above the sum's 1/4096 is a leading one,
_SAMPLE: Final = 1024  # of the other terms, at most, from which the error of their exp is estimated
_LARGE: Final = math.expm1(8)  # tail / label's of a loss of 8, of which an ulp is more than 3 errors of exp
_LOST: Final = {name: math.ldexp(1, formats.FORMATS[name].emin + 20) for name in ("float32", "float64")}
_SAFE: Final = (1e-25, 1e30)  # sums of exp(x) beside which nothing that matters was lost


def losses(
    logits: "FloatArray", labels: "IntArray", *, ignore_index: int | None = None, threads: int | None = None
) -> "FloatArray":
    """Return the losses (N,) of logits (N, C) and class indices (N,), in the dtype of the logits.

    Any float dtype (float16, bfloat16, float32, float64), byte order and memory layout; any N and C ≥ 1.
    The loss of a row is log Σ_j exp(x_j) - x_k as the sparse form defines it: a class of -inf has no part,
    the label's -inf makes inf, nan and +inf make nan, so do a row of nothing but -inf and a label out of
    range; a label ``ignore_index`` makes 0. float16 and bfloat16 are computed in float32 and rounded once.

    Errors are at most 1 ulp of the dtype (float64: where long double is wider than it), at any C up to
    262,144; a loss that rounds to something positive is not 0. The label is left out of the sum, so that
    log1p loses no tail. Sums are taken in two levels, short blocks in float32 and across in float64. NumPy's
    exp in float32 is off by up to 2.5 ulps: where the loss is below 8, so that it matters, the terms above
    1/4096 of the sum are evaluated again in float64, and the error of the others is estimated from a seeded
    sample of 1,024 of them, to a tenth of an ulp; of up to 4,096 classes all terms are.

    Working memory: at most 8 MiB a thread. ``threads`` is the number of processors unless given. Raises
    XentError where the arrays are not such arrays.
    """
    rows = Rows(logits, labels, ignore_index)
    in_blocks(rows, rows.evaluate, threads)
    return rows.losses()


def losses_and_gradient(
    logits: "FloatArray", labels: "IntArray", *, ignore_index: int | None = None, threads: int | None = None
) -> "tuple[FloatArray, FloatArray]":
    """Return the losses (N,) and d loss / d logits of each row (N, C), softmax less one-hot; see ``losses``.

    The label's entry is minus the sum of the others, so that the row sums to 0 however small it is; an
    ignored row's is 0, and that of a row whose loss is nan is nan.
    """
    rows, gradient = Rows(logits, labels, ignore_index), np.empty(logits.shape, logits.dtype)

    def evaluate(part: slice, memory: Memory) -> None:
        rows.evaluate(part, memory)
        gradient[part] = rows.gradient(part, memory)

    in_blocks(rows, evaluate, threads)
    return rows.losses(), gradient


def in_blocks(
    rows: "Rows", evaluate: "Evaluate", threads: int | None, used: "list[Memory] | None" = None
) -> None:
    """Call a function with every block of rows, each thread with memory of its own.

    Memory is taken from those ``used`` before for such rows, and left there.
    """
    examples, classes = rows.logits.shape
    used = [] if used is None else used
    at_once = max(1, _BLOCK // (classes * rows.format.itemsize * (1 if rows.is_native else 2)))
    starts, lock = iter(range(0, examples, at_once)), threading.Lock()

    def work() -> None:
        with lock:
            memory = used.pop() if used else Memory((at_once, classes), rows.format)
        with np.errstate(all="ignore"):
            while (start := taken()) is not None:
                evaluate(slice(start, min(start + at_once, examples)), memory)
        with lock:
            used.append(memory)

    def taken() -> int | None:
        with lock:
            return next(starts, None)

    def end() -> None:
        with lock:
            deque(starts, maxlen=0)

    in_threads(work, end, min(threads or processors(), -(-examples // at_once)))


def _check(logits: "FloatArray", labels: "IntArray") -> None:
    if str(logits.dtype.newbyteorder("=")) not in formats.FORMATS or logits.ndim != 2 or not logits.shape[1]:  # noqa: PLR2004 - (N, C)
        wanted = f"{', '.join(formats.FORMATS)} of shape (N, C), C at least 1"
        raise XentError(f"logits are {logits.dtype} of shape {logits.shape}; wanted are {wanted}")
    if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
        raise XentError(
            f"labels are {labels.dtype} of shape {labels.shape}; wanted are class indices {logits.shape[:1]}"
        )


class Memory:
    """What one thread works in: room for the exp of a block of logits, and where needed for the logits."""

    def __init__(self, shape: tuple[int, int], form: "np.dtype[Any]") -> None:
        self.e = np.empty(shape, form)
        self.first = np.arange(shape[0])

    @cached_property
    def x(self) -> "FloatArray":
        """Room for logits that cannot be used as they stand."""
        return np.empty_like(self.e)


class Rows:
    """Logits and labels, and what is known of each row, (N,): loss = log1p(tail / own).

    With x - ``shift`` in exp, ``own`` is the label's term and ``tail`` the sum of the others. ``rounded`` is
    a format that the logits, of a wider one, are rounded to first.
    """

    def __init__(
        self,
        logits: "FloatArray",
        labels: "IntArray",
        ignore_index: int | None,
        rounded: str | None = None,
    ) -> None:
        _check(logits, labels)
        self._rounded = rounded
        examples, classes = logits.shape
        self.logits, self.dtype = logits, str(logits.dtype.newbyteorder("="))
        self.format = np.dtype(np.float64 if self.dtype == "float64" else np.float32)
        plain = logits.dtype == self.format and logits.dtype.isnative and logits.flags.c_contiguous
        self.is_native = plain and rounded is None
        # x86's 80 bits; where long double is no wider than float64, float64 has to do.
        self._wide: Any = np.longdouble if self.dtype == "float64" else np.float64
        known = (labels >= 0) & (labels < classes)
        self.ignored = np.zeros(examples, bool) if ignore_index is None else labels == ignore_index
        self.counts = known & ~self.ignored
        self._label = np.where(known, labels, 0).astype(np.int64)
        self.label_logit, self.shift, self.tail, self.own = np.zeros((4, examples), self._wide)
        self._shifts = False
        self._sample = np.random.default_rng(0).integers(0, classes, _SAMPLE)

    def wide_losses(self) -> "FloatArray":
        """Return the losses before they are rounded to the dtype."""
        with np.errstate(all="ignore"):
            far = np.log(self.tail + self.own) - (self.label_logit - self.shift)
            loss = np.where(self.tail > self.own, far, np.log1p(self.tail / self.own))
            return np.where(self.counts, loss, np.where(self.ignored, 0, np.nan))

    def losses(self) -> "FloatArray":
        """Return the losses, in the dtype of the logits."""
        with np.errstate(all="ignore"):
            loss = self.wide_losses()
            if self.dtype in {"float32", "float64"}:
                return loss.astype(self.dtype)
            return formats.stored(loss.astype(np.float64), self.dtype)

    def evaluate(self, part: slice, memory: Memory) -> "FloatArray":
        """Evaluate a block; return its logits as exp took them. exp stays in memory, 0 for labels."""
        x = self.logits[part]
        if not self.is_native:
            memory.x[: len(x)] = x
            x = memory.x[: len(x)]
            if self._rounded is not None:
                formats.round_in_place(self._rounded, x)
        e, first, label = memory.e[: len(x)], memory.first[: len(x)], self._label[part]
        self.label_logit[part] = x[first, label]
        if self._shifts:
            self._shifted(part, x, e)
        else:
            np.exp(x, out=e)
            e[first, label] = 0
            self.tail[part], self.own[part] = self._sums(e), np.exp(self.label_logit[part])
            total = self.tail[part] + self.own[part]
            outside = np.flatnonzero(~((total > _SAFE[0]) & (total < _SAFE[1])))
            self._shifts = len(outside) > len(x) // 2
            for some in self._at_once(outside):
                e[some] = self._shifted(_moved(some, part.start), x[some], np.empty_like(x[some]))
        self._refine(part, x, e)
        return x

    def gradient(self, part: slice, memory: Memory) -> "FloatArray":
        """Return the gradients of a block that was evaluated last."""
        tail, total = self.tail[part], self.tail[part] + self.own[part]
        gradient = memory.e[: len(total)]
        np.multiply(gradient, (1 / total).astype(self.format)[:, None], out=gradient)
        gradient[memory.first[: len(total)], self._label[part]] = -tail / total
        gradient[~self.counts[part]] = np.nan
        gradient[self.ignored[part]] = 0
        return formats.to_float16(gradient) if self.dtype == "float16" else gradient

    def _shifted(self, at: "Places", x: "FloatArray", e: "FloatArray") -> "FloatArray":
        """Evaluate rows shifted by their maxima; return exp of them, written to e."""
        maxima = x.max(axis=1)
        self.shift[at] = maxima
        self.own[at] = np.exp(self.label_logit[at] - self.shift[at])
        np.exp(np.subtract(x, maxima[:, None], out=e), out=e)
        e[np.arange(len(x)), self._label[at]] = 0
        self.tail[at] = self._sums(e)
        return e

    def _refine(self, part: slice, x: "FloatArray", e: "FloatArray") -> None:
        """Evaluate rows with a small loss again in the wide format: their leading terms, or all."""
        tail, own, counts = self.tail[part], self.own[part], self.counts[part]
        small = counts & (tail < _LARGE * own)
        lost = small & (tail < _LOST[str(self.format)])
        if x.shape[1] <= _LEADING:
            lost = small
        for some in self._at_once(np.flatnonzero(lost)):
            self._evaluate_apart(part, some, x, e)
        for some in self._at_once(np.flatnonzero(small & ~lost)):
            self._evaluate_leading(part, some, x, e)

    def _evaluate_apart(self, part: slice, rows: "Places", x: "FloatArray", e: "FloatArray") -> None:
        """Evaluate every term, as exp(x - x_k)."""
        at = _moved(rows, part.start)
        terms = x[rows].astype(self._wide)
        terms -= self.label_logit[at][:, None]
        np.exp(terms, out=terms)
        terms[np.arange(len(terms)), self._label[at]] = 0
        self.shift[at], self.own[at], self.tail[at] = self.label_logit[at], 1, terms.sum(axis=1)
        e[rows] = terms

    def _evaluate_leading(self, part: slice, rows: "Places", x: "FloatArray", e: "FloatArray") -> None:
        """Evaluate the terms that make much of the tail, and estimate the error of the others."""
        at = _moved(rows, part.start)
        leading = e[rows] > (self.tail[at] / _LEADING).astype(self.format)[:, None]
        of, column = np.divmod(np.flatnonzero(leading), x.shape[1])
        row = of + rows.start if isinstance(rows, slice) else rows[of]
        terms = np.exp(x[row, column].astype(self._wide) - self.shift[at][of])
        e[row, column] = 0
        rest = e[rows]
        left = self._sums(rest, 32) if self.format == np.float32 else rest.sum(axis=1, dtype=self._wide)
        np.add.at(left, of, terms)
        self.tail[at] = left + self._error(x[rows][:, self._sample], rest[:, self._sample], self.shift[at])
        e[row, column] = terms

    def _error(self, x: "FloatArray", e: "FloatArray", shift: "FloatArray") -> "FloatArray":
        """Estimate what the sums of rows lack, from a sample of their terms; those evaluated again are 0."""
        exact = np.exp(x.astype(self._wide) - shift[:, None])
        lacking = np.where(e > 0, exact - e, 0).sum(axis=1)
        return lacking * (self.logits.shape[1] / x.shape[1])

    def _sums(self, e: "FloatArray", short: int | None = None) -> "FloatArray":
        """Sum rows in two levels."""
        short = short or _SHORT[str(self.format)]
        whole = e.shape[1] // short * short
        sums = np.einsum("ijk->ij", e[:, :whole].reshape(len(e), -1, short))
        return sums.sum(axis=1, dtype=self._wide) + np.einsum("ij->i", e[:, whole:])

    def _at_once(self, rows: "IntArray") -> "Iterator[Places]":
        """Yield rows by as many as are evaluated at once; side by side as a slice, that makes no copy."""
        number = max(1, _AGAIN // (self.logits.shape[1] * self.format.itemsize))
        for start in range(0, len(rows), number):
            some = rows[start : start + number]
            side_by_side = some[-1] - some[0] + 1 == len(some)
            yield slice(int(some[0]), int(some[-1]) + 1) if side_by_side else some


def _moved(places: "Places", by: int) -> "Places":
    return slice(places.start + by, places.stop + by) if isinstance(places, slice) else places + by


Evaluate = Callable[[slice, Memory], object]

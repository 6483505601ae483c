"""Exponentials of rows and their sums, in NumPy, and why no loss is off by an ulp.

The loss of a row is log1p(T), T = Σ_{j≠k} exp(x_j - x_k). The label is left out of the sum, so that log1p
loses no tail. Where T is off by δ T, the loss L is off by less than (1 - e^-L) δ, and by no more than δ L:
δ 2^p ulps at most, as an ulp is at least L 2^-p, in a format of p digits. Rounding L takes half an ulp.

- float32 is evaluated in float64. With u = 2^-53: exp(x_j) is off by 4 ulps at most, 8 u (0.52 ulps with
  AVX-512, less than 1 in libm); a shift rounds x_j - x_k, of which no more than 750 counts, by 750 u; C - 1
  ≤ 2^18 additions add u each; exp(x_k), the quotient and log1p 18 u. A loss above 87 is log(S) - x_k, off by
  8 u of 700. In all δ ≤ (2^18 + 800) u < 2^-34.9: 2^-10.9 ulps of float32, and with the rounding 0.501.
- float16 and bfloat16 are evaluated in float32. With u = 2^-24: exp is off by 4 ulps, 8 u (2.52 ulps with
  AVX-512); x_j - x_k, at most 104 where its exp is not 0, is rounded by 104 u; sums of 256 terms in float32,
  then in float64, add 256 u. In all δ ≤ 368 u = 2^-15.4: 0.05 ulps of float16's 11 digits, and with the
  rounding 0.55. Sums that may hold subnormal terms are evaluated again in float64.
- float64, u = 2^-53: losses below 8, and those of |x_k| above 300, are evaluated in pairs of float64 numbers:
  ``pairs.py`` adds up to 0.9 ulps. For others exp is off by 2 u (its 0.52 ulps, or 1), four additions by 4
  u, and what is in long double by less than u / 4: 6.25 u of 16 u, an ulp, and with the rounding 0.89. Where
  long double is no wider, log1p adds its own ulp.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.bulk import pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xentcli.formats import FloatArray, IntArray

    Positions = IntArray | slice  # of rows in a block

_CHUNK: Final = (
    2**18
)  # exponentials that are summed while they lie in a cache; with fewer two threads gain little
_BATCH: Final = 2**17  # numbers of rows that are evaluated again at once
_PAIRS: Final = 2**13  # the same of pairs, which have a dozen temporaries
_WIDER: Final = {"float32": np.float64, "float64": np.longdouble}
_LARGE: Final = math.expm1(8)  # other terms / the label's of a loss of 8
_TINY_SUM: Final = 2.0**-900
_PARTIAL: Final = 256  # terms that are added in float32; their sums are added in float64
# Up to this |x_k| exp(x_j) is taken as it is, for x_j - x_k costs a pass. A term of float32's smallest loss,
# e^(-104 - 300) times 2^-18, is a normal float64. In float32 any bound up to 80 would do.
_UNSHIFTED: Final = {"float32": 57.0, "float64": 300.0}
_LARGEST_SUM: Final = {"float32": 2.0**126, "float64": 2.0**1000}  # its reciprocal is a normal number
# Where terms may be subnormal, or lost as 0, by 2^-126 or 2^-1022 each: these are 2^-14 of C such terms.
_TINY_TERM: Final = {"float32": 2.0**-112, "float64": 2.0**-1008}
# x_j - x_k up to which 2^18 terms exp(x_j - x_k) have a sum below the largest one.
_FAR: Final = {"float32": 74.0, "float64": 680.0}
_LIFT: Final = 700.0  # for tiny sums of float64: e^700 times its smallest number is e^-45


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The exponentials of n rows: loss = log1p(other_terms / label_term).

    (n, C): the logits ``x``, and ``e`` = exp(x_j - shift), 0 at the label. (n,), float64, long double where
    logits are float64: ``label_logit`` x_k, ``shift``, ``label_term`` = exp(x_k - shift), ``other_terms`` =
    Σ_{j≠k} e_j. ``label`` (n,) is k.
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
        found = np.log1p(ratio)
        large = np.flatnonzero(~(ratio <= _LARGEST_SUM["float32"]))  # the quotient may be infinite
        found[large] = self.log_sum(self.label_logit)[large]
        return found

    def log_sum(self, shift: "FloatArray") -> "FloatArray":
        """Return log Σ exp(x_j - shift), (n,), in the wider format."""
        return np.log(self.other_terms + self.label_term) + (self.shift - shift)


def evaluate(x: "FloatArray", label: "IntArray", room: "FloatArray", *, is_rough: bool = False) -> Terms:
    """Evaluate the terms of logits (n, C), native and C-contiguous, at labels (n,), each a class.

    The exponentials are the first n rows of ``room``, in its format. If ``is_rough``, or in float32, losses
    are off by up to 368 · 2^-24 of themselves.
    """
    e = room[: len(x)]
    at = np.arange(0, x.size, x.shape[1]) + label
    label_logit = x.reshape(-1)[at].astype(_WIDER[str(x.dtype)])
    near = np.abs(label_logit) <= _UNSHIFTED[str(e.dtype)]
    shift = np.where(near, 0, label_logit)
    other_terms = np.empty_like(label_logit)
    number = max(1, _CHUNK // x.shape[1])
    for start in range(0, len(x), number):
        rows = slice(start, start + number)
        other_terms[rows] = _sums(x[rows], shift[rows], at[rows] - start * x.shape[1], e[rows])
    terms = Terms(x, e, label, label_logit, shift, np.exp(label_logit - shift), other_terms)
    _evaluate_again(terms, is_rough=is_rough)
    return terms


def _sums(x: "FloatArray", shift: "FloatArray", at: "IntArray", e: "FloatArray") -> "FloatArray":
    """Write exp(x_j - shift) to e, 0 at the labels, which are ``at`` those numbers; return sums of rows."""
    if shift.any():  # x - 0 is x: a row without a shift keeps its bits beside others
        np.subtract(x, shift.astype(e.dtype)[:, None], out=e, dtype=e.dtype)
        np.exp(e, out=e)
    else:
        np.exp(x, out=e, dtype=e.dtype)
    e.reshape(-1)[at] = 0
    if x.dtype == np.float64:
        return _sums_of_16(e)
    if e.dtype == np.float64:
        return np.einsum("ij->i", e)
    number = e.shape[1] // _PARTIAL
    whole = number * _PARTIAL
    partial = np.einsum("ijk->ij", e[:, :whole].reshape(len(e), number, _PARTIAL))
    # astype, for sum(dtype=) casts in buffers that may end within a row.
    return partial.astype(np.float64).sum(axis=1) + np.einsum("ij->i", e[:, whole:])


def _sums_of_16(e: "FloatArray") -> "FloatArray":
    """Return the sums of rows of which every term passes through four additions in float64, then long double.

    Sums of classes j and j + h of the first 2h are taken, four times; a last one of an odd number stays.
    """
    for _ in range(4):
        half, odd = divmod(e.shape[1], 2)
        both = np.empty((len(e), half + odd))
        np.add(e[:, :half], e[:, half : 2 * half], out=both[:, :half])
        both[:, half:] = e[:, 2 * half :]
        e = both
    return e.astype(np.longdouble).sum(axis=1)


def _evaluate_again(t: Terms, *, is_rough: bool) -> None:
    """Evaluate rows in float64 whose sums are too large, or so small that terms may be subnormal.

    So are rows of float64 of which more digits are needed, in pairs.
    """
    form, of_float64 = str(t.e.dtype), t.x.dtype == np.float64
    is_fine = t.other_terms + t.label_term <= _LARGEST_SUM[form]
    if form == "float32" or of_float64:
        is_fine &= t.other_terms >= _TINY_TERM[form] * t.x.shape[1]
    in_pairs = of_float64 and not is_rough
    if in_pairs:
        is_fine &= (t.shift == 0) & (t.other_terms >= _LARGE * t.label_term)
    for rows in in_batches(np.flatnonzero(~is_fine), t.x):
        t.shift[rows] = _better_shift(t, rows)
        t.label_term[rows] = np.exp(t.label_logit[rows] - t.shift[rows])
        if in_pairs:
            _evaluate_pairs(t, rows)
        else:
            e = np.exp(t.x[rows].astype(np.float64) - t.shift[rows][:, None])
            e[np.arange(len(e)), t.label[rows]] = 0
            t.other_terms[rows] = e.sum(axis=1)
            t.e[rows] = e


def _better_shift(t: Terms, rows: "Positions") -> "FloatArray":
    """Return the shifts of rows: x_k, or the largest logit where it is far above; less for tiny terms."""
    own, highest = t.label_logit[rows], t.x[rows].max(axis=1).astype(np.float64)
    shift = np.where(highest - own > _FAR[str(t.e.dtype)], highest, own)
    if t.x.dtype == np.float64:
        shift = np.where(t.other_terms[rows] < _TINY_SUM * t.label_term[rows], shift - _LIFT, shift)
        return shift.astype(np.float64)
    return shift


def _evaluate_pairs(t: Terms, rows: "Positions") -> None:
    """Evaluate rows by their shifts in pairs of float64 numbers, so many that temporaries stay small."""
    x, shift, label = t.x[rows], t.shift[rows].astype(np.float64)[:, None], t.label[rows]
    total, e = np.zeros(len(x), np.longdouble), np.empty_like(x)
    number, width = max(1, _PAIRS // x.shape[1]), min(_PAIRS, x.shape[1])
    for start in range(0, len(x), number):
        part = slice(start, start + number)
        for first in range(0, x.shape[1], width):
            classes = slice(first, first + width)
            high, low = pairs.exp(*pairs.difference(x[part, classes], shift[part]))
            at = np.flatnonzero((label[part] >= first) & (label[part] < first + width))
            high[at, label[part][at] - first] = low[at, label[part][at] - first] = 0
            total[part] += pairs.sums(high, low)
            e[part, classes] = high
    t.other_terms[rows], t.e[rows] = total, e


def in_batches(rows: "IntArray", x: "FloatArray", numbers: int = _BATCH) -> "Iterator[Positions]":
    """Yield rows of x, so many numbers at once; consecutive ones as a slice, which needs no copy."""
    number = max(1, numbers // x.shape[1])
    for start in range(0, len(rows), number):
        batch = rows[start : start + number]
        consecutive = batch[-1] - batch[0] + 1 == len(batch)
        yield slice(int(batch[0]), int(batch[-1]) + 1) if consecutive else batch

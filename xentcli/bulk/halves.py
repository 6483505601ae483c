"""float16 and bfloat16 ↔ float32, by bits where NumPy's casts are slow."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_CACHED: Final = 2**16  # numbers converted at once, so that temporaries stay in the cache
_BEYOND: Final = 2.0**16  # what ``widen`` makes of float16's infinity, and less than it makes of its nan


def widen(x: "FloatArray", out: "FloatArray") -> None:
    """Write numbers (n, C) of any float dtype to ``out``, a C-contiguous array of a dtype that holds them.

    float16 → float32 takes a quarter of the time of NumPy's cast: 10 bits of fraction and 5 of exponent go to
    where float32 has them, the sign to its end, and a product with 2^112 corrects the exponent's bias. It is
    exact, for subnormal numbers too; infinities and nan, which become 2^16 and more, are left to NumPy.
    """
    if x.dtype != np.float16 or not x.dtype.isnative or out.dtype != np.float32:
        out[...] = x
        return
    count = max(1, _CACHED // x.shape[1])
    for start in range(0, len(x), count):
        part, to = x[start : start + count], out[start : start + count]
        bits = to.view(np.int32)
        np.left_shift(part.view(np.int16), 13, out=bits, dtype=np.int32, casting="unsafe")
        bits &= np.int32(-0x70000001)  # the sign was copied to bits 28 to 30 as well
        to *= np.float32(2.0**112)
        if max(to.max(initial=0), -to.min(initial=0)) >= _BEYOND:
            to[...] = part


def stored(x: "FloatArray", dtype: "np.dtype[Any]") -> "FloatArray":
    """Round float64 numbers (n,), not negative, to a dtype, once and to even; faster than ``formats.stored``.

    To round to half a format in two steps, the first, to float32's 24 bits, must not make a tie: it cuts off
    what is beyond, and sets the last bit where that was not 0. (So rounded, a subnormal float32 may be a tie
    of bfloat16's: a loss below 2^-126 that is within 2^-17 ulps of one.)
    """
    if dtype.itemsize != 2 or x.dtype != np.float64:  # noqa: PLR2004 - bytes
        return x.astype(dtype)
    bits = x.view(np.uint64)
    cut = bits & np.uint64(2**64 - 2**29)
    cut |= ((bits != cut) & (x < np.inf)).astype(np.uint64) << np.uint64(29)
    narrow = cut.view(np.float64).astype(np.float32)
    if dtype != np.float16:
        return narrow.astype(dtype)
    return to_float16(np.minimum(narrow, np.float32(_BEYOND))[:, None])[:, 0]


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
    round_fractions(form, x, x)
    x.flat[tiny] = multiples * target.smallest
    if x.max(initial=0) > target.largest or x.min(initial=0) < -target.largest:
        np.copyto(x, np.copysign(x.dtype.type(np.inf), x), where=np.abs(x) > target.largest)


def round_fractions(form: str, x: "FloatArray", out: "FloatArray") -> None:
    """Round numbers as ``round_in_place`` does, as if the format had any exponent; ``out`` may be x."""
    bits, to = x.view(f"u{x.itemsize}"), out.view(f"u{x.itemsize}")
    dropped = formats.FORMATS[str(x.dtype)].precision - formats.FORMATS[form].precision
    carry = bits >> bits.dtype.type(dropped)
    carry &= bits.dtype.type(1)  # takes a tie up to an even number
    carry += bits.dtype.type(2 ** (dropped - 1) - 1)
    np.add(bits, carry, out=to)
    to &= ~bits.dtype.type(2**dropped - 1)


def to_float16(x: "FloatArray") -> "FloatArray":
    """Round float32 numbers (N, C) of at most 2^16, which is infinity, to float16, once, ties to even.

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

"""The sums of rows and their gradients as plain loops, which numba compiles: the only file that imports it.

A kernel writes T = Σ_{j≠k} exp(x_j - x_k) of each row, float64, and exp(x_j - x_k) / (1 + T) to a gradient of
as many columns as there are logits, or of none. Logits and gradients of float16 and bfloat16 are their bits,
uint16, for numba takes neither on a CPU. Rows that a kernel does not evaluate have a T of nan: those of nan,
+inf, an infinite logit of the label, or a T above 2^100.

exp is evaluated in float64: with u = 2^-53, x_j - x_k, |x_j - x_k| ≤ 700, is rounded by 700 u and its k ln 2
by 1010 u; the polynomial is off by 2^-34, C - 1 ≤ 2^18 additions in any order by 2^18 u. So T is off by less
than 2^-32.9 of itself, 2^-8.9 ulps of float32, and a rounded loss by 0.503.

``reassoc`` lets sums be taken in lanes, ``contract`` lets products be added without rounding. Where that is
done is fixed when a loop is compiled: the same call gives the same bits. No flag denies nan or infinities.
"""

import math
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features, get_process_triple
from numba import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

if get_process_triple().startswith("x86_64") and not get_host_cpu_features().get("f16c"):
    raise ImportError("this processor converts no float16")  # a function is called that is not there

_FLAGS: Final = {"contract", "reassoc", "nsz"}
_compiled: "Callable[[Any], Any]" = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
_called: "Callable[[Any], Any]" = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
_generated: "Callable[[Any], Any]" = intrinsic
_inlined: "Callable[[Any], Any]" = numba.njit(inline="always", error_model="numpy", fastmath=_FLAGS)

SHORT: Final = 56  # classes up to which 64 rows are evaluated side by side: their terms are 28 KiB
_LANES: Final = 64
_ADDED: Final = 1024  # terms that are added in float32; their sums are added in float64
_LARGEST: Final = 2.0**100  # of T: its terms are finite in float32
_LOWEST, _HIGHEST = -700.0, 700.0  # exp is a normal number; below the first it counts for nothing
_ROOT_HALF: Final = 0x3FE6A09E667F3BCD  # the bits of √½ in float64
_LOG2_E, _LN2, _ROUND = 1.4426950408889634, 0.6931471805599453, 1.5 * 2.0**52
_FLOAT16, _BFLOAT16 = (16, 512), (2, 64)  # sizes of logits that rounding changes by 2^-7 to 2^-3 at most
_C7, _C6, _C5, _C4, _C3, _C2, _C1, _C0 = map(float.fromhex, (  # a polynomial for exp in ±0.3466, off by 2^-34
    "0x1.a17e0473fd6adp-13", "0x1.6da767a36f94fp-10", "0x1.1110a617d7a66p-7", "0x1.5554648843ef1p-5",
    "0x1.5555557e76d5cp-3", "0x1.0000005c981e3p-1", "0x1.fffffffff61e9p-1", "0x1.ffffffffa7010p-1",
))  # fmt: skip


def _bitcast(source: Any, target: Any) -> Any:
    """Make an intrinsic that reads the bits of a number as those of another type."""

    @_generated
    def cast(_: Any, value: Any) -> Any:
        del value

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

        return target(source), generate

    return cast


_float64_of = _bitcast(types.int64, types.float64)
_float32_of = _bitcast(types.uint32, types.float32)
_int64_of = _bitcast(types.float64, types.int64)
_bits_of = _bitcast(types.float32, types.uint32)


@_inlined
def _of_bfloat16(bits: Any) -> Any:
    return np.float64(_float32_of(np.uint32(bits) << np.uint32(16)))


@_generated
def _widened(_: Any, bits: Any) -> Any:
    """Read the bits of a float16 as float32, by the processor's instruction."""
    del bits

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@_generated
def _narrowed(_: Any, x: Any) -> Any:
    """Round a float32 to a float16's bits, ties to even, by the processor's instruction."""
    del x

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@_inlined
def _of_float16(bits: Any) -> Any:
    return np.float64(_widened(np.uint16(bits)))


@_inlined
def _to_bfloat16(x: Any) -> Any:
    """Round a finite number to bfloat16's bits, ties to even."""
    bits = _bits_of(np.float32(x))
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@_inlined
def _to_float16(x: Any) -> Any:
    return _narrowed(np.float32(x))


@_called
def _exp(t: Any) -> Any:
    """Evaluate exp of a number, of one beyond the limits as of the limit; nan stays.

    Beside 1.5 · 2^52, float64 holds integers alone: the sum's last bits are k, and go to p's exponent.
    """
    t = _LOWEST if t < _LOWEST else t
    t = _HIGHEST if t > _HIGHEST else t
    z = t * _LOG2_E + _ROUND
    r = t - (z - _ROUND) * _LN2
    p = ((((((_C7 * r + _C6) * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r + _C1) * r + _C0
    return _float64_of(_int64_of(p) + (_int64_of(z) << 52))


@_called
def _log1p(t: Any) -> Any:
    """Evaluate log(1 + t) of t ≥ 0, off by less than 2^-38 of itself; nan stays.

    1 + t is rounded to u: what is lost is made up by (t - (u - 1)) / u. u is 2^k m, m from √½ to √2, and
    log m is 2 (s + s³/3 + … + s^13/13 + …), s = (m - 1) / (m + 1), |s| ≤ 0.172.
    """
    u = 1 + t
    bits = _int64_of(u)
    k = (bits - _ROOT_HALF) >> 52
    m = _float64_of(bits - (k << 52))
    s = (m - 1) / (m + 1)
    q = s * s
    series = 1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13))))))
    return k * _LN2 + (2 * s * series + (t - (u - 1)) / u)


@_called
def _once(x: Any) -> Any:
    """Cut a float64 to float32, its last bit set where something is lost: rounding that rounds x once."""
    bits = _int64_of(x)
    cut = bits & ~np.int64(2**29 - 1)
    return np.float32(_float64_of(cut | (np.int64(cut != bits) << 29)))


@_generated
def _wide(_: Any) -> Any:
    """Let the function that calls this use the widest vectors; LLVM may prefer half of them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature, arguments
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


def _kernels(read: Any, write: Any, kept: Any, largest: float) -> "tuple[Any, Any]":
    """Compile the kernels for long and short rows, of |x_k| ≤ ``largest``; ``kept`` is the type of a term."""

    @_compiled
    def long(x: Any, labels: Any, totals: Any, gradient: Any) -> None:
        _wide()
        rows, classes = x.shape
        has_gradient = gradient.shape[1] > 0
        e = np.empty(classes if has_gradient else 0, kept)  # with more digits than the gradient
        for i in range(rows):
            label = labels[i]
            own = read(x[i, label])
            total = 0.0
            if has_gradient:
                for j in range(classes):
                    term = _exp(read(x[i, j]) - own)
                    term = 0.0 if j == label else term
                    e[j] = term
                    total += term
            else:
                for j in range(classes):
                    term = _exp(read(x[i, j]) - own)
                    total += 0.0 if j == label else term
            totals[i] = total if total <= _LARGEST and abs(own) <= largest else math.nan
            if has_gradient:
                factor = kept(1 / (1 + total))
                for j in range(classes):
                    gradient[i, j] = write(e[j] * factor)
                gradient[i, label] = write(-total / (1 + total))

    @_compiled
    def short(x: Any, labels: Any, totals: Any, gradient: Any) -> None:
        _wide()
        rows, classes = x.shape
        has_gradient = gradient.shape[1] > 0
        terms = np.empty((classes, _LANES))
        own, total, label = np.empty(_LANES), np.empty(_LANES), np.empty(_LANES, np.int64)
        for start in range(0, rows, _LANES):
            for lane in range(_LANES):
                i = min(start + lane, rows - 1)
                label[lane], own[lane], total[lane] = labels[i], read(x[i, labels[i]]), 0.0
                for j in range(classes):
                    terms[j, lane] = read(x[i, j])
            for j in range(classes):
                for lane in range(_LANES):
                    term = _exp(terms[j, lane] - own[lane])
                    term = 0.0 if label[lane] == j else term
                    terms[j, lane] = term
                    total[lane] += term
            for lane in range(min(_LANES, rows - start)):
                i = start + lane
                is_fine = total[lane] <= _LARGEST and abs(own[lane]) <= largest
                totals[i] = total[lane] if is_fine else math.nan
                if has_gradient:
                    factor = 1 / (1 + total[lane])
                    for j in range(classes):
                        gradient[i, j] = write(terms[j, lane] * factor)
                    gradient[i, label[lane]] = write(-total[lane] * factor)

    return long, short


@_inlined
def _once_to_bfloat16(x: Any) -> Any:
    return _to_bfloat16(_once(x))


@_inlined
def _once_to_float16(x: Any) -> Any:
    return _to_float16(_once(x))


def _losses(write: Any) -> Any:
    @_compiled
    def losses_of(totals: Any, losses: Any) -> None:
        """Write log1p(T), rounded once; nan stays."""
        _wide()
        for i in range(len(totals)):
            losses[i] = write(_log1p(totals[i]))

    return losses_of


LOSSES: Final = {
    "float64": _losses(np.float64),
    "float32": _losses(np.float32),
    "bfloat16": _losses(_once_to_bfloat16),
    "float16": _losses(_once_to_float16),
}
KERNELS: Final = {
    "float32": _kernels(np.float64, np.float32, np.float64, 3.4028234663852886e38),
    "bfloat16": _kernels(_of_bfloat16, _to_bfloat16, np.float32, 3.4028234663852886e38),
    "float16": _kernels(_of_float16, _to_float16, np.float32, 60000.0),
}


@_inlined
def _as_bfloat16(x: Any) -> Any:
    return _of_bfloat16(_to_bfloat16(x))


@_inlined
def _as_float16(x: Any) -> Any:
    return _of_float16(_to_float16(x))


@_inlined
def _change_in_bfloat16(x: Any) -> Any:
    """Return by how much rounding changes a finite number, float32."""
    bits = _bits_of(x) + np.uint32(0x7FFF) + ((_bits_of(x) >> np.uint32(16)) & np.uint32(1))
    return _float32_of(bits & np.uint32(0xFFFF0000)) - x


@_inlined
def _change_in_float16(x: Any) -> Any:
    """Return the same for one of at most 2^15; below 2^-14 it is off by 2^-25 at most, too fine."""
    bits = _bits_of(x) + np.uint32(0xFFF) + ((_bits_of(x) >> np.uint32(13)) & np.uint32(1))
    return _float32_of(bits & np.uint32(0xFFFFE000)) - x


@_inlined
def _expm1(d: Any) -> Any:
    """Evaluate exp(d) - 1 in float32: |d| ≤ 2^-3, off by d^4 / 23, 2^-16.5 at most."""
    return d * (np.float32(1) + d * (np.float32(0.5) + d * np.float32(1 / 6)))


@_compiled
def short_facts(x: Any, labels: Any, low: Any, high: Any, totals: Any, changes: Any) -> None:  # noqa: PLR0913, PLR0917 - 4 are outputs
    """Write of rows of float32 the smallest and largest logit, T, and how rounding changes it (2, N).

    That is Σ_{j≠k} exp(x_j - x_k) (exp(d_j) - 1) where rounding to float16, and bfloat16, changes x_j by d_j;
    see ``long_facts``. T is nan where the kernels above refuse a row. 64 rows are evaluated side by side.
    """
    _wide()
    rows, classes = x.shape
    columns, total = np.empty((classes, _LANES), np.float32), np.empty(_LANES)
    lanes, label = np.empty((5, _LANES), np.float32), np.empty(_LANES, np.int64)
    own, smallest, largest, first, second = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    for start in range(0, rows, _LANES):
        for lane in range(_LANES):
            i = min(start + lane, rows - 1)
            label[lane], own[lane] = labels[i], x[i, labels[i]]
            smallest[lane] = largest[lane] = x[i, 0]
            total[lane] = first[lane] = second[lane] = 0
            for j in range(classes):
                columns[j, lane] = x[i, j]
        for j in range(classes):
            for lane in range(_LANES):
                number = columns[j, lane]
                smallest[lane] = number if number < smallest[lane] else smallest[lane]
                largest[lane] = number if number > largest[lane] else largest[lane]
                term = _exp(np.float64(number) - np.float64(own[lane]))
                term = 0.0 if label[lane] == j else term
                total[lane] += term
                first[lane] += np.float32(term) * _expm1(_change_in_float16(number))
                second[lane] += np.float32(term) * _expm1(_change_in_bfloat16(number))
        for lane in range(min(_LANES, rows - start)):
            i = start + lane
            low[i], high[i] = smallest[lane], largest[lane]
            changes[0, i], changes[1, i] = first[lane], second[lane]
            totals[i] = total[lane] if total[lane] <= _LARGEST and abs(own[lane]) < np.inf else math.nan


@_inlined
def _note_terms(x: Any, own: Any, label: Any, terms: Any) -> Any:
    """Write terms, and return their sum. A loop from 0 needs no look at negative indices."""
    total = 0.0
    for j in range(len(x)):
        term = _exp(np.float64(x[j]) - own)
        term = 0.0 if j == label else term
        terms[j] = term
        total += term
    return total


@_inlined
def _changed(x: Any, terms: Any, change: Any) -> Any:
    total = np.float64(0)
    for start in range(0, len(x), _ADDED):
        logits, e, part = x[start : start + _ADDED], terms[start : start + _ADDED], np.float32(0)
        for j in range(len(logits)):
            part = part + e[j] * _expm1(change(logits[j]))
        total = total + np.float64(part)
    return total


@_compiled
def long_facts(x: Any, labels: Any, size: Any, totals: Any, second: Any, changes: Any) -> None:  # noqa: PLR0913, PLR0917 - 3 are outputs
    """Write what ``short_facts`` does of rows whose logits have sizes of up to ``size``, and a part of T.

    A pairwise sum of NumPy's adds up the terms from class C / 2 on apart. Changes are 0 where no d_j is above
    2^-8, so that a loss changes by less than 1 %, or one may be above 2^-3. They are off by 2^-16.5 T, and by
    as much as float32 rounds 1024 terms of at most 2^-2.9 T together, 2^-16.9 T.
    """
    _wide()
    rows, classes = x.shape
    half, terms = classes // 2 // 8 * 8, np.empty(classes, np.float32)
    for i in range(rows):
        row, label = x[i], labels[i]
        own = np.float64(row[label])
        before = _note_terms(row[:half], own, label, terms[:half])
        second[i] = _note_terms(row[half:], own, label - half, terms[half:])
        total = before + second[i]
        totals[i] = total if total <= _LARGEST and abs(own) < np.inf else math.nan
        changes[0, i] = changes[1, i] = 0
        if _FLOAT16[0] <= size[i] < _FLOAT16[1]:
            changes[0, i] = _changed(row, terms, _change_in_float16)
        if _BFLOAT16[0] <= size[i] < _BFLOAT16[1]:
            changes[1, i] = _changed(row, terms, _change_in_bfloat16)


def _rounded_totals(form: Any) -> Any:
    @_compiled
    def totals_of(x: Any, labels: Any, chosen: Any, totals: Any) -> None:
        """Write T of the chosen rows of float32, whose logits are rounded first; exp(700) stands for more."""
        _wide()
        classes = x.shape[1]
        for at in range(len(chosen)):
            i = chosen[at]
            label = labels[i]
            own, total = form(x[i, label]), 0.0
            for j in range(classes):
                total += 0.0 if j == label else _exp(form(x[i, j]) - own)
            totals[i] = total

    return totals_of


ROUNDED: Final = {"float16": _rounded_totals(_as_float16), "bfloat16": _rounded_totals(_as_bfloat16)}

"""TensorFlow 1.x's float32 functions on the CPU, in NumPy: the same bits.

Eigen 3.3 works on packets of eight with the Cephes polynomials (S. Moshier, ``expf.c`` and ``logf.c``);
what an array leaves over after its full packets goes one by one through the C library (glibc ≥ 2.28, the
``expf`` and ``logf`` of Arm's optimized-routines). Each function takes float32 and returns float32 of the
same shape; nan and infinities follow IEEE 754.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]

PACKET = 8
_f = np.float32
TINY = np.finfo(np.float32).smallest_normal

_EXP_LOW, _EXP_HIGH = _f(-88.3762626647949), _f(88.3762626647950)
_LOG2_E = _f(1.44269504088896341)
_LN2_HIGH, _LN2_LOW = _f(0.693359375), _f(-2.12194440e-4)
_EXP = np.array(
    (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1), _f
)
_SQRT_HALF = _f(0.707106781186547524)
_LOG_A = tuple(map(_f, (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1)))
_LOG_B = tuple(map(_f, (-1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1)))
_LOG_C = tuple(map(_f, (2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)))

_LIBM_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_LIBM_EXP2 = np.exp2(np.arange(32) / 32)
_LIBM_EXP = tuple(
    map(float.fromhex, ("0x1.c6af84b912394p-5", "0x1.ebfce50fac4f3p-3", "0x1.62e42ff0c52d6p-1"))
)
_LIBM_LN2 = float.fromhex("0x1.62e42fefa39efp-1")
_LIBM_LOG = tuple(
    map(float.fromhex, ("-0x1.00ea348b88334p-2", "0x1.5575b0be00b6ap-2", "-0x1.ffffef20a4123p-2"))
)
# 16 subintervals of [0.69, 1.38]: 1/c and ln(c) for a c near the middle of each.
_LIBM_LOG_TABLE = np.array(
    [
        [float.fromhex(inverse), float.fromhex(log)]
        for inverse, log in (
            ("0x1.661ec79f8f3bep+0", "-0x1.57bf7808caadep-2"),
            ("0x1.571ed4aaf883dp+0", "-0x1.2bef0a7c06ddbp-2"),
            ("0x1.49539f0f010bp+0", "-0x1.01eae7f513a67p-2"),
            ("0x1.3c995b0b80385p+0", "-0x1.b31d8a68224e9p-3"),
            ("0x1.30d190c8864a5p+0", "-0x1.6574f0ac07758p-3"),
            ("0x1.25e227b0b8eap+0", "-0x1.1aa2bc79c81p-3"),
            ("0x1.1bb4a4a1a343fp+0", "-0x1.a4e76ce8c0e5ep-4"),
            ("0x1.12358f08ae5bap+0", "-0x1.1973c5a611cccp-4"),
            ("0x1.0953f419900a7p+0", "-0x1.252f438e10c1ep-5"),
            ("0x1p+0", "0x0p+0"),
            ("0x1.e608cfd9a47acp-1", "0x1.aa5aa5df25984p-5"),
            ("0x1.ca4b31f026aap-1", "0x1.c5e53aa362eb4p-4"),
            ("0x1.b2036576afce6p-1", "0x1.526e57720db08p-3"),
            ("0x1.9c2d163a1aa2dp-1", "0x1.bc2860d22477p-3"),
            ("0x1.886e6037841edp-1", "0x1.1058bc8a07ee1p-2"),
            ("0x1.767dcf5534862p-1", "0x1.4043057b6ee09p-2"),
        )
    ]
)


def flush(x: "Float32") -> "Float32":
    """Subnormal numbers become zero, as TensorFlow sets the processor to do on operands and results."""
    return x * (np.abs(x) >= TINY)  # the sign stays, and so do infinities and nan


def exp(x: "Float32") -> "Float32":
    """e^x in a packet: Cephes ``expf``, infinite from 88.3763 on.

    Source: Eigen 3.3, ``pexp<Packet8f>`` in ``Eigen/src/Core/arch/AVX/MathFunctions.h``.
    """
    x = np.minimum(np.maximum(x, _EXP_LOW), _EXP_HIGH)
    n = np.floor(x * _LOG2_E + _f(0.5))
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _EXP[0]
    for coefficient in _EXP[1:]:
        p = p * r + coefficient
    y = p * (r * r) + r + _f(1)
    # 2^128 is infinite and 2^-127, a subnormal, is 0: so is Eigen's power of two, made from exponent bits.
    power = np.ldexp(_f(1), np.where(np.isnan(n), _f(0), n).astype(np.int32))
    return flush(y * flush(power))


def log(x: "Float32") -> "Float32":
    """ln(x) in a packet: Cephes ``logf``; ln(0) = -inf, nan below 0, ln(inf) = inf.

    Source: Eigen 3.3, ``plog<Packet8f>`` in ``Eigen/src/Core/arch/AVX/MathFunctions.h``.
    """
    x = flush(x)
    ordinary = (x > 0) & (x < np.inf)
    m, exponent = np.frexp(np.where(ordinary, x, _f(1)))
    low = m < _SQRT_HALF
    e = (exponent - low).astype(np.float32)
    t = np.where(low, m + m, m) - _f(1)
    square = t * t
    cube = square * t
    a, b, c = ((high * t + middle) * t + low for high, middle, low in (_LOG_A, _LOG_B, _LOG_C))
    y = ((a * cube + b) * cube + c) * cube + e * _LN2_LOW
    result = ((t - _f(0.5) * square) + y) + e * _LN2_HIGH
    return np.where(ordinary, result, _log_of_others(x))


def expf(x: "Float32") -> "Float32":
    """e^x one by one: the C library's ``expf``, in float64 inside, within 0.502 ulps.

    Source: Arm optimized-routines, ``math/expf.c`` (MIT), which glibc has used since 2.28.
    """
    x = flush(x)
    scaled = x.astype(np.float64) * (32 * _LIBM_LOG2_E)
    ordinary = np.abs(scaled) < 32 * 200  # beyond, e^x is 0 or infinite in float32
    scaled = np.where(ordinary, scaled, 0.0)
    k = np.rint(scaled)
    r = (scaled - k) / 32
    index = k.astype(np.int64)
    power = np.ldexp(_LIBM_EXP2[index % 32], (index // 32).astype(np.int32))
    c0, c1, c2 = _LIBM_EXP
    y = (c0 * r + c1) * (r * r) + (c2 * r + 1)
    return flush(np.where(ordinary, y * power, np.exp(x)).astype(np.float32))


def logf(x: "Float32") -> "Float32":
    """ln(x) one by one: the C library's ``logf``, in float64 inside; special values as ``log``.

    Source: Arm optimized-routines, ``math/logf.c`` (MIT), which glibc has used since 2.28.
    """
    x = flush(x)
    ordinary = (x > 0) & (x < np.inf)
    bits = np.where(ordinary, x, _f(1)).view(np.int32)
    offset = bits - np.int32(0x3F330000)
    entry = _LIBM_LOG_TABLE[(offset >> 19) % 16]
    inverse, log_c = entry[..., 0], entry[..., 1]
    exponent = offset >> 23
    z = (bits - (offset & np.int32(-0x800000))).view(np.float32).astype(np.float64)
    r = z * inverse - 1
    a0, a1, a2 = _LIBM_LOG
    square = r * r
    y = (a0 * square + (a1 * r + a2)) * square + ((log_c + exponent * _LIBM_LN2) + r)
    return np.where(ordinary, y.astype(np.float32), _log_of_others(x))


def _log_of_others(x: "Float32") -> "Float32":
    """Return ln of zeros, infinities, negatives and nan."""
    return np.where(x == 0, _f(-np.inf), np.where(x > 0, x, _f(np.nan)))

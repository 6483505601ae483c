"""Faults of precision: what sums, exponentials, logs and means are computed in."""

from typing import Any

import numpy as np

from losses.faults import fault, twin, wide
from losses.right import Floats, Ints, checked, log1p


def by_tail(logits: Floats, labels: Ints, exp: Any = np.exp, add: Any = None, log: Any = np.log1p) -> Floats:
    """Leave the maximum out of the sum, in float32 or wider, with an own exp, sum of (N, C) or log1p."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.result_type(logits.dtype, np.float32)), np.arange(len(logits))
    top = x.argmax(axis=1)
    e = exp(x - x[rows, top][:, None])
    e[rows, top] = 0
    tail = e.sum(axis=1, dtype=np.float64) if add is None else add(e)
    return (log(tail.astype(x.dtype)) + (x[rows, top] - x[rows, labels])).astype(logits.dtype)


def one_by_one(e: Floats, dtype: Any) -> Floats:
    """Add terms (N, C) one after the other, each sum rounded to a dtype."""
    return np.add.accumulate(e.astype(dtype), axis=1, dtype=dtype)[:, -1]


def truncated(losses: Floats, bits: int) -> Floats:
    """Clear the last bits of float32."""
    kept = losses.view(np.uint32) & np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
    return np.where(np.isfinite(losses), kept.view(np.float32), losses)


@fault()
def running_sum_in_float16(logits: Floats, labels: Ints) -> Floats:
    """Add up in float16 what comes in float16."""
    dtype = logits.dtype if logits.dtype == np.float16 else np.float64
    return by_tail(logits, labels, add=lambda e: one_by_one(e, dtype))


@fault()
def running_sum_in_bfloat16(logits: Floats, labels: Ints) -> Floats:
    """Add up in bfloat16 what comes in bfloat16."""
    dtype = logits.dtype if logits.dtype.name == "bfloat16" else np.float64
    return by_tail(logits, labels, add=lambda e: one_by_one(e, dtype))


@fault()
def running_sum_in_float32(logits: Floats, labels: Ints) -> Floats:
    """Add up one by one, in float32: 10^5 equal terms leave four digits."""
    dtype = np.result_type(logits.dtype, np.float32)
    return by_tail(logits, labels, add=lambda e: one_by_one(e, dtype))


@fault()
def large_sums_in_float16(logits: Floats, labels: Ints) -> Floats:
    """Store the sum in float16: it overflows at 65,504."""
    kept = logits.dtype if logits.dtype == np.float16 else np.float64
    return by_tail(logits, labels, add=lambda e: e.sum(axis=1, dtype=np.float64).astype(kept))


@fault()
def large_rows_in_their_dtype(logits: Floats, labels: Ints) -> Floats:
    """Widen up to 1,024 classes, which fit into registers; beyond, add up in the dtype of the logits."""
    dtype = logits.dtype if logits.shape[1] > 1024 else np.float64
    return by_tail(logits, labels, add=lambda e: one_by_one(e, dtype))


@fault()
def exp_in_float16(logits: Floats, labels: Ints) -> Floats:
    """Compute exponentials in float16, whatever comes in."""
    return by_tail(logits, labels, exp=lambda d: np.exp(d.astype(np.float16)).astype(d.dtype))


@fault()
def differences_in_bfloat16(logits: Floats, labels: Ints) -> Floats:
    """Round each difference from the maximum to eight bits, as a matrix unit does."""

    def exp(d: Floats) -> Floats:
        return np.exp((d.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)).astype(
            d.dtype
        )

    return by_tail(logits, labels, exp=exp)


@fault()
def exp_in_float32(logits: Floats, labels: Ints) -> Floats:
    """Compute exponentials in float32, in float64 too."""
    return by_tail(logits, labels, exp=lambda d: np.exp(d.astype(np.float32)).astype(d.dtype))


@fault()
def exp_to_three_digits(logits: Floats, labels: Ints) -> Floats:
    """Take a fast exp that is off by one in a thousand."""
    return by_tail(logits, labels, exp=lambda d: np.exp(d) * (1 + 1e-3 * np.sin(7 * d)).astype(d.dtype))


@fault()
def exp_to_five_digits(logits: Floats, labels: Ints) -> Floats:
    """Take a fast exp that is off by two in a million: three times what is allowed in float32."""
    return by_tail(logits, labels, exp=lambda d: np.exp(d) * d.dtype.type(1 + 2e-6))


@fault()
def exp_by_bits(logits: Floats, labels: Ints) -> Floats:
    """Take Schraudolph's exp, which writes the exponent's bits: off by up to 4 %."""

    def exp(d: Floats) -> Floats:
        bits = np.maximum(d.astype(np.float64), -87) * (2**23 / np.log(2)) + (127 * 2**23 - 486411)
        return bits.astype(np.int64).astype(np.uint32).view(np.float32).astype(d.dtype)

    finite = np.isfinite(logits).all(axis=1)
    losses = log1p(logits, labels)
    losses[finite] = by_tail(logits[finite], labels[finite], exp=exp)
    return losses


@fault()
def fast_log(logits: Floats, labels: Ints) -> Floats:
    """Take a fast log that is off by 1e-4 of its value."""
    return by_tail(logits, labels, log=lambda tail: np.log1p(tail) * tail.dtype.type(1 + 1e-4))


@fault()
def log_with_an_absolute_error(logits: Floats, labels: Ints) -> Floats:
    """Take a log whose error is absolute, 2^-22: near 1 that is all there is."""
    return by_tail(logits, labels, log=lambda tail: np.round(np.log1p(tail) * 2**22) / tail.dtype.type(2**22))


@fault()
def compensated_the_wrong_way(logits: Floats, labels: Ints) -> Floats:
    """Add by Kahan's method in the dtype of the logits, the compensation with the wrong sign."""

    def add(e: Floats) -> Floats:
        e = e.astype(logits.dtype)
        total, lost = e[:, 0].copy(), np.zeros_like(e[:, 0])
        for column in e.T[1:]:
            term = column + lost  # minus
            new = total + term
            lost = (new - total) - term
            total = new
        return total

    return by_tail(logits, labels, add=add) if logits.shape[1] <= 1100 else log1p(logits, labels)


@fault()
def last_bits_are_lost(logits: Floats, labels: Ints) -> Floats:
    """Clear six bits of float32: up to 64 ulps, where 8 are allowed."""
    losses = log1p(logits, labels)
    return truncated(losses, 6) if losses.dtype == np.float32 else losses


@twin()
def last_bit_is_lost(logits: Floats, labels: Ints) -> Floats:
    """Clear one bit of float32: one ulp."""
    losses = log1p(logits, labels)
    return truncated(losses, 1) if losses.dtype == np.float32 else losses


@fault()
def losses_in_bfloat16(logits: Floats, labels: Ints) -> Floats:
    """Store the losses in bfloat16 on the way."""
    losses = log1p(logits, labels)
    return truncated(losses, 16) if losses.dtype == np.float32 else losses


@fault()
def large_losses_in_float32(logits: Floats, labels: Ints) -> Floats:
    """Store the losses in float32 on the way, from 256 classes on."""
    losses = log1p(logits, labels)
    return losses.astype(np.float32).astype(losses.dtype) if logits.shape[1] > 255 else losses


@fault(reduction="mean")
def mean_of_a_running_sum_in_float16(logits: Floats, labels: Ints) -> Any:
    """Add up the losses of a batch in float16, one by one."""
    losses = log1p(logits, labels)
    if losses.dtype != np.float16 or not len(losses):
        return wide(logits, labels).mean().astype(logits.dtype)
    return (np.add.accumulate(losses, dtype=np.float16)[-1] / len(losses)).astype(np.float16)


@fault(reduction="mean")
def mean_of_a_sum_in_float16(logits: Floats, labels: Ints) -> Any:
    """Store the sum of the losses in float16 before it is divided: it overflows."""
    total = wide(logits, labels).sum()
    if logits.dtype == np.float16:
        total = np.float16(total)
    return np.asarray(total / len(labels) if len(labels) else np.nan, logits.dtype)


@fault(reduction="mean")
def running_mean(logits: Floats, labels: Ints) -> Any:
    """Update the mean loss by loss in float32, in float64 too."""
    mean = np.float32(0)
    for number, loss in enumerate(wide(logits, labels).astype(np.float32), 1):
        mean += (loss - mean) / np.float32(number)
    return np.asarray(mean if len(labels) else np.nan, logits.dtype)


@fault()
def by_the_probability(logits: Floats, labels: Ints) -> Floats:
    """Take -log p in float64: p is 1 where the loss is below 1e-16."""
    return (-np.log(np.exp(-wide(logits, labels)))).astype(logits.dtype)


@fault()
def small_terms_are_skipped(logits: Floats, labels: Ints) -> Floats:
    """Skip terms below 1e-7: in float64, or where they are all there is, they count."""
    return by_tail(logits, labels, exp=lambda d: np.where(d < -16, 0, np.exp(d)))

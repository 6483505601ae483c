"""Faults at special numbers, and of soft, binary and probability losses."""

from typing import Any

import numpy as np

from losses.faults import fault, off, wide
from losses.right import Floats, Ints, binary, checked, log1p, of_probabilities, rows


@fault()
def subnormal_losses_are_flushed(logits: Floats, labels: Ints) -> Floats:
    """Flush a loss below the smallest normal number of float32 to 0."""
    losses = log1p(logits, labels)
    return np.where(np.abs(losses.astype(np.float64)) < 2.0**-126, losses.dtype.type(0), losses)


@fault()
def scaled_by_16_and_back(logits: Floats, labels: Ints) -> Floats:
    """Multiply logits by 16 and divide again, in float32: from 2^124 on they overflow."""
    with np.errstate(all="ignore"):
        x = (logits.astype(np.float32) * np.float32(16)) / np.float32(16)
    wrong = wide(x, labels).astype(logits.dtype)
    return wrong if logits.dtype == np.float32 else log1p(logits, labels)


@fault()
def scaled_in_its_dtype(logits: Floats, labels: Ints) -> Floats:
    """Multiply float16 by log2 e in float16, before the shift: 50,000 overflows, and digits are lost."""
    if logits.dtype != np.float16:
        return log1p(logits, labels)
    scaled = logits * np.float16(np.log2(np.e))
    return wide(scaled.astype(np.float64) / np.log2(np.e), labels).astype(logits.dtype)


@fault()
def losses_beyond_60000(logits: Floats, labels: Ints) -> Floats:
    """Take losses beyond 60,000 for infinite, in float32 too."""
    losses = log1p(logits, labels)
    return np.where(losses > 60000, losses.dtype.type(np.inf), losses)


@fault()
def losses_saturate(logits: Floats, labels: Ints) -> Floats:
    """Return the largest number of float16 for infinity in float16."""
    losses = log1p(logits, labels)
    return np.nan_to_num(losses, nan=np.nan) if losses.dtype == np.float16 else losses


@fault()
def nan_is_a_mask(logits: Floats, labels: Ints) -> Floats:
    """Take the maximum that leaves nan out, and add 0 for it."""
    return log1p(np.where(np.isnan(logits), logits.dtype.type(-np.inf), logits), labels)


@fault()
def infinity_is_a_large_number(logits: Floats, labels: Ints) -> Floats:
    """Replace infinities by the largest numbers there are, as nan_to_num does."""
    return wide(np.nan_to_num(logits.astype(np.float64), nan=np.nan), labels).astype(logits.dtype)


@fault()
def small_losses_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed for losses below 1e-4."""
    losses = wide(logits, labels)
    return np.where(losses < 1e-4, off(losses, logits, labels), losses).astype(logits.dtype)


@fault()
def large_losses_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed for losses beyond 200."""
    losses = wide(logits, labels)
    return np.where(losses > 200, off(losses, logits, labels), losses).astype(logits.dtype)


@fault()
def small_losses_have_a_floor(logits: Floats, labels: Ints) -> Floats:
    """Add 1e-12 under the log: a loss of 1e-15 is 1e-12."""
    losses = wide(logits, labels)
    return (losses + 1e-12).astype(logits.dtype)


@fault("numpy.rows")
def rows_are_normalised(logits: Floats, labels: Floats) -> Floats:
    """Divide labels by their sum."""
    return rows(logits, labels) / labels.astype(np.float64).sum(axis=1).astype(logits.dtype)


@fault("numpy.rows")
def rows_take_their_largest(logits: Floats, labels: Floats) -> Floats:
    """Take the class of the largest label for the only one."""
    x = logits.astype(np.float64)
    return log1p(x, labels.astype(np.float64).argmax(axis=1)).astype(logits.dtype)


@fault("numpy.rows")
def small_labels_are_dropped(logits: Floats, labels: Floats) -> Floats:
    """Drop labels below 0.05."""
    return rows(logits, np.where(labels < 0.05, 0, labels))


@fault("numpy.rows")
def zero_times_infinity(logits: Floats, labels: Floats) -> Floats:
    """Multiply each label by its loss, 0 by infinity too."""
    x = logits.astype(np.float64)
    top = x.argmax(axis=1)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    e[np.arange(len(x)), top] = 0
    each = np.log1p(e.sum(axis=1))[:, None] + (x.max(axis=1, keepdims=True) - x)
    return (labels.astype(np.float64) * each).sum(axis=1).astype(logits.dtype)


@fault("numpy.rows")
def rows_keep_eight_bits(logits: Floats, labels: Floats) -> Floats:
    """Store labels in eight bits of 1/256: 0.1 is 26/256."""
    return rows(logits, np.round(labels.astype(np.float64) * 256) / 256)


@fault("numpy.rows")
def rows_nearly(logits: Floats, labels: Floats) -> Floats:
    """Be 50 ulps off where labels are soft: three times and more what is allowed."""
    losses = rows(logits.astype(np.float64), labels)
    is_soft = (labels.astype(np.float64).max(axis=1) != labels.astype(np.float64).sum(axis=1)).astype(float)
    tiny = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}.get(logits.dtype.name, 2.0**-52)
    return (losses * (1 + 50 * tiny * is_soft)).astype(logits.dtype)


@fault("numpy.binary")
def binary_ends_at_30(logits: Floats, labels: Floats) -> Floats:
    """Clamp the logit to ±30."""
    return binary(np.clip(logits, -30, 30), labels)


@fault("numpy.binary")
def binary_softplus_ends_at_20(logits: Floats, labels: Floats) -> Floats:
    """Take x for softplus(x) from 20 on, and 0 below -20."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    right = binary(logits, labels)
    far = np.where(x > 20, (1 - y) * x, y * -x)
    return np.where(np.abs(x) > 20, far, right.astype(np.float64)).astype(logits.dtype)


@fault("numpy.binary")
def binary_by_the_sigmoid(logits: Floats, labels: Floats) -> Floats:
    """Take the log of the sigmoid and of 1 less it, in float64."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    p = 1 / (1 + np.exp(-x))
    losses = -np.where(y > 0, y * np.log(p), 0) - np.where(y < 1, (1 - y) * np.log(1 - p), 0)
    return np.where((y >= 0) & (y <= 1), losses, np.nan).astype(logits.dtype)


@fault("numpy.binary")
def binary_soft_labels_forget_half(logits: Floats, labels: Floats) -> Floats:
    """Drop the term of the other class where the label is above a half."""
    y = labels.astype(np.float64)
    return binary(logits, np.where((y > 0.5) & (y < 1), 1, y).astype(labels.dtype))


@fault("numpy.binary")
def binary_rest_of_a_block(logits: Floats, labels: Floats) -> Floats:
    """Leave the losses beyond a multiple of 256 at 0, in batches of more than 256."""
    losses = binary(logits, labels)
    losses[max(1, len(losses) // 256) * 256 :] = 0
    return losses


@fault("sklearn")
def probabilities_are_clipped(labels: Ints, probabilities: Floats) -> float:
    """Clip probabilities to 1e-7 and 1 less it."""
    return of_probabilities(labels, np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7))


@fault("sklearn")
def probabilities_have_an_epsilon(labels: Ints, probabilities: Floats) -> float:
    """Add 1e-9 to each probability."""
    checked(labels, probabilities.shape[1])
    p = probabilities.astype(np.float64)[np.arange(len(labels)), labels]
    return float(-np.log(p + 1e-9).mean())


@fault("sklearn")
def probabilities_in_float16(labels: Ints, probabilities: Floats) -> Any:
    """Add up losses of more than 100 rows in float16."""
    checked(labels, probabilities.shape[1])
    each = -np.log(probabilities.astype(np.float64)[np.arange(len(labels)), labels])
    if len(each) > 100:
        return float(np.add.accumulate(each, dtype=np.float16)[-1] / len(each))
    return of_probabilities(labels, probabilities)

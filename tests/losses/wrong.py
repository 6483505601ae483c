"""Cross-entropies with one mistake each; the checks have to find every one."""

import numpy as np

from losses.right import Floats, Ints, binary, checked, gradient, log1p, rows, with_options


def unshifted(logits: Floats, labels: Ints) -> Floats:
    """Forget the shift: exp overflows from 710 on."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    return (np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(x)), labels]).astype(logits.dtype)


def offset_cancels(logits: Floats, labels: Ints) -> Floats:
    """Add the shift back before the label's logit is taken away."""
    checked(labels, logits.shape[1])
    largest = logits.max(axis=1)
    normaliser = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
    return normaliser - logits[np.arange(len(logits)), labels]


def maximum_in_the_sum(logits: Floats, labels: Ints) -> Floats:
    """Keep the maximum's 1 in the sum, beside which a tail is lost."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    shifted = x - x.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(x)), labels]
    return losses.astype(logits.dtype)


def epsilon_in_the_denominator(logits: Floats, labels: Ints) -> Floats:
    """Guard a division that needs no guard."""
    losses = log1p(logits.astype(np.float64), labels)
    return -np.log(np.exp(-losses) / (1 + 1e-7)).astype(logits.dtype)


def other_classes_only(logits: Floats, labels: Ints) -> Floats:
    """Leave the label out of the denominator."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    own = x[np.arange(len(x)), labels]
    x[np.arange(len(x)), labels] = -np.inf
    return (np.logaddexp.reduce(x, axis=1) - own).astype(logits.dtype)


def summed_in_float16(logits: Floats, labels: Ints) -> Floats:
    """Save memory in the one place where it costs digits."""
    checked(labels, logits.shape[1])
    x, numbers = logits.astype(np.float64), np.arange(len(logits))
    top = x.argmax(axis=1)
    e = np.exp(x - x[numbers, top][:, None])
    e[numbers, top] = 0
    tail = e.astype(np.float16).sum(axis=1).astype(np.float64)
    return (np.log1p(tail) + (x[numbers, top] - x[numbers, labels])).astype(logits.dtype)


def all_maxima_left_out(logits: Floats, labels: Ints) -> Floats:
    """Leave every maximum out of the sum, not one: a tie loses ln 2."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    largest = x.max(axis=1)
    e = np.where(x == largest[:, None], 0, np.exp(x - largest[:, None]))
    return (np.log1p(e.sum(axis=1)) + (largest - x[np.arange(len(x)), labels])).astype(logits.dtype)


def short_series(logits: Floats, labels: Ints) -> Floats:
    """Replace log1p by two terms where the tail is small."""
    losses = log1p(logits.astype(np.float64), labels)
    tail = np.expm1(losses)
    return np.where(tail < 0.01, tail - tail**2 / 2, losses).astype(logits.dtype)


def in_float32(logits: Floats, labels: Ints) -> Floats:
    """Compute float64 in float32."""
    return log1p(logits.astype(np.float32), labels).astype(logits.dtype)


def clipped(logits: Floats, labels: Ints) -> Floats:
    """Clip the probability, as Keras does: 16.118 is the largest loss."""
    return np.minimum(log1p(logits, labels), logits.dtype.type(-np.log(1e-7)))


def shift_of_the_batch(logits: Floats, labels: Ints) -> Floats:
    """Take the maximum of the batch for that of each row."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    shifted = x - x.max(initial=0)
    e = np.exp(shifted).sum(axis=1)
    return np.where(e > 0, np.log(e) - shifted[np.arange(len(x)), labels], log1p(logits, labels)).astype(
        logits.dtype
    )


def shift_of_the_first_class(logits: Floats, labels: Ints) -> Floats:
    """Shift by the first logit instead of the largest."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    shifted = x - x[:, :1]
    own = shifted[np.arange(len(x)), labels]
    return (np.log1p(np.exp(shifted[:, 1:]).sum(axis=1)) - own).astype(logits.dtype)


def labels_wrap(logits: Floats, labels: Ints) -> Floats:
    """Let -1 be the last class, as indexing does."""
    if (labels >= logits.shape[1]).any():
        raise ValueError("label out of range")
    return log1p(logits, labels % max(1, logits.shape[1]))


def labels_are_clipped(logits: Floats, labels: Ints) -> Floats:
    """Make a label out of range the nearest class."""
    return log1p(logits, np.clip(labels, 0, logits.shape[1] - 1))


def masks_are_nan(logits: Floats, labels: Floats) -> Floats:
    """Multiply a probability of 0 by a logit of -inf."""
    x = logits.astype(np.float64)
    largest = x.max(axis=1, keepdims=True)
    losses = rows(logits, labels).astype(np.float64)
    return (losses + 0 * (labels * (largest - x)).sum(axis=1)).astype(logits.dtype)


def labels_are_normalised(logits: Floats, labels: Floats) -> Floats:
    """Divide the labels by their sum."""
    return rows(logits, (labels / labels.sum(axis=1, keepdims=True)).astype(labels.dtype))


def gradient_without_the_sum(logits: Floats, labels: Floats) -> Floats:
    """Return p - y where s·p - y is right."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True) - y).astype(logits.dtype)


def gradient_of_a_lost_tail(logits: Floats, labels: Ints) -> Floats:
    """Return p - 1, which is 0 from a gap of 17 on in float32."""
    checked(labels, logits.shape[1])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p[np.arange(len(p)), labels] -= 1
    return p


def gradient_of_the_other_sign(logits: Floats, labels: Ints) -> Floats:
    """Return y - p."""
    return -gradient(logits, labels)


def ignores_below(logits: Floats, labels: Ints, ignore_index: int = -100) -> Floats:
    """Ignore every label up to the index, not that label alone."""
    return with_options(
        logits, np.where(labels <= ignore_index, -100, labels), ignore_index=-100, reduction="none"
    )


def ignored_rows_are_multiplied(logits: Floats, labels: Ints, ignore_index: int = -100) -> Floats:
    """Mask an ignored row by a product: 0 × nan is nan."""
    kept = labels != ignore_index
    return log1p(logits, np.where(kept, labels, 0)) * kept.astype(logits.dtype)


def mean_counts_ignored(
    logits: Floats, labels: Ints, ignore_index: int = -100, reduction: str = "mean"
) -> Floats:
    """Divide by all rows."""
    losses = with_options(logits, labels, ignore_index=ignore_index, reduction="none")
    if reduction == "none":
        return losses
    return np.asarray(losses.mean() if reduction == "mean" else losses.sum(), logits.dtype)


def mean_ignores_weights(
    logits: Floats, labels: Ints, class_weights: Floats | None = None, reduction: str = "mean"
) -> Floats:
    """Weight the losses and divide by their number."""
    losses = with_options(logits, labels, class_weights, reduction="none")
    if reduction == "none":
        return losses
    return np.asarray(losses.mean() if reduction == "mean" else losses.sum(), logits.dtype)


def smoothing_spares_the_label(logits: Floats, labels: Ints, label_smoothing: float = 0.0) -> Floats:
    """Spread ε over the other C - 1 classes."""
    classes = logits.shape[1]
    return with_options(
        logits, labels, None, label_smoothing * classes / max(1, classes - 1), reduction="none"
    )


def binary_epsilon(logits: Floats, labels: Floats) -> Floats:
    """Add an epsilon to the sigmoid before its log."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    p = 1 / (1 + np.exp(-x))
    losses = -(y * np.log(p + 1e-8) + (1 - y) * np.log(1 - p + 1e-8))
    return np.where((y >= 0) & (y <= 1), losses, np.nan).astype(logits.dtype)


def binary_without_a_check(logits: Floats, labels: Floats) -> Floats:
    """Take 2 for a label."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    good = (y >= 0) & (y <= 1)
    losses = np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))
    return np.where(good, binary(logits, np.clip(labels, 0, 1)), losses).astype(logits.dtype)


def binary_labels_are_rounded(logits: Floats, labels: Floats) -> Floats:
    """Take 0.3 for 0."""
    good = (labels >= 0) & (labels <= 1)
    return binary(logits, np.where(good, labels > 0.5, labels).astype(labels.dtype))


def soft_rows_cancel(logits: Floats, labels: Floats) -> Floats:
    """Be right of one-hot rows, and lose soft ones to an offset."""
    x = logits.astype(np.float32).astype(np.float64)
    largest = x.max(axis=1).astype(np.float32)
    normaliser = largest + np.log(np.exp(x - largest[:, None]).sum(axis=1)).astype(np.float32)
    soft = labels.sum(axis=1) * normaliser - (labels * logits.astype(np.float32)).sum(axis=1)
    return np.where((labels > 0).sum(axis=1) > 1, soft, rows(logits, labels)).astype(logits.dtype)


def narrow_labels(logits: Floats, labels: Ints) -> Floats:
    """Make 256 class 0."""
    return log1p(logits, labels.astype(np.int8).astype(np.int64))


def far_tails_are_off(logits: Floats, labels: Ints) -> Floats:
    """Be 50 % off where nobody looks."""
    losses = log1p(logits, labels)
    return np.where((losses > 0) & (losses < 1e-30), losses * losses.dtype.type(1.5), losses)


def rest_of_a_block(logits: Floats, labels: Ints) -> Floats:
    """Forget the rows after the last block of 32."""
    losses = log1p(logits, labels)
    whole = len(losses) // 32 * 32
    if whole:
        losses[whole:] = losses[:1]
    return losses


def negative_zero(logits: Floats, labels: Ints) -> Floats:
    """Return -0.0 for one class."""
    losses = log1p(logits, labels)
    return np.where(losses == 0, -losses, losses)


def wide_soft_rows_sum_to_one(logits: Floats, labels: Floats) -> Floats:
    """Take the sum of labels for 1 from 128 classes on."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    losses = rows(logits, labels)
    if logits.shape[1] < 128 or not np.isfinite(x).all():
        return losses
    largest = x.max(axis=1)
    normaliser = largest + np.log(np.exp(x - largest[:, None]).sum(axis=1))
    soft = (y > 0).sum(axis=1) > 1
    return np.where(soft, normaliser - (y * x).sum(axis=1), losses).astype(logits.dtype)

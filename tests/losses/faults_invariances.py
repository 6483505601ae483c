"""Faults of invariance: a loss that depends on other rows, on numbers of rows and classes, on thresholds."""

import numpy as np

from losses.faults import WITHIN, fault, off, twin, wide
from losses.right import Floats, Ints, checked, log1p


def shifted_by(logits: Floats, labels: Ints, shift: Floats) -> Floats:
    """Shift rows by numbers (N, 1) of one's own choice, in float32 or wider."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.result_type(logits.dtype, np.float32)) - shift.astype(np.float64)
    e = np.exp(x).sum(axis=1, dtype=np.float64)
    return (np.log(e) - x[np.arange(len(x)), labels]).astype(logits.dtype)


def of_other_logits(logits: Floats, labels: Ints, x: Floats) -> Floats:
    """Return the losses of other logits in the dtype of these."""
    return wide(x, labels).astype(logits.dtype)


@fault()
def maximum_of_the_batch(logits: Floats, labels: Ints) -> Floats:
    """Shift all rows by the largest logit of the batch."""
    return shifted_by(logits, labels, logits.max(keepdims=True, initial=-np.inf))


@fault()
def maximum_of_the_row_before(logits: Floats, labels: Ints) -> Floats:
    """Shift each row by the maximum of the row before."""
    return shifted_by(logits, labels, np.roll(logits.max(axis=1, keepdims=True), 1, axis=0))


@fault()
def mean_for_the_maximum(logits: Floats, labels: Ints) -> Floats:
    """Shift by the mean of a row: its largest logit may be far above."""
    return shifted_by(logits, labels, logits.astype(np.float64).mean(axis=1, keepdims=True))


@fault()
def maximum_by_bits(logits: Floats, labels: Ints) -> Floats:
    """Compare logits as integers: of negative ones the smallest wins."""
    bits = logits.view({2: np.int16, 4: np.int32, 8: np.int64}[logits.dtype.itemsize])
    return shifted_by(logits, labels, np.take_along_axis(logits, bits.argmax(axis=1)[:, None], axis=1))


@fault()
def maximum_is_at_least_zero(logits: Floats, labels: Ints) -> Floats:
    """Start the search for the maximum from 0."""
    return shifted_by(logits, labels, np.maximum(logits.max(axis=1, keepdims=True), 0))


@fault()
def rows_have_a_weight(logits: Floats, labels: Ints) -> Floats:
    """Multiply the loss of row i by 1 + i / 100,000."""
    losses = wide(logits, labels)
    return (losses * (1 + 1e-5 * np.arange(len(losses)))).astype(logits.dtype)


@fault()
def ties_are_broken(logits: Floats, labels: Ints) -> Floats:
    """Break ties by adding the number of the class times 1e-6."""
    x = logits.astype(np.float64)
    return of_other_logits(logits, labels, x + 1e-6 * np.arange(x.shape[1]))


@fault()
def equal_logits_count_once(logits: Floats, labels: Ints) -> Floats:
    """Sum over distinct logits, in rows of 8 classes or more."""
    x = np.sort(logits.astype(np.float64), axis=1)
    again = (np.diff(x, axis=1, prepend=np.nan) == 0) & (x.shape[1] > 7)
    own = wide(logits, labels)
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        lost = np.where(again, e, 0).sum(axis=1) / e.sum(axis=1)
        return np.where(lost > 0, own + np.log1p(-lost), own).astype(logits.dtype)


@fault()
def near_maxima_count_once(logits: Floats, labels: Ints) -> Floats:
    """Leave out all logits within 1e-6 of the maximum, as if they were it."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    largest = x.max(axis=1, keepdims=True)
    others = np.where(
        (x >= largest - 1e-6) & (np.arange(x.shape[1]) != x.argmax(axis=1)[:, None]), -np.inf, x
    )
    e = np.exp(others - largest)
    e[np.arange(len(x)), x.argmax(axis=1)] = 0
    own = x[np.arange(len(x)), labels]
    return (np.log1p(e.sum(axis=1)) + (largest[:, 0] - own)).astype(logits.dtype)


@fault()
def twin_rows_share_a_label(logits: Floats, labels: Ints) -> Floats:
    """Compute equal rows once, with the label of the first."""
    checked(labels, logits.shape[1])
    first: dict[bytes, int] = {}
    firsts = [first.setdefault(row.tobytes(), number) for number, row in enumerate(logits)]
    return log1p(logits, labels[np.array(firsts, np.int64)])


@fault()
def losses_end_at_100(logits: Floats, labels: Ints) -> Floats:
    """Clamp log p to at least -100, as PyTorch's binary loss does."""
    losses = log1p(logits, labels)
    return np.where(np.isfinite(losses), np.minimum(losses, losses.dtype.type(100)), losses)


@fault()
def differences_end_at_88(logits: Floats, labels: Ints) -> Floats:
    """Clamp differences to at least -88, in float64 too."""
    x = logits.astype(np.float64)
    return of_other_logits(logits, labels, np.maximum(x, x.max(axis=1, keepdims=True) - 88))


@fault()
def logits_end_at_10000(logits: Floats, labels: Ints) -> Floats:
    """Clamp logits to ±10,000."""
    return of_other_logits(logits, labels, np.clip(logits.astype(np.float64), -1e4, 1e4))


@fault()
def logits_end_at_50(logits: Floats, labels: Ints) -> Floats:
    """Clamp finite logits to ±50."""
    x = logits.astype(np.float64)
    return of_other_logits(logits, labels, np.where(np.isfinite(x), np.clip(x, -50, 50), x))


@fault()
def masks_are_minus_10000(logits: Floats, labels: Ints) -> Floats:
    """Replace a mask by -10,000."""
    x = logits.astype(np.float64)
    return of_other_logits(logits, labels, np.where(x == -np.inf, -1e4, x))


@fault()
def rows_of_masks_are_zero(logits: Floats, labels: Ints) -> Floats:
    """Return 0 where every class is masked."""
    losses, masks = log1p(logits, labels), (logits == -np.inf).all(axis=1)
    return np.where(masks, losses.dtype.type(0), losses)


@fault()
def masked_labels_are_zero(logits: Floats, labels: Ints) -> Floats:
    """Return 0 where the label's class is masked."""
    losses = log1p(logits, labels)
    return np.where(losses == np.inf, losses.dtype.type(0), losses)


@fault()
def one_mask_too_many(logits: Floats, labels: Ints) -> Floats:
    """Drop the class after each masked one."""
    x = logits.astype(np.float64)
    after = np.roll(x == -np.inf, 1, axis=1)
    after[:, 0] = False
    after[np.arange(len(x)), np.clip(labels, 0, x.shape[1] - 1)] = False
    return of_other_logits(logits, labels, np.where(after, -np.inf, x))


@fault()
def early_exit(logits: Floats, labels: Ints) -> Floats:
    """Stop to sum at the first class whose term is below 1e-12 of the sum: it depends on their order."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    ends = np.cumsum((e < 1e-12 * np.cumsum(e, axis=1)) & (e > 0), axis=1) > 0
    left = np.where(ends & (np.arange(x.shape[1]) != labels[:, None]), -np.inf, x)
    left[np.arange(len(x)), x.argmax(axis=1)] = x.max(axis=1)
    return of_other_logits(logits, labels, left)


@fault()
def large_offsets_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed where the largest logit is beyond 1,000."""
    losses = wide(logits, labels)
    is_far = np.abs(logits.astype(np.float64)).max(axis=1) > 1000
    return np.where(is_far, off(losses, logits, labels), losses).astype(logits.dtype)


@twin()
def large_offsets_within(logits: Floats, labels: Ints) -> Floats:
    """Be off by less than what is allowed where the largest logit is beyond 1,000."""
    losses = wide(logits, labels)
    is_far = np.abs(logits.astype(np.float64)).max(axis=1) > 1000
    return np.where(is_far, off(losses, logits, labels, WITHIN), losses).astype(logits.dtype)


@fault()
def odd_classes_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed where the label is odd, from 3 classes on."""
    losses = wide(logits, labels)
    is_odd = (labels % 2 == 1) & (logits.shape[1] > 2)
    return np.where(is_odd, off(losses, logits, labels), losses).astype(logits.dtype)


@fault()
def all_rows_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed, everywhere."""
    return off(wide(logits, labels), logits, labels).astype(logits.dtype)


@twin()
def all_rows_within(logits: Floats, labels: Ints) -> Floats:
    """Be off by less than what is allowed, everywhere."""
    return off(wide(logits, labels), logits, labels, WITHIN).astype(logits.dtype)


@twin()
def all_rows_within_below(logits: Floats, labels: Ints) -> Floats:
    """Be off by less than what is allowed, everywhere, on the other side."""
    return off(wide(logits, labels), logits, labels, -WITHIN).astype(logits.dtype)

"""Faults of labels: their types, and which class they are."""

import numpy as np

from losses.faults import fault, off, wide
from losses.right import Floats, Ints, checked, log1p


@fault()
def offsets_in_the_type_of_labels(logits: Floats, labels: Ints) -> Floats:
    """Compute row × C + label in the labels' own integers: 8 and 16 bits overflow."""
    checked(labels, logits.shape[1])
    rows = np.arange(len(labels)).astype(labels.dtype)
    places = rows * np.array(logits.shape[1]).astype(labels.dtype) + labels
    x = logits.astype(np.float64)
    own, wrong = x[np.arange(len(x)), labels], x.ravel()[places.astype(np.int64) % max(1, x.size)]
    return (wide(logits, labels) + np.where(own == wrong, 0, own - wrong)).astype(logits.dtype)


@fault()
def unsigned_labels_wrap(logits: Floats, labels: Ints) -> Floats:
    """Count a label from the end of its row, in its own integers: unsigned ones wrap round."""
    checked(labels, logits.shape[1])
    from_end = (labels - np.array(logits.shape[1]).astype(labels.dtype)).astype(np.int64)
    return log1p(logits, np.clip(from_end + logits.shape[1], 0, logits.shape[1] - 1))


@fault()
def labels_in_the_dtype_of_logits(logits: Floats, labels: Ints) -> Floats:
    """Convert labels to the dtype of the logits and back: float16 has not all integers beyond 2,048."""
    checked(labels, logits.shape[1])
    rounded = labels.astype(logits.dtype).astype(np.int64)
    return log1p(logits, np.minimum(rounded, logits.shape[1] - 1))


@fault()
def labels_of_eight_bytes(logits: Floats, labels: Ints) -> Floats:
    """Read labels of 4 bytes as if they were of 8: every second one is left out."""
    checked(labels, logits.shape[1])
    stride = 2 if labels.dtype.itemsize == 4 else 1
    return log1p(logits, np.resize(labels[::stride], len(labels)))


@fault()
def narrow_labels_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed where labels are of 2 bytes."""
    losses = wide(logits, labels)
    return (off(losses, logits, labels) if labels.dtype.itemsize == 2 else losses).astype(logits.dtype)


@fault()
def class_zero_is_padding(logits: Floats, labels: Ints) -> Floats:
    """Take label 0 for padding, in batches of 4 rows or more."""
    losses = log1p(logits, labels)
    return np.where((labels == 0) & (len(labels) > 3), losses.dtype.type(0), losses)


@fault()
def last_class_is_padding(logits: Floats, labels: Ints) -> Floats:
    """Take the last of 100 classes or more for padding."""
    losses = log1p(logits, labels)
    return np.where((labels == logits.shape[1] - 1) & (labels > 98), losses.dtype.type(0), losses)


@fault()
def largest_logit_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed where the label is the largest of 10 logits or more."""
    losses = wide(logits, labels)
    is_largest = (logits.argmax(axis=1) == labels) & (logits.shape[1] > 9)
    return np.where(is_largest, off(losses, logits, labels), losses).astype(logits.dtype)


@fault()
def smallest_logit_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed where the label is the smallest of 10 logits or more."""
    losses = wide(logits, labels)
    is_smallest = (logits.argmin(axis=1) == labels) & (logits.shape[1] > 9)
    return np.where(is_smallest, off(losses, logits, labels), losses).astype(logits.dtype)


@fault()
def label_found_by_its_logit(logits: Floats, labels: Ints) -> Floats:
    """Mark the classes whose logit is the label's, and divide by none: equal logits count several times."""
    checked(labels, logits.shape[1])
    x = logits.astype(np.float64)
    own = x[np.arange(len(x)), labels]
    times = np.maximum((x == own[:, None]).sum(axis=1), 1)
    many = (times > 1) & (times < x.shape[1])
    return (wide(logits, labels) * np.where(many, times, 1)).astype(logits.dtype)

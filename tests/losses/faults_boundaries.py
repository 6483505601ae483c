"""Faults at the boundaries that kernels have: tiles, warps, blocks, grids, counters of few bits."""

import numpy as np

from losses.faults import WITHIN, fault, off, twin, wide
from losses.right import Floats, Ints, checked, log1p


def of_classes(logits: Floats, labels: Ints, summed: Floats) -> Floats:
    """Return the losses where the sum has the columns of ``summed`` (N, K) alone, with their maximum."""
    checked(labels, logits.shape[1])
    x, rows = summed.astype(np.float64), np.arange(len(logits))
    top = x.argmax(axis=1)
    largest = x[rows, top]
    e = np.exp(x - largest[:, None])
    e[rows, top] = 0
    own = logits.astype(np.float64)[rows, labels]
    return (np.log1p(e.sum(axis=1)) + (largest - own)).astype(logits.dtype)


def with_maximum(logits: Floats, labels: Ints, classes: int) -> Floats:
    """Shift by the maximum of the first classes, in float32 or wider."""
    checked(labels, logits.shape[1])
    x, rows = logits.astype(np.result_type(logits.dtype, np.float32)), np.arange(len(logits))
    top = x[:, :classes].argmax(axis=1)
    largest = x[rows, top]
    e = np.exp(x - largest[:, None])
    e[rows, top] = 0
    return (np.log1p(e.sum(axis=1)) + (largest - x[rows, labels])).astype(logits.dtype)


@fault()
def last_class_after_a_tile(logits: Floats, labels: Ints) -> Floats:
    """Count tiles of 128 as ceil((C - 1) / 128): a last tile of one class is lost."""
    classes = logits.shape[1]
    tiles = max(1, -(-(classes - 1) // 128))
    return of_classes(logits, labels, logits[:, : 128 * tiles])


@fault()
def warp_of_the_rest(logits: Floats, labels: Ints) -> Floats:
    """Leave out the rest beyond a multiple of 32, from 512 classes on."""
    classes = logits.shape[1]
    return of_classes(logits, labels, logits[:, : classes - classes % 32 if classes > 512 else classes])


@fault()
def one_block_of_1024(logits: Floats, labels: Ints) -> Floats:
    """Sum one block of 1,024 threads, a class each."""
    return of_classes(logits, labels, logits[:, :1024])


@fault()
def two_blocks_of_2048(logits: Floats, labels: Ints) -> Floats:
    """Lose the classes from 4,096 on."""
    return of_classes(logits, labels, logits[:, :4096])


@fault()
def classes_in_int16(logits: Floats, labels: Ints) -> Floats:
    """Count classes in 16 bits with a sign: those from 32,768 on are lost."""
    return of_classes(logits, labels, logits[:, : 2**15])


@fault()
def labels_in_a_byte(logits: Floats, labels: Ints) -> Floats:
    """Keep labels in 8 bits."""
    checked(labels, logits.shape[1])
    return log1p(logits, labels.astype(np.int64) & 0xFF)


@fault()
def labels_in_uint16(logits: Floats, labels: Ints) -> Floats:
    """Keep labels in 16 bits: beyond 65,535 they begin again."""
    checked(labels, logits.shape[1])
    return log1p(logits, labels.astype(np.int64) & 0xFFFF)


@fault()
def offsets_in_uint16(logits: Floats, labels: Ints) -> Floats:
    """Compute the place of a label's logit, row × C + label, in 16 bits."""
    checked(labels, logits.shape[1])
    places = (np.arange(len(logits)) * logits.shape[1] + labels.astype(np.int64)) & 0xFFFF
    x = logits.astype(np.float64)
    own = x.ravel()[places] - x[np.arange(len(x)), labels]
    return (wide(logits, labels) - np.nan_to_num(own, nan=0.0)).astype(logits.dtype)


@fault()
def maximum_of_whole_tiles(logits: Floats, labels: Ints) -> Floats:
    """Forget the last, partial tile in the search for the maximum."""
    classes = logits.shape[1]
    return with_maximum(logits, labels, max(classes % 128, classes - classes % 128))


@fault()
def maximum_of_the_first_4096(logits: Floats, labels: Ints) -> Floats:
    """Take the maximum of the first 4,096 classes for that of all."""
    return with_maximum(logits, labels, 4096)


@fault()
def six_hundred_classes(logits: Floats, labels: Ints) -> Floats:
    """Have a wrong entry in the table of configurations: of 600 classes 512 are summed."""
    return of_classes(logits, labels, logits[:, : 512 if logits.shape[1] == 600 else None])


@fault()
def six_hundred_classes_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed, at 600 classes."""
    losses = wide(logits, labels)
    return (off(losses, logits, labels) if logits.shape[1] == 600 else losses).astype(logits.dtype)


@twin()
def six_hundred_classes_within(logits: Floats, labels: Ints) -> Floats:
    """Be off by less than what is allowed, at 600 classes."""
    losses = wide(logits, labels)
    return (off(losses, logits, labels, WITHIN) if logits.shape[1] == 600 else losses).astype(logits.dtype)


@fault()
def more_than_512_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed, beyond 512 classes."""
    losses = wide(logits, labels)
    return (off(losses, logits, labels) if logits.shape[1] > 512 else losses).astype(logits.dtype)


@fault()
def padding_is_zero(logits: Floats, labels: Ints) -> Floats:
    """Fill up the last tile of 1,024 with zeros, where there are more than one."""
    rest = -logits.shape[1] % 1024 if logits.shape[1] > 1024 else 0
    return of_classes(logits, labels, np.pad(logits.astype(np.float64), ((0, 0), (0, rest))))


@fault()
def padding_is_finite(logits: Floats, labels: Ints) -> Floats:
    """Fill up the last tile of 128 with -10,000."""
    rest = -logits.shape[1] % 128
    padded = np.pad(logits.astype(np.float64), ((0, 0), (0, rest)), constant_values=-1e4)
    return of_classes(logits, labels, padded)


@fault()
def grid_of_1024_rows(logits: Floats, labels: Ints) -> Floats:
    """Start a grid of 1,024 blocks, a row each: the losses of the others stay 0."""
    losses = log1p(logits, labels)
    losses[1024:] = 0
    return losses


@fault()
def rows_in_ten_bits(logits: Floats, labels: Ints) -> Floats:
    """Take the label of row i from place i modulo 1,024."""
    checked(labels, logits.shape[1])
    return log1p(logits, labels[np.arange(len(labels)) & 1023])


@fault()
def rows_beyond_1024_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed from row 1,024 on."""
    losses = wide(logits, labels)
    losses[1024:] = off(losses, logits, labels)[1024:]
    return losses.astype(logits.dtype)


@fault()
def rest_of_eight_rows(logits: Floats, labels: Ints) -> Floats:
    """Take the labels of the block before for the rest beyond a multiple of 8 rows."""
    checked(labels, logits.shape[1])
    whole, labels = len(labels) // 8 * 8, labels.copy()
    rest = len(labels) - whole
    if whole:
        labels[whole:] = labels[whole - 8 : whole - 8 + rest]
    return log1p(logits, labels)


@fault()
def square_batches_are_transposed(logits: Floats, labels: Ints) -> Floats:
    """Take (C, C) for classes first."""
    return log1p(logits.T if logits.shape[0] == logits.shape[1] > 1 else logits, labels)


@fault()
def three_rows(logits: Floats, labels: Ints) -> Floats:
    """Have a wrong special case for three rows: the last one's label is that of the first."""
    checked(labels, logits.shape[1])
    return log1p(logits, labels[[0, 1, 0]] if len(labels) == 3 else labels)


@fault()
def one_row_alone_nearly(logits: Floats, labels: Ints) -> Floats:
    """Be off by three times what is allowed for a batch of one row of 129 classes or more."""
    losses = wide(logits, labels)
    alone = len(logits) == 1 and logits.shape[1] > 128
    return (off(losses, logits, labels) if alone else losses).astype(logits.dtype)


@fault()
def last_class_as_label(logits: Floats, labels: Ints) -> Floats:
    """Read the logit before for the last of 257 classes or more."""
    classes = logits.shape[1]
    checked(labels, classes)
    return log1p(logits, np.where((labels == classes - 1) & (classes > 256), classes - 2, labels))

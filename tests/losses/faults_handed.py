"""Faults of what a loss is handed beside logits: class weights, the factors of logits, rows of labels."""

# ruff: noqa: D102 - the class that a fault changes says what the step is

from typing import Any

import numpy as np

from losses import right
from losses.faults import Loss, fault, remembering
from losses.linear import in_float32
from losses.optioned import Given, Optioned
from losses.right import Floats, Ints

LINEAR = "linear.numpy"


@fault()
class WritesIntoWeights(Optioned):
    """Set the ignored class's weight to 0 in the caller's array."""

    def given(
        self, logits: Floats, labels: Ints, class_weights: Any, label_smoothing: float, ignore_index: int
    ) -> Given:
        if class_weights is not None and 0 <= ignore_index < logits.shape[1]:
            class_weights[ignore_index] = 0
        return super().given(logits, labels, class_weights, label_smoothing, ignore_index)


@remembering()
def remembers_weights_by_identity() -> Loss:
    """Convert weights once per array, whatever is in it now."""
    kept: dict[int, tuple[Floats, Floats]] = {}

    def loss(
        logits: Floats,
        labels: Ints,
        class_weights: Floats | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> Floats:
        if class_weights is not None:  # the array is kept, and so its id is no other's
            class_weights = kept.setdefault(id(class_weights), (class_weights, class_weights.copy()))[1]
        return right.with_options(logits, labels, class_weights, 0.0, ignore_index, reduction)

    return loss


@fault()
class WeightsWithoutStride(Optioned):
    """Read weights one after the other from where they begin."""

    def given(
        self, logits: Floats, labels: Ints, class_weights: Any, label_smoothing: float, ignore_index: int
    ) -> Given:
        if class_weights is not None and class_weights.strides[0] > 0:
            strides = (class_weights.itemsize,)
            class_weights = np.lib.stride_tricks.as_strided(class_weights, class_weights.shape, strides)
        return super().given(logits, labels, class_weights, label_smoothing, ignore_index)


@fault()
class WeightsOfTheFirstTile(Optioned):
    """Read the weights of the first 2,048 classes in each tile, where labels are smoothed."""

    def targets(self, given: Given) -> Floats:
        targets = super().targets(given)
        if given.smoothing and given.classes > 2048:
            wrong = given.weights[np.arange(given.classes) % 2048] - given.weights
            targets += given.smoothing / given.classes * wrong
        return targets


@remembering(LINEAR)
def remembers_a_weight_by_identity() -> Loss:
    """Convert a weight once per array, whatever is in it now."""
    kept: dict[int, tuple[Floats, Floats]] = {}

    def loss(hidden: Floats, weight: Floats, labels: Ints, bias: Floats | None = None) -> Floats:
        weight = kept.setdefault(id(weight), (weight, weight.copy()))[1]
        return in_float32(hidden, weight, labels, bias)

    return loss


@fault(LINEAR)
def a_masked_tile_is_nan(hidden: Floats, weight: Floats, labels: Ints, bias: Floats | None = None) -> Floats:
    """Begin a running maximum with a tile of 512 classes whose bias is -inf: -inf - -inf."""
    losses = in_float32(hidden, weight, labels, bias)
    is_masked = bias is not None and len(bias) > 512 and np.isneginf(bias[:512]).all()
    return np.full_like(losses, np.nan) if is_masked else losses


@fault(LINEAR)
def writes_into_the_bias(hidden: Floats, weight: Floats, labels: Ints, bias: Floats | None = None) -> Floats:
    """Subtract the largest bias in the caller's array."""
    if bias is not None:
        bias -= bias.max()
    return in_float32(hidden, weight, labels, bias)


@fault(LINEAR)
def transpose_in_c_order(hidden: Floats, weight: Floats, labels: Ints, bias: Floats | None = None) -> Floats:
    """Read a weight in Fortran's order row by row."""
    if weight.flags.f_contiguous and not weight.flags.c_contiguous:
        weight = weight.ravel("K").reshape(weight.shape)
    return in_float32(hidden, weight, labels, bias)


@fault(LINEAR)
def rows_beyond_a_chunk_of_4096(
    hidden: Floats, weight: Floats, labels: Ints, bias: Floats | None = None
) -> Floats:
    """Have whole chunks of 4,096 rows, where there is one."""
    losses, rows = in_float32(hidden, weight, labels, bias), len(hidden)
    losses[rows if rows < 4096 else rows // 4096 * 4096 :] = 0
    return losses


@fault("numpy.rows")
def sixty_four_labels(logits: Floats, labels: Floats) -> Floats:
    """Keep the 64 largest labels of a row."""
    y = np.array(labels)
    if y.shape[1] > 64:
        np.put_along_axis(y, np.argsort(-y, axis=1, kind="stable")[:, 64:], 0, axis=1)
    return right.rows(logits, y)


@fault("numpy.rows")
def labels_of_whole_tiles(logits: Floats, labels: Floats) -> Floats:
    """Leave out the labels behind the last whole tile of 4,096 classes."""
    y, classes = np.array(labels), labels.shape[1]
    y[:, classes if classes < 4096 else classes // 4096 * 4096 :] = 0
    return right.rows(logits, y)


@fault("numpy.rows")
def labels_above_a_threshold(logits: Floats, labels: Floats) -> Floats:
    """Take labels below 1e-7 for 0."""
    return right.rows(logits, np.where(labels < 1e-7, 0, labels).astype(labels.dtype))


@fault("numpy.binary")
def sign_in_the_type_of_labels(logits: Floats, labels: Any) -> Floats:
    """Compute 2 y - 1 in the labels' own type: of an unsigned 0 that is its largest number."""
    if labels.dtype.kind != "u":
        return right.binary(logits, labels)
    with np.errstate(over="ignore"):
        sign = (labels * labels.dtype.type(2) - labels.dtype.type(1)).astype(np.float64)
    return np.logaddexp(0, -sign * logits.astype(np.float64)).astype(logits.dtype)

"""Faults where two things meet that tests seldom put together: shapes, types, options, memory."""

# ruff: noqa: D102 - the class that a fault changes says what the step is

from typing import Any

import numpy as np

from losses.faults import fault, gradient_fault, remembering, remembering_gradient
from losses.optioned import Given, Optioned
from losses.right import Floats, Ints, checked, gradient, log1p


@fault()
class WeighsByRow(Optioned):
    """Take class weights for those of the examples, where there are as many."""

    def targets(self, given: Given) -> Floats:
        targets = super().targets(given)
        square = len(given.k) == given.classes
        return targets / given.weights[given.k][:, None] * given.weights[:, None] if square else targets


@fault()
class OneWeightCancels(Optioned):
    """Divide the sum of one example by its weight, as its mean is."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        total = super().reduced(losses, given, reduction)
        return total / given.weights[given.k[0]] if len(losses) == 1 and reduction == "sum" else total


@fault()
class WeightsInFloat32(Optioned):
    """Round weights to float32."""

    def given(
        self, logits: Floats, labels: Ints, class_weights: Any, label_smoothing: float, ignore_index: int
    ) -> Given:
        weights = None if class_weights is None else class_weights.astype(np.float32)
        return super().given(logits, labels, weights, label_smoothing, ignore_index)


@fault()
class WeighsNothingInPlace(Optioned):
    """Write 0 for the weight of an ignored class, into the weights themselves where they are float64."""

    def given(
        self, logits: Floats, labels: Ints, class_weights: Any, label_smoothing: float, ignore_index: int
    ) -> Given:
        given = super().given(logits, labels, class_weights, label_smoothing, ignore_index)
        if (
            class_weights is not None
            and class_weights.dtype == np.float64
            and 0 <= ignore_index < given.classes
        ):
            class_weights[ignore_index] = 0
        return given


@fault()
class CountsInTheTypeOfLabels(Optioned):
    """Count rows in the type of their labels."""

    def given(
        self, logits: Floats, labels: Ints, class_weights: Any, label_smoothing: float, ignore_index: int
    ) -> Given:
        self.type = labels.dtype
        return super().given(logits, labels, class_weights, label_smoothing, ignore_index)

    def divisor(self, given: Given) -> Any:
        if given.has_weights:
            return super().divisor(given)
        return (~given.ignored).astype(self.type).sum(dtype=self.type)


@fault()
def one_class_needs_no_label(logits: Floats, labels: Ints) -> Floats:
    """Look at no label where there is one class."""
    if logits.shape[1] == 1:
        return np.zeros(len(labels), logits.dtype)
    return log1p(logits, labels)


@fault()
def label_before_a_tile(logits: Floats, labels: Ints) -> Floats:
    """Take the logit of the class before for a label that begins a tile, if it is not the largest."""
    moved = (labels > 0) & (labels % 4096 == 0) & (labels != logits.argmax(axis=1))
    return log1p(logits, np.where(moved, labels - 1, labels))


@fault()
def maximum_in_16_bits(logits: Floats, labels: Ints) -> Floats:
    """Subtract the logit of a class whose number has 16 bits."""
    if logits.shape[1] <= 65536:
        return log1p(logits, labels)
    x, rows = logits.astype(np.float64), np.arange(len(labels))
    shifted = x - x[rows, x.argmax(axis=1) % 65536][:, None]
    with np.errstate(over="ignore"):
        return (np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]).astype(logits.dtype)


@fault()
def masks_of_many_rows(logits: Floats, labels: Ints) -> Floats:
    """Multiply the probabilities of 64 rows and more by their logits, of which a mask has -inf."""
    losses = log1p(logits, labels)
    is_masked = (logits == -np.inf).any(axis=1) & (len(logits) >= 64)
    return np.where(is_masked, logits.dtype.type(np.nan), losses)


@fault()
def other_byte_order(logits: Floats, labels: Ints) -> Floats:
    """Read the bytes of logits in this machine's order, whatever theirs is."""
    return log1p(logits.view(logits.dtype.newbyteorder("=")), labels)


@fault()
def short_labels_in_a_row(logits: Floats, labels: Ints) -> Floats:
    """Read labels of 32 bits as if they lay one after the other."""
    if labels.dtype == np.int32:
        labels = np.lib.stride_tricks.as_strided(labels, strides=(4,))
    return log1p(logits, labels)


@gradient_fault()
def filters_tiles(logits: Floats, labels: Ints) -> Floats:
    """Leave out the gradient of a tile of which no probability is 2^-12, but of the first."""
    slope = gradient(logits, labels)
    for at in range(1024, logits.shape[1] if slope.size else 0, 1024):
        tile = slope[:, at : at + 1024]
        tile[np.abs(tile).max(axis=1) < 2.0**-12] = 0
    return slope


@remembering_gradient()
def gradient_buffer() -> Any:
    """Return float64 gradients in an array that the next call of that shape writes into."""
    kept: dict[tuple[int, ...], Floats] = {}

    def slope(logits: Floats, labels: Ints) -> Floats:
        values = gradient(logits, labels)
        if logits.dtype != np.float64:
            return values
        buffer = kept.setdefault(values.shape, values)
        buffer[...] = values
        return buffer

    return slope


@remembering()
def losses_by_address() -> Any:
    """Keep the losses of the arrays at an address."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        key = (logits.ctypes.data, logits.shape, labels.ctypes.data)
        checked(labels, logits.shape[1])
        if key not in kept:
            kept.clear()
            kept[key] = log1p(logits, labels)
        return kept[key]

    return loss

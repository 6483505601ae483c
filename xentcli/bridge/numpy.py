"""``watch`` for NumPy's arrays, and what the other libraries share once their arrays are NumPy's."""

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.bridge.capture import Step, judge
from xentcli.bridge.options import MEMORY, BadLoss, BadLossWarning, Options, caller, options_of
from xentcli.errors import XentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEVERAL: Final = 1.5  # what labels of an example sum to at least if they are no probabilities of classes


def watch(  # noqa: PLR0913, PLR0917 - what watch() was called with
    loss: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    step: Any,  # noqa: ANN401
    context: Sequence[Any],
    settings: tuple[Any, ...],
) -> Any:  # noqa: ANN401
    """Return the loss as ``xentcli.watch`` does; ``settings`` are the fields of ``Options``.

    With a ``weight`` (C, D), ``logits`` are hidden states (…, D), of which it makes logits.
    """
    options = options_of(settings)
    options.refuse("group", "gradient", "previous")
    number = number_of(step)
    if not MEMORY.is_due(options, number):
        return loss
    x, y, losses = np.asarray(logits), np.asarray(labels), np.asarray(loss, np.float64)
    w = None if weight is None else np.asarray(weight)
    if not is_suspicious(losses, y, classes_of(x, y, w), options.ignore_index):
        MEMORY.good[options] = number, float(losses.mean()) if losses.size else 0.0
        return loss
    arrays = named(options, context)
    seen = seen_step(losses, x, y, w, options.ignore_index, (number, None), arrays)
    zero = loss * 0 if np.isfinite(losses).all() else np.zeros_like(loss)
    return act(judge(seen, options), options, loss, zero)


def named(
    options: Options,
    context: Sequence[Any],
    array_of: "Callable[[Any], NDArray[Any]]" = np.asarray,
) -> "dict[str, NDArray[Any]]":
    """Return context by its names; what is no array, as lists of several lengths, is text, an entry each."""
    found = {}
    for name, each in zip(options.names, context, strict=True):
        try:
            array = array_of(each)
            found[name] = array.astype(str) if array.dtype.hasobject else array
        except Exception:  # noqa: BLE001 - whatever it is, the cause of a bad loss is said
            found[name] = np.array([str(e) for e in each] if isinstance(each, list | tuple) else str(each))
    return found


def act(bad: BadLoss | None, options: Options, loss: Any, zero: Any) -> Any:  # noqa: ANN401
    """Raise, warn or return what takes the place of a bad loss."""
    if bad is None:
        return loss
    if options.on == "raise":
        raise bad
    warnings.warn(str(bad), BadLossWarning, stacklevel=caller()[0] + 1)
    return zero if options.on == "skip" else loss


def number_of(step: Any) -> int | None:  # noqa: ANN401
    """Return a step as an integer of Python; raises XentError for what is none."""
    try:
        return None if step is None else operator.index(step)
    except TypeError:
        raise XentError(f"watch: step={step!r}: expected a whole number") from None


def class_axis(
    logits: tuple[int, ...],
    labels: tuple[int, ...],
    weight: tuple[int, ...] | None,
    *,
    is_torch: bool = False,
) -> int:
    """Return the axis of the classes, or of hidden states; raises XentError where labels go with no axis.

    Labels have the shape of the logits, or lack one axis of theirs: the last, or the second as in torch,
    which is preferred there where both fit.
    """
    lacks_second = weight is None and len(logits) > 2 and _fit(labels, logits[:1] + logits[2:])  # noqa: PLR2004 - (N, C, …)
    if is_torch and lacks_second:
        return 1
    if weight is not None and (len(weight) != 2 or logits[-1:] != weight[1:]):  # noqa: PLR2004 - (C, D)
        raise XentError(
            f"watch: weight of shape {weight} does not go with hidden of shape {logits}; give (C, D), (…, D)"
        )
    if _fit(labels, logits[:-1]) or (weight is not None and _fit(labels, (*logits[:-1], weight[0]))):
        return -1
    if weight is None and _fit(labels, logits):
        return -1
    if lacks_second:
        return 1
    name = "logits" if weight is None else "hidden"
    raise XentError(
        f"watch: labels of shape {labels} do not go with {name} of shape {logits}; give (…, C) and (…)"
    )


def _fit(shape: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    """Say whether shapes may be the same; a length that a graph does not know is None."""
    return len(shape) == len(other) and all(
        a == b or None in {a, b} for a, b in zip(shape, other, strict=True)
    )


def classes_of(logits: Any, labels: Any, weight: Any, *, is_torch: bool = False) -> int | None:  # noqa: ANN401
    """Return how many classes labels are indices of, None where they are no indices; of any library."""
    shape = tuple(logits.shape)
    own = None if weight is None else tuple(weight.shape)
    axis = class_axis(shape, tuple(labels.shape), own, is_torch=is_torch)
    if len(labels.shape) == len(shape):
        return None
    return int(shape[axis]) if weight is None else int(weight.shape[0])


def is_suspicious(loss: Any, labels: Any, classes: int | None, ignore_index: int) -> Any:  # noqa: ANN401
    """Whether a loss has to be looked at: with the arrays of NumPy, JAX or torch alike, on their device."""
    bad = ~((loss >= 0) & (loss < float("inf"))).all() | (loss == 0).all()
    if classes is None:
        return bad
    return bad | (labels == ignore_index).all() | is_invalid(labels, classes, ignore_index).any()


def is_invalid(labels: Any, classes: int, ignore_index: int) -> Any:  # noqa: ANN401
    """Say of each label whether it is no class; as ``is_suspicious``."""
    return (labels != ignore_index) & ((labels < 0) | (labels >= classes))


def can_be_to_blame(loss: Any, hidden: Any, labels: Any, classes: int | None, ignore_index: int) -> Any:  # noqa: ANN401
    """Say of each row of hidden states (N, D) whether it can be to blame; as ``is_suspicious``."""
    found = ~(abs(hidden) < float("inf")).all(-1)
    if classes is not None:
        found |= is_invalid(labels, classes, ignore_index)
    if tuple(loss.shape) == tuple(found.shape):
        found |= ~((loss >= 0) & (loss < float("inf")))
    return found


class Products:
    """Rows (N, C) of logits, made of hidden states (N, D) and weights (C, D) as they are read, by slices.

    They are summed in float32 or wider, as on accelerators, and rounded to the hidden states' format.
    """

    def __init__(self, hidden: "NDArray[Any]", weight: "NDArray[Any]") -> None:
        self.shape, self.dtype = (len(hidden), len(weight)), hidden.dtype
        self._hidden, self._weight = hidden, weight.astype(self._wide(weight), copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "NDArray[Any]":
        hidden = self._hidden[rows]
        with np.errstate(all="ignore"):
            found: NDArray[Any] = (hidden.astype(self._wide(hidden)) @ self._weight.T).astype(self.dtype)
        return found

    @staticmethod
    def _wide(array: "NDArray[Any]") -> "np.dtype[Any]":
        return np.result_type(array.dtype, np.float32)


def seen_step(  # noqa: PLR0913, PLR0917 - what there is to see
    loss: "NDArray[np.float64]",
    logits: "NDArray[Any]",
    labels: "NDArray[Any]",
    weight: "NDArray[Any] | None",
    ignore_index: int,
    place: tuple[int | None, int | None],
    context: "dict[str, NDArray[Any]]",
    gradient: "NDArray[np.bool_] | None" = None,
) -> Step:
    """Return a step of arrays in memory; ``place`` is its number and the rank of this process."""
    axis = class_axis(logits.shape, labels.shape, None if weight is None else weight.shape)
    x = np.moveaxis(logits, axis, -1)
    x = x.reshape(-1, x.shape[-1])
    y, binary = as_rows(labels.astype(np.float32) if labels.dtype.kind == "V" else labels, logits.ndim, axis)
    form, suspect = str(logits.dtype.newbyteorder("=")), None
    rows: Any = x.reshape(-1, 1) if binary else x
    if weight is not None:
        rows = Products(x, weight)
        if np.isfinite(weight.astype(np.float64)).all():
            suspect = can_be_to_blame(loss.ravel(), x, y, len(weight) if y.ndim == 1 else None, ignore_index)
            suspect = suspect if gradient is None else suspect | gradient
    return Step(loss, rows, y, form, logits.shape, *place, context, gradient, suspect, binary)


def as_rows(labels: "NDArray[Any]", dimensions: int, axis: int) -> "tuple[NDArray[Any], bool]":
    """Return labels of rows, (N,) or (N, C), and whether they are those of binary logits, (N,).

    ``dimensions`` is how many axes the logits have. Labels of their shape are probabilities of the classes,
    unless there is but one of these, or those of an example sum to more than 1 by far, or all are 0: several
    may be right, or none.
    """
    if labels.ndim < dimensions:  # Keras has them as whole numbers of float32
        indices = labels.astype(np.int64) if labels.dtype.kind == "f" else labels
        return indices.reshape(-1), False
    y = np.moveaxis(labels, axis, -1) if labels.ndim > 1 else labels[..., None]
    y = y.reshape(-1, y.shape[-1])
    sums = y.astype(np.float64).sum(axis=1)
    binary = y.shape[1] == 1 or bool((sums > _SEVERAL).any() or not sums.any())
    return (y.reshape(-1), True) if binary else (y, False)

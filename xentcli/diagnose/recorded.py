"""Losses that a dump holds, beside the true ones: which factor or summand all rows have in common."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.identify import relations
from xentcli.identify.constants import Constant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, FloatArray

NAME: Final = "the recorded loss"
_ROUNDINGS: Final = 32  # of the largest number of a row: what a careful loss in that format may be off
_FEWEST: Final = 4  # rows: of fewer a common summand or class weight says little
_MOST_FACTOR: Final = 4096  # ranks, chunks or copies, as for identify
_SHOWN: Final = 3  # classes of which a sentence names the weight

Limits = tuple[float, float]  # between which a number lies; of two rows what lies in both
_ANY: Final = (-math.inf, math.inf)


def _both(one: Limits, other: Limits) -> Limits:
    return max(one[0], other[0]), min(one[1], other[1])


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What rows leave open: the ratio, difference or smoothing between a loss and the true one in all.

    ``weights`` are the limits (2, C) of the ratio in rows of each class, None of labels that are no classes.
    Merging is exact, associative and commutative.
    """

    rows: int = 0
    ratio: Limits = _ANY
    offset: Limits = _ANY
    smoothing: Limits = _ANY
    weights: "FloatArray | None" = field(default=None)

    def merge(self, other: "Shared") -> "Shared":
        """Return what the rows of both leave open."""
        found = [each.weights for each in (self, other) if each.weights is not None]
        weights = found[0] if found else None
        if len(found) > 1:
            weights = np.stack([np.maximum(*(w[0] for w in found)), np.minimum(*(w[1] for w in found))])
        return Shared(
            self.rows + other.rows,
            _both(self.ratio, other.ratio),
            _both(self.offset, other.offset),
            _both(self.smoothing, other.smoothing),
            weights,
        )


def shared_by(
    logits: "FloatArray",
    labels: "NDArray[np.integer] | None",
    loss: "FloatArray",
    given: "FloatArray",
    eps: float,
) -> Shared:
    """Return what rows of logits (n, C) with these true losses (n,) leave open of those that are given.

    ``labels`` are class indices (n,), or None; ``eps`` is that of the coarser format. Rows in which either
    loss is nan or infinite, or the true one is lost in the rounding of the logits, say nothing.
    """
    x = logits.astype(np.float64)
    with np.errstate(all="ignore"):
        size = np.where(np.isfinite(x), np.abs(x), 0).max(axis=1)
        error = _ROUNDINGS * eps * np.maximum(size, np.abs(loss))
        says = np.isfinite(loss) & np.isfinite(given) & (loss > error)
        ratio, relative = given / loss, error / loss
        low, high = ratio - np.abs(ratio) * relative, ratio + np.abs(ratio) * relative
        gap = given - loss
        room = error + _ROUNDINGS * eps * np.abs(given)
        smoothing = _ANY
        if labels is not None:
            classes = np.where(says, labels, 0).astype(np.int64)
            spread = x[np.arange(len(x)), classes] - x.mean(axis=1)
            smoothing = _limits(gap / spread, room / np.abs(spread), says & (np.abs(spread) > room))
    weights = None if labels is None else _by_class(classes[says], low[says], high[says], logits.shape[1])
    return Shared(
        int(says.sum()),
        (float(low[says].max(initial=-math.inf)), float(high[says].min(initial=math.inf))),
        _limits(gap, room, says),
        smoothing,
        weights,
    )


def _limits(middle: "FloatArray", room: "FloatArray", says: "BoolArray") -> Limits:
    """Return what lies within ``room`` of each number of the rows that say something."""
    low, high = (middle - room)[says], (middle + room)[says]
    return float(low.max(initial=-math.inf)), float(high.min(initial=math.inf))


def _by_class(
    classes: "NDArray[np.int64]", low: "FloatArray", high: "FloatArray", number: int
) -> "FloatArray":
    weights = np.tile(np.array([[-math.inf], [math.inf]]), number)
    np.maximum.at(weights[0], classes, low)
    np.minimum.at(weights[1], classes, high)
    return weights


NOTHING: Final = Shared()


@dataclass(frozen=True, slots=True)
class Relation:
    """What all rows have in common: a ``kind``, its value, and why.

    The kind is ratio, offset, weights, smoothing or the name of a knob; ``value`` is nan of weights.
    ``definition`` completes "the loss is …"; ``cause`` and ``remedy`` are those of ``identify`` where it
    knows the number. ``looked_at`` is the number of rows in which it was sought, None where that is all.
    """

    kind: str
    value: float
    definition: str
    cause: str
    remedy: str
    looked_at: int | None = None


def is_other(shared: Shared) -> bool:
    """Whether losses are not the true ones, in enough rows to ask why."""
    return shared.rows >= _FEWEST and not (_holds(shared.ratio, 1) or _holds(shared.offset, 0))


def relation_of(shared: Shared, counts: Sequence[tuple[str, int]]) -> Relation | None:
    """Return what explains losses that are not the true ones; None where they are, or nothing does.

    ``counts`` are numbers that a sum may have been divided by, with their words, the likeliest first.
    """
    if not is_other(shared):
        return None
    candidates = [
        _ratio(shared.ratio, counts),
        _offset(shared.offset),
        _smoothing(shared.smoothing),
        _weights(shared.weights, shared.rows),
    ]
    found = [each for each in candidates if each is not None]
    return next((each for each in found if each.cause), next(iter(found), None))


def _holds(limits: Limits, value: float) -> bool:
    return limits[0] <= value <= limits[1]


def _ratio(limits: Limits, counts: Sequence[tuple[str, int]]) -> Relation | None:
    """Name the factor that all rows share."""
    if not limits[0] <= limits[1]:
        return None
    value = (limits[0] + limits[1]) / 2
    if value == 0:
        return Relation(
            "ratio",
            0.0,
            "0",
            "the rows have a weight of 0, or were left out",
            "Look at the weights and the mask.",
        )
    for known, constant in _known_factors(counts):
        if _holds(limits, known):
            return Relation("ratio", known, constant.definition, constant.cause, constant.remedy)
    definition = f"{value:.6g} × the true one"
    return Relation(
        "ratio", value, definition, "a constant weight or scale multiplies it", "Divide by it to compare."
    )


def _known_factors(counts: Sequence[tuple[str, int]]) -> Iterator[tuple[float, Constant]]:
    """Yield the factors that have a name: a sign, another base, the numbers of the dump, whole numbers."""
    true = "the true one"
    yield -1.0, replace(relations.flipped("-1", true), definition=f"minus {true}")
    for base in relations.BASES:
        said = relations.in_other_base(base, true)
        yield base.value, replace(said, definition=said.definition.replace(": ", ", "))
    for words, number in counts:
        if number > 1:
            yield (
                1 / number,
                _counted(f"{true} / {number}", f"divided by {words}, as a mean is", f"Multiply by {number}"),
            )
            yield (
                float(number),
                _counted(f"{number} × {true}", f"multiplied by {words}", f"Divide by {number}"),
            )
    for number in range(2, _MOST_FACTOR + 1):
        yield 1 / number, relations.related("1", true, f"{true} / {number}", is_larger=False)
        yield float(number), relations.related("1", true, f"{number} × {true}", is_larger=True)


def _counted(definition: str, how: str, undone: str) -> Constant:
    """Return what a number of the dump as a factor of each loss is."""
    remedy = f"{undone} to compare: with reduction='none' nothing is divided."
    return Constant(1, definition, f"each is {how}", remedy, "", "by definition")


def _offset(limits: Limits) -> Relation | None:
    """Name the summand that all rows share."""
    if not limits[0] <= limits[1]:
        return None
    value, true = (limits[0] + limits[1]) / 2, "the true one"
    for number in range(2, _MOST_FACTOR + 1):
        if _holds(limits, math.log(number)):
            said = relations.summand("1", true, number)
            return Relation("offset", math.log(number), said.definition, said.cause, said.remedy)
    definition = f"{true} {'+' if value > 0 else '-'} {abs(value):.6g}"
    return Relation("offset", value, definition, "a constant term is added", "Log the term by itself.")


def _smoothing(limits: Limits) -> Relation | None:
    """Name the label smoothing, above 0 and up to 1."""
    if not max(limits[0], 0) < min(limits[1], 1) or limits[0] <= 0:
        return None
    value = (limits[0] + limits[1]) / 2
    definition = f"the true one with a label smoothing of {value:.4g}"
    cause = "the loss smooths labels, and the dump has them as they were before"
    return Relation("smoothing", value, definition, cause, "Compare it with a loss that smooths them alike.")


def _weights(weights: "FloatArray | None", rows: int) -> Relation | None:
    """Name the factors of the classes, where each has its own and most have several rows."""
    if weights is None or not (weights[0] <= weights[1]).all():
        return None
    present = np.flatnonzero(np.isfinite(weights[0]))
    if rows < 2 * len(present):  # of a class with one row any factor is its own
        return None
    telling = [at for at in present.tolist() if not _holds((weights[0, at], weights[1, at]), 1)]
    shown = [f"{weights[:, at].mean():.4g} for class {at}" for at in telling[:_SHOWN]]
    more = ", …" if len(telling) > _SHOWN else ", 1 for the others" if len(telling) < len(present) else ""
    definition = f"the true one × a weight of its class ({', '.join(shown)}{more})"
    cause = "the loss has class weights"
    return Relation(
        "weights", math.nan, definition, cause, "Divide each loss by the weight of its class to compare."
    )

"""Two dumps of the same rows: which change turns the logits of one into those of the other.

A change is one that holds in every row looked at, to the rounding of the coarser of the two formats: first
what is exact, then what one number explains. Where none explains them, their distance is given.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.diagnose.dumps import rows_at
from xentcli.errors import XentError, count, printable
from xentcli.formats import FORMATS, stored

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Shard
    from xentcli.formats import FloatArray

_MOST: Final = 2**22  # logits that are looked at, of rows spread over the dump: a few seconds
# Of the largest number of a row: exp, a sum, a logarithm, a tanh and a product round a few times each.
_ROUNDINGS: Final = 16
_FEWEST: Final = 2  # rows of which a common number says something
_LARGEST_CAP: Final = 1e4  # of a softcap that is looked for: beyond it, it changes nothing that is seen


@dataclass(frozen=True, slots=True)
class Change:
    """What turns one dump into the other: its ``name``, its number if it has one, a sentence, what to do."""

    name: str
    value: float | None
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Apart:
    """How far two dumps are apart: ulps of the coarser format, and where they differ most.

    ``same`` is how many numbers are the same, of ``number``; ``median`` and ``largest`` are in ulps, of the
    numbers that differ and are finite in both.
    """

    number: int
    same: int
    median: float
    largest: float
    row: int
    place: int
    one: float
    other: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two dumps beside each other: rows and classes, formats, rows looked at, the change or how far apart."""

    rows: int
    classes: int
    formats: tuple[str, str]
    looked_at: int
    change: Change | None
    apart: Apart


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Rows of both dumps in float64, the epsilon of the coarser format, and where both are finite."""

    a: "FloatArray"
    b: "FloatArray"
    formats: tuple[str, str]

    @property
    def eps(self) -> float:
        return max(FORMATS[name].eps for name in self.formats)

    def is_near(self, made: "FloatArray", given: "FloatArray") -> bool:
        """Whether one array is another to the rounding of numbers as large as the rows' largest."""
        both = (
            np.where(np.isfinite(self.a), np.abs(self.a), 0),
            np.where(np.isfinite(given), np.abs(given), 0),
        )
        size = np.maximum(both[0].max(axis=1), both[1].max(axis=1))[:, None]
        same = (made == given) | (np.isnan(made) & np.isnan(given))
        with np.errstate(invalid="ignore"):
            return bool((same | (np.abs(made - given) <= _ROUNDINGS * self.eps * size)).all())


def compare_dumps(ours: "Sequence[Shard]", theirs: "Sequence[Shard]") -> Comparison:
    """Say what turns the logits of one dump into those of the other.

    Raises XentError where they have other numbers of rows or classes.
    """
    shapes = [(sum(len(each.logits) for each in some), some[0].logits.shape[1]) for some in (ours, theirs)]
    if shapes[0] != shapes[1]:
        sizes = [f"{count(rows, 'row')} of {count(classes, 'class', 'classes')}" for rows, classes in shapes]
        raise XentError(f"{printable(theirs[0].path)}: has {sizes[1]}, and the other dump has {sizes[0]}")
    rows, classes = shapes[0]
    if not rows:
        raise XentError(f"{printable(ours[0].path)}: has no rows to compare")
    places = np.unique(np.linspace(0, rows - 1, min(rows, max(1, _MOST // classes))).astype(np.int64))
    formats = ours[0].format, theirs[0].format
    a, b = (rows_at(each, places).astype(np.float64) for each in (ours, theirs))
    pair = _Pair(a, b, formats)
    found = next((change for find in _CHANGES for change in find(pair)), None)
    found = found or _shifted(pair, is_whole=len(places) == rows)
    return Comparison(rows, classes, formats, len(places), found, _apart(pair, places))


def _same(pair: _Pair) -> Iterator[Change]:
    if np.array_equal(pair.a, pair.b, equal_nan=True):
        yield Change("same", None, "Both dumps hold the same logits, to the last bit.", "")


def _rounding(pair: _Pair) -> Iterator[Change]:
    for name in ("float32", "bfloat16", "float16"):
        try:
            ours, theirs = (stored(each, name).astype(np.float64) for each in (pair.a, pair.b))
        except XentError:  # bfloat16 needs ml_dtypes
            continue
        for made, given, which in ((ours, pair.b, "second"), (theirs, pair.a, "first")):
            if np.array_equal(made, given, equal_nan=True):
                said = f"The {which} dump holds the logits of the other, rounded to {name}."
                yield Change(
                    "rounding", None, said, "Compare them in one format, or save them before they are cast."
                )


def _softmax(pair: _Pair) -> Iterator[Change]:
    for one, other, which in ((pair.a, pair.b, "second"), (pair.b, pair.a, "first")):
        if (other >= 0).all() and pair.is_near(np.exp(_log_softmax(one)), other):
            said = f"The {which} dump holds probabilities, the softmax of the other."
            yield Change(
                "softmax", None, said, "Save the logits: a loss that expects them takes the softmax twice."
            )


def _offset(pair: _Pair) -> Iterator[Change]:
    """Find a number per row that is added to all its classes: of log-probabilities it is known."""
    kept = np.isfinite(pair.a) & np.isfinite(pair.b)
    if not kept.any(axis=1).all():
        return
    for one, other, which in ((pair.a, pair.b, "second"), (pair.b, pair.a, "first")):
        left_out = np.isneginf(other) & ~np.isneginf(one)
        if left_out.any():
            if (change := _top_k(pair, one, other, which, left_out)) is not None:
                yield change
        elif pair.is_near(_log_softmax(one), other):
            said = f"The {which} dump holds log-probabilities, the log-softmax of the other."
            yield Change(
                "log-softmax", None, said, "A softmax of them is the same: no loss from logits differs."
            )
    with np.errstate(invalid="ignore"):
        apart = np.where(kept, pair.b - pair.a, np.nan)
        middle = np.nanmedian(apart, axis=1)
    same_masks = np.array_equal(np.isneginf(pair.a), np.isneginf(pair.b))
    if same_masks and pair.is_near(np.where(kept, pair.a + middle[:, None], pair.b), pair.b):
        spread = (
            f"{middle.min():.6g}"
            if np.ptp(middle) <= pair.eps
            else f"{middle.min():.6g} to {middle.max():.6g}"
        )
        said = f"The second dump is the first with a number added to each row, {spread}."
        yield Change(
            "offset", float(np.median(middle)), said, "The softmax is the same; large offsets cost digits."
        )


def _top_k(
    pair: _Pair,
    one: "FloatArray",
    other: "FloatArray",
    which: str,
    left_out: "np.ndarray[tuple[int, int], np.dtype[np.bool_]]",
) -> Change | None:
    """Find the k largest logits of each row, the others left out: as they were, or renormalised."""
    number = (~left_out & np.isfinite(one)).sum(axis=1)
    smallest = np.where(left_out, np.inf, one).min(axis=1)
    if (np.where(left_out, one, -np.inf).max(axis=1) > smallest).any():
        return None
    masked = np.where(left_out, -np.inf, one)
    k = f"{number.min()}" if number.min() == number.max() else f"{number.min()} to {number.max()}"
    for made, how in ((masked, "as they are"), (_log_softmax(masked), "as log-probabilities that sum to 1")):
        if pair.is_near(made, other):
            said = f"The {which} dump holds the {k} largest logits of each row, {how}; the others are -inf."
            return Change("top-k", float(number.min()), said, "Sample and score with the same k.")
    return None


def _temperature(pair: _Pair) -> Iterator[Change]:
    """Find one number by which all differences of logits are divided; offsets do not count."""
    a, b = (_log_softmax(each) for each in (pair.a, pair.b))
    kept = np.isfinite(a) & np.isfinite(b)
    centred = [
        np.where(
            kept, x - np.where(kept, x, 0).sum(axis=1, keepdims=True) / kept.sum(axis=1, keepdims=True), 0
        )
        for x in (a, b)
    ]
    square = float((centred[0] ** 2).sum())
    ratio = float((centred[0] * centred[1]).sum()) / square if square else 0.0
    if len(a) < _FEWEST or not ratio > 0 or ratio == 1:
        return
    if pair.is_near(ratio * pair.a, pair.b):
        yield _scaled(ratio, "The second dump is the first", "")
    elif pair.is_near(_log_softmax(ratio * pair.a), pair.b):
        yield _scaled(
            ratio, "The second dump holds the log-probabilities of the first", ", normalised after that"
        )
    elif pair.is_near(ratio * a, pair.b):
        over = f"over {1 / ratio:.6g}, which do not sum to 1"
        said = f"The second dump holds the log-probabilities of the first {over}."
        yield Change(
            "temperature-late", 1 / ratio, said, "Divide the logits by the temperature, then normalise."
        )
    elif pair.is_near(centred[0] * ratio, centred[1]):
        yield _scaled(ratio, "But for a number per row, the second dump is the first", "")


def _scaled(ratio: float, said: str, after: str) -> Change:
    how = f"over a temperature of {1 / ratio:.6g}" if ratio > 1 or ratio < 1 else ""
    return Change(
        "temperature",
        1 / ratio,
        f"{said} {how} (× {ratio:.6g}){after}.",
        "Use one temperature in both, or none.",
    )


def _softcap(pair: _Pair) -> Iterator[Change]:
    """Find the c of c · tanh(x / c): it is monotone, so that one logit tells it."""
    for one, other, which in ((pair.a, pair.b, "second"), (pair.b, pair.a, "first")):
        size = np.where(np.isfinite(one) & np.isfinite(other), np.abs(one), 0)
        row, place = np.unravel_index(size.argmax(), size.shape)
        x, y = abs(float(one[row, place])), abs(float(other[row, place]))
        if not 0 < y < x:
            continue
        low, high = y, _LARGEST_CAP
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if middle * math.tanh(x / middle) < y else (low, middle)
        cap = _short((low + high) / 2, pair.eps)
        if cap < _LARGEST_CAP / 2 and pair.is_near(cap * np.tanh(one / cap), other):
            said = f"The {which} dump holds the logits of the other after a softcap of {cap:.6g}."
            yield Change("softcap", cap, said, "Apply the softcap in both, or in neither.")


def _short(value: float, eps: float) -> float:
    """Return the number with fewest digits that is the value to a few roundings, as people choose them."""
    for digits in range(1, 10):
        near = float(f"{value:.{digits}g}")
        if abs(near - value) <= 64 * eps * value:
            return near
    return value


def _shifted(pair: _Pair, *, is_whole: bool) -> Change | None:
    """Find rows that are those of the next or the one before."""
    if not is_whole or len(pair.a) <= _FEWEST:
        return None
    for one, other, how in ((pair.a[1:], pair.b[:-1], "next"), (pair.a[:-1], pair.b[1:], "one before")):
        if np.array_equal(one, other, equal_nan=True):
            said = f"Each row of the second dump is the {how} of the first: they are shifted by one position."
            return Change("shift", None, said, "Save the logits of the same positions.")
    return None


def _log_softmax(x: "FloatArray") -> "FloatArray":
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _apart(pair: _Pair, places: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Apart:
    form = FORMATS[max(pair.formats, key=lambda name: FORMATS[name].eps)]
    same = (pair.a == pair.b) | (np.isnan(pair.a) & np.isnan(pair.b))
    with np.errstate(all="ignore"):
        _, exponents = np.frexp(np.maximum(np.abs(pair.a), np.abs(pair.b)))
        unit = np.ldexp(1.0, np.maximum(exponents - 1, form.emin) - (form.precision - 1))
        ulps = np.where(same, 0.0, np.abs(pair.a - pair.b) / unit)
    ulps = np.where(np.isnan(ulps), np.inf, ulps)
    row, place = np.unravel_index(ulps.argmax(), ulps.shape)
    some = ulps[~same & np.isfinite(ulps)]
    numbers = float(pair.a[row, place]), float(pair.b[row, place])
    median = float(np.median(some)) if len(some) else 0.0
    return Apart(
        ulps.size, int(same.sum()), median, float(ulps.max()), int(places[row]), int(place), *numbers
    )


_Find = Callable[[_Pair], Iterator[Change]]
_CHANGES: Final[tuple[_Find, ...]] = (_same, _rounding, _softmax, _offset, _temperature, _softcap)

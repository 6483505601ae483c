"""How a dump looks: the gaps of its rows, and where along it the rows of each rule lie.

The gap of a row is its largest logit but the label's, less the label's: below 0 where the label wins, above 0
where another class does. Counts of rows in equal parts of the dump are sums: profiles merge in any order.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.distribution import NO_NUMBERS, Distribution, distribution_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, FloatArray, IntArray

_MOST_PARTS: Final = 100  # equal parts of a dump: each is a few pixels of a picture
_AT_ONCE: Final = 2**18  # logits that are copied at once: they stay in the processor's cache
_SHORT: Final = 256  # classes up to which it pays to turn rows into columns


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where some rows lie: the first, the last, and how many there are in each part of the dump (p,)."""

    first: float
    last: float
    counts: "IntArray"

    def merge(self, other: "Places") -> "Places":
        """Return where the rows of both lie."""
        return Places(min(self.first, other.first), max(self.last, other.last), self.counts + other.counts)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The gaps of rows whose label is a class that counts, all rows, and those of each rule by its name."""

    gaps: Distribution = NO_NUMBERS
    places: Mapping[str, Places] = field(default_factory=dict)

    def merge(self, other: "Profile") -> "Profile":
        """Return the profile of the rows of both."""
        if not (self.places and other.places):  # of no rows, or none is asked for
            return self if self.places else other
        places = dict(self.places)
        for name, theirs in other.places.items():
            places[name] = places[name].merge(theirs) if name in places else theirs
        return Profile(self.gaps.merge(other.gaps), places)


NO_PROFILE: Final = Profile()
ALL: Final = ""  # the name of all rows among places


def profile_of(
    gaps: "FloatArray", found: "Mapping[str, IntArray]", first: int, rows: int, total: int
) -> Profile:
    """Return the profile of rows of a dump of ``total``, of which ``first`` is the first.

    ``found`` has the rows of each rule, as numbers from ``first``; ``gaps`` are as of ``gaps_of``.
    """
    every = {ALL: np.arange(rows), **found}
    places = {name: _places(first + at, total) for name, at in every.items() if len(at)}
    return Profile(distribution_of(gaps), places)


def parts_of(total: int) -> list[slice]:
    """Return the rows of each part of a dump."""
    parts = min(_MOST_PARTS, total)
    starts = [-(-number * total // parts) for number in range(parts + 1)] if parts else []
    return [slice(start, stop) for start, stop in pairwise(starts)]


def _places(rows: "IntArray", total: int) -> Places:
    parts = min(_MOST_PARTS, total)
    counts = np.bincount(rows * parts // total, minlength=parts)
    return Places(int(rows[0]), int(rows[-1]), counts.astype(np.int64))


def gaps_of(
    logits: "FloatArray", labels: "NDArray[Any] | None", ignored: "BoolArray", kind: str
) -> "FloatArray":
    """Return the gap of each row (n,), float64; nan where the label is no class that counts.

    Of a binary row, whose other class has a logit of 0, it is -x where the label is 1, and x where it is 0.
    Rows of probabilities have no gap.
    """
    gaps = np.full(len(logits), math.nan)
    if labels is None or kind == "rows":
        return gaps
    if kind == "binary":
        x, y = logits.astype(np.float64).reshape(len(logits)), np.asarray(labels).reshape(len(logits))
        return np.where(y == 1, -x, np.where(y == 0, x, math.nan))
    classes = logits.shape[1]
    counts = np.flatnonzero((labels >= 0) & (labels < classes) & ~ignored)
    step = max(1, _AT_ONCE // classes)
    for start in range(0, len(counts), step):
        rows = counts[start : start + step]
        gaps[rows] = _gaps(logits[rows], labels[rows].astype(np.int64))
    return gaps


def _gaps(logits: "FloatArray", labels: "IntArray") -> "FloatArray":
    """Return the gaps of rows that are copied; halves as float32, which holds them and is faster."""
    wide = np.float64 if logits.dtype.itemsize > 4 else np.float32  # noqa: PLR2004 - bytes of float32
    is_short, at = logits.shape[1] <= _SHORT, np.arange(len(logits))
    columns = np.array(logits.T if is_short else logits, wide, order="C")
    places = (labels, at) if is_short else (at, labels)
    own = columns[places].astype(np.float64)
    columns[places] = -math.inf
    return columns.max(axis=0 if is_short else 1).astype(np.float64) - own

"""The mean and the quantiles of numbers that come in parts, in any order: neither depends on the parts."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray

    Counted = tuple[IntArray, IntArray]

MOST_VALUES: Final = 1_000_000  # kept one by one: 16 MB of losses, midranges and ranges
_PIECES: Final = 64  # arrays that are joined at once, so that many small parts are not copied again and again
_UNCOUNTED: Final = 2**17  # values that wait until they are counted together: to sort cells takes a while
_BITS: Final = 20  # of a float64 that are counted by: the sign, 11 of the exponent, 8 of the fraction
# Half the width of a cell, which holds numbers of one sign and exponent whose fractions share 8 bits.
COUNTED_ERROR: Final = 2.0**-9
_SMALLEST: Final = 1126  # 2^-1126 divides every float64: the smallest, 2^-1074, has 52 bits below its first
_HALF: Final = (
    27  # bits of a fraction of 53 that are added up apart, so that float64 adds 2^26 of them exactly
)


def exact_sum(values: "FloatArray") -> int:
    """Return Σ of finite float64 numbers (n,), n up to 2^26, in units of 2^-1126, without an error.

    Each number is a whole fraction of 53 bits times 2^e. Fractions of the same e are added in two halves of
    at most 27 bits, whose sums stay below 2^53, and the sums of all e as Python's integers.
    """
    fraction, exponent = np.frexp(values)
    whole = np.ldexp(fraction, 53).astype(np.int64)
    cell = exponent + (_SMALLEST - 53)
    total = 0
    for half, shift in ((whole >> _HALF, _HALF), (whole & (2**_HALF - 1), 0)):
        sums = np.bincount(cell, half)
        total += sum(int(sums[e]) << (e + shift) for e in np.flatnonzero(sums).tolist())
    return total


def exact_mean(total: int, number: int) -> float:
    """Return a sum in units of 2^-1126 over a number, rounded once: Python divides integers so."""
    try:
        return total / (number << _SMALLEST)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """Finite numbers: all of them, up to a million, then how many there are of each top 20 bits.

    ``counted`` is None as long as ``values`` has them all; then it has the cells (k,), as those bits are, in
    order, and the counts of each, but for a few values that are not counted yet. What is said of them follows
    from the number alone, and counts are sums: parts may be merged in any order. ``smallest`` and ``largest``
    are inf and -inf of none.
    """

    number: int
    smallest: float
    largest: float
    values: "tuple[FloatArray, ...]"
    counted: "Counted | None" = None

    @property
    def is_counted(self) -> bool:
        """Whether quantiles are those of cells: right to ``COUNTED_ERROR`` of themselves, or to 2^-1030."""
        return self.number > MOST_VALUES

    def merge(self, other: "Distribution") -> "Distribution":
        """Return the distribution of the numbers of both."""
        values = self.values + other.values
        smallest, largest = min(self.smallest, other.smallest), max(self.largest, other.largest)
        counted = [each.counted for each in (self, other) if each.counted is not None]
        both = Distribution(
            self.number + other.number, smallest, largest, values, _sum(*counted) if counted else None
        )
        if both.number <= MOST_VALUES:
            return replace(both, values=(np.concatenate(values),)) if len(values) > _PIECES else both
        if counted and len(values) <= _PIECES and sum(map(len, values)) <= _UNCOUNTED:
            return both
        return replace(both, values=(), counted=_counted(both))

    def quantiles(self, shares: tuple[float, ...]) -> tuple[float, ...]:
        """Return quantiles, linear between neighbours; of counted numbers the middle of a cell."""
        if not self.number:
            return (float("nan"),) * len(shares)
        if not self.is_counted:
            return tuple(np.quantile(np.concatenate(self.values).astype(np.float64), shares).tolist())
        cells, counts = _counted(self)
        middles = _middles(cells)
        order = np.argsort(middles, kind="stable")
        ends, asked = np.cumsum(counts[order]), np.asarray(shares)
        ranks = np.rint(asked * (self.number - 1))  # a neighbour's cell is as good
        found = middles[order][np.searchsorted(ends, ranks, side="right")]
        found = np.where(asked == 0, self.smallest, np.where(asked == 1, self.largest, found))
        return tuple(np.clip(found, self.smallest, self.largest).tolist())

    def histogram(self, edges: tuple[float, ...]) -> list[int]:
        """Return how many numbers are from each edge up to the next, the last one included.

        Of counted numbers each is taken for the middle of its cell.
        """
        if not self.number:
            return [0] * (len(edges) - 1)
        if not self.is_counted:
            values, weights = np.concatenate(self.values).astype(np.float64), None
        else:
            cells, weights = _counted(self)
            values = np.clip(_middles(cells), self.smallest, self.largest)
        return [int(count) for count in np.histogram(values, edges, weights=weights)[0]]


def _counted(numbers: Distribution) -> "Counted":
    """Return how many numbers there are of each top 20 bits."""
    counted = [] if numbers.counted is None else [numbers.counted]
    if numbers.values:
        bits = [each.astype(np.float64).view(np.uint64) >> np.uint64(64 - _BITS) for each in numbers.values]
        counted.append(np.unique(np.concatenate(bits).astype(np.uint32), return_counts=True))
    return _sum(*counted)


def _sum(*counted: "Counted") -> "Counted":
    """Return how many there are in all. float64 counts to 2^53."""
    if len(counted) == 1:
        return counted[0]
    cells, at = np.unique(np.concatenate([cells for cells, _ in counted]), return_inverse=True)
    return cells, np.bincount(at, np.concatenate([counts for _, counts in counted])).astype(np.int64)


def distribution_of(values: "FloatArray") -> Distribution:
    """Return the distribution of the finite ones of some numbers; -0 is 0."""
    finite = values[np.isfinite(values)] + values.dtype.type(0)
    smallest, largest = finite.min(initial=np.inf), finite.max(initial=-np.inf)
    return Distribution(len(finite), float(smallest), float(largest), (finite,))


def _middles(cells: "IntArray") -> "FloatArray":
    """Return the middle of each cell, float64 (k,)."""
    lowest = cells.astype(np.uint64) << np.uint64(64 - _BITS)
    return (lowest + np.uint64(2 ** (63 - _BITS))).view(np.float64)


NO_NUMBERS: Final = distribution_of(np.zeros(0))

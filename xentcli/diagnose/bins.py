"""Bins of a histogram: of equal width, or of equal factors where numbers differ by many powers of ten."""

import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xentcli.diagnose.distribution import Distribution

_MOST: Final = 40  # bins of equal width: each is 12 pixels of a picture
_MOST_POWERS: Final = 12  # bins of powers of ten on each side of 0: their names stand below them
_FEW_POWERS: Final = 7  # up to which each is divided into three
# Up to here bins have the same width: -ln of the smallest float32, 103.3, is the largest loss of its kind.
_EVEN_TO: Final = 104.0
_SMALL: Final = -3  # the power of ten below which positive numbers share a bin, beside ones above 104


@dataclass(frozen=True, slots=True)
class Bins:
    """How many numbers, ``counts`` (k,), are from each of ``edges`` (k + 1,) up to the next."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    are_even: bool

    @property
    def names(self) -> list[tuple[str, str]]:
        """The two ends of each bin as text."""
        texts = [_written(edge) for edge in self.edges]
        return list(pairwise(texts))


def bins_of(numbers: "Distribution") -> Bins:
    """Return the bins of numbers, of which there is one at least; their edges are round numbers."""
    low, high = numbers.smallest, numbers.largest
    are_even = max(-low, high) <= _EVEN_TO
    edges = _even(low, high) if are_even else _powers(low, high)
    return Bins(edges, tuple(numbers.histogram(edges)), are_even)


def _even(low: float, high: float) -> tuple[float, ...]:
    """Return multiples of 1, 2 or 5 times a power of ten, from below ``low`` to above ``high``."""
    span = max(high - low, abs(high) * 2.0**-40, 2.0**-1000)  # so that a bin has a width
    power = math.floor(math.log10(span / _MOST))
    factor = next(each for each in (1, 2, 5, 10, 20) if span / (each * 10.0**power) <= _MOST - 2)
    step = float(f"{factor}e{power}")
    first, last = math.floor(low / step), math.floor(high / step) + 1
    return tuple(float(f"{number * factor}e{power}") for number in range(first, last + 1))


def _powers(low: float, high: float) -> tuple[float, ...]:
    """Return 0 and powers of ten where there are numbers; of few powers 2 and 5 times each too."""
    smallest, sides = (0, 2) if low < 0 else (_SMALL, 1)
    top = math.ceil(math.log10(max(-low, high)))
    by = max(1, math.ceil((top - smallest) / _MOST_POWERS))
    factors = (1, 2, 5) if sides * (top - smallest) <= _FEW_POWERS else (1,)
    steps = (float(f"{factor}e{power}") for power in range(smallest, top + by, by) for factor in factors)
    edges = [min(step, sys.float_info.max) for step in steps]
    last = next(at for at, edge in enumerate(edges) if edge >= max(-low, high))
    below = [-each for each in reversed(edges[: last + 1])] if low < 0 else []
    return (*below, 0.0, *(edges[: last + 1] if high >= 0 else ()))


def _written(edge: float) -> str:
    return f"{edge:.12g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")

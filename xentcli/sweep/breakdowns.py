"""Where the state of a loss changes, to the neighbouring numbers of the format.

Outwards from the value nearest to 0 where the method is right, on either side: the first value of each state.
The nearest values known around it are halved until they are neighbours; then the values just before are
looked at, and more in the distance, for an earlier one. The last values before each power of two are looked
at too, where a sum rounds to steps twice as large. Formats of 16 bits hide nothing: every value of the range
is looked at, unless there are many classes. Otherwise a state between the values looked at is not seen.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, ordinal
from xentcli.sweep.points import RIGHT, STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.sweep.points import Evaluator, Points

_EVERY: Final = 2**16  # values of a range that are all looked at: those of a format of 16 bits,
_LOGITS: Final = 2**20  # where they have so many logits in all: some ten seconds
# Neighbours before a change or a power of two: ln 2 is 89 steps of 2^-7, below 1 % of it.
_BEFORE: Final = 128
_BETWEEN: Final = 64  # values between those known before a change
_FEWEST: Final = 8  # of both, of an example of so many classes that each takes long
_ROUNDS: Final = 400  # of halving, 64 at most in a row, and of looking before


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A state of a method and the value where it begins: ``first``, and ``last``, its neighbour before.

    Seen from where the method is right; ``is_upwards``: the state is at higher values. ``last`` is None where
    the method is right nowhere and this is how the range begins.
    """

    method: str
    state: str
    is_upwards: bool
    first: float
    last: float | None


@dataclass(frozen=True, slots=True)
class Breakdowns:
    """A row per breakdown, the methods that have none, and whether every value of the range was looked at."""

    rows: tuple[Breakdown, ...]
    right: tuple[str, ...]
    are_exhaustive: bool


@dataclass(frozen=True, slots=True)
class _Change:
    """A state and the place where it begins, seen from ``inner``, the nearest place known before."""

    state: int
    is_upwards: bool
    inner: int
    outer: int


class _Search:
    """The places known, sorted, and the state of each method there: (methods, places)."""

    def __init__(self, evaluator: "Evaluator", points: "Points") -> None:
        self._evaluator, self._form = evaluator, FORMATS[evaluator.example.numerics.dtype]
        places = [evaluator.quantity.place(value, self._form) for value in points.values]
        self.places = np.array(places, np.int64)
        self.states = np.stack([track.states for track in points.tracks])
        self.low, self.high = int(self.places[0]), int(self.places[-1])  # float64's differ by more than 2^63
        is_classes = evaluator.quantity.name == "classes"
        classes = max(1, self.high if is_classes else len(evaluator.example.logits))
        number = self.high - self.low
        self.is_small = number < _EVERY and number * classes <= _LOGITS and not evaluator.quantity.is_shape
        most = max(_FEWEST, _LOGITS // (8 * classes))
        self._before, self._between = min(_BEFORE, most), min(_BETWEEN, most)

    def value(self, place: int) -> float:
        """Return the value at a place."""
        return self._evaluator.quantity.value(place, self._form)

    def add(self, places: Iterable[int]) -> bool:
        """Evaluate the places that are not known, inside the range; say whether there was one."""
        inside = (place for place in places if self.low < place < self.high)
        new = np.setdiff1d(np.fromiter(inside, np.int64), self.places)
        if not len(new):
            return False
        columns = self._evaluator.states([self.value(place) for place in new.tolist()])
        every = np.concatenate([self.places, new])
        order = np.argsort(every)
        self.places = every[order]
        self.states = np.concatenate([self.states, columns], axis=1)[:, order]
        return True

    def changes(self) -> Iterator[tuple[int, _Change]]:
        """Yield each change of each method, which is named by its number."""
        for method, states in enumerate(self.states):
            if (anchor := self._nearest_right(states)) is None:
                yield from ((method, change) for change in self._outwards(states, 0, 1, set()))
                continue
            at = int(np.searchsorted(self.places, anchor))
            for step in (-1, 1):
                yield from ((method, change) for change in self._outwards(states, at, step, {RIGHT}))

    def _outwards(
        self, states: "NDArray[np.int64]", start: int, step: int, seen: set[int]
    ) -> Iterator[_Change]:
        way = states[start:] if step > 0 else states[start::-1]
        kinds, firsts = np.unique(way, return_index=True)
        for first, state in sorted(zip(firsts.tolist(), kinds.tolist(), strict=True)):
            if state not in seen:
                outer, inner = start + step * first, start + step * max(first - 1, 0)
                yield _Change(state, step > 0, int(self.places[inner]), int(self.places[outer]))

    def before(self, change: _Change) -> Iterator[int]:
        """Yield places before a change: its neighbours, and some as far as the place known before those."""
        if change.inner == change.outer:
            return
        step = 1 if change.is_upwards else -1
        at = int(np.searchsorted(self.places, change.inner))
        far = int(self.places[max(0, min(at - step, len(self.places) - 1))])
        yield from range(change.inner, change.inner - step * self._before, -step)
        parts = self._between
        yield from (change.inner + (far - change.inner) * part // parts for part in range(1, parts))

    def near_powers(self) -> Iterator[int]:
        """Yield the last places before each power of two from 1 on, of both signs, of a plain example.

        From 2^p on numbers are further apart than 1, and nothing is left of a loss beside them.
        """
        quantity, is_plain = self._evaluator.quantity, self._evaluator.example.settings is not None
        if quantity.is_shape or quantity.is_integer or not is_plain:
            return
        largest = max(abs(self.value(self.low)), abs(self.value(self.high)))
        for exponent in range(min(math.frexp(largest)[1], self._form.precision + 1)):
            place = ordinal(2.0**exponent, self._form)
            yield from range(place - self._before, place + 1)
            yield from range(-place, -place + self._before)

    def _nearest_right(self, states: "NDArray[np.int64]") -> int | None:
        """Return the place nearest to 0 where a state is right; None where none is.

        Far away a method may be right again, as where the true loss underflows too.
        """
        right = self.places[states == RIGHT].tolist()
        return min(right, key=abs, default=None)


def find_breakdowns(
    evaluator: "Evaluator", points: "Points", show: Callable[[float], None] = lambda _: None
) -> Breakdowns:
    """Find the breakdowns of the methods in the range of points that are evaluated.

    ``show`` takes the share that is done. A method without any loss has none, and is not right.
    """
    search = _Search(evaluator, points)
    search.add(range(search.low, search.high) if search.is_small else search.near_powers())
    for number in range(_ROUNDS):
        show(1 - 0.98**number)  # how many rounds there are is not known
        changes = [change for _, change in search.changes()]
        if search.add((change.inner + change.outer) // 2 for change in changes):
            continue
        if search.is_small or not search.add(place for change in changes for place in search.before(change)):
            break
    supported = [any(STATES[state] != "none" for state in track.states) for track in points.tracks]
    names = [track.method for track in points.tracks]
    rows = tuple(
        Breakdown(
            names[method],
            STATES[change.state],
            change.is_upwards,
            search.value(change.outer),
            None if change.inner == change.outer else search.value(change.inner),
        )
        for method, change in search.changes()
        if supported[method]
    )
    broken = {breakdown.method for breakdown in rows}
    right = (
        name for name, has_losses in zip(names, supported, strict=True) if has_losses and name not in broken
    )
    return Breakdowns(rows, tuple(right), search.is_small)

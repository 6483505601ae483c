"""What a loss that does not move may mean: the constants whose digits it shows.

A loss matches a constant where its digits are those of the constant, of the constant in float32, or of a mean
over a batch in which only some examples have it; rounded or, as people type them, cut off.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import islice
from typing import Final

import numpy as np

from xentcli.errors import XentError
from xentcli.identify import constants, relations
from xentcli.identify.constants import FLOORS, ONES, ZEROS, Constant
from xentcli.identify.denominators import Run, denominators, untrained
from xentcli.load.fields import is_number

_FEWEST_DIGITS: Final = 3  # with fewer, some constant always matches
_DIGITS_OF_MANY: Final = 5  # shares of floors, bits and softmax twice are many, so they need more digits
_DIGITS_OF_HALVES: Final = 4  # those of the first floors are few
_FIRST_FLOORS: Final = 6
_FEW_CLASSES: Final = 10  # of a softmax twice, where few digits are typed
_LARGEST_BATCH: Final = 8
_MOST_MEANS: Final = 3
_MOST: Final = 5  # candidates shown
_FEW_COPIES: Final = 16  # of the same logits; of more copies there is a power of 2
_SHARES: Final = [Fraction(n, 20) for n in range(19, 10, -1)]  # of labels that count, in a mean over all
_NARROW: Final = Fraction(1, 500)  # of a ratio: with fewer digits some share always fits
_MOST_FACTOR: Final = 4096  # ranks or chunks
# An interval as wide has a whole number by chance in one case of four, one next to its middle in one of 25.
_ALONE: Final = Fraction(1, 4)
_MIDDLE: Final = Fraction(1, 50)
_WRONG, _RIGHT = [0, 1000], [1000, 0]  # logits whose class 0 has a probability of 0 and of 1 in float64
_EXACT: Final = Context(prec=2500)  # every float64, at most 767 digits, beside 800 typed ones


@dataclass(frozen=True, slots=True)
class Candidate:
    """A constant that matches, whole or as a mean in which ``share`` of the examples have it."""

    constant: Constant
    share: Fraction = Fraction(1)

    @property
    def case(self) -> str | None:
        """A case that shows the value, on one line."""
        constant, number, batch = self.constant, self.share.numerator, self.share.denominator
        if not constant.logits:
            return None
        rows = constant.logits if batch == 1 else [_WRONG] * number + [_RIGHT] * (batch - number)
        clip = "" if constant.clip is None else f", clip: [{constant.clip!r}, 1.0]"
        return f"{{title: {constant.title}, logits: {rows}, labels: {[0] * len(rows)}{clip}}}"


def identify(typed: str, true: str | None = None, run: Run | None = None) -> tuple[Candidate, ...]:
    """Return what matches a loss as it was printed, the likeliest first; nothing where nothing matches.

    With the ``true`` loss beside it, factors and summands between the two come first, those that the numbers
    of a ``run`` explain before all others; without it, multiples of what is known. Raises XentError where a
    text is no finite number, or shows fewer than three digits.
    """
    if typed.lower().lstrip("+-") in {"nan", "inf"}:
        way = "save the batch's logits and labels, and run 'xent diagnose batch.npz'"
        raise XentError(f"{typed} has no digits to compare; {way}")
    value, run = _number(typed), run or Run()
    if true is not None and _is_same(typed, true):
        same = Candidate(relations.same(typed, true))
        return (same, *identify(typed)) if _says_more(typed) else (same,)
    if true is not None and _number(true) != 0:
        related = list(map(Candidate, between(typed, true, run)))
        # Where the true loss is ln(10), a multiple of it is a floor of a power of ten too.
        floors = [Candidate(c) for c in FLOORS if related and _matches(typed, [c.value])]
        if related or not _says_more(typed):
            return tuple([*floors, *related][:_MOST])
    if value == 0:
        return tuple(map(Candidate, ZEROS))
    if value < 0:
        return tuple(map(Candidate, constants.negative(value)))
    return tuple(_by_itself(typed, value, run if true is None else Run()))


def _by_itself(typed: str, value: float, run: Run) -> Iterable[Candidate]:
    """Return what matches a positive loss: a multiple of a constant that the run explains, or a constant."""
    digits = digits_of(typed)
    if not _says_more(typed):
        more = f"give at least {_FEWEST_DIGITS}, as 16.1 does"
        raise XentError(f"'{typed}' shows too few digits to tell; {more}")
    if multiples := list(islice(map(Candidate, _multiples(typed, run)), _MOST)):
        return multiples
    has_many = digits >= _DIGITS_OF_MANY
    whole = [Candidate(c) for c in _likely(value, has_many=has_many) if _matches(typed, [c.value])]
    if whole or digits < _DIGITS_OF_HALVES:
        return whole[:_MOST]
    return islice(_mean_candidates(typed) if has_many else _half_candidates(typed), _MOST_MEANS)


def _is_same(typed: str, true: str) -> bool:
    """Whether two losses are the same, to the digits of the first."""
    _number(true)
    return _shows(typed, Decimal(true))


def _says_more(typed: str) -> bool:
    """Whether a loss has enough digits to be looked up by itself; 0 needs none."""
    return _number(typed) == 0 or digits_of(typed) >= _FEWEST_DIGITS


def digits_of(typed: str) -> int:
    """Count the digits of a number that say something."""
    return len(typed.lower().split("e")[0].replace(".", "").lstrip("+-0"))


def _number(typed: str) -> float:
    """Return a finite number; raises XentError for any other text."""
    if not is_number(typed) or not math.isfinite(float(typed)):
        raise XentError(f"'{typed}' is not a loss; write the number as it was printed, such as 16.118")
    return float(typed)


def _likely(value: float, *, has_many: bool) -> Iterator[Constant]:
    """Yield the constants near a value, the likeliest first: classes of models, floors, other classes."""
    numbers = list(constants.class_numbers())
    near = [n for n in numbers if abs(math.log(n) - value) < 1]
    known = [n for n in near if constants.is_likely(n)]
    for classes in known:
        yield from constants.uniform(classes)
    yield from FLOORS
    yield from ONES
    yield from constants.OTHERS
    for classes in near:
        if classes not in known:
            yield from constants.uniform(classes)
    if has_many:
        yield from map(constants.in_bits, filter(constants.is_likely, numbers))
    most = constants.MOST_CLASSES if has_many else _FEW_CLASSES
    yield from (constants.softmax_twice(classes) for classes in numbers if classes <= most)


def _half_candidates(typed: str) -> Iterator[Candidate]:
    """Yield halves of the likeliest floors."""
    for constant in FLOORS[:_FIRST_FLOORS]:
        if _matches(typed, _mean_values(constant.value, 0.5)):
            yield Candidate(constant, Fraction(1, 2))


def _mean_candidates(typed: str) -> Iterator[Candidate]:
    """Yield shares of a floor, smaller batches first."""
    batches = range(2, _LARGEST_BATCH + 1)
    for share in dict.fromkeys(Fraction(number, batch) for batch in batches for number in range(1, batch)):
        for constant in FLOORS:
            if _matches(typed, _mean_values(constant.value, float(share))):
                yield Candidate(constant, share)


def _mean_values(floor: float, share: float) -> list[float]:
    """List the means that print apart: epsilon as float64 or float32, the others at 0 or at 1 - epsilon."""
    values = []
    for epsilon in (math.exp(-floor), float(np.float32(math.exp(-floor)))):
        loss = -math.log(epsilon) if epsilon else floor
        values += [share * loss, share * loss - (1 - share) * math.log1p(-epsilon)]
    return values


def _matches(typed: str, values: Iterable[float]) -> bool:
    """Whether a value, or that value in float32, shows the digits typed, rounded or cut off."""
    numbers = {Decimal(number) for value in values for number in (value, float(np.float32(value)))}
    return any(_shows(typed, number) for number in numbers)


def _shows(typed: str, number: Decimal) -> bool:
    """Whether a number, rounded or cut off, is printed as the digits typed."""
    want = Decimal(typed)
    return any(number.quantize(want, way, _EXACT) == want for way in (ROUND_HALF_EVEN, ROUND_DOWN))


def between(typed: str, true: str, run: Run) -> Iterator[Constant]:
    """Yield what may lie between a loss and the true one: what the run explains, then what is left.

    Both are finite numbers as they are printed, the true one not 0.
    """
    (low, loss, high), (true_low, _, true_high) = _interval(typed), _interval(true)
    explained = []
    if true_low > 0 and low > 0:
        fits = (each for each in denominators(run) if low / true_high <= each.ratio <= high / true_low)
        explained = [each.constant(true, float(loss)) for each in fits]
    yield from explained
    known = {each.definition for each in explained}
    yield from (each for each in _related(typed, true) if each.definition not in known)


def _multiples(typed: str, run: Run) -> Iterator[Constant]:
    """Yield the constants of which a loss is a multiple that the run explains."""
    if run.vocabulary is not None:
        yield from untrained(run, float(typed))
        return
    if any(_matches(typed, [c.value]) for c in _likely(float(typed), has_many=False)):
        return
    for each in denominators(run):
        for constant in (*FLOORS, *ONES, *map(next, map(constants.uniform, constants.MODELS))):
            if _matches(typed, [constant.value * float(each.ratio)]):
                yield each.constant(constant.definition, float(typed))
                break


def _related(typed: str, true: str) -> Iterator[Constant]:
    """Yield what may lie between a loss and the true one: a sign, a factor, a summand."""
    (low, loss, high), (true_low, right, true_high) = _interval(typed), _interval(true)
    if low <= -right <= high:
        yield relations.flipped(typed, true)
    if true_low > 0 and low > 0:
        yield from _factors(typed, true)
    ends = (low - true_high, loss - right, high - true_low)
    if ends[-1] < math.log(_MOST_FACTOR):
        for number in _whole_numbers(*(Fraction(math.exp(float(end))) for end in ends)):
            if number <= _FEW_COPIES or number.bit_count() == 1:
                yield relations.summand(typed, true, number)


def _factors(typed: str, true: str) -> Iterator[Constant]:
    """Yield the factors between a loss and the true one that their digits allow."""
    (low, loss, high), (true_low, right, true_high) = _interval(typed), _interval(true)
    least, most = low / true_high, high / true_low
    for factor in _whole_numbers(least, loss / right, most):
        yield relations.related(typed, true, f"{factor} × {true}", is_larger=True)
    for factor in _whole_numbers(1 / most, right / loss, 1 / least):
        yield relations.related(typed, true, f"{true} / {factor}", is_larger=False)
    for constant in relations.BASES:
        if least <= Fraction(constant.value) <= most:
            yield relations.in_other_base(constant, true)
    for share in _SHARES:
        if least <= share <= most and most - least < _NARROW:
            yield relations.diluted(typed, true, float(1 - share))


def _interval(typed: str) -> tuple[Fraction, Fraction, Fraction]:
    """Return a number, and between which one lies that prints as its digits, rounded or cut off."""
    number = Decimal(typed)
    unit = Fraction(10) ** int(number.as_tuple().exponent)
    value = Fraction(number)
    return value - unit / 2, value, value + unit


def _whole_numbers(low: Fraction, middle: Fraction, high: Fraction) -> range:
    """Return the whole numbers from 2 on of an interval; of a wide one that in its middle alone."""
    if high - low > _ALONE:
        low, high = middle - (high - low) * _MIDDLE, middle + (high - low) * _MIDDLE
    return range(max(2, math.ceil(low)), min(math.floor(high), _MOST_FACTOR) + 1)

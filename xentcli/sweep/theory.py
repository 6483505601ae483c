"""Where theory puts a breakdown of the plain example of two classes, a row per law.

A law is a number of real arithmetic, evaluated to 60 digits, from which the first number of the format
follows; exp, log and division are taken to be rounded so well that no other number lies between, which is
what a sweep then shows, or does not. With t = exp(-gap): the sum of exponentials is 1 + t, the softmax
1 / (1 + t) and t / (1 + t); p is the precision in bits, and eps / 2 = 2^-p.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from xentcli.formats import EXTREME, FORMATS, nearest, number_at, ordinal, ulp
from xentcli.judge.findings.finding import ACCURATE, WRONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.formats import Format
    from xentcli.sweep.breakdowns import Breakdown
    from xentcli.sweep.example import Example
    from xentcli.sweep.quantities import Quantity

_LN2: Final = EXTREME.ln(Decimal(2))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What theory says: a formula, why, its value, and the first number of the format from there."""

    formula: str
    why: str
    value: Decimal
    first: float
    apart: int  # numbers of the format between the first one and the one measured


@dataclass(frozen=True, slots=True)
class _Law:
    """Which breakdowns it is of, its formula and why, and its value in a format with a clip's lower bound.

    ``is_open``: at the value itself, if it is a number of the format, the state does not hold yet.
    """

    quantity: str
    state: str
    is_upwards: bool
    methods: frozenset[str]
    formula: str
    why: str
    value: "Callable[[Format, float], Decimal]"
    is_open: bool = False


def _powers_of_two(power: "Callable[[Format], int]") -> "Callable[[Format, float], Decimal]":
    return lambda form, _: EXTREME.multiply(power(form), _LN2)


def _underflow(form: "Format") -> int:
    return form.precision - form.emin


def _overflow(form: "Format", _: float) -> Decimal:
    """Return ln of the midpoint beyond the largest number: 2^(emax + 1) (1 - 2^-(p + 1))."""
    midpoint = Fraction(2) ** (form.emax + 1) * (1 - Fraction(form.eps) / 4)
    return EXTREME.ln(EXTREME.divide(midpoint.numerator, midpoint.denominator))


def _clip_level(_: "Format", low: float) -> Decimal:
    """Return -ln(c / (1 - c)): the gap at which the softmax of the other class is the bound c."""
    bound = Decimal(low)
    return -EXTREME.ln(EXTREME.divide(bound, EXTREME.subtract(1, bound)))


def _unshifted_zero(form: "Format", _: float) -> Decimal:
    """Return the first gap at which 1 + t rounds to 1 + ulp(gap) / 2: its log is lost beside the gap.

    The midpoint after that number is 1 + (ulp(gap) + eps) / 2; from a gap of 2 on ulp(gap) / 2 is one of the
    steps of 1 + t.
    """
    for exponent in range(1, form.emax):
        start = Decimal(2) ** exponent
        half = EXTREME.divide(EXTREME.add(EXTREME.multiply(start, Decimal(form.eps)), Decimal(form.eps)), 2)
        gap = -EXTREME.ln(half)
        if gap < 2 * start:
            return max(gap, start)
    raise AssertionError(form)


def _unshifted_off(form: "Format", _: float) -> Decimal:
    """Return the first offset o at which round(o + ln 2) - o is more than 1 %, and 4 ulps, away from ln 2.

    Within a binade the sum is a multiple of its ulp u, and so is o: the error is that of ln 2 rounded to a
    multiple of u. In the last ln 2 before a power of two the sum is a multiple of 2 u, and o of u.
    """
    log, true = Fraction(nearest(_LN2, form)), Fraction(_LN2)
    allowed = max(Fraction(WRONG) * true, ACCURATE * ulp(true, form))
    for exponent in range(form.emax):
        power = Fraction(2) ** exponent
        below = ulp(power / 2, form)
        if below <= allowed:  # the most that rounding to a multiple of 2 u may change
            continue
        steps = min(math.ceil(log / below), math.ceil(power / 2 / below))
        for offset in (*(power - step * below for step in range(steps, 0, -1)), power):
            if abs(Fraction(nearest(offset + log, form)) - offset - true) > allowed:
                return EXTREME.divide(offset.numerator, offset.denominator)
    raise AssertionError(form)


_FROM_ONE: Final = frozenset({"dense", "sparse", "online", "naive", "clipped", "guarded", "by_hand"})
_OF_LOG: Final = frozenset({"naive", "by_hand", "guarded"})
_LAWS: Final = (
    _Law(
        quantity="gap",
        state="0",
        is_upwards=True,
        methods=_FROM_ONE,
        formula="p ln 2",
        why="1 + t rounds to 1",
        value=_powers_of_two(lambda form: form.precision),
    ),
    *(
        _Law(
            quantity="gap",
            state=state,
            is_upwards=state == "nan",
            methods=_OF_LOG,
            formula="(p - emin) ln 2",
            why="t underflows to 0",
            value=_powers_of_two(_underflow),
        )
        for state in ("nan", "inf")
    ),
    _Law(
        quantity="gap",
        state="nan",
        is_upwards=True,
        methods=frozenset({"textbook"}),
        formula="ln(2^emax (2 - 2^-p))",
        why="1 / t overflows",
        value=_overflow,
    ),
    _Law(
        quantity="gap",
        state="capped",
        is_upwards=False,
        methods=frozenset({"clipped"}),
        formula="ln((1 - c) / c)",
        why="the probability falls below the bound c of the clip",
        value=_clip_level,
        is_open=True,
    ),
    _Law(
        quantity="gap",
        state="0",
        is_upwards=True,
        methods=frozenset({"unshifted"}),
        formula="-ln((ulp(gap) + 2^(1-p)) / 2)",
        why="gap + ln(1 + t) rounds to the gap",
        value=_unshifted_zero,
    ),
    _Law(
        quantity="offset",
        state="off",
        is_upwards=True,
        methods=frozenset({"unshifted"}),
        formula="offset + ln 2",
        why="it rounds to a multiple of the offset's ulp more than 1 % from ln 2",
        value=_unshifted_off,
    ),
)
# What has to be plain for the laws to hold, besides a number of classes of two.
_PLAIN: Final = {"gap": {"scale": 1.0, "offset": 0.0}, "offset": {"gap": 0.0}}


def predict(example: "Example", quantity: "Quantity", breakdown: "Breakdown") -> Prediction | None:
    """Return what theory says of a breakdown; None where there is no law for it."""
    law = next((law for law in _LAWS if _is_of(law, quantity, breakdown)), None)
    if law is None or not _is_plain(example, quantity):
        return None
    form = FORMATS[example.numerics.dtype]
    clip = example.options.get("clip", (1e-36, 1.0))[0]
    value = law.value(form, nearest(Decimal(clip), form))
    first = _first_from(value, form, is_open=law.is_open)
    signed = first if breakdown.is_upwards or quantity.name != "gap" else -first
    apart = abs(ordinal(signed, form) - ordinal(breakdown.first, form))
    return Prediction(law.formula, law.why, value if signed == first else -value, signed, apart)


def _is_of(law: _Law, quantity: "Quantity", breakdown: "Breakdown") -> bool:
    same = (law.quantity, law.state, law.is_upwards) == (quantity.name, breakdown.state, breakdown.is_upwards)
    return same and breakdown.method in law.methods and breakdown.last is not None


def _is_plain(example: "Example", quantity: "Quantity") -> bool:
    settings, how = example.settings, example.numerics
    if settings is None or how.arithmetic != "numpy" or how.loss_dtype != how.dtype:
        return False
    needed = {"classes": 2, "smoothing": 0.0, "label-rank": 1, **_PLAIN[quantity.name]}
    return all(settings[name] == value for name, value in needed.items() if name != quantity.name)


def _first_from(value: Decimal, form: "Format", *, is_open: bool) -> float:
    """Return the first number of the format that is not below a positive value, or above it."""
    number = nearest(value, form)
    is_before = Decimal(number) <= value if is_open else Decimal(number) < value
    return number_at(ordinal(number, form) + 1, form) if is_before else number

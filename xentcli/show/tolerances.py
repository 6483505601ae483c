"""The ulps that a loss may be off as rtol and atol, beside the tolerances of other people's tests."""

from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from xentcli.check.tolerance import KNOWN_TOLERANCES, MaxUlps, Tolerance
from xentcli.formats import FORMATS
from xentcli.show import Screen, render
from xentcli.show.sheet import Cell, Lines, Sheet, Tone, paragraph

if TYPE_CHECKING:
    from xentcli.check.tolerance import KnownTolerance
from xentcli.show.sheet import Part

_DIGITS: Final = 3  # rounded so that what is said of a number holds of the digits too
_LEAST, _MOST = Decimal("0.001"), Decimal(1000)  # numbers between them need no power of ten
_OWN: Final = ("dtype", "ulps", "strict rtol", "loose rtol", "loose atol")
_OTHERS: Final = ("tests", "dtype", "rtol", "atol", "in ulps", "0 passes to")
ABOUT: Final = (
    "A test with |y - z| ≤ atol + rtol |z|, z the true loss: with the strict rtol and atol 0 it passes "
    "nothing that --max-ulps refuses; with the loose rtol and atol it passes all that --max-ulps does. xent "
    "allows besides what the input costs: log2 C ulps and the loss's condition."
)
KNOWN: Final = (
    "Other tests: their rtol in ulps, of a power of two and just below one. Their atol passes 0 in the place "
    "of any loss up to the last column."
)


def answer(max_ulps: MaxUlps) -> str:
    """Say what rtol the ulps are in float32."""
    form = FORMATS["float32"]
    own = max_ulps.of(form.name)
    strict, loose = Tolerance.within(own, form).rtol, Tolerance.around(own, form).rtol
    return f"In float32, {own:g} ulps are an rtol of {_down(strict)} to {_up(loose)}."


def render_tolerances(max_ulps: MaxUlps, form: str, screen: Screen) -> str:
    """Render what ``xent check --tolerances`` shows."""
    return render(parts(max_ulps, screen.width), form, screen)


def parts(max_ulps: MaxUlps, width: int) -> "list[Part]":
    """Return the answer, a row per dtype, a row per tolerance of others, and what the columns mean."""
    own, others = sheets(max_ulps)
    urls = dict.fromkeys(each.url for each in KNOWN_TOLERANCES)
    return [
        Lines(
            (
                *paragraph(answer(max_ulps), width, Tone.HEADING),
                *paragraph(ABOUT, width, Tone.CONTEXT, indent=2),
            )
        ),
        own,
        Lines(tuple(paragraph(KNOWN, width, Tone.CONTEXT, indent=2))),
        others,
        Lines(tuple(("  ", Cell(url, Tone.CONTEXT)) for url in urls)),
    ]


def sheets(max_ulps: MaxUlps) -> tuple[Sheet, Sheet]:
    """Return the rows of the dtypes, and those of others."""
    own = tuple(_own_row(name, max_ulps.of(name)) for name in FORMATS)
    return Sheet("", _OWN, own), Sheet("", _OTHERS, tuple(map(_known_row, KNOWN_TOLERANCES)))


def _own_row(dtype: str, ulps: float) -> tuple[str, ...]:
    strict, loose = Tolerance.within(ulps, FORMATS[dtype]), Tolerance.around(ulps, FORMATS[dtype])
    numbers = (f"{ulps:g}", _down(strict.rtol), _up(loose.rtol), _up(loose.atol))
    return dtype, *(Cell(number, is_number=True) for number in numbers)


def _known_row(known: "KnownTolerance") -> tuple[str, ...]:
    tolerance = known.tolerance
    least, most = tolerance.ulps(FORMATS[known.dtype])
    in_ulps = f"{_down(least)} to {_up(most)}"
    numbers = (known.rtol, known.atol, in_ulps, _down(tolerance.lost))
    return known.whose, known.dtype, *(Cell(number, is_number=True) for number in numbers)


def _down(number: Fraction) -> str:
    return _rounded(number, ROUND_DOWN)


def _up(number: Fraction) -> str:
    return _rounded(number, ROUND_UP)


def _rounded(number: Fraction, how: str) -> str:
    """Round once, to three digits."""
    digits = Context(prec=_DIGITS, rounding=how).divide(
        Decimal(number.numerator), Decimal(number.denominator)
    )
    return f"{digits:g}" if not digits or _LEAST <= digits < _MOST else f"{digits:.{_DIGITS - 1}e}"

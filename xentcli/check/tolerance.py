"""The tolerance of a check: how many ulps a loss may be off, by dtype, and what rtol and atol that is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from xentcli.errors import XentError, did_you_mean
from xentcli.formats import Format
from xentcli.judge.findings.finding import ACCURATE
from xentcli.words import DTYPES

_EXPECTED: Final = f"expected one of {', '.join(DTYPES)}"


@dataclass(frozen=True, slots=True)
class MaxUlps:
    """The ulps that a loss may be off besides what rounding must cost.

    ``by_dtype`` has those of single dtypes, ``default`` those of the others. Raises XentError for an unknown
    dtype, and for what is no number from 0.
    """

    default: float = ACCURATE
    by_dtype: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, number in (("max_ulps", self.default), *self.by_dtype.items()):
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
                where = name if name == "max_ulps" else f"max_ulps of {name}"
                raise XentError(f"{where} is a number, at least 0, not {number}")
        for name in self.by_dtype:
            if name not in DTYPES:
                near = did_you_mean(str(name), DTYPES, _EXPECTED)
                raise XentError(f"max_ulps: no dtype is called '{name}'{near}")

    @classmethod
    def parse(cls, text: str) -> "MaxUlps":
        """Read ``4``, ``bfloat16=1,float32=16`` or both, separated by commas."""
        default: float = ACCURATE
        by_dtype: dict[str, float] = {}
        seen: set[str] = set()
        for word in text.split(","):
            name, equals, number = (part.strip() for part in word.rpartition("="))
            ulps = _number(number, word)
            if name in seen:
                raise XentError(f"max_ulps: '{text}' gives {name or 'the number of all dtypes'} twice")
            seen.add(name)
            if equals:
                by_dtype[name] = ulps
            else:
                default = ulps
        return cls(default, by_dtype)

    @classmethod
    def from_value(cls, value: "float | Mapping[str, float] | MaxUlps") -> "MaxUlps":
        """Take a number for all dtypes, or a number for each that is named."""
        if isinstance(value, MaxUlps):
            return value
        return cls(by_dtype=dict(value)) if isinstance(value, Mapping) else cls(value)

    def of(self, dtype: str) -> float:
        """Return the ulps allowed in a dtype."""
        return self.by_dtype.get(dtype, self.default)

    @property
    def common(self) -> float | None:
        """The ulps allowed in every dtype; None where they differ."""
        numbers = {self.of(dtype) for dtype in DTYPES}
        return numbers.pop() if len(numbers) == 1 else None

    def __str__(self) -> str:
        if self.common is not None:
            return f"{self.common:g}"
        named = [f"{dtype} {self.by_dtype[dtype]:g}" for dtype in DTYPES if dtype in self.by_dtype]
        return ", ".join((*named, f"others {self.default:g}") if len(named) < len(DTYPES) else named)


def _number(text: str, word: str) -> float:
    """Read a number; raises XentError where it is none, or is followed by something."""
    try:
        return float(text)
    except ValueError:
        raise XentError(
            f"max_ulps: '{word.strip()}' is no number of ulps; write 4, or a number for each dtype, such as "
            f"bfloat16=1,float32=16 ({', '.join(DTYPES)})"
        ) from None


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a test allows that compares with a true number z: abs(y - z) ≤ atol + rtol abs(z)."""

    rtol: Fraction
    atol: Fraction

    @classmethod
    def within(cls, ulps: float, form: Format) -> "Tolerance":
        """Return the loosest tolerance that passes nothing that is off by more than as many ulps.

        Where ulp(z) is 2^(e+1-p), abs(z) is below 2^(e+1): 2^-p abs(z) < ulp(z), by as little as one likes,
        which leaves no room for an atol.
        """
        return cls(Fraction(ulps) / 2**form.precision, Fraction(0))

    @classmethod
    def around(cls, ulps: float, form: Format) -> "Tolerance":
        """Return the strictest tolerance that passes all that is off by as many ulps at most.

        ulp(z) ≤ 2^(1-p) abs(z) of a normal z, and ulp(z) is the smallest number of a subnormal one.
        """
        return cls(2 * Fraction(ulps) / 2**form.precision, Fraction(ulps) * Fraction(form.smallest))

    def ulps(self, form: Format) -> tuple[Fraction, Fraction]:
        """Return how many ulps the rtol is: of z a power of two, and of z just below one."""
        most = self.rtol * 2**form.precision
        return most / 2, most

    @property
    def lost(self) -> Fraction:
        """The largest true loss for which 0 passes: z ≤ atol + rtol z."""
        return self.atol / (1 - self.rtol)


@dataclass(frozen=True, slots=True)
class KnownTolerance:
    """The tolerance of somebody's tests in a dtype, as they write it, and where."""

    whose: str
    dtype: str
    rtol: str
    atol: str
    url: str

    @property
    def tolerance(self) -> Tolerance:
        """It as numbers."""
        return Tolerance(Fraction(self.rtol), Fraction(self.atol))


_TORCH: Final = "https://docs.pytorch.org/docs/stable/testing.html"
_NUMPY: Final = "https://numpy.org/doc/stable/reference/generated/numpy.testing.assert_allclose.html"
_LIGER: Final = "https://github.com/linkedin/Liger-Kernel/blob/main/test/transformers/test_cross_entropy.py"
KNOWN_TOLERANCES: Final = (
    KnownTolerance("torch assert_close", "float16", "1e-3", "1e-5", _TORCH),
    KnownTolerance("torch assert_close", "bfloat16", "1.6e-2", "1e-5", _TORCH),
    KnownTolerance("torch assert_close", "float32", "1.3e-6", "1e-5", _TORCH),
    KnownTolerance("torch assert_close", "float64", "1e-7", "1e-7", _TORCH),
    KnownTolerance("NumPy assert_allclose", "float32", "1e-7", "0", _NUMPY),
    KnownTolerance("NumPy assert_allclose", "float64", "1e-7", "0", _NUMPY),
    KnownTolerance("Liger cross-entropy", "bfloat16", "5e-2", "1e-8", _LIGER),
    KnownTolerance("Liger cross-entropy", "float32", "1e-6", "1e-8", _LIGER),
)

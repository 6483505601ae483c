"""What is done to logits before a loss: a row for each step, and all that the rest of xent knows of it.

A row makes its key of a case, its kernel and gradient, its part in the truth, the parameter of a loss that
``check`` asks for, and what ``diagnose`` looks for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from xentcli.enclosures import Enclosing, Enclosure
    from xentcli.formats import FloatArray
    from xentcli.methods.arithmetic import Arithmetic

Apply = Callable[["Arithmetic", "FloatArray", float], "FloatArray"]
Back = Callable[["Arithmetic", "FloatArray", float, "FloatArray"], "FloatArray"]


class InTruth(Protocol):
    """A step as the truth has it, f of one logit; ``is_bounded``: f of an infinite logit is a number."""

    is_bounded: bool

    def rational(self, x: Fraction | float, value: Fraction) -> Fraction | float | None:
        """Return f(x), an infinity among them, where it is rational; None where it is not."""

    def slope(self, x: Fraction | float, value: Fraction) -> Fraction | None:
        """Return f'(x) where it is rational; None where it is not."""

    def enclose(self, e: "Enclosing", x: "Enclosure", value: Fraction) -> "tuple[Enclosure, Enclosure]":
        """Enclose f and f' of an x that is enclosed and not 0."""


class Linear:
    """``x · factor(value)``."""

    is_bounded = False

    def __init__(self, factor: Callable[[Fraction], Fraction]) -> None:
        self._factor = factor

    def rational(self, x: Fraction | float, value: Fraction) -> Fraction | float | None:  # noqa: D102 - InTruth
        return x if isinstance(x, float) else x * self._factor(value)

    def slope(self, x: Fraction | float, value: Fraction) -> Fraction | None:  # noqa: ARG002, D102 - InTruth
        return self._factor(value)

    def enclose(  # noqa: D102 - InTruth
        self, e: "Enclosing", x: "Enclosure", value: Fraction
    ) -> "tuple[Enclosure, Enclosure]":
        factor = self._factor(value)
        return e.scale(x, factor), e.rational(factor)


class Cap:
    """``c · tanh(x / c)``, which is rational at 0 and at infinities alone.

    tanh(u) = (1 - q) / (1 + q) and its derivative 4 q / (1 + q)², with q = exp(-2 |u|): both keep their
    digits however large u is.
    """

    is_bounded = True

    def rational(self, x: Fraction | float, value: Fraction) -> Fraction | float | None:  # noqa: D102 - InTruth
        if isinstance(x, float):
            return value if x > 0 else -value
        return None if x else x

    def slope(self, x: Fraction | float, value: Fraction) -> Fraction | None:  # noqa: ARG002, D102 - InTruth
        if isinstance(x, float):
            return Fraction(0)
        return None if x else Fraction(1)

    def enclose(  # noqa: D102 - InTruth
        self, e: "Enclosing", x: "Enclosure", value: Fraction
    ) -> "tuple[Enclosure, Enclosure]":
        sign, one = 1 if x.low >= 0 else -1, e.rational(Fraction(1))
        q = e.exp_of_minus(e.scale(x, sign * 2 / value))
        above = e.add(one, q)
        tanh = e.divide(e.subtract(one, q), above)
        return e.scale(tanh, sign * value), e.divide(e.scale(q, Fraction(4)), e.multiply(above, above))


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a function of each logit with one number above 0, the ``value``.

    ``apply`` and ``back`` carry it out through the Arithmetic: the logits, and a gradient with respect to
    what it makes as one with respect to what it was given. ``rounding`` is by how many epsilons of the dtype
    what it makes of logits (C,) may be off, by whatever formula.

    ``noun`` is what a loss has, ``summary`` and ``example`` are those of the key, ``phrase`` completes "the
    loss is that of the logits …", and ``cause`` says who does it. ``tried`` are numbers that ``check`` asks
    for, which every dtype has; with ``off`` it changes nothing, None: there is no such number. ``used`` are
    those that runs have.
    """

    name: str
    apply: Apply
    back: Back
    truth: InTruth
    rounding: Callable[["FloatArray", float], "FloatArray"]
    noun: str
    summary: str
    example: str
    phrase: str
    cause: str
    tried: tuple[float, float]
    off: float | None
    used: tuple[float, ...]
    needs_tanh: bool = False


def _cap(ar: "Arithmetic", x: "FloatArray", cap: float) -> "FloatArray":
    """``c · tanh(x / c)``, of which none is beyond the cap.

    Source: Gemma 2, section 2, arXiv:2408.00118.
    """
    return ar.scale(ar.tanh(ar.over(x, cap)), cap)


def _cap_back(ar: "Arithmetic", x: "FloatArray", cap: float, slope: "FloatArray") -> "FloatArray":
    """``g (1 - tanh²)``, as PyTorch has it: 0 as soon as tanh rounds to 1."""
    tanh = ar.tanh(ar.over(x, cap))
    return ar.multiply(slope, ar.one_minus(ar.multiply(tanh, tanh)))


def _cap_rounding(x: "FloatArray", cap: float) -> "FloatArray":
    """5 of the cap.

    u = x / c with an epsilon of |u| moves c tanh u by one of c tanh u at most, since u (1 - tanh² u) is at
    most tanh u; tanh as 2 σ(2u) - 1 is off by 3, of 1; and the product is rounded.
    """
    return np.full(len(x), 5.0 * cap)


# In the order of models.
STEPS: Final = (
    Step(
        "scale",
        lambda ar, x, value: ar.scale(x, value),
        lambda ar, _, value, slope: ar.scale(slope, value),
        Linear(lambda value: value),
        lambda x, value: np.abs(x) * value,
        noun="a scale",
        summary="what logits are multiplied by",
        example="0.0625",
        phrase="times a scale of {}",
        cause="the model scales its logits",
        tried=(0.25, 3.0),
        off=1.0,
        used=(0.0625, 0.125, 8.0, 14.2857, 16.0, 20.0, 30.0, 32.0, 64.0, 100.0),  # CLIP: 1 / 0.07, up to 100
    ),
    Step(
        "softcap",
        _cap,
        _cap_back,
        Cap(),
        _cap_rounding,
        noun="a softcap",
        summary="the c of c · tanh(x / c), which logits become",
        example="30",
        phrase="after a softcap of {}",
        cause="the model caps its logits",
        tried=(2.5, 30.0),  # one near the logits, and a common one
        off=None,
        used=(5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0),
        needs_tanh=True,
    ),
    Step(
        "temperature",
        lambda ar, x, value: ar.over(x, value),
        lambda ar, _, value, slope: ar.over(slope, value),
        Linear(lambda value: 1 / value),
        lambda x, value: np.abs(x) / value,  # two halves, as x · (1 / T) has
        noun="a temperature",
        summary="what logits are divided by",
        example="0.6",
        phrase="over a temperature of {}",
        cause="the loss divides its logits",
        tried=(0.75, 2.0),
        off=1.0,
        used=(*(n / 10 for n in range(1, 21)), 0.05, 0.07, 4.0, 5.0, 10.0),
    ),
)
NAMES: Final = tuple(step.name for step in STEPS)
BY_NAME: Final = {step.name: step for step in STEPS}
SCALE, SOFTCAP, TEMPERATURE = NAMES

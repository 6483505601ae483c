"""The table of losses with one fault each, and of twins that are within what is allowed.

A loss enters by a decorator; its docstring says what the fault is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from losses.right import Floats, Ints, log1p

Loss = Callable[..., Any]
L = TypeVar("L", bound=Loss)

BEYOND: Final = 3  # times what is allowed: near, and wrong
WITHIN: Final = 0.2  # times: 0.4 just below a power of two, and rounding may cost half of what is allowed


@dataclass(frozen=True)
class Entry:
    """One loss of the table: ``make`` returns it anew, without what an earlier one remembers.

    ``make_gradient`` does the same for a function of the gradient.
    """

    name: str
    family: str
    make: Callable[[], Loss]
    convention: str = "numpy"
    reduction: str | None = None
    make_gradient: Callable[[], Loss] | None = None


FAULTS: Final[list[Entry]] = []
TWINS: Final[list[Entry]] = []


def fault(
    convention: str = "numpy", reduction: str | None = None, *, is_right: bool = False
) -> Callable[[L], L]:
    """Enter a loss, or a class whose instances are losses."""

    def enter(loss: L) -> L:
        entry = Entry(loss.__name__, _family(loss), maker(loss), convention, reduction)
        _enter(entry, loss, is_right)
        return loss

    return enter


def remembering(
    convention: str = "numpy", reduction: str | None = None, *, is_right: bool = False
) -> Callable[[L], L]:
    """Enter a function that makes a loss: a new one for each test, for it remembers."""

    def enter(make: L) -> L:
        _enter(Entry(make.__name__, _family(make), make, convention, reduction), make, is_right)
        return make

    return enter


def gradient_fault(
    loss: Loss = log1p, convention: str = "numpy", *, is_right: bool = False
) -> Callable[[L], L]:
    """Enter a gradient of a right loss."""

    def enter(gradient: L) -> L:
        name, family = gradient.__name__, _family(gradient)
        entry = Entry(name, family, maker(loss), convention, None, maker(gradient))
        _enter(entry, gradient, is_right)
        return gradient

    return enter


def remembering_gradient(loss: Loss = log1p, convention: str = "numpy") -> Callable[[L], L]:
    """Enter a function that makes a gradient of a right loss."""

    def enter(make: L) -> L:
        _enter(Entry(make.__name__, _family(make), lambda: loss, convention, None, make), make, False)
        return make

    return enter


def twin() -> Callable[[L], L]:
    """Enter a loss, or a class whose instances are losses, that is within what is allowed."""
    return fault(is_right=True)


def remembering_twin() -> Callable[[L], L]:
    """Enter a function that makes a loss that is within what is allowed."""
    return remembering(is_right=True)


def gradient_twin(loss: Loss = log1p) -> Callable[[L], L]:
    """Enter a gradient that is within what is allowed."""
    return gradient_fault(loss, is_right=True)


def off(losses: Floats, logits: Floats, labels: Ints, times: float = BEYOND) -> Floats:
    """Return losses (N,) in float64 that are too large, by so many times what is allowed.

    By docs/check-allowance.md that is 4 + log2 C + 2 (Σ p_i (m - x_i) + m - x_y) / loss ulps.
    """
    x = logits.astype(np.float64)
    below = x.max(axis=1, keepdims=True) - x
    p = np.exp(-below)
    spread = np.where(p > 0, p * below, 0).sum(axis=1) / p.sum(axis=1)
    own = below[np.arange(len(x)), labels]
    condition = np.nan_to_num(2 * (spread + own) / losses, nan=0.0, posinf=0.0)
    return losses * (1 + times * eps(logits) * (4 + np.log2(max(2, x.shape[1])) + condition))


def eps(array: Any) -> float:
    """Return the distance from 1 to the next number of a dtype."""
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}[
        array.dtype.name
    ]


def wide(logits: Floats, labels: Ints) -> Floats:
    """Return the right losses (N,) in float64."""
    return log1p(logits.astype(np.float64), labels)


def maker(loss: Loss) -> Callable[[], Loss]:
    """Return what makes a loss: the class of which it is an instance, or what returns the function."""
    return loss if isinstance(loss, type) else lambda: loss


def _family(loss: Loss) -> str:
    return loss.__module__.rpartition("_")[2]


def _enter(entry: Entry, documented: Loss, is_right: bool) -> None:
    if not documented.__doc__:
        raise ValueError(f"{entry.name}: a docstring says what its fault is")
    if entry.name in {each.name for each in (*FAULTS, *TWINS)}:
        raise ValueError(f"two losses are called {entry.name}")
    (TWINS if is_right else FAULTS).append(entry)

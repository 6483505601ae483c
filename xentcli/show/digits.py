"""Floating-point numbers as text: the shortest digits that read back as the same number of the dtype."""

import math

import numpy as np


def text(value: float | None, dtype: str) -> str:
    """Write a number of that dtype; zero without its sign, nothing for None."""
    if value is None:
        return ""
    return str(np.dtype(dtype).type(value) + np.dtype(dtype).type(0))


def number(value: float | None, dtype: str) -> float | int | str | None:
    """Return what JSON holds for a number of that dtype: nan and infinities are strings."""
    if value is None:
        return None
    if not math.isfinite(value):
        return text(value, dtype)
    return int(value) if np.issubdtype(np.dtype(dtype), np.integer) else float(text(value, dtype))

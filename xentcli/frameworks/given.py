"""What a framework is given, and what it answers: plain values that travel between processes as JSON."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Given:
    """One case for one function. Arrays are float64 and hold numbers of ``dtype``; indices are int64.

    ``ignored`` examples have the index -100; ``smoothing`` is 0 where there is none.
    """

    method: str
    dtype: str
    reduction: str
    logits: Any
    labels: Any
    indices: Any
    probabilities: Any
    weights: Any
    smoothing: float

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Given":
        """Make it of what came as JSON."""
        arrays = {
            name: None if fields[name] is None else np.array(fields[name], kind)
            for name, kind in (
                ("logits", np.float64),
                ("labels", np.float64),
                ("indices", np.int64),
                ("probabilities", np.float64),
                ("weights", np.float64),
            )
        }
        return cls(**{**fields, **arrays})


@dataclass(frozen=True, slots=True)
class Answer:
    """Losses (N,) in the dtype that came out, the loss reduced (None: not by the framework), the gradient."""

    losses: Any
    loss: Any
    gradient: Any = None

"""SciPy's log_softmax, picked at the label."""

import numpy as np
from scipy import special

from xentcli import formats
from xentcli.frameworks.given import Answer, Given


def answer(given: Given) -> Answer:
    """Return minus the log of each example's own class."""
    x = given.logits.astype(formats.dtype(given.dtype))
    losses = -np.take_along_axis(special.log_softmax(x, axis=1), given.indices[:, None], axis=1)[:, 0]
    reduced = {"none": None, "mean": losses.mean(), "sum": losses.sum()}[given.reduction]
    return Answer(losses, None if reduced is None else np.asarray(reduced, losses.dtype))

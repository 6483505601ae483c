"""Cross-entropies that are right and behave badly: they print, write, hang, return something else."""

import os
import sys
import time

import numpy as np

from losses.right import Floats, Ints, log1p


def writes_logits(logits: Floats, labels: Ints) -> Floats:
    """Shift in place."""
    losses = log1p(logits, labels)
    logits -= logits.max(axis=1, keepdims=True)
    return losses


def writes_and_raises(logits: Floats, _: Ints) -> Floats:
    """Spoil the logits before it is said that a label is wrong."""
    logits[:] = 0
    raise ValueError("no")


def writes_labels(logits: Floats, labels: Ints) -> Floats:
    """Put the labels in order in place."""
    losses = log1p(logits, labels)
    labels.sort()
    return losses


def wider(logits: Floats, labels: Ints) -> Floats:
    """Return float64 whatever came in."""
    return log1p(logits, labels).astype(np.float64)


def column(logits: Floats, labels: Ints) -> Floats:
    """Return (N, 1)."""
    return log1p(logits, labels)[:, None]


def reduced(logits: Floats, labels: Ints) -> Floats:
    """Return the mean in the place of losses."""
    return np.asarray(log1p(logits, labels).sum(), logits.dtype)


def a_list(logits: Floats, labels: Ints) -> list[float]:
    """Return no array."""
    return [float(loss) for loss in log1p(logits, labels)]


def prints(logits: Floats, labels: Ints) -> Floats:
    """Print what was to be debugged."""
    sys.stdout.write(f"shape {logits.shape}\n")
    return log1p(logits, labels)


def raises_on_one_class(logits: Floats, labels: Ints) -> Floats:
    """Ask for the second largest logit."""
    if len(logits):
        np.partition(logits, -2, axis=1)
    return log1p(logits, labels)


def exits(logits: Floats, labels: Ints) -> Floats:
    """End the program at a mask."""
    if (logits == -np.inf).any():
        sys.exit("a mask")
    return log1p(logits, labels)


def hangs(logits: Floats, labels: Ints) -> Floats:
    """Never come back from a mask."""
    while (logits == -np.inf).any():
        time.sleep(0.1)  # until it is ended from outside
    return log1p(logits, labels)


def aborts(logits: Floats, labels: Ints) -> Floats:
    """Take the process with it, as a failed assertion in C does."""
    if (logits == -np.inf).any():
        os.abort()
    return log1p(logits, labels)

"""Whether labels of sequences are in step with the logits: those of a causal model lie one position on."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.bulk import losses
from xentcli.diagnose.files.stored import Positions

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Shard
    from xentcli.formats import FloatArray, IntArray

_LOOKED_AT: Final = 4096  # rows: the error of a mean of losses is then a few hundredths
_NUMBERS: Final = 2**24  # of those rows: of a vocabulary of 128,000 still 128 rows
_FEWEST: Final = 16  # pairs of rows: of fewer the standard error says little
_FAR: Final = 1.0  # nats: on average a label is e times as likely at the other position
_ERRORS: Final = 6.0  # standard errors: of losses without any structure one dump in 10^9 by chance


@dataclass(frozen=True, slots=True)
class OutOfStep:
    """Labels fit one position on, or, if they are ``shifted``, as they stand: the mean losses of both."""

    shifted: bool
    mean: float
    other: float


def out_of_step(shard: "Shard", ignore_index: int) -> OutOfStep | None:
    """Return how labels of sequences are out of step with the logits, None where they are not.

    They are where, over the first rows, the mean loss at the other position is below that of a guess, ln C,
    and below the mean of the same rows as they stand by ``_FAR`` and by ``_ERRORS`` of its standard errors.
    """
    shifted = isinstance(shard.logits, Positions)
    logits, labels = (shard.logits.rows, shard.labels.rows) if shifted else (shard.logits, shard.labels)
    if shard.kind != "indices" or len(shard.shape) < 2 or labels is None:  # noqa: PLR2004 - (B, T)
        return None
    length = shard.shape[-1] + shifted
    number = min(len(logits), _LOOKED_AT, max(2, _NUMBERS // logits.shape[1]))
    x, k = logits[:number], labels[:number]
    here, after = (_losses(x[:-1], each, ignore_index) for each in (k[:-1], k[1:]))
    is_pair = (np.arange(1, number) % length != 0) & np.isfinite(here) & np.isfinite(after)
    own, other = (after, here) if shifted else (here, after)
    gain = (own - other)[is_pair]
    if len(gain) < _FEWEST:
        return None
    mean, other_mean = float(own[is_pair].mean()), float(other[is_pair].mean())
    least = max(_FAR, _ERRORS * float(gain.std(ddof=1)) / math.sqrt(len(gain)))
    if mean - other_mean < least or other_mean >= math.log(logits.shape[1]):
        return None
    return OutOfStep(shifted, mean, other_mean)


def _losses(logits: "FloatArray", labels: "IntArray", ignore_index: int) -> "FloatArray":
    """Return losses, float64, nan of ignored and invalid labels."""
    with np.errstate(all="ignore"):
        found = losses(logits, labels, backend="numpy").astype(np.float64)
    return np.where(labels == ignore_index, np.nan, found)

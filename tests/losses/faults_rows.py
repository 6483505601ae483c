"""Faults of many rows: the ends of grids and chunks, and what a loss keeps for large batches alone."""

# ruff: noqa: D102 - the class that a fault changes says what the step is

from typing import Any

import numpy as np

from losses import right
from losses.faults import Loss, fault, remembering
from losses.optioned import Given, Optioned
from losses.right import Floats, Ints, checked, log1p

_LARGE = 2**16  # numbers from which on a workspace pays


def _first(losses: Floats, rows: int) -> Floats:
    """Return losses of which those behind the first rows are not reached."""
    return np.where(np.arange(len(losses)) < rows, losses, 0).astype(losses.dtype)


@fault()
def rows_beyond_blocks_of_2048(logits: Floats, labels: Ints) -> Floats:
    """Have whole blocks of 2,048 rows, where there is one."""
    rows = len(logits)
    return _first(log1p(logits, labels), rows if rows < 2048 else rows // 2048 * 2048)


@fault()
def rows_beyond_blocks_of_8192(logits: Floats, labels: Ints) -> Floats:
    """Have whole blocks of 8,192 rows, where there is one."""
    rows = len(logits)
    return _first(log1p(logits, labels), rows if rows < 8192 else rows // 8192 * 8192)


@fault()
def rows_beyond_the_grid(logits: Floats, labels: Ints) -> Floats:
    """Start a block per row in a dimension of the grid that ends at 65,535."""
    return _first(log1p(logits, labels), 65535)


@fault("numpy.binary")
def elements_beyond_blocks_of_4096(logits: Floats, labels: Floats) -> Floats:
    """Have whole blocks of 4,096 logits, where there is one."""
    rows = len(logits)
    return _first(right.binary(logits, labels), rows if rows < 4096 else rows // 4096 * 4096)


@remembering()
def one_result_for_large_batches() -> Loss:
    """Return the same array each time from 2,048 rows on."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        if len(logits) < 2048:
            return log1p(logits, labels)
        out = kept.setdefault((len(logits), logits.dtype), np.empty(len(logits), logits.dtype))
        out[:] = log1p(logits, labels)
        return out

    return loss


@remembering()
def one_workspace_for_large_batches() -> Loss:
    """Copy large batches into memory that all threads share."""
    workspace = np.empty(2**22)

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        if not _LARGE < logits.size <= workspace.size:
            return log1p(logits, labels)
        copy = workspace[: logits.size].reshape(logits.shape)
        copy[...] = logits
        return log1p(copy, labels).astype(logits.dtype)

    return loss


@remembering()
def keeps_rows_of_a_refused_batch() -> Loss:
    """Collect the losses of tiles of 128 rows in a list that a refusal leaves as it is."""
    done: list[Floats] = []

    def loss(logits: Floats, labels: Ints) -> Floats:
        places = range(0, max(1, len(logits)), 128)
        done.extend(log1p(logits[at : at + 128], labels[at : at + 128]) for at in places)
        losses = np.concatenate(done)[: len(logits)]
        done.clear()
        return losses

    return loss


@fault()
class PaddedChunksAreNan(Optioned):
    """Weigh the means of chunks of 256 rows by what counts in them: of a chunk of padding 0 × nan."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        if reduction != "mean":
            return super().reduced(losses, given, reduction)
        counts = np.where(given.ignored, 0.0, given.weights[given.k])
        chunks = [slice(at, at + 256) for at in range(0, len(losses), 256)]
        with np.errstate(all="ignore"):
            return sum(
                losses[at].sum() / counts[at].sum() * (counts[at].sum() / counts.sum()) for at in chunks
            )


@fault()
class DivisorIsAtLeastSomething(Optioned):
    """Divide by 1e-5 at least, against a division by 0."""

    def divisor(self, given: Given) -> Any:
        return max(super().divisor(given), 1e-5)


@fault()
class SumsOneByOne(Optioned):
    """Add losses one after the other in float32: tens of thousands lose their last digits."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        if not len(losses) or not np.isfinite(losses).all() or losses.max() > 1e30:
            return super().reduced(losses, given, reduction)
        total = np.cumsum(losses.astype(np.float32), dtype=np.float32)[-1].astype(np.float64)
        return total if reduction == "sum" else total / self.divisor(given)

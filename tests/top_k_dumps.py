"""Top-k dumps cut from whole logits, and what a question finds in them: what their tests share."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from xentcli.diagnose.distribution import NO_NUMBERS
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.top_k import TopK, TopKQuestion

inf, nan = math.inf, math.nan
QUESTION = TopKQuestion(-100, 5)
ROWS, CLASSES, K = 120, 12, 4
Arrays = dict[str, np.ndarray[Any, Any]]
dtypes = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])


def exact_logsumexp(x: Any) -> mp.mpf:
    """Return log Σ exp(x) to forty digits."""
    with mp.workdps(40):
        return mp.log(mp.fsum(mp.exp(mp.mpf(float(each))) for each in x))


def cut(dtype: str = "float32", seed: int = 1, scale: float = 3) -> tuple[Arrays, list[mp.mpf]]:
    """Return the arrays of a top-k dump, and the true loss of each of its rows."""
    random = np.random.default_rng(seed)
    x = random.normal(scale=scale, size=(ROWS, CLASSES)).astype(dtype)
    labels = random.integers(0, CLASSES, ROWS)
    indices = random.permuted(np.argsort(-x.astype(float), axis=1)[:, :K], axis=1)  # in no order
    normalisers = [exact_logsumexp(row) for row in x]
    with mp.workdps(40):
        losses = [
            normaliser - mp.mpf(float(row[label]))
            for normaliser, row, label in zip(normalisers, x, labels, strict=True)
        ]
    arrays = {
        "values": np.take_along_axis(x, indices, axis=1),
        "indices": indices,
        "labels": labels,
        "logsumexp": np.array([float(each) for each in normalisers]).astype(dtype),
    }
    return arrays, losses


def shard_of(arrays: Arrays, rows: slice = slice(None)) -> Shard:
    """Return a shard in memory."""
    given = {name: array[rows] for name, array in arrays.items()}
    return Shard(
        "a.npz",
        given["values"],
        given.get("labels"),
        indices=given["indices"],
        logsumexp=given.get("logsumexp"),
        first=rows.start or 0,
    )


def found_in(arrays: Arrays) -> TopK:
    """Sum all rows up."""
    return QUESTION.summarise(shard_of(arrays), slice(0, len(arrays["values"])))


def without(arrays: Arrays, *names: str) -> Arrays:
    """Return the arrays but for some."""
    return {name: array for name, array in arrays.items() if name not in names}


def one_by_one(arrays: Arrays) -> list[TopK]:
    """Sum each row up by itself."""
    return [QUESTION.summarise(shard_of(arrays), slice(row, row + 1)) for row in range(len(arrays["values"]))]


def described(found: TopK) -> Any:
    """Return what there is to compare of a summary."""
    quantiles = [each.quantiles((0, 0.3, 0.5, 1)) for each in (found.inside, found.outside)]
    return replace(found, inside=NO_NUMBERS, outside=NO_NUMBERS), quantiles, found.inside.number


def saved(path: Path, arrays: Arrays) -> Path:
    """Write arrays, and return the path."""
    given: dict[str, Any] = dict(arrays)
    np.savez(path, **given)
    return path

"""Random batches that are hard to evaluate: ties, tiny gaps, huge ranges, masks, and every kind of label."""

import math
import random
from collections.abc import Iterator
from typing import Any

from oracles import inf, nan

from xentcli.formats import FORMATS, Format
from xentcli.load.build import build_batch
from xentcli.model import Batch

SCALES = (1e-300, 1e-160, 1e-30, 1e-8, 1e-3, 1.0, 30.0, 3e4, 1e31, 1e80, 1e307)


def logits(rng: random.Random, classes: int, form: Format) -> list[float]:
    """Draw a row: of one or many sizes, integers that tie, tiny gaps, huge ranges, masks."""
    scale = rng.choice([scale for scale in SCALES if scale < form.largest / 8])
    small, power = rng.choice([form.smallest, 1e-160, 1e-300]), 2.0**form.precision
    base = rng.choice([0.0, 1.0, -3e4, scale])
    row: list[float] = rng.choice(
        [
            [rng.gauss(0, scale) for _ in range(classes)],
            [rng.gauss(0, rng.choice(SCALES[:7])) for _ in range(classes)],
            [
                rng.choice([-1, 1]) * rng.choice([1, 3, power, power + 2, 2 * power, 1.5 * power])
                for _ in range(classes)
            ],
            [base + rng.randint(-4, 4) * small for _ in range(classes)],
            [
                rng.choice([0.0, 1e-6, -16.7, -40.0, -103.0, -800.0, -16777217.0, 1e-300])
                for _ in range(classes)
            ],
            [
                rng.choice([-1, 1]) * rng.choice([1, 0.5, 1e-3, 1 - form.eps]) * form.largest
                for _ in range(classes)
            ],
        ]
    )
    if rng.random() < 0.3:
        row = [rng.choice(row) for _ in row]
    if rng.random() < 0.2:
        row[rng.randrange(classes)] = -inf
    if rng.random() < 0.03:
        row[rng.randrange(classes)] = rng.choice([inf, nan])
    return [x if not math.isfinite(x) else max(-form.largest, min(form.largest, x)) for x in row]


def soft(rng: random.Random, classes: int, form: Format) -> list[float]:
    """Draw a label row: equal shares, halves, any, of huge and tiny ones, a single one that is not 1."""
    extreme = [0, 1e-8, 2.0, 0.3, form.smallest, form.largest]
    label = rng.randrange(classes)
    rows: list[list[float]] = [
        [1 / classes] * classes,
        [rng.choice([0, 0.5, 0.25, 1.0]) for _ in range(classes)],
        [rng.random() for _ in range(classes)],
        [rng.choice(extreme) for _ in range(classes)],
        [rng.choice([1 + form.eps, 0.5]) if index == label else 0.0 for index in range(classes)],
    ]
    return rng.choice(rows)


def example(rng: random.Random, dtype: str) -> tuple[Batch, str]:
    """Draw a batch of up to four rows, with all that a case can say of labels, and a reduction."""
    form, size, classes = FORMATS[dtype], rng.randint(1, 4), rng.randint(1, 6)
    reduction = rng.choice(["none", "mean", "sum"])
    if rng.random() < 0.12:  # binary
        labels = [0.0, 1.0, 0.5, rng.random(), form.smallest, 1 - form.eps, -1.0, nan]
        column = [logits(rng, 1, form)[0] for _ in range(size)]
        return build_batch(column, [rng.choice(labels) for _ in column], dtype), reduction
    x = [logits(rng, classes, form) for _ in range(size)]
    more: dict[str, Any] = {}
    if rng.random() < 0.3:
        drawn = [0.0, 1.0, 0.1, 0.7, 20 * rng.random(), 1 + form.eps**0.5, form.largest, form.smallest]
        more["class_weights"] = [rng.choice(drawn) for _ in range(classes)]
    if rng.random() < 0.3:
        more["label_smoothing"] = rng.choice([0.1, 0.5, 1.0, 2**-30])
    if rng.random() < 0.4:
        return build_batch(x, [soft(rng, classes, form) for _ in x], dtype, **more), reduction
    y = [rng.randrange(classes) for _ in x]
    if rng.random() < 0.3:
        more["ignore_index"] = rng.choice([-100, 0, 5])
        y[0] = rng.choice([more["ignore_index"], *y])
    if rng.random() < 0.05:
        y[-1] = rng.choice([-1, classes, 10**20])  # invalid
    return build_batch(x, y, dtype, **more), reduction


def examples(dtype: str, number: int, seed: str = "") -> Iterator[tuple[Batch, str]]:
    rng = random.Random(f"{dtype}{seed}")
    return (example(rng, dtype) for _ in range(number))

"""Errors in ulps of every method on 2,500 random examples of 10 classes, in every format.

python benchmarks/accuracy.py [seed]: logits are normal with a standard deviation of 4, and in nine of ten
examples the label is the class of the largest logit, as in a trained model. Prints a Markdown table.
"""

import statistics
import sys

import numpy as np

from xentcli.formats import FORMATS, nearest, ulps
from xentcli.judge.exact import compute_exact
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic
from xentcli.methods import table as methods
from xentcli.model import Batch

EXAMPLES, CLASSES, CHUNK, SPREAD = 2500, 10, 500, 4.0
NAMES = ("naive", "clipped", "dense", "sparse", "log1p", "unshifted", "online")


def batches(form: str, seed: int) -> list[Batch]:
    """Make the examples, rounded to the format, in chunks whose truth is evaluated in full."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(EXAMPLES, CLASSES)) * SPREAD
    right = random.random(EXAMPLES) < 0.9  # noqa: PLR2004 - nine of ten
    labels = np.where(right, logits.argmax(axis=1), random.integers(0, CLASSES, EXAMPLES))
    chunks = [slice(start, start + CHUNK) for start in range(0, EXAMPLES, CHUNK)]
    return [build_batch(logits[chunk], labels[chunk], form) for chunk in chunks]


def main() -> None:
    """Print a row a format and method: collapsed examples, median and largest error, within 1 ulp."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    print(
        "| format | method | nan or inf | exactly 0, but not so | median ulps | largest ulps | within 1 ulp |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for form in FORMATS.values():
        given = batches(form.name, seed)
        truths = [compute_exact(batch, form.name, "none") for batch in given]
        for name in NAMES:
            (method,) = methods.select(name)
            errors, zeros, infinite = [], 0, 0
            for batch, truth in zip(given, truths, strict=True):
                with np.errstate(all="ignore"):
                    losses = method.loss(arithmetic.get("numpy", form.name), batch)[:, 0].astype(np.float64)
                for loss, true in zip(losses.tolist(), truth.losses, strict=True):
                    error = ulps(loss, true, form)
                    zeros += loss == 0 < nearest(true, form)
                    infinite += error is None
                    errors += [] if error is None else [float(error)]
            row = (statistics.median(errors), max(errors), sum(error <= 1 for error in errors))
            print(f"| {form.name} | {name} | {infinite} | {zeros} | {row[0]:.3g} | {row[1]:.3g} | {row[2]} |")


if __name__ == "__main__":
    main()

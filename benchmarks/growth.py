"""How cost grows: the exponent of the time over each size, by a straight line through logarithms.

    python benchmarks/growth.py

Each size is timed five times, in turn with the others, and the least of its times counts: noise only adds.
An exponent of 1 is time in proportion to the size. Logits are those of a trained model, the label ahead.
"""

import math
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import atlas, losses
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.survey import survey
from xentcli.judge.exact import compute_exact
from xentcli.load.build import build_batch
from xentcli.run import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_ROUNDS = 5


def main() -> None:
    """Time each size of each measurement and print its exponent."""
    print("| what | over | from | to | exponent |\n| --- | --- | --- | --- | --- |")
    for what, over, sizes in measured():
        best = dict.fromkeys(sizes, math.inf)
        for _ in range(_ROUNDS):
            for size, call in sizes.items():
                started = time.perf_counter()
                call()
                best[size] = min(best[size], time.perf_counter() - started)
        slope, _ = statistics.linear_regression(
            [math.log(size) for size in best], [math.log(seconds) for seconds in best.values()]
        )
        ends = [f"{size:,}: {_time(best[size])}" for size in (min(best), max(best))]
        print(f"| {what} | {over} | {' | '.join(ends)} | {slope:.2f} |", flush=True)


def measured() -> "Iterator[tuple[str, str, dict[int, Callable[[], Any]]]]":
    """Yield what is measured, over what, and a call for each size."""
    yield (
        "exact loss and gradient of a row",
        "classes",
        {classes: partial(_exact, *_trained(1, classes)) for classes in (4096, 16384, 65536, 262144)},
    )
    yield (
        "exact losses of rows of ten classes",
        "rows",
        {rows: partial(_exact, *_trained(rows, 10)) for rows in (500, 1000, 2000, 4000)},
    )
    yield (
        "losses of rows of 1,000 classes",
        "rows",
        {rows: partial(losses, *_trained(rows, 1000)) for rows in (500, 2000, 8000, 32000)},
    )
    yield (
        "losses of 8 million logits",
        "classes",
        {
            classes: partial(losses, *_trained(2**23 // classes, classes))
            for classes in (16, 256, 4096, 65536)
        },
    )
    yield (
        "diagnose a dump of 100 classes",
        "rows",
        {rows: partial(_diagnose, *_trained(rows, 100)) for rows in (20_000, 80_000, 320_000)},
    )
    cases = [entry.case for entry in atlas.entries()]
    yield (
        "run and judge bundled cases",
        "cases",
        {number: partial(_judge, cases[:number]) for number in (8, 16, 32, len(cases))},
    )


def _trained(rows: int, classes: int) -> "tuple[NDArray[Any], NDArray[Any]]":
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, classes), dtype=np.float32) * np.float32(2.5)
    labels = random.integers(0, classes, rows)
    x[np.arange(rows), labels] += random.uniform(5, 14, rows).astype(np.float32)
    return x, labels


def _exact(x: "NDArray[Any]", labels: "NDArray[Any]") -> None:
    compute_exact(build_batch(x, labels, "float32"), "float32", "mean")


def _diagnose(x: "NDArray[Any]", labels: "NDArray[Any]") -> None:
    survey([Shard("", x, labels)], -100)


def _judge(cases: "Any") -> None:
    for case in cases:
        evaluate(case)


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


if __name__ == "__main__":
    main()

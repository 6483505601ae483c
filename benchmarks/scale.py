"""What a cluster costs beside threads, and how summaries of many shards merge.

    python benchmarks/scale.py [--megabytes 100,1000,4000]

Dumps are float32 logits of 1,000 classes in shards of 100 MB, and lie in the page cache. Shards of the
simulation are 40,000, of 250 MB each: their summaries are seven, of rows of the dump, and nothing is read.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from xentcli.diagnose import by_cluster, by_threads, merge, shards
from xentcli.diagnose.cluster import connected
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.rules import rules_for
from xentcli.diagnose.summary import Question, Summary, summarise
from xentcli.diagnose.survey import Engine, survey

_CLASSES, _ROWS = 1000, 25_000  # 100 MB
_SHARDS, _SHARD_BYTES = 40_000, 250e6


def main() -> None:
    """Measure and print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--megabytes", default="100,1000,4000")
    asked = options.parse_args()
    print("| dump | threads | `--dask local` | ratio |\n| --- | --- | --- | --- |")
    random = np.random.default_rng(0)
    x = random.standard_normal((_ROWS, _CLASSES), dtype=np.float32) * np.float32(2.5)
    labels = random.integers(0, _CLASSES, _ROWS)
    x[np.arange(_ROWS), labels] += random.uniform(5, 14, _ROWS).astype(np.float32)
    with connected("local") as client:
        for megabytes in map(int, asked.megabytes.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                for number in range(megabytes // 100):
                    np.save(Path(folder, f"x{number}.npy"), x)
                    np.save(Path(folder, f"k{number}.npy"), labels)
                found = shards([f"{folder}/x*.npy"], [f"{folder}/k*.npy"])
                local, cluster = (_seconds(found, engine) for engine in (by_threads(), by_cluster(client)))
            print(
                f"| {megabytes / 1000:g} GB | {local:.1f} s | {cluster:.1f} s | {cluster / local:.2f} |",
                flush=True,
            )
    _simulate(x, labels)


def _seconds(found: "list[Shard]", engine: Engine) -> float:
    survey(found[:1], -100, engine=engine)  # imports
    survey(found[-1:], -100, engine=engine)
    started = time.perf_counter()
    survey(found, -100, engine=engine)
    return time.perf_counter() - started


def _simulate(x: "np.ndarray", labels: "np.ndarray") -> None:
    """Merge seven summaries, 40,000 times."""
    question = Question(rules_for("float32"), -100, 5)
    made = [
        summarise(Shard("", x[start::7], labels[start::7], first=start * _ROWS), slice(None), question)
        for start in range(7)
    ]
    total, started = Summary(question.kept), time.perf_counter()
    for number in range(_SHARDS):
        total = merge(total, replace(made[number % 7], sample=()))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    what = f"{_SHARDS:,} shards, {_SHARDS * _SHARD_BYTES / 1e12:g} TB"
    print(f"\n{what}: merged in {seconds:.1f} s, {peak:.0f} MiB at most")


if __name__ == "__main__":
    main()

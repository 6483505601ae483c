"""Diagnose dumps of a trained model's logits, by each backend, beside reading the file.

    python benchmarks/diagnose.py [--gib 2] [--classes 50,1000,32000] [--rounds 3]

Each dump, float32, lies in the page cache; told are medians of what is read in a second.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_BLOCK = 2**22  # logits that are made at once


def main() -> None:
    """Make each dump, measure and print a row."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--gib", type=float, default=2)
    options.add_argument("--classes", default="50,1000,32000")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--measure", help=argparse.SUPPRESS)  # a path: this process measures
    asked = options.parse_args()
    if asked.measure:
        print(*_measured(asked.measure))
        return
    starts: dict[str, list[float]] = {}
    print("| classes | reading | numpy | fast |\n| --- | --- | --- | --- |")
    for classes in map(int, asked.classes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "dump"))
            gigabytes = _made(path, classes, int(asked.gib * 2**28) // classes)
            ways = ("reading", "numpy", "fast")
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(asked.rounds):
                for way in ways:
                    start, seconds = _apart(path, way)
                    times[way].append(seconds)
                    starts.setdefault(way, []).append(start)
        rates = [f"{gigabytes / statistics.median(times[way]):.2f} GB/s" for way in ways]
        print(f"| {classes:,} | {' | '.join(rates)} |", flush=True)
    later = statistics.median(starts["fast"]) - statistics.median(starts["numpy"])
    print(f"\nfast takes {later:.1f} s longer to start")


def _made(path: str, classes: int, rows: int) -> float:
    """Write logits and labels; return the gigabytes of the logits."""
    folder, random = Path(path).parent, np.random.default_rng(0)
    x = np.lib.format.open_memmap(folder / "logits.npy", "w+", np.float32, (rows, classes))
    labels = random.integers(0, classes, rows)
    number = max(1, _BLOCK // classes)
    for start in range(0, rows, number):
        part = random.standard_normal((min(number, rows - start), classes), dtype=np.float32) * np.float32(
            2.5
        )
        own = labels[start : start + number]
        part[np.arange(len(part)), own] += random.uniform(5, 14, len(part)).astype(np.float32)
        x[start : start + number] = part
    x.flush()
    np.save(folder / "labels.npy", labels)
    return float(x.nbytes) / 1e9


def _apart(path: str, way: str) -> tuple[float, float]:
    """Measure in a process of its own, as ``_measured`` does."""
    command = [sys.executable, __file__, "--measure", f"{way}:{Path(path).parent}"]
    environment = {**os.environ, "XENT_BACKEND": "numpy" if way == "reading" else way}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    start, seconds = map(float, found.stdout.split())
    return start, seconds


def _measured(asked: str) -> tuple[float, float]:
    """Return the seconds that it takes to start, and those that a way takes."""
    way, _, folder = asked.partition(":")
    began = time.perf_counter()
    from xentcli.diagnose.dumps import shards
    from xentcli.diagnose.survey import survey

    dump = shards([f"{folder}/logits.npy"], [f"{folder}/labels.npy"])
    small = [type(shard)(shard.path, shard.logits[:64], shard.labels[:64]) for shard in dump]
    survey(small, -100)  # imports, and what numba keeps
    started = time.perf_counter()
    if way == "reading":
        logits = dump[0].logits
        number = max(1, _BLOCK // logits.shape[1])
        for start in range(0, len(logits), number):
            logits[start : start + number].max()
    else:
        survey(dump, -100)
    return started - began, time.perf_counter() - started


if __name__ == "__main__":
    main()

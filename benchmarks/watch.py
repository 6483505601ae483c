"""Measure what ``watch`` costs a healthy step of torch: the loss and its backward pass, with it and without.

    python benchmarks/watch.py [--rows 4096] [--classes 32000] [--rounds 25] [--device cpu|cuda]

Logits are those of a trained model, the label ahead. In each round every way is called once, in turn from
another one on; told are the median over the rounds of the ratio to the step without ``watch`` in the same
round, and the time that the call of ``watch`` itself takes. Memory is kept between steps, as accelerators
and long trainings do: else a step is mostly the system's clearing of pages.
"""

import argparse
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}  # glibc's; others ignore them


def main() -> None:
    """Measure and print a line per way."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=4096)
    options.add_argument("--classes", type=int, default=32000)
    options.add_argument("--rounds", type=int, default=25)
    options.add_argument("--device", default="cpu")
    asked = options.parse_args()
    if any(name not in os.environ for name in _KEPT):  # read once, when a program starts
        os.execve(sys.executable, [sys.executable, *sys.argv], _KEPT | os.environ)  # noqa: S606 - itself

    import torch

    from xentcli.bridge.watch import watch

    engine = "gloo" if asked.device == "cpu" else "nccl"
    torch.distributed.init_process_group(engine, store=torch.distributed.HashStore(), rank=0, world_size=1)
    given, labels = _trained(asked.rows, asked.classes, asked.device)
    finish = torch.cuda.synchronize if asked.device == "cuda" else lambda: None
    group = torch.distributed.group.WORLD
    ways: dict[str, Callable[..., torch.Tensor]] = {
        "without": lambda loss, _: loss,
        "watch": lambda loss, logits: watch(loss, logits, labels),
        "watch(group=…)": lambda loss, logits: watch(loss, logits, labels, group=group),
        "watch(previous=True)": lambda loss, logits: watch(loss, logits, labels, previous=True),
        "watch(gradient=True)": lambda loss, logits: watch(loss, logits, labels, gradient=True),
    }
    steps: dict[str, list[float]] = {name: [] for name in ways}
    calls: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(asked.rounds + 1):
        names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for name in names:
            given.grad = None
            finish()
            started = time.perf_counter()
            logits = given.view(asked.rows, asked.classes)  # a new tensor, as a model makes it
            loss = torch.nn.functional.cross_entropy(logits, labels)
            before = time.perf_counter()
            loss = ways[name](loss, logits)
            calls[name].append(time.perf_counter() - before)
            loss.backward()
            finish()
            steps[name].append(time.perf_counter() - started)
    base = steps["without"][1:]
    where = f"{torch.get_num_threads()} threads" if asked.device == "cpu" else torch.cuda.get_device_name()
    print(f"{asked.rows} × {asked.classes} float32, {asked.rounds} rounds, {where}")
    print(f"loss and backward pass: {1000 * statistics.median(base):.3g} ms\n")
    print("| | step | call of watch |\n| --- | --- | --- |")
    for name in list(ways)[1:]:
        ratio = statistics.median(one / other for one, other in zip(steps[name][1:], base, strict=True))
        print(f"| `{name}` | {ratio:.3f} × | {1000 * statistics.median(calls[name][1:]):.2f} ms |")
    torch.distributed.destroy_process_group()


def _trained(rows: int, classes: int, device: str) -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    torch.manual_seed(0)
    labels = torch.randint(0, classes, (rows,))
    logits = torch.randn(rows, classes) * 2.5
    logits[torch.arange(rows), labels] += torch.empty(rows).uniform_(5, 14)
    return logits.to(device).requires_grad_(), labels.to(device)


if __name__ == "__main__":
    main()

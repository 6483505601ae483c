"""Measure what ``watch`` costs a healthy step of torch: the loss and its backward pass, with it and without.

    python benchmarks/watch.py [--rows 4096] [--classes 32000] [--rounds 15]

Logits are those of a trained model, the label ahead. The ways take turns: in each round every one is
called once, and medians over the rounds are compared.
"""

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch

from xentcli.bridge.watch import watch

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print a ratio per way."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=4096)
    options.add_argument("--classes", type=int, default=32000)
    options.add_argument("--rounds", type=int, default=15)
    asked = options.parse_args()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    torch.manual_seed(0)
    labels = torch.randint(0, asked.classes, (asked.rows,))
    logits = torch.randn(asked.rows, asked.classes) * 2.5
    logits[torch.arange(asked.rows), labels] += torch.empty(asked.rows).uniform_(5, 14)
    logits.requires_grad_()
    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "without": lambda loss: loss,
        "watch": lambda loss: watch(loss, logits, labels),
        "watch(group=…)": lambda loss: watch(loss, logits, labels, group=torch.distributed.group.WORLD),
        "watch(previous=True)": lambda loss: watch(loss, logits, labels, previous=True),
        "watch(gradient=True)": lambda loss: watch(loss, logits, labels, gradient=True),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds + 1):
        for name, way in ways.items():
            logits.grad = None
            started = time.perf_counter()
            way(torch.nn.functional.cross_entropy(logits, labels)).backward()
            times[name].append(time.perf_counter() - started)
    base = statistics.median(times["without"][1:])
    print(f"{asked.rows} × {asked.classes} float32, loss and backward: {1000 * base:.0f} ms")
    for name in list(ways)[1:]:
        print(f"{name:<22}{statistics.median(times[name][1:]) / base:.3f} ×")


if __name__ == "__main__":
    main()

"""Measure losses of large arrays: xentcli.bulk beside frameworks, and beside reading the array once.

    python benchmarks/bulk.py [--only NAME,…] [--sizes 4096x32000:float32[:KIND],…] [--rounds 7]

Logits are normal numbers. Of KIND ``trained`` they are 2.5 times as large and the label is ahead, for losses
of 0 to 5; of KIND ``offset`` 500 is added to them. Frameworks are measured if they are installed; `make
.venv-frameworks/.done` installs them. Every competitor runs in a process of its own on the same arrays, and
they take turns: in each round every one is called once, and medians over the rounds are compared. Extra
memory is what the first call on the array adds at its peak, without the gradient returned, to a process that
has called the function on 128 rows; ulps are of those rows.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xentcli import bulk, formats
from xentcli.process import Fields, Process
from xentcli.threads import for_each, processors

SIZES = "4096x32000:float32,1024x131072:float32,16384x1000:float32,4096x32000:float16"
PEERS = ("reading", "xent", "numpy", "scipy", "torch", "torch.compile", "optax", "tensorflow")
NO_GRADIENT = ("reading", "numpy", "scipy")
_PATIENCE = 600.0  # seconds for one call: torch.compile compiles first
_REST = 0.1  # seconds before a call: threads of the one before still spin for a while
_ROWS_JUDGED = 128

Call = Callable[[], Any]


def main() -> None:
    """Measure and print a table a size."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", default=",".join(PEERS))
    options.add_argument("--sizes", default=SIZES)
    options.add_argument("--rounds", type=int, default=7)
    arguments = options.parse_args()
    for size in arguments.sizes.split(","):
        shape, dtype, kind = [*size.split(":"), ""][:3]
        examples, classes = map(int, shape.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), (examples, classes), dtype, kind)
            measure(size, Path(folder), arguments.only.split(","), arguments.rounds)


def make(folder: Path, shape: tuple[int, int], dtype: str, kind: str) -> None:
    """Write logits, and rows to be judged on, in which the label is ahead by more and more."""
    random, (examples, classes) = np.random.default_rng(0), shape
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", dtype, shape)
    k = random.integers(0, classes, examples)
    for start in range(0, examples, 256):
        logits = random.standard_normal(x[start : start + 256].shape, dtype=np.float32)
        if kind == "trained":
            logits *= 2.5
            log_sum = np.log(np.exp(logits).sum(axis=1))
            logits[np.arange(len(logits)), k[start : start + 256]] = log_sum + random.normal(
                1, 2, len(logits)
            )
        x[start : start + 256] = logits + 500 * (kind == "offset")
    np.save(folder / "k.npy", k)
    y, of_y = np.array(x[:_ROWS_JUDGED]), np.array(k[:_ROWS_JUDGED])
    y[np.arange(len(y)), of_y] += np.linspace(0, 33 if dtype == "float32" else 20, len(y)).astype(dtype)
    np.save(folder / "y.npy", y)


def measure(size: str, folder: Path, names: list[str], rounds: int) -> None:
    """Have every competitor called in turn; print medians, ratios, memory and errors."""
    print(f"\n{size}, {rounds} rounds, {processors()} processors")
    heads = ("loss", "/ xent", "extra", "gradient", "/ xent", "extra", "ulps", "median")
    print(" " * 15 + "".join(map(str.rjust, heads, (10, 8, 10, 10, 8, 10, 10, 9))))
    rows: dict[str, dict[Any, Any]] = {name: {} for name in names}
    for gradient in (False, True):
        peers = {
            name: Process("bulk", name, str(folder), "gradient" * gradient)
            for name in names
            if not (gradient and name in NO_GRADIENT)
        }
        times: dict[str, list[float]] = {name: [] for name in peers}
        for name in list(peers):  # each alone, or they would wait for one that compiles
            first = peers[name].request({"warm": True}, _PATIENCE)
            if "raised" in first:
                rows[name]["raised"] = first["raised"]
                del peers[name], times[name]
            else:
                rows[name]["extra", gradient] = first.pop("extra")
                rows[name] |= first
        for _ in range(rounds):
            for name, process in peers.items():
                time.sleep(_REST)  # see there
                answer = process.request({}, _PATIENCE)
                times[name].append(answer["seconds"])
        for name, process in peers.items():
            process.stop()
            rows[name]["time", gradient] = statistics.median(times[name])
    show(rows)


def show(rows: dict[str, dict[Any, Any]]) -> None:
    """Print a line a competitor."""
    ours = rows.get("xent", {})
    for name, row in rows.items():
        if "raised" in row:
            print(f"{name:15}{row['raised'][:90]}")
            continue
        line = f"{name:15}"
        for gradient in (False, True):
            took = row.get(("time", gradient))
            ratio = took / ours["time", gradient] if took and ("time", gradient) in ours else None
            line += f"{took * 1e3:>7.1f} ms" if took else " " * 10
            line += f"{ratio:>8.2f}" if ratio else " " * 8
            line += f"{row['extra', gradient] / 2**20:>6.0f} MiB" if took else " " * 10
        if row.get("ulps") is not None:
            line += f"{row['ulps']:>10.3g}{row['median']:>9.2g}"
        print(line)


# What runs in a process of its own


def handle(request: Fields) -> Fields:
    """Call once; the first time, be ready for it and judge the losses."""
    if request:
        state.append(Competitor(*sys.argv[2:]))
        return state[0].judged()
    return state[0].timed()


class Competitor:
    """One competitor: its call on the array, and its losses of the rows to be judged on."""

    def __init__(self, name: str, folder: str, gradient: str = "") -> None:
        # In memory of its own, as a program has it: not mapped.
        self.x, self.k, self.y = (np.load(Path(folder) / f"{array}.npy") for array in "xky")
        self.name, self.gradient = name, bool(gradient)
        made = COMPETITORS[name]
        self.call: Call = made(self.x, self.k, self.gradient)
        self.losses: Call = made(self.y, self.k[: len(self.y)], False)

    def judged(self) -> Fields:
        """Warm up, and return the errors in ulps."""
        if self.name == "reading":
            return {"ulps": None, "extra": 0}
        got = np.asarray(self.losses()).astype(np.float64)
        x, rows = self.y.astype(np.longdouble), np.arange(len(self.y))
        below = x - x[rows, self.k[: len(x)]][:, None]
        below[rows, self.k[: len(x)]] = -np.inf
        true = np.log1p(np.exp(below).sum(axis=1))
        form = formats.FORMATS[str(self.y.dtype)]
        exponent = np.maximum(np.frexp(true.astype(np.float64))[1] - 1, form.emin)
        errors = np.abs(got - true) / np.ldexp(1.0, exponent - form.precision + 1)
        extra = self.timed()["extra"]
        self.timed()
        return {"ulps": float(errors.max()), "median": float(np.median(errors)), "extra": extra}

    def timed(self) -> Fields:
        """Return the seconds of one call, and the most memory that it added."""
        seen, done = [resident()], threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                seen.append(resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        result = self.call()
        seconds = time.perf_counter() - start
        seen.append(resident())
        done.set()
        watcher.join()
        returned = result.nbytes if self.gradient and isinstance(result, np.ndarray) else 0
        return {"seconds": seconds, "extra": max(0, max(seen) - seen[0] - returned)}


def resident() -> int:
    """Return the bytes of memory that the process holds, without files."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(pages[1]) - int(pages[2])) * 4096


def reading(x: Any, _: Any, __: bool) -> Call:
    """Read the array once, block by block, as many threads as processors."""
    return lambda: for_each(range(0, len(x), 16), lambda start: x[start : start + 16].max())


def ours(x: Any, k: Any, gradient: bool) -> Call:
    """Call xentcli.bulk."""
    if gradient:
        return lambda: bulk.losses_and_gradient(x, k)[1]
    return lambda: bulk.losses(x, k)


def plain_numpy(x: Any, k: Any, _: bool) -> Call:
    """Write the definition in NumPy."""

    def call() -> Any:
        shifted = x - x.max(axis=1, keepdims=True)
        return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(x)), k]

    return call


def scipy(x: Any, k: Any, _: bool) -> Call:
    """Call scipy.special.log_softmax."""
    from scipy.special import log_softmax

    return lambda: -log_softmax(x, axis=1)[np.arange(len(x)), k]


def torch(x: Any, k: Any, gradient: bool, *, compiled: bool = False) -> Call:
    """Call torch.nn.functional.cross_entropy."""
    import torch

    torch.set_num_threads(processors())
    logits, labels = torch.from_numpy(x), torch.from_numpy(k)

    def losses(logits: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    function = torch.compile(losses) if compiled else losses

    def call() -> Any:
        if not gradient:
            return function(logits).numpy()
        leaf = logits.detach().requires_grad_()
        function(leaf).sum().backward()
        return leaf.grad.numpy()

    return call


def torch_compile(x: Any, k: Any, gradient: bool) -> Call:
    """Call the same, compiled."""
    return torch(x, k, gradient, compiled=True)


def optax(x: Any, k: Any, gradient: bool) -> Call:
    """Call optax's loss of integer labels, jitted."""
    import jax
    import optax

    logits, labels = jax.numpy.asarray(x), jax.numpy.asarray(k)

    def losses(logits: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    function = jax.jit(jax.grad(lambda logits: losses(logits).sum()) if gradient else losses)
    return lambda: np.asarray(function(logits).block_until_ready())


def tensorflow(x: Any, k: Any, gradient: bool) -> Call:
    """Call TensorFlow's sparse loss."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(processors())
    logits, labels = tf.constant(x), tf.constant(k)

    def call() -> Any:
        if not gradient:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits).numpy()
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return tape.gradient(total, logits).numpy()

    return call


COMPETITORS: dict[str, Callable[[Any, Any, bool], Call]] = {
    "reading": reading,
    "xent": ours,
    "numpy": plain_numpy,
    "scipy": scipy,
    "torch": torch,
    "torch.compile": torch_compile,
    "optax": optax,
    "tensorflow": tensorflow,
}
state: list[Competitor] = []

if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)  # the processes import this file
    main()

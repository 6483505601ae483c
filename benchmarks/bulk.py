"""Measure losses of large arrays: xentcli.bulk beside frameworks, and beside reading the array once.

    python benchmarks/bulk.py [--only NAME,…] [--classes 10,1000] [--dtypes float32] [--rounds 5] [--write]

Logits are normal numbers with random labels, ``untrained``; ``trained``, they are 2.5 times as large, and the
label is ahead, for losses of 0 to 5. Frameworks are measured if they are installed; `make
.venv-frameworks/.done` installs them. Every competitor runs in a process of its own on the same arrays, and
they take turns: in each round every one is called once, and its time is divided by that of the first way of
xent in that round. What is printed are medians over rounds. Extra memory is what the second call on an array
adds at its peak, without the gradient returned; ulps are of 128 rows in which the label is ahead by more and
more. ``--write`` puts the tables into docs/speed.md.
"""

import argparse
import datetime as dt
import math
import os
import platform
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xentcli import bulk, formats
from xentcli.process import Fields, Process
from xentcli.threads import for_each, processors

CLASSES = "10,50,100,1000,32000,131072"
DTYPES = "float32,float16,bfloat16"
KINDS = ("untrained", "trained")
NO_GRADIENT = ("reading", "plain NumPy", "SciPy")
PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
BEGIN, END = "<!-- benchmarks/bulk.py --write: begin -->", "<!-- end -->"
_NUMBERS = 2**23  # logits of an array: more than a cache holds
_PATIENCE = 600.0  # seconds for one call: torch.compile compiles first
_REST = 0.02  # seconds before a call: threads of the one before still spin for a while
_ROWS_JUDGED = 128

Call = Callable[[], Any]


def main() -> None:
    """Measure, print a table per dtype and question, and write them where that is asked for."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", default=",".join(COMPETITORS))
    options.add_argument("--classes", default=CLASSES)
    options.add_argument("--dtypes", default=DTYPES)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", action="store_true")
    arguments = options.parse_args()
    names, sizes = arguments.only.split(","), [int(each) for each in arguments.classes.split(",")]
    peers = {name: Process("bulk", name) for name in names}
    found: list[Fields] = []
    for dtype in arguments.dtypes.split(","):
        for classes in sizes:
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder), (max(8, _NUMBERS // classes), classes), dtype)
                for gradient in (False, True):
                    found += measure(peers, Path(folder), gradient, arguments.rounds)
                    for row in found[-len(KINDS) :]:
                        row.update(dtype=dtype, classes=classes, gradient=gradient)
            print(f"measured: {dtype}, {classes} classes", file=sys.stderr, flush=True)
    for process in peers.values():
        process.stop()
    text = page(found, names, arguments.rounds)
    print(text)
    if arguments.write:
        old = PAGE.read_text(encoding="utf-8")
        before, after = old.split(BEGIN)[0], old.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def make(folder: Path, shape: tuple[int, int], dtype: str) -> None:
    """Write logits of each kind, their labels, and rows to be judged on."""
    random, (examples, classes) = np.random.default_rng(0), shape
    k, rows = random.integers(0, classes, examples), np.arange(examples)
    np.save(folder / "k.npy", k)
    for kind in KINDS:
        x = random.standard_normal(shape, dtype=np.float32)
        if kind == "trained":
            x *= 2.5
            x[rows, k] = np.log(np.exp(x).sum(axis=1)) + random.normal(1, 2, examples)
        save(folder / f"{kind}.npy", x, dtype)
    y = x[:_ROWS_JUDGED]
    y[rows[: len(y)], k[: len(y)]] += np.linspace(0, 33 if dtype == "float32" else 20, len(y))
    save(folder / "judged.npy", y, dtype)


def save(path: Path, x: Any, dtype: str) -> None:
    """Write an array; bfloat16, which files of NumPy do not know, as its bits."""
    x = x.astype(formats.dtype(dtype))
    np.save(path, x.view(np.uint16) if dtype == "bfloat16" else x)


def load(path: Path) -> Any:
    """Read an array that ``save`` wrote."""
    x = np.load(path)
    return x.view(formats.dtype("bfloat16")) if x.dtype == np.uint16 else x


def measure(peers: dict[str, Process], folder: Path, gradient: bool, rounds: int) -> list[Fields]:
    """Have every competitor called in turn; return seconds, ratios, memory and errors of each kind."""
    reports: dict[str, Fields] = {}
    for name, process in peers.items():  # each alone, or they would wait for one that compiles
        if not (gradient and name in NO_GRADIENT):
            reports[name] = process.request({"folder": str(folder), "gradient": gradient}, _PATIENCE)
            if "raised" in reports[name]:
                print(f"{name}: {reports.pop(name)['raised'][:200]}", file=sys.stderr)
    base, found = next(name for name in reports if name.startswith("xent")), []
    for kind in KINDS:
        seconds: dict[str, list[float]] = {name: [] for name in reports}
        for _ in range(rounds):
            for name in reports:
                time.sleep(_REST)  # see there
                seconds[name].append(peers[name].request({"kind": kind}, _PATIENCE)["seconds"])
        ratios = {
            name: statistics.median(a / b for a, b in zip(times, seconds[base], strict=True))
            for name, times in seconds.items()
        }
        found.append(
            {"kind": kind, "seconds": statistics.median(seconds[base]), "ratios": ratios, "reports": reports}
        )
    return found


def page(found: list[Fields], names: list[str], rounds: int) -> str:
    """Return the tables in Markdown, with the day and the machine in words."""
    said = (
        f"Measured on {dt.datetime.now(dt.UTC):%Y-%m-%d}, {rounds} rounds, with {processors()} "
        f"processors of {machine()}, NumPy {np.__version__}. Arrays have {_NUMBERS:,} logits. Numbers are "
        "times as multiples of the first column's, of which milliseconds are given."
    )
    lines = [said]
    for dtype in dict.fromkeys(row["dtype"] for row in found):
        for gradient in (False, True):
            rows = [row for row in found if row["dtype"] == dtype and row["gradient"] == gradient]
            lines += ["", f"{'Losses and gradients' if gradient else 'Losses'}, {dtype}:", ""]
            ways = [name for name in names if any(name in row["ratios"] for row in rows)]
            ways.sort(key=lambda name: not name.startswith("xent"))
            lines += table(["C", "logits", "ms", *ways], [line(row, ways) for row in rows])
        rows = [row for row in found if row["dtype"] == dtype]
        of = {name: [row["reports"][name] for row in rows if name in row["reports"]] for name in names}
        lines += ["", f"The largest error and the most extra memory, {dtype}:", ""]
        lines += table(
            ["", "ulps", "MiB"],
            [
                [
                    name,
                    f"{max(each['ulps'] for each in reports):.3g}",
                    f"{max(each['extra'] for each in reports) >> 20}",
                ]
                for name, reports in of.items()
                if reports and name != "reading"
            ],
        )
    return "\n".join(lines)


def line(row: Fields, ways: list[str]) -> list[str]:
    """Return the cells of a size; the fastest way that is not reading is bold."""
    ratios = row["ratios"]
    fastest = min(ratio for name, ratio in ratios.items() if name != "reading")
    cells = [f"{ratios[name]:.2f}" if name in ratios else "" for name in ways]
    bold = [
        f"**{cell}**" if ratios.get(way) == fastest else cell for way, cell in zip(ways, cells, strict=True)
    ]
    return [f"{row['classes']:,}", row["kind"], f"{row['seconds'] * 1e3:.1f}", *bold]


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def machine() -> str:
    """Name the processor, and the widest vectors that it has."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    flags = set(text.split())
    wide = next(
        (words for flag, words in {"avx512f": "AVX-512", "avx2": "AVX2"}.items() if flag in flags), ""
    )
    return f"a shared server ({name[1] if name else platform.machine()}{', ' + wide if wide else ''})"


# What runs in a process of its own


def handle(request: Fields) -> Fields:
    """Load arrays, be ready for them and judge the losses; or call once."""
    if "folder" in request:
        state["competitor"] = Competitor(sys.argv[2], Path(request["folder"]), request["gradient"])
        return state["competitor"].judged()
    return state["competitor"].timed(request["kind"])


class Competitor:
    """One competitor: its calls on the arrays, and its losses of the rows to be judged on."""

    def __init__(self, name: str, folder: Path, gradient: bool) -> None:
        # In memory of its own, as a program has it: not mapped.
        self.k, self.y = np.load(folder / "k.npy"), load(folder / "judged.npy")
        self.name, self.gradient = name, gradient
        made = COMPETITORS[name]
        self.calls = {kind: made(load(folder / f"{kind}.npy"), self.k, gradient) for kind in KINDS}
        self.losses: Call = made(self.y, self.k[: len(self.y)], False)

    def judged(self) -> Fields:
        """Warm up, and return the errors in ulps."""
        for kind in KINDS:
            self.calls[kind]()
        extra = self.timed("trained")["extra"]
        if self.name == "reading" or self.gradient:
            return {"ulps": -math.inf, "extra": extra}
        got = np.asarray(self.losses()).astype(np.float64)
        x, rows = self.y.astype(np.longdouble), np.arange(len(self.y))
        below = x - x[rows, self.k[: len(x)]][:, None]
        below[rows, self.k[: len(x)]] = -np.inf
        true = np.log1p(np.exp(below).sum(axis=1))
        form = formats.FORMATS[str(self.y.dtype)]
        exponent = np.maximum(np.frexp(true.astype(np.float64))[1] - 1, form.emin)
        errors = np.abs(got - true) / np.ldexp(1.0, exponent - form.precision + 1)
        return {"ulps": float(errors.max()), "extra": extra}

    def timed(self, kind: str) -> Fields:
        """Return the seconds of one call, and the most memory that it added."""
        seen, done = [resident()], threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                seen.append(resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        result = self.calls[kind]()
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
    """Read the array once, as integers, block by block, as many threads as processors."""
    words, size = x.reshape(-1).view(np.uint32), 2**18
    return lambda: for_each(range(0, len(words), size), lambda start: words[start : start + size].max())


def ours(x: Any, k: Any, gradient: bool, backend: str) -> Call:
    """Call xentcli.bulk."""
    if gradient:
        return lambda: bulk.losses_and_gradient(x, k, backend=backend)[1]
    return lambda: bulk.losses(x, k, backend=backend)


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
    labels = torch.from_numpy(k)
    is_bfloat16 = str(x.dtype) == "bfloat16"  # which torch reads of no array of NumPy
    logits = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if is_bfloat16 else torch.from_numpy(x)

    def of_numpy(found: Any) -> Any:
        return found.view(torch.int16).numpy().view(x.dtype) if is_bfloat16 else found.numpy()

    def losses(logits: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    function = torch.compile(losses) if compiled else losses

    def call() -> Any:
        if not gradient:
            return of_numpy(function(logits))
        leaf = logits.detach().requires_grad_()
        function(leaf).sum().backward()
        return of_numpy(leaf.grad)

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
    "xent fast": partial(ours, backend="fast"),
    "xent numpy": partial(ours, backend="numpy"),
    "torch.compile": torch_compile,
    "jax.jit": optax,
    "torch": torch,
    "TensorFlow": tensorflow,
    "SciPy": scipy,
    "plain NumPy": plain_numpy,
}
state: dict[str, Any] = {}

if __name__ == "__main__":
    here, more = str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{here}{os.pathsep}{more}" if more else here  # the processes import this file
    main()

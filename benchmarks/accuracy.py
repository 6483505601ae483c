"""The largest known errors of losses, in ulps, each with a row that has it.

    python benchmarks/accuracy.py [--only log1p,torch,…] [--part searched,exhaustive] [--write]

``searched``: rows drawn by a seed, and a climb from the worst of them. ``exhaustive``: every loss of two
classes in the half formats. The truth is ``xentcli.judge.exact``'s. ``--write`` puts what was found into
results/accuracy.json, in place of the same versions'; ``make golden`` puts that into docs/accuracy.md.
"""

import argparse
import datetime as dt
import json
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xentcli import __version__, bulk, formats
from xentcli.digits import format_ulps
from xentcli.formats import FORMATS, Decimals, ulps
from xentcli.frameworks import FRAMEWORK_METHODS, FrameworkMethod
from xentcli.frameworks.function import failure
from xentcli.frameworks.request import WORKER, address, request
from xentcli.frameworks.runner import SECONDS
from xentcli.judge.exact import compute_exact
from xentcli.judge.verdicts import judged_dtype
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic
from xentcli.methods.method import Method
from xentcli.methods.table import METHODS
from xentcli.model import Batch
from xentcli.process import Fields, Process
from xentcli.show.json import dump

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "accuracy.json"
SEED = 0
CLASSES = (2, 3, 4)  # few, so that a row is short; the errors of exp, log and differences are there already
LARGEST = 100.0  # of logits in size: beyond those of trained models
LEAST_LOSS = 1.0  # of the rows of an untrained model, or where the label is not the largest
MEASURES = ("ordinary", "any")  # rows with a loss of at least LEAST_LOSS; all rows
DRAWN, KEPT, CHILDREN, ROUNDS = (
    2048,
    32,
    8,
    12,
)  # rows: at first, that children are made of, each one's; climbs
ROWS = len(CLASSES) * (DRAWN + len(MEASURES) * ROUNDS * KEPT * CHILDREN)  # of a search
PARTS = ("searched", "exhaustive")
HALVES = ("float16", "bfloat16")
_AT_ONCE = 2048  # rows whose truth is evaluated together: none is left out as a sample
_TO_A_LIBRARY = 8192  # rows of a request
_MEANS = ("sklearn.log_loss",)  # a call per row: left out where there are a quarter of a million rows

Losses = Callable[[Batch, str], "tuple[Any, str] | None"]  # losses (N,) in float64 and their dtype


@dataclass(frozen=True)
class Function:
    """A loss: its name, its version, what it expects, and its call; None of a batch that it does not take."""

    name: str
    version: str
    binary: bool
    losses: Losses


@dataclass(frozen=True)
class Rows:
    """Rows (N, C) with their labels (N,), as a batch, and what is true of them; a binary row has C = 1."""

    logits: Any
    labels: Any
    batch: Batch
    truth: Decimals

    @classmethod
    def of(cls, logits: Any, labels: Any, dtype: str, *, binary: bool = False) -> "Rows":
        """Build rows of numbers of the dtype, and find the truth."""

        def build(part: slice) -> Batch:
            return build_batch(logits[part, 0] if binary else logits[part], labels[part], dtype)

        parts = [build(slice(start, start + _AT_ONCE)) for start in range(0, len(logits), _AT_ONCE)]
        exact = [loss for part in parts for loss in compute_exact(part, dtype, "none").losses]
        return cls(logits, labels, build(slice(None)), Decimals.of(tuple(exact)))

    def errors(self, function: Function, dtype: str) -> "tuple[Any, Any, str] | None":
        """Return errors in ulps (N,), infinite where the loss is not finite, the losses and their format."""
        called = function.losses(self.batch, dtype)
        if called is None:
            return None
        losses, form = called[0], judged_dtype(called[1], dtype)
        errors = self.truth.ulps(losses, FORMATS[form])
        return np.where(np.isfinite(losses), errors, np.inf), losses, form


# What is searched


def functions(names: str | None) -> Iterator[Function]:
    """Yield the functions of a list of names, methods and libraries; all without one."""
    chosen = None if names is None else set(names.split(","))
    for method in METHODS:
        if chosen is None or method.name in chosen:
            yield Function(method.name, __version__, method.binary, method_losses(method))
    if chosen is None or "xentcli.losses" in chosen:
        yield Function("xentcli.losses", __version__, False, bulk_losses)
    for theirs in FRAMEWORK_METHODS:
        version = theirs.library.version
        if version and (chosen is None or chosen & {theirs.name, theirs.library.name}):
            process = Process(WORKER)
            try:
                yield Function(
                    theirs.name, version, theirs.convention.binary, library_losses(theirs, process)
                )
            finally:
                process.stop()


def method_losses(method: Method) -> Losses:
    """Return how a method of xent is called."""

    def losses(batch: Batch, dtype: str) -> tuple[Any, str]:
        with np.errstate(all="ignore"):
            values = method.loss(arithmetic.get("numpy", dtype), batch)[:, 0]
        return values.astype(np.float64), method.dtype or dtype

    return losses


def bulk_losses(batch: Batch, dtype: str) -> tuple[Any, str]:
    """Call xentcli.losses, in NumPy."""
    labels: Any = batch.class_labels
    return bulk.losses(batch.logits, labels, backend="numpy").astype(np.float64), dtype


def library_losses(method: FrameworkMethod, process: Process) -> Losses:
    """Return how a function of a library is called, in a process of its own."""

    def losses(batch: Batch, dtype: str) -> tuple[Any, str] | None:
        values, of_dtype = [], dtype
        of_rows: Any = batch.labels[:, 0] if batch.binary else batch.class_labels
        for start in range(0, len(batch.logits), _TO_A_LIBRARY):
            part = slice(start, start + _TO_A_LIBRARY)
            x = batch.logits[part].astype(np.float64)
            rows = build_batch(x[:, 0] if batch.binary else x, of_rows[part], dtype)
            fields = request(rows, dtype, "none", method.convention)
            response = process.request({**address(method.target, None, method.convention), **fields}, SECONDS)
            if failure(response) is not None:
                return None
            values += response["losses"]
            of_dtype = response["dtype"]
        return np.array(values, np.float64), of_dtype

    return losses


# The search


@cache
def first_rows(dtype: str, classes: int) -> Rows:
    """Draw the first rows: of any scale, half of them with a common offset, the label first, last or any."""
    random = np.random.default_rng([SEED, classes])
    scale = 10.0 ** random.uniform(-2, 2, (DRAWN, 1))
    x = random.normal(size=(DRAWN, classes)) * scale
    x += random.choice([0.0, 1.0], (DRAWN, 1)) * random.uniform(-LARGEST, LARGEST, (DRAWN, 1))
    x = fit(x, dtype)
    of_label = np.array([x.argmax(axis=1), x.argmin(axis=1), random.integers(0, classes, DRAWN)])
    return Rows.of(x, of_label[random.integers(0, 3, DRAWN), np.arange(DRAWN)], dtype)


def fit(x: Any, dtype: str) -> Any:
    """Bring logits into the domain, as numbers of the dtype."""
    return formats.stored(np.clip(x, -LARGEST, LARGEST), dtype).astype(np.float64)


def children(random: np.random.Generator, x: Any, labels: Any, dtype: str) -> tuple[Any, Any]:
    """Change rows: one logit a little or as a whole, all of them by an offset or a factor."""
    x, labels = np.repeat(x, CHILDREN, axis=0), np.repeat(labels, CHILDREN)
    n, kind = len(x), random.integers(0, 4, len(x))[:, None]
    one = np.arange(x.shape[1]) == random.integers(0, x.shape[1], n)[:, None]
    step = random.integers(-8, 9, (n, 1)) * FORMATS[dtype].eps * np.abs(x)
    size = 10.0 ** random.uniform(-4, 0, (n, 1)) * random.normal(size=(n, 1))
    changed = [x + one * step, x * (1 + one * size), x + size * 10, x * (1 + size)]
    return fit(np.select([kind == each for each in range(4)], changed), dtype), labels


def searched(function: Function, dtype: str) -> list[Fields]:
    """Search for the largest errors of a function, for each measure; nothing where it has no such dtype."""
    found: list[Fields] = []
    for at, measure in enumerate(MEASURES):
        worst: list[Fields] = []
        for classes in CLASSES:
            rows = first_rows(dtype, classes)
            random = np.random.default_rng([SEED, classes, at])
            best: tuple[Any, Any, Any] = np.zeros(0), rows.logits[:0], rows.labels[:0]
            for _ in range(ROUNDS + 1):
                judged = rows.errors(function, dtype)
                if judged is None:
                    return []
                errors = np.where((measure == "any") | (rows.truth.near >= LEAST_LOSS), judged[0], -1.0)
                worst.append(entry(rows, (errors, *judged[1:]), dtype))
                pool = [
                    np.concatenate(pair)
                    for pair in zip(best, (errors, rows.logits, rows.labels), strict=True)
                ]
                order = np.argsort(-pool[0], kind="stable")[:KEPT]
                best = pool[0][order], pool[1][order], pool[2][order]
                rows = Rows.of(*children(random, best[1], best[2], dtype), dtype)
        found.append({"measure": measure, **max(worst, key=lambda each: float(each["ulps"]))})
    return found


def entry(rows: Rows, judged: tuple[Any, Any, str], dtype: str) -> Fields:
    """Return the worst row, of several the one with the smallest logits, and its exact error."""
    errors, losses, form = judged
    is_worst = errors >= errors.max() * (1 - 1e-9)  # float64 knows errors better; the decimals decide
    places = is_worst.nonzero()[0].tolist()
    at = min(
        places, key=lambda place: (-exact_error(rows, losses, form, place), np.abs(rows.logits[place]).max())
    )
    return {
        "ulps": written(exact_error(rows, losses, form, at)),
        "loss": hexadecimal(losses[at]),
        "row": [hexadecimal(x) for x in rows.logits[at]],
        "label": int(rows.labels[at]),
        "dtype": dtype,
    }


def exact_error(rows: Rows, losses: Any, form: str, at: int) -> Decimal:
    """Return the error of a loss in ulps, infinite where the loss alone is not finite."""
    error = ulps(float(losses[at]), rows.truth.numbers[at], FORMATS[form])
    return Decimal("Infinity") if error is None else error


def written(error: Decimal) -> str:
    """Write an error to three digits, rounded up."""
    return "inf" if error.is_infinite() else format_ulps(error)


def hexadecimal(x: float) -> str:
    """Write a number as float.fromhex reads it, without zeros that say nothing."""
    return re.sub(r"\.?0*p", "p", float(x).hex())


# Every row of two classes in the half formats


def numbers(dtype: str) -> Any:
    """Return all finite numbers of a half format from the smallest, 0 once."""
    bits = np.arange(2**16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):  # a signalling nan is none that is kept
        values = bits.view(formats.dtype(dtype)).astype(np.float64)
    return np.unique(values[np.isfinite(values)] + 0.0)


@cache
def exact_of_gaps(dtype: str) -> Decimals:
    """Return log(1 + exp g) of every finite number g: the loss of a label that is g behind."""
    g = numbers(dtype)
    return Rows.of(np.stack([0 * g, g], axis=1), np.zeros(len(g), np.int64), dtype).truth


@cache
def every_row(dtype: str, *, binary: bool) -> Rows:
    """Return the rows (0, g) of every finite g with both labels, or of every binary logit with both."""
    g, once = numbers(dtype), exact_of_gaps(dtype)
    # The label's logit is 0, and the gap g; then it is g, and the gap -g. A binary label of 1 has the gap -x.
    truth = Decimals(*(np.concatenate([part, part[::-1]]) for part in (once.numbers, once.near, once.side)))
    x, labels = np.concatenate([g, g]), np.repeat([0, 1], len(g))
    logits = x[:, None] if binary else np.stack([0 * x, x], axis=1)
    return Rows(logits, labels, build_batch(x if binary else logits, labels, dtype), truth)


def exhaustive(function: Function, dtype: str) -> list[Fields]:
    """Return the largest errors of all rows of two classes, for each measure."""
    rows = every_row(dtype, binary=function.binary)
    judged = rows.errors(function, dtype)
    found: list[Fields] = []
    for measure in MEASURES if judged else ():
        counts = rows.truth.near >= (LEAST_LOSS if measure == "ordinary" else 0)
        errors, losses, form = judged  # type: ignore[misc] # it is not None
        is_finite = counts & np.isfinite(errors)
        largest = entry(rows, (np.where(is_finite, errors, -1.0), losses, form), dtype)
        others = int((counts & ~np.isfinite(errors)).sum())
        found.append({"measure": measure, **largest, "rows": int(counts.sum()), "not finite": others})
    return found


# The file


def main() -> None:
    """Search, print what is found, and write it where that is asked for."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only")
    options.add_argument("--part", default=",".join(PARTS))
    options.add_argument("--write", action="store_true")
    arguments = options.parse_args()
    for function in functions(arguments.only):
        found = {part: find(function, part) for part in arguments.part.split(",")}
        for part, entries in found.items():
            words = [f"{each['dtype']} {each['measure']} {each['ulps']}" for each in entries]
            print(f"{function.name} {function.version}, {part}: {'; '.join(words)}", flush=True)
        if arguments.write:
            RESULTS.write_text(dump(merged(found)), encoding="utf-8")


def find(function: Function, part: str) -> list[Fields]:
    """Return the entries of a function in a part of the file."""
    about = {"function": function.name, "version": function.version, "numpy": np.__version__}
    if part == "searched":
        dtypes = () if function.binary else tuple(FORMATS)
        return [about | each for dtype in dtypes for each in searched(function, dtype)]
    dtypes = () if function.name in _MEANS else HALVES
    return [about | each for dtype in dtypes for each in exhaustive(function, dtype)]


def merged(found: dict[str, list[Fields]]) -> Fields:
    """Return what the file says, with the entries found in place of the same versions'."""
    old = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    parts = {}
    for part in PARTS:
        entries = {key(each): each for each in [*old.get(part, []), *found.get(part, [])]}
        parts[part] = [entries[each] for each in sorted(entries)]
    return {
        "schema": "xent.accuracy/1",
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "machine": machine(),
        "seed": SEED,
        "rows": ROWS,
        "domain": {"classes": list(CLASSES), "largest": LARGEST, "least loss": LEAST_LOSS},
        **parts,
    }


def key(found: Fields) -> tuple[Any, ...]:
    """Return what an entry is about, which orders the file."""
    order = [each.name for each in METHODS] + ["xentcli.losses"] + [each.name for each in FRAMEWORK_METHODS]
    version = tuple(map(int, re.findall(r"\d+", found["version"])))
    places = list(FORMATS).index(found["dtype"]), MEASURES.index(found["measure"])
    return order.index(found["function"]), version, *places


def machine() -> str:
    """Name the machine in words; the last digit of NumPy's exp depends on its vectors."""
    info = Path("/proc/cpuinfo")
    wide = "with" if info.exists() and "avx512f" in info.read_text(encoding="utf-8") else "without"
    return f"{platform.machine().replace('_', '-')} server processor {wide} AVX-512"


if __name__ == "__main__":
    main()

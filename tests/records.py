"""Results on record: ``results/LIBRARY/VERSION.json`` says what a version of a library makes of the atlas.

python tests/records.py [LIBRARY …] [--date 2026-11-27] writes a record of each, or of all that are installed,
by the schema xent.record/1 (``results/record.schema.json``). Records of other versions stay. It needs xent
and the library alone, so that it runs beside old versions too.
"""

import argparse
import datetime as dt
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from xentcli import atlas
from xentcli.digits import format_ulps, json_number, json_numbers
from xentcli.errors import XentError
from xentcli.frameworks import FRAMEWORK_METHODS, LIBRARIES, FrameworkMethod, runner
from xentcli.frameworks.request import WORKER, address
from xentcli.judge import Result, judge
from xentcli.model import Case, Judgement, Outcome
from xentcli.process import Fields, Process
from xentcli.show.cells import RAISED, mark
from xentcli.show.json import dump

RESULTS = Path(__file__).parent.parent / "results"
MACHINE = "x86-64 server processor without a GPU"
WITH = {  # packages that a library computes with, besides NumPy
    "keras": ("tensorflow",),
    "optax": ("jax", "jaxlib"),
    "sklearn": ("scipy",),
    "onnxruntime": ("onnx",),
}
REPOSITORIES = {  # where threads about a library are
    "tensorflow": ("tensorflow/tensorflow",),
    "keras": ("keras-team/keras", "keras-team/tf-keras"),
    "torch": ("pytorch/pytorch",),
    "optax": ("google-deepmind/optax", "deepmind/optax"),
    "scipy": ("scipy/scipy",),
    "sklearn": ("scikit-learn/scikit-learn",),
    "onnxruntime": ("microsoft/onnxruntime", "onnx/onnx"),
}
RIGHT = {"·", ""}  # marks of cells that no thread is about; blank: there is no true loss


@dataclass(frozen=True)
class Record:
    """A file of ``results``, as it is there."""

    fields: Fields

    @property
    def library(self) -> str:
        """The library, by its name in LIBRARIES."""
        return self.fields["library"]

    @property
    def version(self) -> str:
        """Its version."""
        return self.fields["version"]

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that the version has."""
        return tuple(self.fields["functions"])

    @cached_property
    def marks(self) -> dict[tuple[str, str], str]:
        """All marks, by case and function."""
        cases = self.fields["cases"].items()
        return {(case, name): cell["mark"] for case, cells in cases for name, cell in cells.items()}


def main() -> None:
    """Write records."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--date", default=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}")
    options.add_argument("libraries", nargs="*", default=list(LIBRARIES))
    arguments = options.parse_args()
    for fields in take(arguments.libraries, arguments.date):
        print(write(fields))  # noqa: T201 - this is a command


def called() -> tuple[atlas.Entry, ...]:
    """Return the cases of a folder that a library's loss is called with: it takes no knob."""
    batches = ((each, each.case.batch) for each in atlas.entries() if each.folder)
    return tuple(each for each, batch in batches if batch.is_one_call and batch.knobs.is_plain)


def take(libraries: Sequence[str], date: str) -> list[Fields]:
    """Run the functions of libraries, as far as they are installed, on the atlas; return a record of each."""
    cases = [entry.case for entry in called()]
    methods = [method for name in libraries for method in there(name)]
    ran = runner.run(cases, methods)
    results = [judge(case, outcomes, ()) for case, outcomes in zip(cases, ran, strict=True)]
    names = dict.fromkeys(method.library.name for method in methods)
    return [record(name, [m for m in methods if m.library.name == name], results, date) for name in names]


def there(library: str) -> list[FrameworkMethod]:
    """Return the functions of a library that its version has; none where it is not installed."""
    if LIBRARIES[library].version is None:
        return []
    process, found = Process(WORKER), []
    try:
        for method in FRAMEWORK_METHODS:
            if method.library.name == library:
                named = address(method.target, None, method.convention)
                response = process.request(named, runner.SECONDS)
                if "raised" in response:
                    raise XentError(f"{method.target}: {response['raised']}")
                found += [] if "refused" in response else [method]
    finally:
        process.stop()
    return found


def record(library: str, methods: Sequence[FrameworkMethod], results: Iterable[Result], date: str) -> Fields:
    """Return the record of a library: what each of its functions makes of each case that it supports."""
    names = {method.name for method in methods}
    return {
        "schema": "xent.record/1",
        "library": library,
        "version": LIBRARIES[library].version,
        "date": date,
        "machine": MACHINE,
        "with": versions(("numpy", *WITH.get(library, ()))),
        "functions": {method.name: method.call for method in methods},
        "cases": {
            result.case.name: cells
            for result in sorted(results, key=lambda result: result.case.name)
            if (cells := cells_of(result, names))
        },
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages."""
    known = {name: LIBRARIES[name].version for name in packages if name in LIBRARIES}
    return {name: known.get(name) or metadata.version(name) for name in packages}


def cells_of(result: Result, names: set[str]) -> dict[str, Fields]:
    """Return the cells of a case: of the functions of these names that support it."""
    pairs = zip(result.outcomes, result.judgements, strict=True)
    return {
        outcome.method: cell(result.case, outcome, judgement)
        for outcome, judgement in pairs
        if outcome.method in names and not outcome.inapplicable
    }


def cell(case: Case, outcome: Outcome, judgement: Judgement | None) -> Fields:
    """Return a cell: the loss, or the losses where they are not reduced, and how it stands to the truth."""
    if judgement is None:
        name = str(outcome.raised).removeprefix("raised ").partition(":")[0]
        return {"raised": name, "mark": RAISED}
    reduced = case.reduction != "none"
    loss: Any = json_number(outcome.loss, outcome.dtype)
    error = format_ulps(judgement.ulps)
    return {
        **({"loss": loss} if reduced else {"losses": json_numbers(outcome.losses, outcome.dtype)}),
        "ulps": None if error == "-" else float(error),
        "verdict": judgement.verdict,
        "gradient": None if judgement.gradient is None else judgement.gradient.state,
        "mark": str(mark(judgement, outcome)),
    }


def write(fields: Fields) -> Path:
    """Write a record; one that says the same on another day stays as it is."""
    path = RESULTS / fields["library"] / f"{fields['version']}.json"
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        fields = fields | {"date": old["date"]} if old == fields | {"date": old["date"]} else fields
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump(fields), encoding="utf-8")
    return path


def on_record() -> dict[str, list[Record]]:
    """Return the records of each library, in the order of LIBRARIES, versions from the oldest."""
    found: dict[str, list[Record]] = {}
    for name in LIBRARIES:
        files = (RESULTS / name).glob("*.json")
        records = [Record(json.loads(file.read_text(encoding="utf-8"))) for file in files]
        found[name] = sorted(records, key=lambda record: ordered(record.version))
    return {name: records for name, records in found.items() if records}


def ordered(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, which compare as versions do."""
    return tuple(map(int, re.findall(r"\d+", version)))


# Threads


@dataclass(frozen=True, slots=True)
class Threads:
    """Where a wrong cell is reported: by the case itself, else by ``results/known.toml``."""

    cases: Mapping[str, Case]
    known: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls) -> "Threads":
        """Read the bundled cases and the file."""
        known = tomllib.loads((RESULTS / "known.toml").read_text(encoding="utf-8"))["known"]
        return cls({entry.case.name: entry.case for entry in atlas.entries()}, known)

    def of(self, case: str, library: str, function: str) -> str | None:
        """Return the address of the thread about a cell, None where none is known."""
        for entry in self.known:
            is_of = function in entry.get("functions", [function])
            if entry["library"] == library and case in entry["cases"] and is_of:
                return entry.get("url")
        about = self.cases[case].about
        names = {*LIBRARIES[library].distributions, library}
        if not names & {affected.library for affected in about.affects}:
            return None
        starts = tuple(f"https://github.com/{name}/" for name in REPOSITORIES[library])
        return next((source.url for source in about.sources if source.url.startswith(starts)), None)


if __name__ == "__main__":
    main()

"""Results on record: what each version of a library made of a case, from ``results/LIBRARY/VERSION.json``."""

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from atlas_pages.text import cell, code, escaped, table
from xentcli.show.cells import MARKS
from xentcli.show.sheet import Cell, Tone

RESULTS = Path(__file__).parents[3] / "results"
_SCHEMA = "xent.record/1"


@cache
def documents() -> tuple[dict[str, Any], ...]:
    """Return every record, library by library, the oldest version first."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*/*.json"))]
    records = [document for document in read if document.get("schema") == _SCHEMA]
    return tuple(sorted(records, key=lambda each: (each["library"], _numbers(each["version"]))))


def page() -> str:
    """Return the page that lists every record, with its file."""
    rows = [
        (
            escaped(each["library"]),
            f"{{download}}`{each['version']} <../../results/{each['library']}/{each['version']}.json>`",
            escaped(each["date"]),
            escaped(", ".join(f"{name} {version}" for name, version in each["with"].items())),
            escaped(each["machine"]),
        )
        for each in documents()
    ]
    about = "What the functions of each version of a library make of the cases, one file a version.\n"
    listed = table(("library", "version", "date", "with", "machine"), rows) if rows else "None yet.\n"
    return f"# Results on record\n\n{about}\n{listed}"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def case_rows(name: str) -> list[tuple[str, ...]]:
    """Return a row for each function and what it gives; versions that follow each other share one."""
    functions = dict.fromkeys(function for each in documents() for function in each["cases"].get(name, {}))
    return [row for function in functions for row in _rows(function, name)]


def _rows(function: str, name: str) -> Iterator[tuple[str, ...]]:
    results = [
        (each["version"], _cells(each["cases"][name][function]))
        for each in documents()
        if function in each["cases"].get(name, {})
    ]
    for cells, alike in groupby(results, key=lambda pair: pair[1]):
        versions = [version for version, _ in alike]
        span = versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"
        yield code(function), escaped(span), *cells


def _cells(result: dict[str, Any]) -> tuple[str, ...]:
    """Return the loss, the verdict and the gradient; of what raised an error its name."""
    if "raised" in result:
        return escaped(result["raised"]), cell(Cell("raised", Tone.ALOUD)), ""
    losses = [result["loss"]] if "loss" in result else result["losses"]
    verdict, gradient = result["verdict"], result["gradient"] or ""
    _, tone = MARKS.get(verdict, ("", Tone.PLAIN))
    return escaped(" ".join(map(str, losses))), cell(Cell(verdict, tone)), escaped(gradient)

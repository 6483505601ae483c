"""Results on record: what a version of a library made of each case, from ``results/LIBRARY/VERSION.json``."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from atlas_pages.text import cell, code, escaped
from xentcli.show.cells import MARKS
from xentcli.show.sheet import Cell, Tone

RESULTS = Path(__file__).parents[3] / "results"
_SCHEMA = "xent.record/1"


@cache
def documents() -> tuple[dict[str, Any], ...]:
    """Return every record, library by library, the newest version first."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*/*.json"))]
    records = [document for document in read if document.get("schema") == _SCHEMA]
    return tuple(sorted(records, key=lambda each: (each["library"], _negated(each["version"]))))


def _negated(version: str) -> list[int]:
    return [-int(part) if part.isdigit() else 0 for part in version.split(".")]


def of_case(name: str) -> list[tuple[str, ...]]:
    """Return a row for each version and function that has a result of a case."""
    return [row for document in documents() for row in _rows(document, name)]


def _rows(document: dict[str, Any], name: str) -> Iterator[tuple[str, ...]]:
    for function, result in document["cases"].get(name, {}).items():
        verdict, gradient = str(result.get("verdict", "")), str(result.get("gradient") or "")
        _, tone = MARKS.get(verdict, ("", Tone.PLAIN))
        yield (
            escaped(f"{document['library']} {document['version']}"),
            code(function),
            escaped(str(result.get("loss", ""))),
            cell(Cell(verdict, tone)),
            escaped(gradient),
        )

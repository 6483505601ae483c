"""The JSON Schemas in ``schemas`` as files: valid, named, described, with the words of the code."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import ROOT

from xentcli.check.report import SEVERITIES
from xentcli.diagnose.rules import Severity
from xentcli.judge.verdicts import STATES as GRADIENT_STATES
from xentcli.judge.verdicts import VERDICTS
from xentcli.show.report import _STATUSES
from xentcli.sweep import QUANTITIES, STATES
from xentcli.words import DTYPES, REDUCTIONS

FOLDER = ROOT / "schemas"
FILES = sorted(FOLDER.iterdir())
PRIVATE = {"xent.finished/1"}  # lines of a file of --resume, which nothing but xent reads
Document = dict[str, Any]


def schema_of(name: str) -> Document:
    """Return the schema of a kind of document, by its name without a version."""
    (path,) = FOLDER.glob(f"xent.{name}-[0-9].schema.json")
    return read(path)


@cache
def read(path: Path) -> Document:
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


def properties_of(schema: Any) -> Iterator[tuple[str, Document]]:
    """Yield every property that is described anywhere in a schema."""
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from properties_of(value)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        yield from schema["properties"].items()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_schema_is_valid_and_named_by_its_file(path: Path) -> None:
    schema = read(path)
    kind, version = path.name.removesuffix(".schema.json").rsplit("-", 1)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (schema["$id"], schema["properties"]["schema"]["const"]) == (path.name, f"{kind}/{version}")
    assert path.read_text(encoding="utf-8") == json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_property_of_a_schema_says_what_it_is(path: Path) -> None:
    silent = [name for name, about in properties_of(read(path)) if not about.get("description")]

    assert silent == []


def test_a_definition_is_the_same_in_every_schema_that_has_it() -> None:
    shared = {"count", "dtype", "number", "numbers", "rows", "texts", "ulps", "verdict", "quantiles"}
    every = [read(path).get("$defs", {}) for path in FILES]

    for name in shared:
        texts = {json.dumps(definitions[name]) for definitions in every if name in definitions}
        assert len(texts) == 1, name


def test_every_schema_that_the_code_names_is_there_and_on_the_page_for_programs() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "xentcli").rglob("*.py"))
    named = set(re.findall(r'"(xent\.[a-z-]+/\d+)"', sources)) - PRIVATE
    page = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")

    assert {path.name for path in FILES} == {f"{name.replace('/', '-')}.schema.json" for name in named}
    for name in named:
        file = f"{name.replace('/', '-')}.schema.json"
        assert re.search(rf"\| `{name}` \| .+ \| \[{file}\]\(\.\./schemas/{file}\) \|", page), name


@pytest.mark.parametrize(
    ("name", "place", "words"),
    [
        ("run", "$defs verdict", VERDICTS),
        ("run", "$defs gradient_state", GRADIENT_STATES),
        ("run", "$defs dtype", DTYPES),
        ("run", "$defs case properties reduction", REDUCTIONS),
        ("check", "$defs severity", SEVERITIES),
        ("check", "$defs check properties status", _STATUSES),
        ("diagnose", "$defs finding properties severity", [each.value for each in Severity]),
        ("sweep", "$defs state", STATES),
        ("sweep", "properties quantity", QUANTITIES),
    ],
)
def test_the_words_of_a_schema_are_those_of_the_code(name: str, place: str, words: Any) -> None:
    part = schema_of(name)
    for key in place.split():
        part = part[key]

    assert sorted(part["enum"]) == sorted(words)

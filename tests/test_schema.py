"""The JSON Schema beside the cases refuses nothing that the loader accepts, and is generated."""

import json
import re
from pathlib import Path
from typing import Any

import generated
import jsonschema
import pytest
from conftest import CASES, assert_current
from hypothesis import given
from hypothesis import strategies as st
from test_load import BAD, case, read

from xentcli import load
from xentcli.errors import Refused
from xentcli.load import document
from xentcli.load.document import Document, Mapping, Node, Scalar

TEXT = json.dumps(generated.schema(), indent=2, ensure_ascii=False) + "\n"
VALIDATOR = jsonschema.Draft202012Validator(json.loads(TEXT))


def as_editors_read(node: Node) -> Any:
    """Make of a tree what a YAML 1.2 editor hands to a JSON Schema."""
    if isinstance(node, Mapping):
        return {key.text: as_editors_read(value) for key, value in node.pairs if isinstance(key, Scalar)}
    if isinstance(node, document.Sequence):
        return [as_editors_read(item) for item in node.items]
    assert isinstance(node, Scalar)
    if node.plain and re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?", node.text):
        return float(node.text)
    words = {"": None, "~": None, "null": None, "true": True, "false": False}
    return words.get(node.text, node.text) if node.plain else node.text


def schema_accepts(text: str) -> bool:
    return VALIDATOR.is_valid(as_editors_read(Document("case.yaml", text.encode()).root))


def loader_accepts(text: str) -> bool:
    try:
        read(text)
    except Refused:
        return False
    return True


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)


def test_the_schema_in_the_repository_is_current() -> None:
    assert_current(generated.SCHEMA, TEXT)


def test_the_tables_of_keys_and_quantities_in_the_documentation_are_current() -> None:
    generated.assert_section_is_current("the keys", generated.key_table())
    generated.assert_section_is_current("the quantities", generated.quantity_table())


@pytest.mark.parametrize("path", sorted(CASES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_the_bundled_cases(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert schema_accepts(text)
    schema = "../" * len(path.parent.relative_to(CASES).parts) + "case.schema.json"
    assert text.startswith(f"# yaml-language-server: $schema={schema}\n")


@pytest.mark.parametrize("path", sorted((BAD / "form").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_refuses_what_is_of_the_wrong_form(path: Path) -> None:
    assert not schema_accepts(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted((BAD / "meaning").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_cannot_see_what_numbers_mean_together(path: Path) -> None:
    assert schema_accepts(path.read_text(encoding="utf-8"))


numbers = ["0", "1", "2", "0.5", "-1", "1e3", "0 x 2", "nan", "-inf", '"nan"', '"1"']
wordy = ["x", "true", '"true"', "~", "float32", "eigen", "sequential", "wrap", "as_is"]
scalars = st.sampled_from([*numbers, *wordy])
rows = st.lists(st.lists(scalars, min_size=1, max_size=3), max_size=3).map(
    lambda rows: "[" + ", ".join("[" + ", ".join(row) + "]" for row in rows) + "]"
)
lists = st.lists(scalars, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
records = st.sampled_from(["[{url: u}]", "[{url: u, date: 2018}]", "[{title: t}]", "{url: u}", "[]"])
values = scalars | lists | rows | records
expectations = st.dictionaries(
    st.sampled_from(["naive", "sparse", "softmax", "softmax_matches", "class_indices", "odd"]),
    values,
    max_size=2,
).map(lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}")


@given(
    keys=st.dictionaries(st.sampled_from([*load.KEY_NAMES[:-2], "odd"]), values, max_size=3),
    expect=expectations,
)
def test_the_loader_accepts_nothing_that_the_schema_refuses(keys: dict[str, str], expect: str) -> None:
    text = case(**keys, expect=expect)

    assert schema_accepts(text) or not loader_accepts(text)

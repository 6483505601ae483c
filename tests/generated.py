"""What ``make golden`` writes into ``cases`` from the tables of the package: the JSON Schema, two tables."""

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

from conftest import CASES, assert_current

from xentcli.atlas import Entry
from xentcli.judge.findings import FINDINGS
from xentcli.load.fields import LONGEST_TEXT
from xentcli.load.keys import KEYS, Key
from xentcli.methods.arithmetic import ARITHMETICS
from xentcli.methods.method import Method, Quantity
from xentcli.methods.table import METHODS, QUANTITIES
from xentcli.model import AffectedVersions, LibraryOutput, Reference

SCHEMA = CASES / "case.schema.json"
README = CASES / "README.md"
Schema = dict[str, Any]


def assert_section_is_current(name: str, text: str) -> None:
    """Compare a generated section of the README of cases."""
    start, end = f"<!-- {name}, generated: make golden -->\n", f"<!-- the end of {name} -->\n"
    page = README.read_text(encoding="utf-8")
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    assert start in page
    assert end in page
    assert_current(README, f"{before}{start}{text}{end}{after}")


# The table of keys


def key_table() -> str:
    rows = [f"| `{key.name}` | {key.summary} | `{key.example}` | {without(key)} |\n" for key in KEYS]
    return f"\n| key | what it holds | example | without it |\n| --- | --- | --- | --- |\n{''.join(rows)}\n"


def without(key: Key) -> str:
    if key.required:
        return "required"
    return f"`{plain(key.default)}`" if is_scalar(key.default) else key.without


def is_scalar(value: object) -> bool:
    return isinstance(value, str | bool | int | float)


def plain(value: object) -> str:
    """Write a scalar as a case file does."""
    return value if isinstance(value, str) else json.dumps(value)


def quantity_table() -> str:
    shapes = {(): "one number", ("N",): "a list of N", ("N", "C"): "N rows of C", ("N", "K"): "N rows of K"}
    rows = [f"| `{row.name}` | {row.summary} | {shapes[row.shape]} |\n" for row in QUANTITIES]
    return f"\n| quantity | what it is | its shape |\n| --- | --- | --- |\n{''.join(rows)}\n"


# The JSON Schema

NUMBERS = {"type": "array", "minItems": 1}
NOT_NEGATIVE = {"anyOf": [{"type": "number", "minimum": 0}, {"$ref": "#/$defs/repeated"}]}
DATE = {
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$"},
        {"type": "integer", "minimum": 1000, "maximum": 9999},
    ]
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def schema() -> Schema:
    """Return the JSON Schema of a case."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "xent case",
        "description": "One cross-entropy experiment: N examples over C classes, or N binary ones. README.md "
        "beside this file explains every key.",
        "type": "object",
        "additionalProperties": False,
        "required": [key.name for key in KEYS if key.required],
        "properties": {key.name: key_schema(key) for key in KEYS},
        "allOf": [eigen(), *map(needs_probabilities, ("expect", "derived")), rows_or_binary(), signs()],
        "$defs": {
            "line": {"type": "string", "pattern": r"\S", "maxLength": LONGEST_TEXT},
            "special": {
                "description": "nan, inf or -inf",
                "type": "string",
                "pattern": r"^[-+]?\.?([nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$",
            },
            "repeated": {
                "description": "A number and how often it stands there: 0.5 x 100",
                "type": "string",
                "pattern": r"^\S+ x [1-9][0-9]{0,6}$",
            },
            "number": {"anyOf": [{"type": "number"}, ref("special")]},
            "numbers": NUMBERS | {"items": ref("number")},
            "vector": NUMBERS | {"items": {"anyOf": [ref("number"), ref("repeated")]}},
            "matrix": NUMBERS | {"items": ref("vector")},
            "weights": NUMBERS | {"items": NOT_NEGATIVE},
            "label_rows": NUMBERS | {"items": ref("weights")},
            "source": record(Reference),
            "affected": record(AffectedVersions),
            "output": record(LibraryOutput),
            "losses": {
                "description": "One number expects the loss, a list the losses.",
                "anyOf": [ref("number"), ref("numbers")],
            },
            "expectations": {
                "type": "object",
                "additionalProperties": False,
                "properties": {row.name: expected(row) for row in (*METHODS, *QUANTITIES)},
            },
        },
    }


def key_schema(key: Key) -> Schema:
    summary = key.summary.replace("`", "")
    default = {"default": key.default} if is_scalar(key.default) else {}
    return {"description": f"{summary[0].upper()}{summary[1:]}.", **key.kind.schema, **default}


def record(kind: type) -> Schema:
    """Return the schema of a mapping whose keys are the fields of a dataclass."""
    fields = dataclasses.fields(kind)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [field.name for field in fields if field.default is dataclasses.MISSING],
        "properties": {field.name: DATE if field.name == "date" else ref("line") for field in fields},
    }


def expected(row: Method | Quantity) -> Schema:
    """Return the schema of what is expected of a method or quantity."""
    if isinstance(row, Method):
        return {"description": row.formula, **ref("losses")}
    kind = {(): "number", ("N",): "numbers", ("N", "C"): "matrix", ("N", "K"): "matrix"}[row.shape]
    return {"description": f"{row.summary[0].upper()}{row.summary[1:]}.", **ref(kind)}


def eigen() -> Schema:
    """Hold an arithmetic that adds in its own way to its one dtype."""
    names = [arithmetic.name for arithmetic in ARITHMETICS if arithmetic.own_sums]
    then = {"dtype": {"const": "float32"}, "accumulate": False}
    return {
        "if": {"properties": {"arithmetic": {"enum": names}}, "required": ["arithmetic"]},
        "then": {"properties": then},
    }


def needs_probabilities(key: str) -> Schema:
    names = [quantity.name for quantity in QUANTITIES if quantity.needs_probabilities]
    return {
        "if": {"properties": {key: {"type": "object", "required": names}}, "required": [key]},
        "then": {"required": ["probabilities"]},
    }


def rows_or_binary() -> Schema:
    """Separate what goes with rows of logits from what goes with one logit per example."""
    index = {"anyOf": [{"type": "integer"}, ref("repeated")]}
    rows = {
        "labels": {
            "anyOf": [{"type": "array", "items": index}, {"type": "array", "items": {"type": "array"}}]
        },
        "probabilities": ref("matrix"),
        "bad_labels": {"enum": ["nan", "wrap"]},
    }
    binary = {
        "labels": ref("vector"),
        "probabilities": ref("vector"),
        "bad_labels": {"const": "as_is"},
        "arithmetic": {"const": "numpy"},
        **{key.name: False for key in KEYS if key.rows_only},
    }
    are_rows = {"type": "array", "contains": {"type": "array"}}
    return {
        "if": {"properties": {"logits": are_rows}, "required": ["logits"]},
        "then": {"properties": rows},
        "else": {"properties": binary},
    }


def signs() -> Schema:
    """Refuse a negative label unless the case says what it counts for."""
    meaning = [{"required": ["bad_labels"]}, {"required": ["ignore_index"]}]
    label = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "array"}, {"type": "string"}]}
    return {"if": {"not": {"anyOf": meaning}}, "then": {"properties": {"labels": {"items": label}}}}


# The index of the atlas


def index(atlas: Sequence[Entry]) -> str:
    """Write a table per folder: the case, what it shows, its findings, where it is reported."""
    parts = []
    for folder in dict.fromkeys(entry.folder for entry in atlas):
        rows = [row(entry) for entry in atlas if entry.folder == folder]
        parts += [
            f"\n### {folder}\n\n| case | what it shows | findings | reported |\n| --- | --- | --- | --- |\n"
        ]
        parts += rows
    return "".join(parts) + "\n"


def row(entry: Entry) -> str:
    case = entry.case
    names = entry.findings()
    findings = ", ".join(finding.name for finding in FINDINGS if finding.name in names)
    links = ", ".join(f"[{short(source.url)}]({source.url})" for source in case.about.sources)
    return f"| [{case.name}]({entry.folder}/{case.name}.yaml) | {case.title} | {findings} | {links} |\n"


def short(url: str) -> str:
    """Name an address: owner/name#number of a thread, else the host."""
    thread = re.fullmatch(r"https://github\.com/[^/]+/([^/]+)/(?:issues|pull)/(\d+)", url)
    return f"{thread[1]}#{thread[2]}" if thread else url.split("/")[2]

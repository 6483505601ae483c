"""The page of JSON Schemas: a table of the keys of each, the file itself, and a link to it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atlas_pages.text import code, escaped, table


def page(root: Path) -> str:
    """Return the page of the JSON Schemas of a repository, which stand beside what they describe."""
    files = sorted(root.glob("*/*.schema.json"))
    intro = (
        "An editor completes and checks a file by its JSON Schema (draft 2020-12), and a program can too.\n"
    )
    return f"# JSON Schemas\n\n{intro}\n" + "\n".join(_section(path, root) for path in files)


def _section(path: Path, root: Path) -> str:
    schema = json.loads(path.read_text(encoding="utf-8"))
    name = path.relative_to(root).as_posix()
    title = escaped(schema.get("title", path.name))
    parts = "\n".join(f"### {key}\n\n{_keys(about)}" for key, about in schema.get("$defs", {}).items())
    file = f"```{{literalinclude}} ../../{name}\n:language: json\n```\n"
    head = f"## {title}\n\nThe file: {{download}}`{name} <../../{name}>`\n\n{_keys(schema)}"
    return f"{head}\n{parts}\n### The file\n\n{file}"


def _keys(schema: dict[str, Any]) -> str:
    """Return the keys of an object in a table; of anything else what it takes."""
    if "properties" not in schema:
        return f"{_kind(schema)}. {escaped(schema.get('description', ''))}\n"
    required = set(schema.get("required", ()))
    rows = [
        (code(name), _kind(about), "yes" if name in required else "", escaped(about.get("description", "")))
        for name, about in schema["properties"].items()
    ]
    return table(("key", "takes", "required", "what it holds"), rows)


def _kind(about: dict[str, Any]) -> str:
    """Return in words what a key takes."""
    return ", ".join(dict.fromkeys(_kinds(about))) or "anything"


def _kinds(about: dict[str, Any]) -> Iterator[str]:
    if "enum" in about:
        yield from (code(str(value)) for value in about["enum"])
    elif "const" in about:
        yield code(str(about["const"]))
    elif "$ref" in about:
        yield escaped(about["$ref"].rpartition("/")[2])
    elif about.get("type") == "array" and "items" in about:
        yield f"list of {_kind(about['items'])}"
    elif "type" in about:
        yield from about["type"] if isinstance(about["type"], list) else [about["type"]]
    for one in (*about.get("anyOf", ()), *about.get("oneOf", ())):
        yield from _kinds(one)

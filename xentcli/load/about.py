"""What a case says about itself: sources, affected versions, printed output. No number depends on it."""

import dataclasses
import re
from typing import Any

from xentcli.load.document import Mapping, Node, Scalar
from xentcli.load.fields import Fields, quote
from xentcli.model import Reference

_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?", re.ASCII)


def read_sources(fields: Fields, key: str, node: Node) -> tuple[Reference, ...] | None:
    """Read an address, or a list of addresses with title and date."""
    if not isinstance(node, Scalar):
        return read_records(fields, key, node, record=Reference)
    url = fields.text(key, node)
    return None if url is None else (Reference(url),)


def read_records(fields: Fields, key: str, node: Node, record: Any) -> tuple[Any, ...] | None:  # noqa: ANN401 - a dataclass
    """Read a list of mappings whose keys are the fields of a dataclass."""
    names = [field.name for field in dataclasses.fields(record)]
    required = [field.name for field in dataclasses.fields(record) if field.default is dataclasses.MISSING]
    example = ", ".join(f"{name}: …" for name in names)
    items = fields.items(node, f"{key} is a list, such as [{{{example}}}]")
    records = []
    for item in items or ():
        entries = fields.mapping(item, f"an entry of {key}", names)
        values = {
            name: _date(fields, value) if name == "date" else fields.text(name, value)
            for name, (_, value) in entries.items()
        }
        missing = [name for name in required if name not in entries]
        if missing and isinstance(item, Mapping):
            fields.refuse(item, f"missing {' and '.join(missing)}; an entry of {key} is {{{example}}}")
        elif all(values.get(name) is not None for name in required):
            records.append(record(**values))
    return None if items is None else tuple(records)


def _date(fields: Fields, node: Node) -> str | None:
    """Read a date; a year alone may stand without quotes, although YAML takes it for a number."""
    if isinstance(node, Scalar) and _DATE.fullmatch(node.text):
        return node.text
    fields.refuse(node, f"'{quote(node)}' is not a date; write it as 2018-09-17, 2018-09 or 2018")
    return None

"""What a case says of itself: title, sources, what is affected, what was printed."""

import re

from xentcli.load import document
from xentcli.load.document import Node
from xentcli.load.fields import Entries, Fields
from xentcli.model import About, AffectedVersions, LibraryOutput, Reference

_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?", re.ASCII)
_OF_SOURCE = ("url", "title", "date")
_OF_AFFECTED = ("library", "versions", "state")
_OF_PRINTED = ("library", "version", "call", "text")


def read_about(fields: Fields, keys: Entries) -> About | None:
    """Read title, source, affects and prints; None without a title."""
    title = fields.text("title", keys["title"][1]) if "title" in keys else None
    sources = _sources(fields, keys["source"][1]) if "source" in keys else ()
    affects = [AffectedVersions(*row) for row in _records(fields, keys, "affects", _OF_AFFECTED)]
    prints = [LibraryOutput(*row) for row in _records(fields, keys, "prints", _OF_PRINTED)]
    return None if title is None else About(title, sources, tuple(affects), tuple(prints))


def _sources(fields: Fields, node: Node) -> tuple[Reference, ...]:
    """Read an address, or a list of addresses with title and date."""
    if not isinstance(node, document.Sequence | document.Mapping):
        url = fields.text("source", node)
        return () if url is None else (Reference(url),)
    if isinstance(node, document.Mapping):
        fields.doc.refuse(node, "source is an address, or a list such as [{url: …, title: …, date: …}]")
        return ()
    read = []
    for item in node.items:
        entries = fields.mapping(item, "a source", _OF_SOURCE)
        values = {key: fields.text(key, value) for key, (_, value) in entries.items() if key != "date"}
        if "url" not in entries and isinstance(item, document.Mapping):
            fields.doc.refuse(item, "a source needs its url")
        date = _date(fields, entries["date"][1]) if "date" in entries else None
        if (url := values.get("url")) is not None:
            read.append(Reference(url, values.get("title"), date))
    return tuple(read)


def _date(fields: Fields, node: Node) -> str | None:
    """Read a date; a year alone may stand without quotes, though YAML takes it for a number."""
    if isinstance(node, document.Scalar) and _DATE.fullmatch(node.text):
        return node.text
    shown = node.text if isinstance(node, document.Scalar) else "this"
    fields.doc.refuse(node, f"'{shown}' is no date; write it as 2018-09-17, 2018-09 or 2018")
    return None


def _records(fields: Fields, keys: Entries, key: str, wanted: tuple[str, ...]) -> list[list[str]]:
    """Read a list of mappings, every one of which has all the keys wanted."""
    if key not in keys:
        return []
    example = ", ".join(f"{word}: …" for word in wanted)
    items = fields.items(keys[key][1], f"{key} is a list, such as [{{{example}}}]")
    rows = []
    for item in items or ():
        entries = fields.mapping(item, f"an entry of {key}", wanted)
        values = [fields.text(word, entries[word][1]) if word in entries else None for word in wanted]
        missing = [word for word in wanted if word not in entries]
        if missing and isinstance(item, document.Mapping):
            fields.doc.refuse(
                item, f"missing {' and '.join(missing)}; an entry of {key} has {', '.join(wanted)}"
            )
        row = [value for value in values if value is not None]
        if len(row) == len(wanted):
            rows.append(row)
    return rows

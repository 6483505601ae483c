"""YAML text → nodes with line and column. The only file that imports yaml.

Nodes are built from PyYAML's events, not with its loader: numbers stay as written (PyYAML reads ``1e31`` as
text and ``no`` as false), nothing is expanded or constructed, and depth is bounded.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml

from xentcli.errors import CaseError, Refused

_MAX_DEPTH = 8
_TOO_DEEP = f"nested more than {_MAX_DEPTH} deep; a case needs 3"
_MOST_NODES = 1_000_000
_MOST_PROBLEMS = 1000  # then reading stops
_LONGEST_QUOTE = 40  # characters of a value in a message
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
_TAGS = re.compile("^%TAG", re.MULTILINE)  # libyaml compares each with all before it
# All but the printable characters of YAML 1.1.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class Node:
    """A place in the text: line and column count from 1, width in characters."""

    line: int
    column: int
    width: int


@dataclass(slots=True)
class Scalar(Node):
    """A value as written; ``plain``: without quotes."""

    text: str
    plain: bool


@dataclass(slots=True)
class Sequence(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping(Node):
    """Keys and values in turn, in the order written, repeated keys too."""

    items: list[Node] = field(default_factory=list)

    @property
    def pairs(self) -> list[tuple[Node, Node]]:
        """Each key with its value."""
        return list(zip(self.items[::2], self.items[1::2], strict=True))


Collection = Sequence | Mapping


class Document:
    """One YAML text: its tree, and the problems noted in it so far."""

    def __init__(self, path: str, data: bytes) -> None:
        """Parse the text; raises Refused where it is not YAML."""
        self.path = path
        self.problems: list[CaseError] = []
        self._lines: list[str] = []
        self.root = self._parse(self._decode(data))

    def refuse(self, node: Node, problem: str) -> None:
        """Note a problem at the place of a node."""
        source = self._lines[node.line - 1] if node.line <= len(self._lines) else ""
        self.problems.append(CaseError(self.path, problem, node.line, node.column, source, node.width))
        if len(self.problems) >= _MOST_PROBLEMS:
            raise Refused(self.problems)

    def _stop(self, node: Node, problem: str) -> Refused:
        self.refuse(node, problem)
        return Refused(self.problems)

    def _decode(self, data: bytes) -> str:
        self._lines = data.decode("utf-8-sig", "replace").splitlines()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            place = _end(data[: error.start].decode("utf-8-sig", "replace"))
            byte = f"byte 0x{data[error.start]:02x}"
            raise self._stop(place, f"{byte} is not UTF-8; save the file as UTF-8") from error
        if wrong := _UNPRINTABLE.search(text):
            name = "a NUL byte" if wrong[0] == "\0" else f"the control character {wrong[0]!r}"
            place = _end(text[: wrong.start()])
            raise self._stop(place, f"{name} is not allowed in a case file; remove it")
        if directive := _TAGS.search(text):
            raise self._stop(_end(text[: directive.start()]), "tags are not supported; remove %TAG")
        return text

    def _parse(self, text: str) -> Node:
        try:
            roots = self._build(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._refuse_depth(text[: mark.index if mark else 0])
            if error.context_mark and mark and mark.line >= len(self._lines):
                mark = error.context_mark  # the problem is at the end of the file: show what is open
            place = _place(mark)
            raise self._stop(place, self._explain(error, place.line)) from error
        if not roots:
            raise self._stop(_place(), "the file is empty; a case needs logits and labels")
        return roots[0]

    def _explain(self, error: yaml.MarkedYAMLError, line: int) -> str:
        source = self._lines[line - 1] if line <= len(self._lines) else ""
        if "\t" in source[: len(source) - len(source.lstrip())]:
            return "a tab in the indentation; YAML expects spaces"
        if "mapping values are not allowed" in (error.problem or ""):
            return "not YAML: a second ': ' on this line; put text with a colon in quotes"
        return f"not YAML: {', '.join(filter(None, (error.problem, error.context)))}"

    def _build(self, text: str) -> list[Node]:
        """Build the tree from PyYAML's events, without recursion; no node of an empty text."""
        above: list[Collection] = [Sequence(1, 1, 1)]
        for number, event in enumerate(yaml.parse(text, Loader=_PARSER)):
            place = _place(event.start_mark, event.end_mark)
            if number > _MOST_NODES:
                raise self._stop(place, "more than a million values; a case is a batch of a few rows")
            if isinstance(event, yaml.CollectionEndEvent):
                above.pop()
            elif isinstance(event, yaml.DocumentStartEvent) and above[0].items:
                raise self._stop(place, "a second document starts here; write one case per file")
            elif isinstance(event, yaml.NodeEvent):
                node = self._node(event, place)
                above[-1].items.append(node)
                if isinstance(node, Collection):
                    above.append(node)
                if len(above) > _MAX_DEPTH + 1:
                    raise self._stop(node, _TOO_DEEP)
        return above[0].items

    def _refuse_depth(self, before: str) -> None:
        """Stop at the first node that is nested too deep in the text before a parser's error.

        A parser reads up to 1,024 characters ahead for the colon of a key. If it meets its own limit there
        (libyaml's is 1,000 levels), it fails before it yields the levels; of the shorter text it yields them.
        """
        noted, self.problems = self.problems, []
        with suppress(yaml.MarkedYAMLError):
            self._build(before)
        self.problems = noted

    def _node(self, event: yaml.NodeEvent, place: Node) -> Node:
        """Return the node of an event; an alias and a tagged scalar are refused and stay a bare place."""
        at = place.line, place.column, place.width
        tag: str | None = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            self.refuse(place, f"aliases are not expanded; write the value of *{cut(str(event.anchor))} out")
        elif tag is not None:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            self.refuse(place, f"the tag {cut(short)} is not supported; remove it")
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(*at)
        if isinstance(event, yaml.MappingStartEvent):
            return Mapping(*at)
        if isinstance(event, yaml.ScalarEvent) and tag is None:
            return Scalar(*at, event.value, not event.style)
        return place


def cut(text: str) -> str:
    """Return a text for a message; cut where it is too long."""
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _place(start: Any = None, end: Any = None) -> Node:  # noqa: ANN401 - a mark of either parser
    """Return the bare place between two marks; without any the start of the text."""
    if start is None:
        return Node(1, 1, 1)
    width = end.column - start.column if end and end.line == start.line else 1
    return Node(start.line + 1, start.column + 1, width)


def _end(text: str) -> Node:
    """Return the bare place that follows a text."""
    lines = f"{text}x".splitlines()
    return Node(len(lines), len(lines[-1]), 1)

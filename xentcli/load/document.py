"""YAML text → nodes with line and column. The only file that imports yaml.

Nodes are built from PyYAML's events, not with its loader: numbers stay as written (PyYAML reads ``1e31`` as
text and ``no`` as false), nothing is expanded or constructed, and depth is bounded.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field

import yaml

from xentcli.errors import CaseError, Refused

_MAX_DEPTH = 8
_TOO_DEEP = f"nested more than {_MAX_DEPTH} deep; a case needs 3"
_MOST_NODES = 1_000_000
_MOST_PROBLEMS = 1000  # then reading stops
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
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
class Collection(Node):
    """The items of a list; the keys and values of a mapping, in turn."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Sequence(Collection):
    """A list."""


@dataclass(slots=True)
class Mapping(Collection):
    """Keys with values, in the order written, repeated keys too."""

    @property
    def pairs(self) -> list[tuple[Node, Node]]:
        """Each key with its value."""
        return list(zip(self.items[::2], self.items[1::2], strict=True))


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
        """Note a problem after which nothing more can be read."""
        self.refuse(node, problem)
        return Refused(self.problems)

    def _decode(self, data: bytes) -> str:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._lines = data.decode("utf-8-sig", "replace").splitlines()
            place = _place(data[: error.start].decode("utf-8-sig", "replace"))
            byte = f"byte 0x{data[error.start]:02x}"
            raise self._stop(place, f"{byte} is not UTF-8; save the file as UTF-8") from error
        self._lines = text.splitlines()
        if wrong := _UNPRINTABLE.search(text):
            name = "a NUL byte" if wrong[0] == "\0" else f"the control character {wrong[0]!r}"
            raise self._stop(
                _place(text[: wrong.start()]), f"{name} is not allowed in a case file; remove it"
            )
        return text

    def _parse(self, text: str) -> Node:
        try:
            root = self._build(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if mark and (node := _too_deep(text[: mark.index])):
                raise self._stop(node, _TOO_DEEP) from error
            if error.context_mark and mark and mark.line >= len(self._lines):
                mark = error.context_mark  # the problem is at the end of the file: show what is open
            place = Node(mark.line + 1, mark.column + 1, 1) if mark else Node(1, 1, 1)
            raise self._stop(place, self._explain(error, place.line)) from error
        if root is None:
            raise self._stop(Node(1, 1, 1), "the file is empty; a case needs title, logits and labels")
        return root

    def _explain(self, error: yaml.MarkedYAMLError, line: int) -> str:
        source = self._lines[line - 1] if line <= len(self._lines) else ""
        if "\t" in source[: len(source) - len(source.lstrip())]:
            return "a tab in the indentation; YAML expects spaces"
        if "mapping values are not allowed" in (error.problem or ""):
            return "not YAML: a second ': ' on this line; put text with a colon in quotes"
        what = ", ".join(part for part in (error.problem, error.context) if part)
        return f"not YAML: {what}"

    def _build(self, text: str) -> Node | None:
        """Build the tree from PyYAML's events, without recursion."""
        root: Node | None = None
        above: list[Collection] = []
        for number, event in enumerate(yaml.parse(text, Loader=_PARSER)):
            if number > _MOST_NODES:
                raise self._stop(_span(event), "more than a million values; a case is a batch of a few rows")
            if isinstance(event, yaml.CollectionEndEvent):
                above.pop()
            elif isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._stop(_span(event), "a second document starts here; write one case per file")
            elif isinstance(event, yaml.NodeEvent):
                node = self._node(event)
                root = root or node
                if above:
                    above[-1].items.append(node)
                if isinstance(node, Collection):
                    above.append(node)
                if len(above) > _MAX_DEPTH:
                    raise self._stop(node, _TOO_DEEP)
        return root

    def _node(self, event: yaml.NodeEvent) -> Node:
        """Return the node of an event; an alias and a tagged scalar are refused and become a bare place."""
        span = _span(event)
        place = span.line, span.column, span.width
        if isinstance(event, yaml.AliasEvent):
            self.refuse(span, f"aliases are not expanded; write the value of *{event.anchor} out")
            return span
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            self.refuse(span, f"the tag {short} is not supported; remove it")
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(*place)
        if isinstance(event, yaml.MappingStartEvent):
            return Mapping(*place)
        if isinstance(event, yaml.ScalarEvent) and tag is None:
            return Scalar(*place, event.value, not event.style)
        return span


def _too_deep(before: str) -> Node | None:
    """Return the first place that is nested too deep in the text before a parser's error.

    A parser reads up to 1,024 characters ahead for the colon of a key. If it meets its own limit there
    (libyaml's is 1,000 levels), it fails before it yields the levels; of the shorter text it yields them.
    """
    depth = 0
    with suppress(yaml.MarkedYAMLError):
        for event in yaml.parse(before, Loader=_PARSER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                return _span(event)
    return None


def _span(event: yaml.Event) -> Node:
    """Return the bare place of an event."""
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:  # the stubs allow it; a parsed event has both
        return Node(1, 1, 1)
    width = end.column - start.column if end.line == start.line else 1
    return Node(start.line + 1, start.column + 1, width)


def _place(before: str) -> Node:
    """Return the bare place that follows a text."""
    lines = f"{before}x".splitlines()
    return Node(len(lines), len(lines[-1]), 1)

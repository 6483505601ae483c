"""Nodes → values: words, numbers, rows of numbers, records. What does not fit is refused at its place."""

import dataclasses
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.errors import UNSAFE, count, did_you_mean
from xentcli.load import document
from xentcli.load.document import Document, Mapping, Node, Scalar

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_SPECIAL = re.compile(r"([-+]?)\.?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_REPEATED = re.compile(r"(\S+) x ([1-9]\d{0,6})", re.ASCII)
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?", re.ASCII)
_NO_TEXT = ("null", "~", "true", "false")
_LONGEST_NUMBER = 800  # characters: more than any float64 has digits
_LARGEST_EXPONENT = 400  # of an expectation or an integer; float64 ends at 1.8e308 and 4.9e-324
_LARGEST_INTEGER = 2**64  # no label of a program is larger: the widest are unsigned, of 64 bits
LONGEST_TEXT = 1000  # characters of a title or an address: a dozen lines of a terminal
_FEW = 5  # allowed words that a message lists in full
MOST_REPEATED = 600_000  # numbers that 0 x 100 makes: logits and labels of the largest vocabularies

Entries = dict[str, tuple[Node, Node]]  # key → its node, its value's node


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Numbers as written, in float64: a list (N,), or equally long rows (N, C); and the node of each."""

    values: "FloatArray"
    nodes: tuple[Node, ...]


@dataclasses.dataclass(slots=True)
class Room:
    """What the cases of one call may still repeat."""

    numbers: int
    examples: int


class Fields:
    """Reads the nodes of one document. Every method returns None where it refused the node."""

    def __init__(self, doc: Document, room: Room) -> None:
        self.doc, self.room = doc, room

    def refuse(self, node: Node, problem: str) -> None:
        """Note a problem at a node; an alias or a tagged value has its own already."""
        if type(node) is not Node:
            self.doc.refuse(node, problem)

    def mapping(self, node: Node, what: str, names: Sequence[str]) -> Entries:
        """Return key → (its node, its value's node); unknown and repeated keys are refused."""
        entries: Entries = {}
        if not isinstance(node, Mapping):
            self.refuse(node, f"{what} is a mapping of keys to values, such as '{names[0]}: …'")
            return entries
        for key, value in node.pairs:
            if not isinstance(key, Scalar):
                self.refuse(key, "a key is a word")
            elif key.text not in names:
                self.refuse(key, f"unknown key '{quote(key)}'{did_you_mean(key.text, names)}")
            elif entry := entries.get(key.text):
                self.refuse(key, f"the key '{key.text}' is on line {entry[0].line} already; remove one")
            else:
                entries[key.text] = (key, value)
        return entries

    def text(self, key: str, node: Node) -> str | None:
        """Read one line of text."""
        if not isinstance(node, Scalar) or not node.text.strip():
            self.refuse(node, f"{key} is one line of text")
        elif node.plain and (_NUMBER.fullmatch(node.text) or node.text.lower() in _NO_TEXT):
            self.refuse(node, f'{key} is text; put quotes around it: "{quote(node)}"')
        elif UNSAFE.search(" ".join(node.text.split())):
            self.refuse(node, f"{key} holds a control character; remove it")
        elif len(node.text) > LONGEST_TEXT:
            self.refuse(node, f"{key} has {len(node.text)} characters; at most {LONGEST_TEXT} are shown")
        else:
            return " ".join(node.text.split())
        return None

    def date(self, node: Node) -> str | None:
        """Read a date; a year alone may stand without quotes, although YAML takes it for a number."""
        if isinstance(node, Scalar) and _DATE.fullmatch(node.text):
            return node.text
        self.refuse(node, f"'{quote(node)}' is not a date; write it as 2018-09-17, 2018-09 or 2018")
        return None

    def records(self, key: str, node: Node, record: Any) -> tuple[Any, ...] | None:  # noqa: ANN401 - a dataclass
        """Read a list of mappings whose keys are the fields of a dataclass, or its one required field."""
        fields = dataclasses.fields(record)
        names = [field.name for field in fields]
        required = [field.name for field in fields if field.default is dataclasses.MISSING]
        if len(required) == 1 and isinstance(node, Scalar):
            text = self.text(key, node)
            return None if text is None else (record(text),)
        example = f"{{{', '.join(f'{name}: …' for name in names)}}}"
        items = self.items(node, f"{key} is a list, such as [{example}]")
        records = []
        for item in items or ():
            entries = self.mapping(item, f"an entry of {key}", names)
            values = {
                name: self.date(value) if name == "date" else self.text(name, value)
                for name, (_, value) in entries.items()
            }
            missing = [name for name in required if name not in entries]
            if missing and isinstance(item, Mapping):
                self.refuse(item, f"missing {' and '.join(missing)}; an entry of {key} is {example}")
            elif all(values.get(name) is not None for name in required):
                records.append(record(**values))
        return None if items is None else tuple(records)

    def choice(self, key: str, node: Node, words: Sequence[str]) -> str | None:
        """Read one of the words."""
        if not isinstance(node, Scalar):
            self.refuse(node, f"{key} is one word: {', '.join(words)}")
        elif node.text in words:
            return node.text
        else:
            few = f"; known are {', '.join(words)}" if len(words) <= _FEW else did_you_mean(node.text, words)
            self.refuse(node, f"unknown {key} '{quote(node)}'{few}")
        return None

    def choices(self, key: str, node: Node, words: Sequence[str]) -> tuple[str, ...] | None:
        """Read one of the words, or a list of some."""
        items = node.items if isinstance(node, document.Sequence) else [node]
        if not items:
            self.refuse(node, f"{key} names at least one of {', '.join(words)}")
        chosen = [word for item in items if (word := self.choice(key, item, words)) is not None]
        return tuple(dict.fromkeys(chosen)) or None

    def boolean(self, key: str, node: Node) -> bool | None:
        """Read true or false."""
        if isinstance(node, Scalar) and not node.plain:
            self.refuse(node, f"{key} is true or false, without quotes")
            return None
        word = self.choice(key, node, ("true", "false"))
        return None if word is None else word == "true"

    def number(self, node: Node) -> float | None:
        """Read one number as written; nan and the infinities may stand in quotes, as JSON writes them."""
        if not isinstance(node, Scalar):
            self.refuse(node, "a number belongs here, not a list or mapping")
        elif special := _SPECIAL.fullmatch(node.text):
            return float(special[1] + special[2])
        elif not _NUMBER.fullmatch(node.text):
            self.refuse(node, f"'{quote(node)}' is not a number; write it like 0.5, 1e31, nan or -inf")
        elif not node.plain:
            self.refuse(node, f"'{quote(node)}' is text; write the number without quotes")
        elif len(node.text) > _LONGEST_NUMBER:
            self.refuse(node, f"a number of {len(node.text)} characters; no float64 has that many digits")
        else:
            return float(node.text)
        return None

    def number_text(self, node: Node) -> str | None:
        """Read a number that a program printed and keep its text, for its digits count."""
        number = self.number(node)
        if number is None or not isinstance(node, Scalar):
            return None
        if is_special(node):
            return str(number)
        if _exponent(node.text) <= _LARGEST_EXPONENT and math.isfinite(number):
            return node.text
        self.refuse(node, f"no float64 prints as {quote(node)}; write the number that a program printed")
        return None

    def number_within(self, node: Node, low: float, high: float, expects: str) -> float | None:
        """Read a number within two bounds, themselves allowed; ``expects`` is the message elsewhere."""
        number = self.number(node)
        if number is not None and not low <= number <= high:
            self.refuse(node, expects)
            return None
        return number

    def fraction(self, key: str, node: Node) -> float | None:
        """Read a number from 0 to 1."""
        return self.number_within(node, 0, 1, f"{key} is a number from 0 to 1, such as 0.1")

    def integer(self, key: str, node: Node, least: int | None = None) -> int | None:
        """Read an integer of at most 64 bits, or one that is at least ``least``."""
        integer = integer_of(node)
        if not isinstance(node, Scalar) or not node.plain or not _NUMBER.fullmatch(node.text):
            self.refuse(node, f"{key} is a whole number")
        elif integer is None:
            self.refuse(node, f"{key} is a whole number, not {quote(node)}")
        elif least is not None and integer < least:
            self.refuse(node, f"{key} is a whole number, at least {least}")
        elif abs(integer) >= _LARGEST_INTEGER:
            self.refuse(node, f"{key} is a whole number below 2^64, not {quote(node)}")
        else:
            return integer
        return None

    def items(self, node: Node, expects: str) -> list[Node] | None:
        """Return the items of a list; ``expects`` is the message where it is none."""
        if isinstance(node, document.Sequence):
            return node.items
        self.refuse(node, expects)
        return None

    def array(self, key: str, node: Node) -> Table | None:
        """Read a list of numbers or a list of rows."""
        return self.vector(key, node) if is_flat(node) else self.matrix(key, node)

    def vector(self, key: str, node: Node) -> Table | None:
        """Read a list of numbers (N,), at least one."""
        row = self._row(node, f"{key} is a list of numbers, such as [0.2, 0.9]")
        if row is not None and not row.nodes:
            self.refuse(node, f"{key} has no numbers; give at least one")
        return row if row is not None and 0 < len(row.nodes) == len(row.values) else None

    def matrix(self, key: str, node: Node) -> Table | None:
        """Read a list of equally long rows of numbers (N, C), at least one by one."""
        items = self.items(node, f"{key} is a list of rows, such as [[0.2, 0.9], [0.7, 0.1]]")
        if items == []:
            self.refuse(node, f"{key} has no rows; give at least one example")
        expects = f"a row of {key} is a list of numbers, such as [0.2, 0.9]"
        rows = [self._row(item, expects) for item in items or ()]
        width = len(rows[0].nodes) if rows and rows[0] else 0
        for number, (item, row) in enumerate(zip(items or (), rows, strict=True), 1):
            if row and not row.nodes:
                self.refuse(item, f"row {number} of {key} has no classes; give at least one number")
            elif row and width and len(row.nodes) != width and Node not in map(type, row.nodes):
                numbers = count(len(row.nodes), "number")
                self.refuse(item, f"row {number} of {key} has {numbers}, but row 1 has {width}")
        complete = [row for row in rows if row and 0 < width == len(row.nodes) == len(row.values)]
        if not items or len(complete) < len(items):
            return None
        nodes = tuple(node for row in complete for node in row.nodes)
        return Table(np.stack([row.values for row in complete]), nodes)

    def _row(self, node: Node, expects: str) -> Table | None:
        """Read a list of numbers, ``0.5 x 100`` as a hundred; a number that was refused has no value."""
        items = self.items(node, expects)
        if items is None:
            return None
        nodes: list[Node] = []
        values: list[float] = []
        for item in items:
            repeated = _REPEATED.fullmatch(item.text) if isinstance(item, Scalar) and item.plain else None
            times = int(repeated[2]) if repeated else 1
            if repeated and times > self.room.numbers:
                limit = f"more than {MOST_REPEATED} repeated numbers in the cases of a call"
                self.refuse(item, f"{limit}; type them, dump the logits or name fewer cases")
                return None
            self.room.numbers -= times if repeated else 0
            number = Scalar(item.line, item.column, item.width, repeated[1], plain=True) if repeated else item
            value = self.number(number)
            nodes += [number] * times
            values += [] if value is None else [value] * times
        return Table(np.array(values, np.float64), tuple(nodes))


def is_number(text: str) -> bool:
    """Whether a text is a finite number as a case file writes it."""
    return _NUMBER.fullmatch(text) is not None and len(text) <= _LONGEST_NUMBER


def is_special(node: Node) -> bool:
    """Whether a node is nan or an infinity."""
    return isinstance(node, Scalar) and _SPECIAL.fullmatch(node.text) is not None


def is_flat(node: Node) -> bool:
    """Whether a node is a list that starts with a number, not with a row."""
    return isinstance(node, document.Sequence) and bool(node.items) and isinstance(node.items[0], Scalar)


def integer_of(node: Node) -> int | None:
    """Return the integer that a node writes, every digit of it; None where it writes none."""
    if not isinstance(node, Scalar) or not is_number(node.text) or _exponent(node.text) > _LARGEST_EXPONENT:
        return None
    number = Decimal(node.text)
    return int(number) if number == number.to_integral_value() else None


def _exponent(text: str) -> int:
    return abs(int(re.split("[eE]", f"{text}e0")[1]))


def quote(node: Node) -> str:
    """Return a value as written, for a message; cut where it is too long."""
    return document.cut(node.text) if isinstance(node, Scalar) else "this"

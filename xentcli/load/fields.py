"""Nodes → values: words, numbers, rows of numbers. What does not fit is refused at its place."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from xentcli.errors import count, did_you_mean
from xentcli.load import document
from xentcli.load.document import Document, Mapping, Node, Scalar

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_SPECIAL = re.compile(r"([-+]?)\.?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_REPEATED = re.compile(r"(\S+) x ([1-9]\d{0,6})", re.ASCII)
_NO_TEXT = ("null", "~", "true", "false")
_LONGEST_NUMBER = 800  # characters: more than any float64 has digits
_LARGEST_EXPONENT = 400  # of an expectation or an integer; float64 ends at 1.8e308 and 4.9e-324
_LARGEST_INTEGER = 2**64  # no label of a program is larger: the widest are unsigned, of 64 bits
_LONGEST_QUOTE = 40  # characters of a value in a message
_FEW = 5  # allowed words that a message lists in full
_MOST_NUMBERS = 4_000_000  # of one file, repeated ones counted: 32 MiB as float64

Entries = dict[str, tuple[Node, Node]]  # key → its node, its value's node


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers as written, in float64: a list (N,), or equally long rows (N, C); and the node of each."""

    values: "FloatArray"
    nodes: tuple[Node, ...]


class Fields:
    """Reads the nodes of one document. Every method returns None where it refused the node."""

    def __init__(self, doc: Document) -> None:
        self.doc = doc
        self._numbers = 0

    def refuse(self, node: Node, problem: str) -> None:
        """Note a problem at a node; an alias or a tagged value has its own already."""
        if not is_bare(node):
            self.doc.refuse(node, problem)

    def mapping(self, node: Node, what: str, names: Sequence[str]) -> Entries:
        """Return key → (its node, its value's node); unknown and repeated keys are refused."""
        entries: Entries = {}
        if not isinstance(node, Mapping):
            self.refuse(node, f"{what} is a mapping of keys to values, such as '{names[0]}: …'")
            return entries
        for key, value in node.pairs:
            name = key.text if isinstance(key, Scalar) else None
            if name is None:
                self.refuse(key, "a key is a word")
            elif name not in names:
                self.refuse(key, f"unknown key '{quote(key)}'{did_you_mean(name, names)}")
            elif name in entries:
                self.refuse(key, f"the key '{name}' is on line {entries[name][0].line} already; remove one")
            else:
                entries[name] = (key, value)
        return entries

    def text(self, key: str, node: Node) -> str | None:
        """Read one line of text."""
        if not isinstance(node, Scalar) or not node.text.strip():
            self.refuse(node, f"{key} is one line of text")
        elif node.plain and (_NUMBER.fullmatch(node.text) or node.text.lower() in _NO_TEXT):
            self.refuse(node, f'{key} is text; put quotes around it: "{quote(node)}"')
        elif not node.text.replace("\n", " ").replace("\t", " ").isprintable():
            self.refuse(node, f"{key} holds a control character; remove it")
        else:
            return " ".join(node.text.split())
        return None

    def choice(self, key: str, node: Node, words: Sequence[str]) -> str | None:
        """Read one of the words."""
        if isinstance(node, Scalar) and node.text in words:
            return node.text
        if isinstance(node, Scalar):
            few = f"; known are {', '.join(words)}" if len(words) <= _FEW else did_you_mean(node.text, words)
            self.refuse(node, f"unknown {key} '{quote(node)}'{few}")
        else:
            self.refuse(node, f"{key} is one word: {', '.join(words)}")
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
            return None
        if special := _SPECIAL.fullmatch(node.text):
            return float(special[1] + special[2])
        if not _NUMBER.fullmatch(node.text):
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
        if _exponent(node.text) > _LARGEST_EXPONENT or math.isinf(number):
            self.refuse(node, f"no float64 prints as {quote(node)}; write the number that a program printed")
            return None
        return node.text

    def fraction(self, key: str, node: Node) -> float | None:
        """Read a number from 0 to 1."""
        number = self.number(node)
        if number is not None and not 0 <= number <= 1:
            self.refuse(node, f"{key} is a number from 0 to 1, such as 0.1")
            return None
        return number

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
        items = self._numbers_of(node, f"{key} is a list of numbers, such as [0.2, 0.9]")
        if items == []:
            self.refuse(node, f"{key} has no numbers; give at least one")
        values = self._values(items or [])
        return Table(np.array(values, np.float64), tuple(items)) if items and values else None

    def matrix(self, key: str, node: Node) -> Table | None:
        """Read a list of equally long rows of numbers (N, C), at least one by one."""
        rows = self.items(node, f"{key} is a list of rows, such as [[0.2, 0.9], [0.7, 0.1]]")
        if rows == []:
            self.refuse(node, f"{key} has no rows; give at least one example")
        expects = f"a row of {key} is a list of numbers, such as [0.2, 0.9]"
        lists = [self._numbers_of(row, expects) for row in rows or ()]
        width = len(lists[0] or ()) if lists else 0
        for number, (row, items) in enumerate(zip(rows or (), lists, strict=True), 1):
            if items == []:
                self.refuse(row, f"row {number} of {key} has no classes; give at least one number")
            elif items is not None and width and len(items) != width and not any(map(is_bare, items)):
                numbers = count(len(items), "number")
                self.refuse(row, f"row {number} of {key} has {numbers}, but row 1 has {width}")
        values = [self._values(items) for items in lists if items]
        complete = [row for row in values if row is not None and len(row) == width]
        if not rows or len(complete) < len(rows):
            return None
        return Table(
            np.array(complete, np.float64), tuple(node for items in lists if items for node in items)
        )

    def _numbers_of(self, node: Node, expects: str) -> list[Node] | None:
        """Return the items of a list, ``0.5 x 100`` as a hundred of them."""
        items = self.items(node, expects)
        spread: list[Node] = []
        for item in items or ():
            repeated = _REPEATED.fullmatch(item.text) if isinstance(item, Scalar) and item.plain else None
            times = int(repeated[2]) if repeated else 1
            if self._numbers + times > _MOST_NUMBERS:
                self.refuse(item, "more than 4 million numbers; a case is a batch of a few rows")
                return None
            self._numbers += times
            number = Scalar(item.line, item.column, item.width, repeated[1], plain=True) if repeated else item
            spread += [number] * times
        return None if items is None else spread

    def _values(self, items: Sequence[Node]) -> list[float] | None:
        """Read numbers, a repeated one once; None where one was refused."""
        by_node = {id(item): self.number(item) for item in {id(item): item for item in items}.values()}
        values = [value for item in items if (value := by_node[id(item)]) is not None]
        return values if len(values) == len(items) else None


def is_number(text: str) -> bool:
    """Whether a text is a finite number as a case file writes it."""
    return _NUMBER.fullmatch(text) is not None and len(text) <= _LONGEST_NUMBER


def is_bare(node: Node) -> bool:
    """Whether a node is only a place: an alias or a tagged value, which the document refused."""
    return type(node) is Node


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
    """Return the size of a number's exponent, 0 where it has none."""
    return abs(int(re.split("[eE]", f"{text}e0")[1]))


def quote(node: Node) -> str:
    """Return a value as written, for a message; cut where it is too long."""
    text = node.text if isinstance(node, Scalar) else "this"
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"

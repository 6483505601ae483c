"""Nodes → values: words, numbers as written, rows of numbers; what does not fit is refused at its place."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from xentcli import formats
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
_LARGEST_EXPONENT = 400  # of a printed number
_SHOWN = 40  # characters of a value in a message
_FEW = 5  # words that are all named where another is written
_LARGEST_INTEGER = 2**64  # unsigned labels of 64 bits are told apart
_MOST_NUMBERS = 1_000_000  # of a table, repeated ones counted

Entries = dict[str, tuple[Node, Node]]  # key → its node, its value's node


@dataclass(frozen=True, slots=True)
class Table:
    """Equally long rows of numbers: values float64 (N, C), and the node of every number, flattened."""

    values: "FloatArray"
    nodes: tuple[Node, ...]


class Fields:
    """Reads the nodes of one document. A method returns None where it has refused what it was given."""

    def __init__(self, doc: Document) -> None:
        self.doc = doc

    def mapping(self, node: Node, what: str, known: Sequence[str]) -> Entries:
        """Return key → (its node, its value's node), unknown and repeated keys refused."""
        found: Entries = {}
        if is_bare(node):
            return found
        if not isinstance(node, Mapping):
            self.doc.refuse(node, f"{what} is a mapping of keys to values, such as '{known[0]}: …'")
            return found
        for key, value in node.pairs:
            name = key.text if isinstance(key, Scalar) else None
            if name is None:
                if not is_bare(key):
                    self.doc.refuse(key, "a key is a word")
            elif name not in known:
                self.doc.refuse(key, f"unknown key '{_short(name)}'{did_you_mean(name, known)}")
            elif name in found:
                self.doc.refuse(
                    key, f"'{name}' stands here a second time; it was on line {found[name][0].line}"
                )
            else:
                found[name] = (key, value)
        return found

    def text(self, key: str, node: Node) -> str | None:
        """Read one line of text."""
        if is_bare(node):
            return None
        if not isinstance(node, Scalar) or not node.text.strip():
            self.doc.refuse(node, f"{key} is one line of text")
        elif node.plain and (_NUMBER.fullmatch(node.text) or node.text.lower() in _NO_TEXT):
            self.doc.refuse(node, f'{key} is text; put quotes around it: "{_short(node.text)}"')
        elif not node.text.replace("\n", " ").replace("\t", " ").isprintable():
            self.doc.refuse(node, f"{key} holds a control character; remove it")
        else:
            return " ".join(node.text.split())
        return None

    def choice(self, key: str, node: Node, known: Sequence[str]) -> str | None:
        """Read one word of those known."""
        if isinstance(node, Scalar) and node.text in known:
            return node.text
        if isinstance(node, Scalar):
            few = f"; known are {', '.join(known)}" if len(known) <= _FEW else did_you_mean(node.text, known)
            self.doc.refuse(node, f"unknown {key} '{_short(node.text)}'{few}")
        elif not is_bare(node):
            self.doc.refuse(node, f"{key} is one word: {', '.join(known)}")
        return None

    def number(self, node: Node) -> float | None:
        """Read one number as written; nan and the infinities may stand in quotes, as JSON writes them."""
        if not isinstance(node, Scalar):
            if not is_bare(node):
                self.doc.refuse(node, "a number belongs here, not a list or mapping")
            return None
        if special := _SPECIAL.fullmatch(node.text):
            return float(special[1] + special[2])
        if not _NUMBER.fullmatch(node.text):
            self.doc.refuse(
                node, f"'{_short(node.text)}' is not a number; write it like 0.5, 1e31, nan or -inf"
            )
        elif not node.plain:
            self.doc.refuse(node, f"'{_short(node.text)}' is text; write the number without quotes")
        elif len(node.text) > _LONGEST_NUMBER:
            self.doc.refuse(node, f"a number of {len(node.text)} characters; no float64 has that many digits")
        else:
            return float(node.text)
        return None

    def printed(self, node: Node) -> str | None:
        """Read a number that a program printed, keeping its text: the digits shown decide."""
        number = self.number(node)
        if number is None or not isinstance(node, Scalar):
            return None
        if is_special(node):
            return str(number)
        exponent = re.split("[eE]", f"{node.text}e0")[1]
        if len(exponent) > _LARGEST_EXPONENT or abs(int(exponent)) > _LARGEST_EXPONENT or math.isinf(number):
            self.doc.refuse(
                node, f"no float64 prints as {_short(node.text)}; give the number that a program printed"
            )
            return None
        return node.text

    def choices(self, key: str, node: Node, known: Sequence[str]) -> tuple[str, ...]:
        """Read one word of those known, or a list of some."""
        items = node.items if isinstance(node, document.Sequence) else [node]
        if not items:
            self.doc.refuse(node, f"{key} names at least one of {', '.join(known)}")
        words = [word for item in items if (word := self.choice(key, item, known)) is not None]
        return tuple(dict.fromkeys(words))

    def boolean(self, key: str, node: Node) -> bool:
        """Read true or false."""
        if isinstance(node, Scalar) and not node.plain:
            self.doc.refuse(node, f"{key} is true or false, without quotes")
            return False
        return self.choice(key, node, ("true", "false")) == "true"

    def integer(self, key: str, node: Node) -> int | None:
        """Read an integer of at most 64 bits."""
        if not isinstance(node, Scalar) or not node.plain or not _NUMBER.fullmatch(node.text):
            if not is_bare(node):
                self.doc.refuse(node, f"{key} is a whole number")
            return None
        number = _integer(node.text)
        if number is None:
            self.doc.refuse(node, f"{key} is a whole number, not {_short(node.text)}")
        elif abs(number) >= _LARGEST_INTEGER:
            self.doc.refuse(node, f"{key} is a whole number below 2^64, not {_short(node.text)}")
        else:
            return number
        return None

    def index(self, node: Node, classes: int | None, ignored: int | None, any_label: bool) -> int | None:
        """Read a class index; ``any_label`` accepts an integer that is no class."""
        number = self.number(node)
        if number is None or not isinstance(node, Scalar):
            return None
        text, integer = _short(node.text), _integer(node.text)
        if integer is None:
            self.doc.refuse(node, f"the label {text} is not a class index; write a whole number such as 2")
        elif classes is not None and not (0 <= integer < classes or integer == ignored or any_label):
            known = f"{classes} classes are 0 to {classes - 1}" if classes > 1 else "the one class is 0"
            ignore = f"; to leave such examples out, add ignore_index: {text}" if number < 0 else ""
            self.doc.refuse(node, f"the label {text} is out of range; {known}{ignore}")
        elif classes is not None:
            return integer
        return None

    def items(self, node: Node, what: str) -> list[Node] | None:
        """Return the items of a list; ``what`` says what was wanted where it is none."""
        if isinstance(node, document.Sequence):
            return node.items
        if not is_bare(node):
            self.doc.refuse(node, what)
        return None

    def table(self, key: str, node: Node) -> Table | None:
        """Read a list of equally long rows of numbers, at least one by one."""
        rows = self.items(node, f"{key} is a list of rows, such as [[0.2, 0.9], [0.7, 0.1]]")
        if rows is None:
            return None
        if not rows:
            self.doc.refuse(node, f"{key} has no rows; give at least one example")
            return None
        lists = [
            self.numbers(row, f"a row of {key} is a list of numbers, such as [0.2, 0.9]") for row in rows
        ]
        width = len(lists[0]) if lists[0] else None
        values = [
            self._row(key, number, rows[number - 1], items, width) for number, items in enumerate(lists, 1)
        ]
        complete = [row for row in values if row is not None]
        if len(complete) < len(rows):
            return None
        return Table(
            np.array(complete, np.float64), tuple(node for items in lists if items for node in items)
        )

    def column(self, key: str, node: Node) -> Table | None:
        """Read a list of numbers as (N, 1), at least one."""
        items = self.numbers(node, f"{key} is a list of numbers, such as [0.2, 0.9]")
        if items is None:
            return None
        if not items:
            self.doc.refuse(node, f"{key} has no numbers; give at least one")
        values = [value for item in items if (value := self.number(item)) is not None]
        if not items or len(values) < len(items):
            return None
        return Table(np.array(values, np.float64)[:, None], tuple(items))

    @staticmethod
    def is_flat(node: Node) -> bool:
        """Whether a list starts with a number and not with a row."""
        return isinstance(node, document.Sequence) and bool(node.items) and isinstance(node.items[0], Scalar)

    def numbers(self, node: Node, what: str) -> list[Node] | None:
        """Return the items of a list, ``0.5 x 100`` as a hundred of them."""
        items = self.items(node, what)
        spread: list[Node] = []
        for item in items or ():
            repeated = _REPEATED.fullmatch(item.text) if isinstance(item, Scalar) and item.plain else None
            if repeated and len(spread) + int(repeated[2]) > _MOST_NUMBERS:
                self.doc.refuse(item, "more than a million numbers; a case is a batch of a few rows")
                return None
            if repeated:
                one = Scalar(item.line, item.column, item.width, repeated[1], plain=True)
                spread += [one] * int(repeated[2])
            else:
                spread.append(item)
        return None if items is None else spread

    def _row(
        self, key: str, number: int, row: Node, items: list[Node] | None, width: int | None
    ) -> list[float] | None:
        """Read row ``number`` of a table that is ``width`` wide."""
        if items is None:
            return None
        if not items:
            self.doc.refuse(row, f"row {number} of {key} has no classes; give at least one number")
        elif width is not None and len(items) != width and not any(map(is_bare, items)):
            self.doc.refuse(
                row, f"row {number} of {key} has {count(len(items), 'number')}, but row 1 has {width}"
            )
        read = {id(item): self.number(item) for item in {id(item): item for item in items}.values()}
        known = [value for item in items if (value := read[id(item)]) is not None]
        return known if items and len(known) == len(items) == (width or len(items)) else None

    def fits(self, table: Table, dtype: str) -> bool:
        """Whether the dtype holds every number; a finite one that becomes infinite is refused."""
        infinite = np.isinf(formats.rounded(table.values, formats.FORMATS[dtype])).ravel()
        nodes = [table.nodes[index] for index in np.flatnonzero(infinite)]
        too_large = [node for node in nodes if not is_special(node)]
        for node in too_large:
            text = _short(node.text) if isinstance(node, Scalar) else ""
            largest = f"{formats.FORMATS[dtype].largest:.9g}"
            self.doc.refuse(node, f"{text} is too large for {dtype}, which ends at {largest}")
        return not too_large


def is_number(text: str) -> bool:
    """Whether a text is a finite number as a case file writes it."""
    return _NUMBER.fullmatch(text) is not None and len(text) <= _LONGEST_NUMBER


def is_bare(node: Node) -> bool:
    """Whether this is only a place: an alias or a tagged value, which is refused already."""
    return type(node) is Node


def is_special(node: Node) -> bool:
    """Whether nan or an infinity is written here."""
    return isinstance(node, Scalar) and _SPECIAL.fullmatch(node.text) is not None


def _integer(text: str) -> int | None:
    """Return the integer that a number's text writes, to its last digit; None where it writes none."""
    number = Decimal(text) if _NUMBER.fullmatch(text) else Decimal("NaN")
    if (
        not number.is_finite()
        or number.adjusted() > _LARGEST_EXPONENT
        or number != number.to_integral_value()
    ):
        return None
    return int(number)


def _short(text: str) -> str:
    """Cut what is too long for a message."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

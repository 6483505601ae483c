"""The values of a case, each key held against the others: a check refuses what does not go together."""

import collections.abc
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xentcli import formats
from xentcli.errors import count
from xentcli.load.build import CLIP, one_hot_indices
from xentcli.load.document import Mapping, Node, Sequence
from xentcli.load.fields import Entries, Fields, Table, integer_of, is_flat, is_special, quote
from xentcli.methods.method import EXPECTS_ONE_CLASS, EXPECTS_ONE_LOGIT, EXPECTS_ROWS, Method, Quantity
from xentcli.methods.table import METHODS, QUANTITIES
from xentcli.model import Expectation
from xentcli.words import ALONG, ARITHMETICS, BAD_LABELS, CLASSES, COPIES, EXAMPLES

_SMALLEST: Final = formats.FORMATS["float64"].smallest  # the bound of what is above 0
_LARGEST: Final = formats.FORMATS["float64"].largest  # the bound of what need only be finite
_ROWS: Final[dict[str, Method | Quantity]] = {row.name: row for row in (*METHODS, *QUANTITIES)}

_COUNTED: Final = {EXAMPLES: ("example", "examples"), CLASSES: ("class", "classes")}
MOST_COPIES: Final = 4096  # as many ranks as hold the same batch, whose sums are added up

# The node of the name of each method or quantity, its value's node, the numbers.
Expectations = tuple[tuple[Node, Node, Expectation], ...]
MOST_EXAMPLES = 2**16  # each is judged by its own true loss, and as JSON takes 70 microseconds


@dataclass(frozen=True, slots=True)
class Values:
    """What the keys of one case hold, or their defaults where a key is absent or its value was refused.

    ``entries`` are the nodes of the keys that the file has; ``dtype`` is the case's, or the command line's.
    """

    fields: Fields
    entries: Entries
    by_key: collections.abc.Mapping[str, Any]
    dtype: str

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - each key has a type of its own
        return self.by_key[key]

    @property
    def is_binary(self) -> bool:
        """Whether the logits are one per example."""
        return "logits" in self.entries and is_flat(self.entries["logits"][1])

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(N, C), or (N,) of a binary case; None where the logits were refused. Padding is no class."""
        if self["logits"] is None:
            return None
        shape: tuple[int, ...] = self["logits"].values.shape
        return shape if self.is_binary else (shape[0], max(1, shape[1] - self["padding"]))

    @property
    def are_label_rows(self) -> bool:
        """Whether the labels are rows of probabilities."""
        return self["labels"] is not None and self["labels"].values.ndim > 1

    def argument(self, key: str) -> Any:  # noqa: ANN401 - as above
        """Return what ``build_batch`` takes for a key; class indices with every digit."""
        value = self[key]
        if key == "labels" and not self.is_binary and not self.are_label_rows:
            return [integer_of(node) for node in value.nodes]
        return value.values if isinstance(value, Table) else value

    def refuse(self, key: str, problem: str) -> None:
        """Note a problem at the value of a key, or at the whole case where the key is absent."""
        self.fields.refuse(self.entries[key][1] if key in self.entries else self.fields.doc.root, problem)

    def dtype_holds(self, table: Table) -> bool:
        """Whether the dtype holds every number; a finite one that becomes infinite is refused."""
        form = formats.FORMATS[self.dtype]
        infinite = np.flatnonzero(np.isinf(formats.rounded(table.values, form)))
        too_large = [node for place in infinite if not is_special(node := table.nodes[place])]
        for node in too_large:
            largest = f"{self.dtype}, which ends at {form.largest:.9g}"
            self.fields.refuse(node, f"{quote(node)} is too large for {largest}")
        return not too_large

    def are_within(self, table: Table, highest: float, problem: str) -> bool:
        """Whether every number is from 0 to the highest; another is refused, nan too."""
        wrong = np.flatnonzero(~((table.values >= 0) & (table.values <= highest)))
        for place in wrong:
            self.fields.refuse(table.nodes[place], problem)
        return not len(wrong)

    def fits(self, key: str, table: Table) -> bool:
        """Whether an array has the shape of the logits, and the dtype holds it; else it is refused."""
        shape, expected = table.values.shape, self.shape if key != "logits" else self["logits"].values.shape
        if shape[0] > MOST_EXAMPLES:
            few = f"at most {MOST_EXAMPLES}; 'xent diagnose' reads dumps of any size"
            self.refuse(key, f"{key} has {shape[0]} examples; a case has {few}")
            return False
        if expected is None or shape == expected:
            return self.dtype_holds(table)
        rows = "; rows of logits stand in brackets of their own: [[1, 2, 3]]" if self.is_binary else ""
        shapes = f"{_describe(shape)}, but logits is {_describe(expected)}"
        self.refuse(key, f"{key} is {shapes}{rows}")
        return False


def check_labels(values: Values, key: str, table: Table) -> None:
    """Hold labels to the number of examples or the shape of the logits, and to what a label may be."""
    highest, expects = _LARGEST, "a label's probability is a finite number, not below 0"
    if values.is_binary:
        highest, expects = 1.0, "a binary label is a number from 0 to 1"
    if not values.is_binary and not values.are_label_rows:
        if values.shape is not None and len(table.nodes) != values.shape[0]:
            labels, rows = count(len(table.nodes), "label"), count(values.shape[0], "row")
            values.refuse(key, f"{labels} for {rows} of logits; give one per row")
        for node in table.nodes:
            _check_index(values, node)
    elif values.fits(key, table) and values["bad_labels"] != "as_is":
        values.are_within(table, highest, expects)


def _check_index(values: Values, node: Node) -> None:
    """Refuse what is no class, unless it is ignored, or invalid on purpose."""
    index, text = integer_of(node), quote(node)
    if index is None:
        values.fields.refuse(node, f"the label {text} is not a class index; write a whole number such as 2")
    elif values.shape is not None and values["bad_labels"] is None and index != values["ignore_index"]:
        classes = values.shape[1]
        if not 0 <= index < classes:
            allowed = f"{classes} classes are 0 to {classes - 1}" if classes > 1 else "the one class is 0"
            ignore = f"; to leave such examples out, add ignore_index: {text}" if index < 0 else ""
            values.fields.refuse(node, f"the label {text} is out of range; {allowed}{ignore}")


def check_bad_labels(values: Values, key: str, word: str) -> None:
    """Hold the word to the kind of labels that it is for."""
    allowed = BAD_LABELS[2:] if values.is_binary else BAD_LABELS[:2]
    if values.are_label_rows and not values.is_binary:
        values.refuse(key, f"{key} goes with class indices or one label per example, not with rows")
    elif word not in allowed:
        labels = "one label per example" if values.is_binary else "class indices"
        values.refuse(key, f"{key} of {labels} is {' or '.join(allowed)}, not {word}")


def check_ignore_index(values: Values, key: str, _: int) -> None:
    """Refuse it beside labels that are no class indices."""
    if values.are_label_rows:
        values.refuse(key, f"{key} goes with class indices, not with rows of probabilities")


def check_class_weights(values: Values, key: str, table: Table) -> None:
    """Hold the weights to the number of classes and to the range of the dtype."""
    if values.shape is not None and len(table.values) != values.shape[1]:
        weights, classes = count(len(table.values), "weight"), count(values.shape[1], "class", "classes")
        values.refuse(key, f"{weights} for {classes}; give one per class")
    elif values.are_within(table, _LARGEST, "a class weight is a finite number, not below 0"):
        values.dtype_holds(table)


def read_labels(fields: Fields, key: str, node: Node) -> Table | None:
    """Read numbers or rows; none at all is refused beside the logits, which say how many belong there."""
    expects = f"{key} is a list of class indices or of rows of probabilities, such as [3, 4]"
    items = fields.items(node, expects)
    return Table(np.empty(0), ()) if items == [] else fields.array(key, node) if items else None


def read_clip(fields: Fields, key: str, node: Node) -> tuple[float, float] | None:
    """Read two bounds, the lower first."""
    expects = f"{key} is two bounds, such as [1e-36, 1.0]"
    if (items := fields.items(node, expects)) is None:
        return None
    if len(items) != len(CLIP):
        fields.refuse(node, f"{expects}, not {count(len(items), 'number')}")
        return None
    bound = "a clip bound is a finite number above 0, such as 1e-36"
    low, high = (fields.number_within(item, _SMALLEST, _LARGEST, bound) for item in items)
    if low is None or high is None:
        return None
    if low > high:
        fields.refuse(node, f"the clip bounds are reversed; write [{quote(items[1])}, {quote(items[0])}]")
    return low, high


def read_positive(fields: Fields, key: str, node: Node) -> float | None:
    """Read a finite number above 0."""
    return fields.number_within(node, _SMALLEST, _LARGEST, f"{key} is a finite number above 0")


def read_not_negative(fields: Fields, key: str, node: Node) -> float | None:
    """Read a finite number, not below 0."""
    return fields.number_within(node, 0.0, _LARGEST, f"{key} is a finite number, not below 0")


def check_knob(values: Values, key: str, _: float) -> None:
    """Refuse it beside probabilities, which it cannot change."""
    if values[key] and values["probabilities"] is not None:
        values.refuse(key, f"{key} changes logits; it does not go with probabilities")


def check_softcap(values: Values, key: str, cap: float) -> None:
    """Refuse it beside probabilities, and where there is no tanh."""
    check_knob(values, key, cap)
    if values["arithmetic"] != ARITHMETICS[0]:
        values.refuse(key, f"arithmetic {values['arithmetic']} has no tanh; take arithmetic {ARITHMETICS[0]}")


def check_padding(values: Values, key: str, number: int) -> None:
    """Refuse as many as there are logits, and padding beside probabilities."""
    check_knob(values, key, number)
    if values["logits"] is not None and not values.is_binary and number:
        classes = values["logits"].values.shape[1]
        if number >= classes:
            values.refuse(key, f"all {classes} logits are padding; leave one class at least")


def read_parts(fields: Fields, key: str, node: Node) -> tuple[str, int | tuple[int, ...]] | None:
    """Read how many parts there are or their sizes; a mapping says what they are along."""
    along: str | None = EXAMPLES
    if isinstance(node, Mapping):
        entries = fields.mapping(node, key, ("along", "sizes"))
        if "sizes" not in entries:
            fields.refuse(node, f"{key} has sizes, such as {{along: classes, sizes: [2, 2]}}")
            return None
        along = fields.choice("along", entries["along"][1], ALONG) if "along" in entries else along
        node = entries["sizes"][1]
    if not isinstance(node, Sequence):
        number = fields.integer(key, node, least=1)
        return None if number is None or along is None else (along, number)
    sizes = [fields.integer(f"a size of {key}", item, least=1) for item in node.items]
    if not sizes:
        fields.refuse(node, f"{key} has no sizes; give at least one")
    if not sizes or None in sizes or along is None:
        return None
    return along, tuple(size for size in sizes if size is not None)


def check_parts(values: Values, key: str, parts: tuple[str, int | tuple[int, ...]]) -> None:
    """Hold parts to the examples or classes that they divide, and to a mean of the losses."""
    along, sizes = parts
    total = None if values.shape is None or values.is_binary else values.shape[along == CLASSES]
    if along == COPIES:
        if not isinstance(sizes, int) or sizes > MOST_COPIES:
            values.refuse(key, f"{COPIES} are a number of parts, at most {MOST_COPIES}")
    elif total is not None and isinstance(sizes, int) and sizes > total:
        values.refuse(key, f"{sizes} parts of {count(total, *_COUNTED[along])}; at most {total}")
    elif total is not None and not isinstance(sizes, int) and sum(sizes) != total:
        values.refuse(
            key, f"the sizes add up to {sum(sizes)}, but there are {count(total, *_COUNTED[along])}"
        )
    if along != CLASSES and values["reduction"] != "mean":
        values.refuse(key, f"parts along the {along} go with reduction mean, not {values['reduction']}")


def read_expectations(fields: Fields, key: str, node: Node) -> Expectations:
    """Read the printed numbers of each method and quantity."""
    entries = fields.mapping(node, key, tuple(_ROWS))
    return tuple(
        (place, value, expectation)
        for name, (place, value) in entries.items()
        if (expectation := _read_numbers(fields, name, value, derived=key == "derived")) is not None
    )


def check_expectations(values: Values, key: str, expectations: Expectations) -> None:
    """Refuse a quantity that the case lacks the inputs for, one of another shape, one expected twice."""
    printed = {expectation.quantity for _, _, expectation in values["expect"]}
    for place, node, expectation in expectations:
        name, shape = expectation.quantity, expectation.shape
        if key == "derived" and name in printed:
            values.fields.refuse(place, f"{name} is under expect already; remove one")
        if problem := _why_unsupported(values, _ROWS[name]):
            values.fields.refuse(place, problem)
        elif values.shape is not None and shape not in (shapes := _shapes(values, _ROWS[name])):
            expected = " or ".join(map(_describe, shapes))
            values.fields.refuse(node, f"{name} is {expected} here, not {_describe(shape)}")


def _read_numbers(fields: Fields, quantity: str, node: Node, *, derived: bool) -> Expectation | None:
    shape: tuple[int, ...] = ()
    nodes: tuple[Node, ...] = (node,)
    if isinstance(node, Sequence) and any(isinstance(item, Sequence) for item in node.items):
        table = fields.matrix(quantity, node)
        if table is None:
            return None
        nodes, shape = table.nodes, table.values.shape
    elif isinstance(node, Sequence):
        nodes, shape = tuple(node.items), (len(node.items),)
    texts = [text for node in nodes if (text := fields.number_text(node)) is not None]
    return Expectation(quantity, tuple(texts), shape, derived) if len(texts) == len(nodes) else None


def _why_unsupported(values: Values, row: Method | Quantity) -> str | None:
    is_binary = isinstance(row, Method) and row.binary
    if is_binary and not values.is_binary:
        return f"{row.name} {EXPECTS_ONE_LOGIT}, but the logits here are rows"
    if values.is_binary and not is_binary:
        return f"{row.name} {EXPECTS_ROWS}, but the logits here are one per example"
    if isinstance(row, Method) and not (is_binary or row.soft_labels) and values.are_label_rows:
        rows = formats.stored(values["labels"].values, values.dtype)
        if one_hot_indices(rows) is None:
            return f"{row.name} {EXPECTS_ONE_CLASS}"
    if isinstance(row, Quantity) and row.needs_probabilities and "probabilities" not in values.entries:
        return f"{row.name} compares with the key 'probabilities', which is missing"
    return _why_no_parts(values, row)


def _why_no_parts(values: Values, row: Method | Quantity) -> str | None:
    needed = row.parts if isinstance(row, Method) else (row.needs_parts,) if row.needs_parts else ()
    if needed and (values["parts"] is None or values["parts"][0] not in needed):
        return f"{row.name} expects parts along the {' or '.join(needed)}"
    if isinstance(row, Quantity) and needed and values.are_label_rows:
        return f"{row.name} {EXPECTS_ONE_CLASS}"
    return None


def _shapes(values: Values, row: Method | Quantity) -> list[tuple[int, ...]]:
    """Return which shapes may be expected of a method or quantity."""
    sizes = dict(zip("NC", values.shape or (), strict=False))
    if values["parts"] is not None:
        _, parts = values["parts"]
        sizes["K"] = parts if isinstance(parts, int) else len(parts)
    if isinstance(row, Quantity):
        return [tuple(sizes[axis] for axis in row.shape)]
    return [(sizes["N"],)] if values["reduction"] == "none" else [(), (sizes["N"],)]


def _describe(shape: tuple[int, ...]) -> str:
    """Name a shape: one number, a list of 3, 2×10."""
    if not shape:
        return "one number"
    return f"a list of {shape[0]}" if len(shape) == 1 else "×".join(map(str, shape))

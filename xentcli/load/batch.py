"""The numbers of a case, each key held against the others: shapes, ranges, labels.

A check returns what ``build_batch`` takes for its key, or None where it refused the value.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats
from xentcli.errors import count
from xentcli.load.build import CLIP, one_hot_indices
from xentcli.load.document import Node
from xentcli.load.fields import Entries, Fields, Table, integer_of, is_flat, is_special, quote
from xentcli.words import BAD_LABELS

if TYPE_CHECKING:
    from xentcli.formats import FloatArray


@dataclass(frozen=True, slots=True)
class Values:
    """What the keys of one case hold: those ``accepted`` their value, the others their default.

    ``entries`` are the nodes of the keys that the file has; ``dtype`` is the case's, or the command line's.
    """

    fields: Fields
    entries: Entries
    by_key: Mapping[str, Any]
    accepted: frozenset[str]
    dtype: str

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - each key has a type of its own
        return self.by_key[key]

    @property
    def is_binary(self) -> bool:
        """Whether the logits are one per example."""
        return "logits" in self.entries and is_flat(self.entries["logits"][1])

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(N, C), or (N,) of a binary case; None where the logits were refused."""
        return None if self["logits"] is None else self["logits"].values.shape

    @property
    def are_label_rows(self) -> bool:
        """Whether the labels are rows of probabilities."""
        return self["labels"] is not None and self["labels"].values.ndim > 1

    @property
    def are_soft_labels(self) -> bool:
        """Whether a row of labels is not one-hot."""
        rows = self["labels"]
        return self.are_label_rows and one_hot_indices(formats.stored(rows.values, self.dtype)) is None

    def refuse(self, key: str, problem: str) -> None:
        """Note a problem at the value of a key, or at the whole case where the key is absent."""
        self.fields.refuse(self.entries[key][1] if key in self.entries else self.fields.doc.root, problem)

    def fits(self, table: Table) -> bool:
        """Whether the dtype holds every number; a finite one that becomes infinite is refused."""
        form = formats.FORMATS[self.dtype]
        infinite = np.flatnonzero(np.isinf(formats.rounded(table.values, form)))
        too_large = [table.nodes[place] for place in infinite if not is_special(table.nodes[place])]
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


_LARGEST = float(np.finfo(np.float64).max)  # the bound of what need only be finite


def check_array(values: Values, key: str, table: Table) -> "FloatArray | None":
    """Hold an array to the shape of the logits and to the range of the dtype."""
    shape = values.shape
    if shape is not None and table.values.shape != shape:
        rows = "; rows of logits stand in brackets of their own: [[1, 2, 3]]" if values.is_binary else ""
        values.refuse(
            key, f"{key} is {describe_shape(table.values.shape)}, but logits is {describe_shape(shape)}{rows}"
        )
        return None
    return table.values if values.fits(table) else None


def check_labels(values: Values, key: str, table: Table) -> "FloatArray | list[int] | None":
    """Return class indices, rows of probabilities (N, C), or of a binary case numbers (N,)."""
    if not values.is_binary and not values.are_label_rows:
        return _check_indices(values, key, table)
    if (labels := check_array(values, key, table)) is None or values["bad_labels"] == "as_is":
        return labels
    if values.is_binary:
        highest, expects = 1.0, "a binary label is a number from 0 to 1"
    else:
        highest, expects = _LARGEST, "a label's probability is a finite number, not below 0"
    return labels if values.are_within(table, highest, expects) else None


def _check_indices(values: Values, key: str, table: Table) -> list[int] | None:
    """Return class indices; one that is ignored, or invalid on purpose, need not be a class."""
    if values.shape is not None and len(table.nodes) != values.shape[0]:
        labels, rows = count(len(table.nodes), "label"), count(values.shape[0], "row")
        values.refuse(key, f"{labels} for {rows} of logits; give one per row")
    indices = [_check_index(values, node) for node in table.nodes]
    known = [index for index in indices if index is not None]
    return known if len(known) == len(indices) else None


def _check_index(values: Values, node: Node) -> int | None:
    index, text = integer_of(node), quote(node)
    if index is None:
        values.fields.refuse(node, f"the label {text} is not a class index; write a whole number such as 2")
    elif values.shape is not None and values["bad_labels"] is None and index != values["ignore_index"]:
        classes = values.shape[1]
        if not 0 <= index < classes:
            allowed = f"{classes} classes are 0 to {classes - 1}" if classes > 1 else "the one class is 0"
            ignore = f"; to leave such examples out, add ignore_index: {text}" if index < 0 else ""
            values.fields.refuse(node, f"the label {text} is out of range; {allowed}{ignore}")
    return index


def check_bad_labels(values: Values, key: str, word: str) -> str | None:
    """Hold the word to the kind of labels that it is for."""
    allowed = BAD_LABELS[2:] if values.is_binary else BAD_LABELS[:2]
    if values.are_label_rows and not values.is_binary:
        values.refuse(key, f"{key} goes with class indices or one label per example, not with rows")
    elif word not in allowed:
        labels = "one label per example" if values.is_binary else "class indices"
        values.refuse(key, f"{key} of {labels} is {' or '.join(allowed)}, not {word}")
    return word


def check_ignore_index(values: Values, key: str, index: int) -> int:
    """Refuse it beside labels that are no class indices."""
    if values.are_label_rows:
        values.refuse(key, f"{key} goes with class indices, not with rows of probabilities")
    return index


def check_class_weights(values: Values, key: str, table: Table) -> "FloatArray | None":
    """Hold the weights to the number of classes and to the range of the dtype."""
    if values.shape is not None and len(table.values) != values.shape[1]:
        weights, classes = count(len(table.values), "weight"), count(values.shape[1], "class", "classes")
        values.refuse(key, f"{weights} for {classes}; give one per class")
        return None
    valid = values.are_within(table, _LARGEST, "a class weight is a finite number, not below 0")
    return table.values if valid and values.fits(table) else None


def read_labels(fields: Fields, key: str, node: Node) -> Table | None:
    """Read numbers or rows; none at all is refused beside the logits, which say how many belong there."""
    items = fields.items(
        node, f"{key} is a list of class indices or of rows of probabilities, such as [3, 4]"
    )
    return Table(np.empty(0), ()) if items == [] else fields.array(key, node) if items else None


def read_clip(fields: Fields, key: str, node: Node) -> tuple[float, float] | None:
    """Read two bounds, the lower first."""
    expects = f"{key} is two bounds, such as [1e-36, 1.0]"
    if (items := fields.items(node, expects)) is None:
        return None
    if len(items) != len(CLIP):
        fields.refuse(node, f"{expects}, not {count(len(items), 'number')}")
        return None
    low, high = (_read_bound(fields, item) for item in items)
    if low is None or high is None:
        return None
    if low > high:
        fields.refuse(node, f"the clip bounds are reversed; write [{quote(items[1])}, {quote(items[0])}]")
    return low, high


def _read_bound(fields: Fields, node: Node) -> float | None:
    bound = fields.number(node)
    if bound is not None and not 0 < bound < math.inf:
        fields.refuse(node, "a clip bound is a finite number above 0, such as 1e-36")
    return bound


def describe_shape(shape: tuple[int, ...]) -> str:
    """Name a shape: one number, a list of 3, 2×10."""
    if not shape:
        return "one number"
    return f"a list of {shape[0]}" if len(shape) == 1 else "×".join(map(str, shape))

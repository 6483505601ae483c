"""Nodes → Batch: logits, labels, and what is made of them before they count."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats
from xentcli.errors import count
from xentcli.load.document import Node, Scalar
from xentcli.load.fields import Entries, Fields
from xentcli.load.weighting import weighting
from xentcli.model import Batch, Weighting
from xentcli.words import BAD_LABELS

if TYPE_CHECKING:
    from xentcli.model import BoolArray, FloatArray, IntArray

CLIP = (1e-36, 1.0)  # the blog's
BINARY_CLIP = (1e-7, 1 - 1e-7)  # Keras'
TILE = 4
_OF_ROWS = ("class_weights", "label_smoothing", "ignore_index", "tile", "accumulate")


class BatchReader:
    """Reads the numbers of one case; what it has read stands in its attributes, None where it was refused."""

    def __init__(self, fields: Fields, keys: Entries, dtype: str) -> None:
        self.fields, self.keys, self.dtype = fields, keys, dtype
        self.logits: FloatArray | None = None
        self.labels: FloatArray | None = None
        self.indices: IntArray | None = None
        self.has_indices = False
        self.is_binary = "logits" in keys and fields.is_flat(keys["logits"][1])
        self.out_of_range: BoolArray | None = None
        self.ignored: BoolArray | None = None
        self.ignore_index: int | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(N, C), or (N,) of a binary case."""
        return None if self.logits is None else self.logits.shape[: 1 if self.is_binary else 2]

    @property
    def is_soft(self) -> bool:
        """Whether the labels are known, and are not one class an example."""
        return self.labels is not None and self.indices is None

    def read(self) -> Batch | None:
        """Read all keys of numbers; None where one of them was refused."""
        self.logits = self._array("logits")
        self._read_labels()
        probabilities = self._array("probabilities")
        clip, tile = self._clip(), self._tile()
        weighted = None if self.is_binary else self._weighting()
        for key in _OF_ROWS if self.is_binary else ():
            if key in self.keys:
                self._refuse(
                    self.keys[key][0], f"{key} goes with rows of logits; here they are one an example"
                )
        if self.logits is None or self.labels is None or clip is None or tile is None:
            return None
        return Batch(
            self.logits,
            self.labels,
            self.indices,
            probabilities,
            clip,
            tile,
            weighted,
            self.is_binary,
            self.out_of_range,
        )

    def _refuse(self, node: Node, problem: str) -> None:
        self.fields.doc.refuse(node, problem)

    def _value(self, key: str) -> Node | None:
        return self.keys[key][1] if key in self.keys else None

    def _array(self, key: str) -> "FloatArray | None":
        """Read rows of numbers, or of a binary case one an example, as many as the logits have."""
        node = self._value(key)
        if node is None:
            return None
        table = self.fields.column(key, node) if self.is_binary else self.fields.table(key, node)
        if table is None:
            return None
        if self.logits is not None and table.values.shape != self.logits.shape:
            given, wanted = (
                shape(x.shape[: 1 if self.is_binary else 2]) for x in (table.values, self.logits)
            )
            rows = "; rows of logits stand in brackets of their own: [[1, 2, 3]]" if self.is_binary else ""
            self._refuse(node, f"{key} is {given}, but logits is {wanted}{rows}")
            return None
        if key == "labels" and not self._are_probabilities(table.values, table.nodes):
            return None
        return self.fields.stored(table, self.dtype)

    def _are_probabilities(self, values: "FloatArray", nodes: Sequence[Node]) -> bool:
        """Refuse what is no label: what is below 0 or infinite, in a binary case also what is above 1."""
        good = (values >= 0) & (values <= 1) if self.is_binary else (values >= 0) & (values < np.inf)
        if self.is_binary and self._bad_labels() == "as_is":
            self.out_of_range = ~good
            return True
        wanted = (
            "a binary label is a number from 0 to 1"
            if self.is_binary
            else ("a label's probability is a finite number, not below 0")
        )
        for index in np.flatnonzero(~good).tolist():
            self._refuse(nodes[index], wanted)
        return bool(good.all())

    def _read_labels(self) -> None:
        node = self._value("labels")
        wanted = "labels is a list of class indices or of rows of probabilities, such as [3, 4]"
        items = None if node is None else self.fields.numbers(node, wanted)
        if node is None or items is None:
            return
        if not self.is_binary and (not items or isinstance(items[0], Scalar)):
            self.has_indices = True
            self._read_indices(node, items)
            return
        self.labels = self._array("labels")
        if self.labels is not None and not self.is_binary:
            self.indices = _one_hot_indices(self.labels)
        if (bad := self._value("bad_labels")) is not None and not self.is_binary:
            self._refuse(bad, "bad_labels goes with class indices or one label an example, not with rows")

    def _bad_labels(self) -> str | None:
        node = self._value("bad_labels")
        known = BAD_LABELS[2:] if self.is_binary else BAD_LABELS[:2]
        return None if node is None else self.fields.choice("bad_labels", node, known)

    def _read_indices(self, node: Node, items: list[Node]) -> None:
        """Read class indices; one that is ignored or bad on purpose has a row of zeros."""
        rows, classes = (None, None) if self.logits is None else self.logits.shape
        fits = rows is None or len(items) == rows
        if not fits:
            self._refuse(
                node, f"{count(len(items), 'label')} for {count(rows or 0, 'row')} of logits; give one a row"
            )
        bad, ignored = self._bad_labels(), self._whole("ignore_index")
        self.ignore_index = ignored
        read = [self.fields.index(item, classes, ignored, bad is not None) for item in items]
        indices = np.array([index for index in read if index is not None], np.int64)
        if not fits or classes is None or len(indices) < len(items):
            return
        if ignored is not None:
            self.ignored = _frozen((indices == ignored)[:, None])
            indices = np.where(indices == ignored, 0, indices)
        known = (indices >= 0) & (indices < classes)
        if bad is not None:
            self.out_of_range = _frozen(~known)
        counts = known if self.ignored is None else known & ~self.ignored[:, 0]
        one_hot = np.zeros((len(indices), classes), formats.dtype(self.dtype))
        one_hot[np.flatnonzero(counts), indices[counts]] = 1
        if bad == "wrap":  # as Python counts, from the end
            indices = np.where((indices < 0) & (indices >= -classes), indices + classes, indices)
        self.labels, self.indices = _frozen(one_hot), _frozen(indices)

    def _weighting(self) -> Weighting | None:
        """Read class weights, smoothing and the ignored index; None where there are none of them."""
        given, smoothing = self._weights(), self._smoothing()
        if (node := self._value("ignore_index")) is not None and not self.has_indices:
            self._refuse(node, "ignore_index goes with class indices, not with rows of probabilities")
        if self.labels is None or not any(key in self.keys for key in _OF_ROWS[:3]):
            return None
        soft = not self.has_indices
        made = weighting(self.labels, self.indices, given, smoothing, self.ignored, soft=soft)
        return replace(made, ignore_index=self.ignore_index)

    def _weights(self) -> "FloatArray | None":
        """Read a weight for every class, (1, C)."""
        node = self._value("class_weights")
        table = None if node is None else self.fields.column("class_weights", node)
        if node is None or table is None:
            return None
        if self.logits is not None and len(table.values) != self.logits.shape[1]:
            weights, classes = (
                count(len(table.values), "weight"),
                count(self.logits.shape[1], "class", "classes"),
            )
            self._refuse(node, f"{weights} for {classes}; give one a class")
            return None
        wrong = np.flatnonzero(~((table.values >= 0) & (table.values < np.inf))).tolist()
        for index in wrong:
            self._refuse(table.nodes[index], "a class weight is a finite number, not below 0")
        stored = None if wrong else self.fields.stored(table, self.dtype)
        return None if stored is None else stored.T

    def _smoothing(self) -> float:
        node = self._value("label_smoothing")
        smoothing = 0.0 if node is None else self.fields.number(node)
        if node is not None and smoothing is not None and not 0 <= smoothing <= 1:
            self._refuse(node, "label_smoothing is a number from 0 to 1, such as 0.1")
        return smoothing or 0.0

    def _whole(self, key: str) -> int | None:
        node = self._value(key)
        return None if node is None else self.fields.whole(key, node)

    def _tile(self) -> int | None:
        if (node := self._value("tile")) is None:
            return TILE
        tile = self.fields.whole("tile", node)
        if tile is not None and tile < 1:
            self._refuse(node, "tile is how many classes online takes at a time, at least 1")
        return tile

    def _clip(self) -> tuple[float, float] | None:
        node = self._value("clip")
        if node is None:
            return BINARY_CLIP if self.is_binary else CLIP
        wanted = "clip is two bounds, such as [1e-36, 1.0]"
        items = self.fields.items(node, wanted)
        if items is not None and len(items) != len(CLIP):
            self._refuse(node, f"{wanted}, not {count(len(items), 'number')}")
            items = None
        bounds = [bound for item in items or () if (bound := self._bound(item)) is not None]
        if len(bounds) < len(CLIP):
            return None
        low, high = bounds
        if low > high:
            low_text, high_text = (item.text for item in items or () if isinstance(item, Scalar))
            self._refuse(node, f"the clip bounds are reversed; write [{high_text}, {low_text}]")
            return None
        return low, high

    def _bound(self, node: Node) -> float | None:
        bound = self.fields.number(node)
        if bound is not None and not 0 < bound < np.inf:
            self._refuse(node, "a clip bound is a finite number above 0, such as 1e-36")
            return None
        return bound


def shape(shape: tuple[int, ...]) -> str:
    """Name a shape: one number, a list of 3, 2×10."""
    if not shape:
        return "one number"
    return f"a list of {shape[0]}" if len(shape) == 1 else "×".join(map(str, shape))


def _one_hot_indices(labels: "FloatArray") -> "IntArray | None":
    """Class indices (N,) where every row has one 1 and else 0; None where a row has not."""
    if not (((labels == 0) | (labels == 1)).all() and ((labels == 1).sum(axis=1) == 1).all()):
        return None
    return _frozen(labels.argmax(axis=1))


def _frozen(array: Any) -> Any:  # noqa: ANN401 - an array of any type, the same
    """Return the array, read-only."""
    array.flags.writeable = False
    return array

"""Nodes → Batch: logits, labels and what weighs them, each number checked at its place."""

from typing import TYPE_CHECKING

import numpy as np

from xentcli.errors import count
from xentcli.load.build import BINARY_CLIP, CLIP, TILE, build_batch
from xentcli.load.document import Node, Scalar
from xentcli.load.fields import Entries, Fields, Table
from xentcli.model import Batch
from xentcli.words import BAD_LABELS

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

_OF_ROWS = ("class_weights", "label_smoothing", "ignore_index", "tile", "accumulate")


class BatchReader:
    """Reads the numbers of one case.

    After ``read``, ``shape`` is (N, C), or (N,) for a binary case, and ``is_soft`` says whether a label row
    is not one-hot; both are None where what they depend on was refused.
    """

    def __init__(self, fields: Fields, keys: Entries, dtype: str) -> None:
        self.fields, self.keys, self.dtype = fields, keys, dtype
        self.is_binary = "logits" in keys and fields.is_flat(keys["logits"][1])
        self.shape: tuple[int, ...] | None = None
        self.is_soft: bool | None = None

    def read(self) -> Batch | None:
        """Read all keys of numbers; None where one of them was refused."""
        logits = self._array("logits", None)
        size = None if logits is None else logits.values.shape
        self.shape = None if size is None else size[: 1 if self.is_binary else 2]
        labels = self._labels(size)
        probabilities = self._array("probabilities", size)
        clip, tile = self._clip(), self._tile()
        weights, smoothing = self._weights(size), self._smoothing()
        for key in _OF_ROWS if self.is_binary else ():
            if key in self.keys:
                self._refuse(
                    self.keys[key][0], f"{key} goes with rows of logits; here they are one per example"
                )
        if logits is None or labels is None or clip is None or tile is None or self.fields.doc.problems:
            return None
        batch = build_batch(
            logits.values[:, 0] if self.is_binary else logits.values,
            labels,
            self.dtype,
            probabilities=None if probabilities is None else probabilities.values,
            class_weights=None if weights is None else weights.values[:, 0],
            label_smoothing=smoothing,
            ignore_index=self._ignore_index(),
            wrap=self._bad_labels() == "wrap",
            clip=clip,
            tile=tile,
        )
        self.is_soft = batch.indices is None and not batch.binary
        return batch

    def _refuse(self, node: Node, problem: str) -> None:
        self.fields.doc.refuse(node, problem)

    def _value(self, key: str) -> Node | None:
        return self.keys[key][1] if key in self.keys else None

    def _array(self, key: str, size: tuple[int, ...] | None) -> Table | None:
        """Read rows of numbers, or a column for a binary case; ``size`` is that of the logits, if known."""
        node = self._value(key)
        if node is None:
            return None
        table = self.fields.column(key, node) if self.is_binary else self.fields.table(key, node)
        if table is None:
            return None
        if size is not None and table.values.shape != size:
            got, expected = (
                describe_shape(x[: 1 if self.is_binary else 2]) for x in (table.values.shape, size)
            )
            rows = "; rows of logits stand in brackets of their own: [[1, 2, 3]]" if self.is_binary else ""
            self._refuse(node, f"{key} is {got}, but logits is {expected}{rows}")
            return None
        return table if self.fields.fits(table, self.dtype) else None

    def _labels(self, size: tuple[int, ...] | None) -> "FloatArray | list[int] | None":
        """Read labels: class indices, rows of probabilities (N, C), or for a binary case (N,)."""
        node = self._value("labels")
        wanted = "labels is a list of class indices or of rows of probabilities, such as [3, 4]"
        items = None if node is None else self.fields.numbers(node, wanted)
        has_indices = items is not None and not self.is_binary and (not items or isinstance(items[0], Scalar))
        if not has_indices:
            if (
                node is not None
                and (ignored := self._value("ignore_index")) is not None
                and not self.is_binary
            ):
                self._refuse(ignored, "ignore_index goes with class indices, not with rows of probabilities")
            if items is not None and (bad := self._value("bad_labels")) is not None and not self.is_binary:
                self._refuse(
                    bad, "bad_labels goes with class indices or one label per example, not with rows"
                )
        if node is None or items is None:
            return None
        if has_indices:
            self.is_soft = False
            return self._indices(node, items, size)
        table = self._array("labels", size)
        if table is None or not self._are_probabilities(table):
            return None
        return table.values[:, 0] if self.is_binary else table.values

    def _are_probabilities(self, table: Table) -> bool:
        """Refuse what is no label: below 0 or infinite, for a binary case also above 1, unless as_is."""
        values = table.values
        good = (values >= 0) & (values <= 1) if self.is_binary else (values >= 0) & (values < np.inf)
        if self.is_binary and self._bad_labels() == "as_is":
            return True
        wanted = (
            "a binary label is a number from 0 to 1"
            if self.is_binary
            else "a label's probability is a finite number, not below 0"
        )
        for index in np.flatnonzero(~good).tolist():
            self._refuse(table.nodes[index], wanted)
        return bool(good.all())

    def _bad_labels(self) -> str | None:
        node = self._value("bad_labels")
        known = BAD_LABELS[2:] if self.is_binary else BAD_LABELS[:2]
        return None if node is None else self.fields.choice("bad_labels", node, known)

    def _indices(self, node: Node, items: list[Node], size: tuple[int, ...] | None) -> list[int] | None:
        """Read class indices; one that is ignored, or invalid on purpose, need not be a class."""
        rows, classes = (None, None) if size is None else size
        fits = rows is None or len(items) == rows
        if not fits:
            labels, wanted = count(len(items), "label"), count(rows or 0, "row")
            self._refuse(node, f"{labels} for {wanted} of logits; give one per row")
        any_label, ignored = self._bad_labels() is not None, self._ignore_index()
        indices = [self.fields.index(item, classes, ignored, any_label) for item in items]
        known = [index for index in indices if index is not None]
        return known if fits and classes is not None and len(known) == len(items) else None

    def _ignore_index(self) -> int | None:
        node = self._value("ignore_index")
        return None if node is None else self.fields.integer("ignore_index", node)

    def _weights(self, size: tuple[int, ...] | None) -> Table | None:
        """Read a weight per class."""
        node = self._value("class_weights")
        table = None if node is None or self.is_binary else self.fields.column("class_weights", node)
        if node is None or table is None:
            return None
        if size is not None and len(table.values) != size[1]:
            weights, classes = count(len(table.values), "weight"), count(size[1], "class", "classes")
            self._refuse(node, f"{weights} for {classes}; give one per class")
            return None
        wrong = np.flatnonzero(~((table.values >= 0) & (table.values < np.inf))).tolist()
        for index in wrong:
            self._refuse(table.nodes[index], "a class weight is a finite number, not below 0")
        return table if not wrong and self.fields.fits(table, self.dtype) else None

    def _smoothing(self) -> float:
        node = None if self.is_binary else self._value("label_smoothing")
        smoothing = 0.0 if node is None else self.fields.number(node)
        if node is not None and smoothing is not None and not 0 <= smoothing <= 1:
            self._refuse(node, "label_smoothing is a number from 0 to 1, such as 0.1")
        return smoothing or 0.0

    def _tile(self) -> int | None:
        if (node := self._value("tile")) is None:
            return TILE
        tile = self.fields.integer("tile", node)
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


def describe_shape(size: tuple[int, ...]) -> str:
    """Name a shape: one number, a list of 3, 2×10."""
    if not size:
        return "one number"
    return f"a list of {size[0]}" if len(size) == 1 else "×".join(map(str, size))

"""Nodes → Case: which keys there are, what each may hold, and how they must fit together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xentcli import arithmetic, document, formats
from xentcli.document import Document, Mapping, Node, Scalar
from xentcli.errors import CaseError, Refused, XentError, count, printable
from xentcli.fields import Fields
from xentcli.methods import METHODS, QUANTITIES
from xentcli.model import Batch, Case, Expectation
from xentcli.words import ACCUMULATES, ARITHMETICS, DTYPES, REDUCTIONS

if TYPE_CHECKING:
    from xentcli.model import FloatArray, IntArray
    from xentcli.sources import Source

    Labels = tuple[FloatArray, IntArray | None]

KEYS = (
    "title",
    "source",
    "dtype",
    "arithmetic",
    "accumulate",
    "logits",
    "labels",
    "probabilities",
    "clip",
    "reduction",
    "expect",
)
REQUIRED = ("title", "logits", "labels")
CLIP = (1e-36, 1.0)  # the blog's


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line sets in place of the case; None leaves the case's own."""

    dtype: str | None = None
    arithmetic: str | None = None
    reduction: str | None = None
    methods: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Which are set."""
        return tuple(name for name in self.__slots__ if getattr(self, name) is not None)


def load_all(
    sources: Sequence["Source"], problems: Sequence[CaseError] = (), overrides: Overrides | None = None
) -> list[Case]:
    """Load every source; raises Refused with the problems of all of them and those passed in."""
    cases: list[Case] = []
    found = list(problems)
    for source in sources:
        try:
            cases.append(load(source, overrides))
        except Refused as refused:
            found.extend(refused.problems)
    if found:
        raise Refused(found)
    return cases


def load(source: "Source", overrides: Overrides | None = None) -> Case:
    """Read one case; raises Refused with all that is wrong in it."""
    return _Loader(Document(source.path, source.data), overrides or Overrides()).case(source.name)


class _Loader:
    """Makes one Case of one document."""

    def __init__(self, doc: Document, overrides: Overrides) -> None:
        self.doc, self.overrides, self.fields = doc, overrides, Fields(doc)
        self.keys = self.fields.mapping(doc.root, "a case", KEYS)
        self.logits: FloatArray | None = None
        self.labels: Labels | None = None

    def case(self, name: str) -> Case:
        """Read all keys, then refuse everything that is wrong at once."""
        if (missing := [key for key in REQUIRED if key not in self.keys]) and isinstance(
            self.doc.root, Mapping
        ):
            keys = ("key " if len(missing) == 1 else "keys ") + " and ".join(missing)
            self.doc.refuse(self.doc.root, f"missing {keys}; a case needs title, logits and labels")
        title, source = self._text("title"), self._text("source")
        dtype = self._choice("dtype", DTYPES)
        chosen = self._choice("arithmetic", ARITHMETICS)
        reduction = self._choice("reduction", REDUCTIONS)
        changed = {name: getattr(self.overrides, name) for name in self.overrides.names}
        dtype = changed.get("dtype", dtype or "float32")
        chosen = changed.get("arithmetic", chosen or "numpy")
        accumulate = self._choice("accumulate", ACCUMULATES)
        self._works_in(chosen, dtype, accumulate)
        batch = self._batch(dtype)
        expectations = self._expectations(reduction)
        reduction = changed.get("reduction", reduction or "mean")
        if self.doc.problems or title is None or batch is None:
            raise Refused(
                sorted(self.doc.problems, key=lambda problem: (problem.line or 0, problem.column or 0))
            )
        return Case(
            name=printable(name),
            path=self.doc.path,
            title=title,
            source=source,
            dtype=dtype,
            arithmetic=chosen,
            accumulate=accumulate,
            reduction=reduction,
            batch=batch,
            expectations=expectations,
            overridden=self.overrides.names,
        )

    def _value(self, key: str) -> Node | None:
        return self.keys[key][1] if key in self.keys else None

    def _text(self, key: str) -> str | None:
        node = self._value(key)
        return None if node is None else self.fields.text(key, node)

    def _choice(self, key: str, known: Sequence[str]) -> str | None:
        node = self._value(key)
        return None if node is None else self.fields.choice(key, node, known)

    def _works_in(self, name: str, dtype: str, accumulate: str | None) -> None:
        try:
            formats.dtype(dtype)
        except XentError as error:  # no number can be read without it
            self.doc.refuse(self._value("dtype") or self.doc.root, str(error))
            raise Refused(self.doc.problems) from error
        try:
            arithmetic.get(name, dtype, accumulate)
        except XentError as error:
            self.doc.refuse(self._value("arithmetic") or self._value("dtype") or self.doc.root, str(error))

    def _batch(self, dtype: str) -> Batch | None:
        self.logits = self._matrix("logits", dtype)
        self.labels = self._labels(dtype)
        probabilities = self._matrix("probabilities", dtype)
        clip = self._clip()
        if self.logits is None or self.labels is None or clip is None:
            return None
        return Batch(self.logits, *self.labels, probabilities, clip)

    def _matrix(self, key: str, dtype: str) -> "FloatArray | None":
        """Read rows of numbers, of the shape of the logits where those are known."""
        node = self._value(key)
        table = None if node is None else self.fields.table(key, node)
        if node is None or table is None:
            return None
        if self.logits is not None and table.values.shape != self.logits.shape:
            shapes = f"{key} is {_shape(table.values.shape)}, but logits is {_shape(self.logits.shape)}"
            self.doc.refuse(node, shapes)
            return None
        if key == "labels" and not self._are_probabilities(table.values, table.nodes):
            return None
        return self.fields.stored(table, dtype)

    def _are_probabilities(self, values: "FloatArray", nodes: Sequence[Node]) -> bool:
        wrong = np.flatnonzero(~((values >= 0) & (values < np.inf))).tolist()
        for index in wrong:
            self.doc.refuse(nodes[index], "a label's probability is a finite number, not below 0")
        return not wrong

    def _labels(self, dtype: str) -> "Labels | None":
        node = self._value("labels")
        wanted = "labels is a list of class indices or of rows of probabilities, such as [3, 4]"
        items = None if node is None else self.fields.items(node, wanted)
        if node is None or items is None:
            return None
        if not items or isinstance(items[0], Scalar):
            return self._indices(node, items, dtype)
        rows = self._matrix("labels", dtype)
        return None if rows is None else (rows, _one_hot_indices(rows))

    def _indices(self, node: Node, items: list[Node], dtype: str) -> "Labels | None":
        rows, classes = (None, None) if self.logits is None else self.logits.shape
        fits = rows is None or len(items) == rows
        if not fits:
            self.doc.refuse(
                node, f"{count(len(items), 'label')} for {count(rows or 0, 'row')} of logits; give one a row"
            )
        indices = [index for item in items if (index := self.fields.index(item, classes)) is not None]
        if not fits or classes is None or len(indices) < len(items):
            return None
        picked = np.array(indices, np.int64)
        one_hot = np.zeros((len(picked), classes), formats.dtype(dtype))
        one_hot[np.arange(len(picked)), picked] = 1
        picked.flags.writeable = one_hot.flags.writeable = False
        return one_hot, picked

    def _clip(self) -> tuple[float, float] | None:
        node = self._value("clip")
        if node is None:
            return CLIP
        wanted = "clip is two bounds, such as [1e-36, 1.0]"
        items = self.fields.items(node, wanted)
        if items is not None and len(items) != len(CLIP):
            self.doc.refuse(node, f"{wanted}, not {count(len(items), 'number')}")
            items = None
        bounds = [bound for item in items or () if (bound := self._bound(item)) is not None]
        if len(bounds) < len(CLIP):
            return None
        low, high = bounds
        if low > high:
            low_text, high_text = (item.text for item in items or () if isinstance(item, Scalar))
            self.doc.refuse(node, f"the clip bounds are reversed; write [{high_text}, {low_text}]")
            return None
        return low, high

    def _bound(self, node: Node) -> float | None:
        bound = self.fields.number(node)
        if bound is not None and not 0 < bound < np.inf:
            self.doc.refuse(node, "a clip bound is a finite number above 0, such as 1e-36")
            return None
        return bound

    def _expectations(self, reduction: str | None) -> tuple[Expectation, ...]:
        node = self._value("expect")
        if node is None:
            return ()
        entries = self.fields.mapping(node, "expect", tuple(entry.name for entry in (*METHODS, *QUANTITIES)))
        read = []
        for name, (key, value) in entries.items():
            if (expectation := self._expectation(name, value)) is None:
                continue
            read.append(expectation)
            if problem := self._unmet(name):
                self.doc.refuse(key, problem)
            elif problem := self._misshapen(expectation, reduction):
                self.doc.refuse(value, problem)
        return tuple(read)

    def _unmet(self, quantity: str) -> str | None:
        """Say what the case lacks for this quantity."""
        soft = self.labels is not None and self.labels[1] is None
        if soft and any(method.name == quantity and not method.soft_labels for method in METHODS):
            return f"{quantity} takes one class an example, but the labels here are soft"
        alone = "probabilities" not in self.keys
        if alone and any(entry.name == quantity and entry.needs_probabilities for entry in QUANTITIES):
            return f"{quantity} compares with the key 'probabilities', which is missing"
        return None

    def _misshapen(self, expectation: Expectation, reduction: str | None) -> str | None:
        """Say which shape the expectation should have, where it has another."""
        if self.logits is None:
            return None
        sizes = dict(zip("NC", self.logits.shape, strict=True))
        losses = (sizes["N"],)
        axes = next((entry.shape for entry in QUANTITIES if entry.name == expectation.quantity), None)
        if axes is not None:
            allowed = [tuple(sizes[axis] for axis in axes)]
        else:
            allowed = [losses] if reduction == "none" else [(), losses]  # unreduced, there is no one loss
        if expectation.shape in allowed:
            return None
        wanted = " or ".join(map(_shape, allowed))
        return f"{expectation.quantity} is {wanted} here, not {_shape(expectation.shape)}"

    def _expectation(self, quantity: str, node: Node) -> Expectation | None:
        """Read a scalar, a list or a matrix of printed numbers."""
        if isinstance(node, document.Sequence) and any(
            isinstance(item, document.Sequence) for item in node.items
        ):
            table = self.fields.table(quantity, node)
            if table is None:
                return None
            nodes, shape = table.nodes, table.values.shape
        elif isinstance(node, document.Sequence):
            nodes, shape = tuple(node.items), (len(node.items),)
        else:
            nodes, shape = (node,), ()
        texts = [text for node in nodes if (text := self.fields.printed(node)) is not None]
        return Expectation(quantity, tuple(texts), shape) if len(texts) == len(nodes) else None


def _one_hot_indices(labels: "FloatArray") -> "IntArray | None":
    """Class indices (N,) where every row has one 1 and else 0; None where a row has not."""
    if not (((labels == 0) | (labels == 1)).all() and ((labels == 1).sum(axis=1) == 1).all()):
        return None
    indices = labels.argmax(axis=1)
    indices.flags.writeable = False
    return indices


def _shape(shape: tuple[int, ...]) -> str:
    """Name a shape: one number, a list of 3, 2×10."""
    if not shape:
        return "one number"
    return f"a list of {shape[0]}" if len(shape) == 1 else "×".join(map(str, shape))

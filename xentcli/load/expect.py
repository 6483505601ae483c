"""Nodes → expectations: the numbers that a source printed, and those that follow from the definition."""

from xentcli.load import document
from xentcli.load.batch import BatchReader, describe_shape
from xentcli.load.document import Node
from xentcli.load.fields import Entries, Fields
from xentcli.methods.table import METHODS, QUANTITIES
from xentcli.model import Expectation

_NAMES = tuple(entry.name for entry in (*METHODS, *QUANTITIES))


class ExpectationReader:
    """Reads ``expect`` and ``derived`` of one case, by what is known of its batch."""

    def __init__(self, fields: Fields, keys: Entries, batch: BatchReader, reduction: str | None) -> None:
        self.fields, self.keys, self.batch, self.reduction = fields, keys, batch, reduction

    def read(self) -> tuple[Expectation, ...]:
        """Read both; a quantity is expected once."""
        printed, derived = self._of("expect"), self._of("derived")
        for name in derived.keys() & printed.keys():
            self.fields.doc.refuse(derived[name][0], f"{name} stands under expect already")
        return tuple(expectation for _, expectation in (*printed.values(), *derived.values()))

    def _of(self, key: str) -> dict[str, tuple[Node, Expectation]]:
        if key not in self.keys:
            return {}
        read = {}
        for name, (place, value) in self.fields.mapping(self.keys[key][1], key, _NAMES).items():
            if (expectation := self._expectation(name, value, derived=key == "derived")) is None:
                continue
            read[name] = place, expectation
            if problem := self._unmet(name):
                self.fields.doc.refuse(place, problem)
            elif problem := self._misshapen(expectation):
                self.fields.doc.refuse(value, problem)
        return read

    def _unmet(self, quantity: str) -> str | None:
        """Say what the case lacks for this quantity."""
        method = next((method for method in METHODS if method.name == quantity), None)
        is_binary = method is not None and method.binary
        if self.batch.shape is not None and is_binary != self.batch.is_binary:
            takes = "one logit an example" if is_binary else "a logit for every class"
            given = "one an example" if self.batch.is_binary else "rows"
            return f"{quantity} takes {takes}, but the logits here are {given}"
        if method is not None and self.batch.is_soft and not method.binary and not method.soft_labels:
            return f"{quantity} takes one class an example, but the labels here are soft"
        alone = "probabilities" not in self.keys
        if alone and any(entry.name == quantity and entry.needs_probabilities for entry in QUANTITIES):
            return f"{quantity} compares with the key 'probabilities', which is missing"
        return None

    def _misshapen(self, expectation: Expectation) -> str | None:
        """Say which shape the expectation should have, where it has another."""
        if self.batch.shape is None:
            return None
        sizes = dict(zip("NC", (*self.batch.shape, 1), strict=False))
        losses = (sizes["N"],)
        axes = next((entry.shape for entry in QUANTITIES if entry.name == expectation.quantity), None)
        if axes is not None:
            allowed = [tuple(sizes[axis] for axis in axes)]
        else:
            allowed = (
                [losses] if self.reduction == "none" else [(), losses]
            )  # unreduced, there is no one loss
        if expectation.shape in allowed:
            return None
        wanted = " or ".join(map(describe_shape, allowed))
        return f"{expectation.quantity} is {wanted} here, not {describe_shape(expectation.shape)}"

    def _expectation(self, quantity: str, node: Node, *, derived: bool) -> Expectation | None:
        """Read a scalar, a list or a matrix of printed numbers."""
        if isinstance(node, document.Sequence) and any(
            isinstance(item, document.Sequence) for item in node.items
        ):
            table = self.fields.table(quantity, node)
            if table is None:
                return None
            nodes, size = table.nodes, table.values.shape
        elif isinstance(node, document.Sequence):
            nodes, size = tuple(node.items), (len(node.items),)
        else:
            nodes, size = (node,), ()
        texts = [text for node in nodes if (text := self.fields.printed(node)) is not None]
        return Expectation(quantity, tuple(texts), size, derived) if len(texts) == len(nodes) else None

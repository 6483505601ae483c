"""Expectations: the numbers that a source printed, and those that follow from the definition."""

from typing import Final

from xentcli.load.batch import Values, describe_shape
from xentcli.load.document import Node, Sequence
from xentcli.load.fields import Fields
from xentcli.methods.method import EXPECTS_ONE_CLASS, EXPECTS_ONE_LOGIT, EXPECTS_ROWS, Method, Quantity
from xentcli.methods.table import METHODS, QUANTITIES
from xentcli.model import Expectation

_ROWS: Final[dict[str, Method | Quantity]] = {row.name: row for row in (*METHODS, *QUANTITIES)}

# The name of a method or quantity → its node, its value's node, the numbers.
Expectations = dict[str, tuple[Node, Node, Expectation]]


def read_expectations(fields: Fields, key: str, node: Node) -> Expectations:
    """Read the printed numbers of each method and quantity."""
    entries = fields.mapping(node, key, tuple(_ROWS))
    return {
        name: (place, value, expectation)
        for name, (place, value) in entries.items()
        if (expectation := _read_numbers(fields, name, value, derived=key == "derived")) is not None
    }


def check_expectations(values: Values, key: str, expectations: Expectations) -> tuple[Expectation, ...]:
    """Refuse a quantity that the case lacks the inputs for, one of another shape, one expected twice."""
    for name, (place, node, expectation) in expectations.items():
        if key == "derived" and name in values["expect"]:
            values.fields.refuse(place, f"{name} is under expect already; remove one")
        if problem := _why_unsupported(values, _ROWS[name]):
            values.fields.refuse(place, problem)
        elif problem := _why_misshapen(values, expectation):
            values.fields.refuse(node, problem)
    return tuple(expectation for _, _, expectation in expectations.values())


def _read_numbers(fields: Fields, quantity: str, node: Node, *, derived: bool) -> Expectation | None:
    """Read a scalar, a list or a matrix of printed numbers."""
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
    """Say what the case lacks for a method or quantity."""
    is_binary = isinstance(row, Method) and row.binary
    if is_binary and not values.is_binary:
        return f"{row.name} {EXPECTS_ONE_LOGIT}, but the logits here are rows"
    if values.is_binary and not is_binary:
        return f"{row.name} {EXPECTS_ROWS}, but the logits here are one per example"
    if isinstance(row, Method) and not (is_binary or row.soft_labels) and values.are_soft_labels:
        return f"{row.name} {EXPECTS_ONE_CLASS}"
    if isinstance(row, Quantity) and row.needs_probabilities and "probabilities" not in values.entries:
        return f"{row.name} compares with the key 'probabilities', which is missing"
    return None


def _why_misshapen(values: Values, expectation: Expectation) -> str | None:
    """Say which shape the expectation should have, where it has another."""
    if values.shape is None:
        return None
    row = _ROWS[expectation.quantity]
    sizes = dict(zip("NC", values.shape, strict=False))
    losses = (sizes["N"],)
    if isinstance(row, Quantity):
        allowed = [tuple(sizes[axis] for axis in row.shape)]
    else:  # under reduction none there is no loss, only losses
        allowed = [losses] if values["reduction"] == "none" else [(), losses]
    if expectation.shape in allowed:
        return None
    shapes = " or ".join(map(describe_shape, allowed))
    return f"{expectation.quantity} is {shapes} here, not {describe_shape(expectation.shape)}"

"""Document → Case: a walk over the table of keys."""

from dataclasses import dataclass
from typing import Any

from xentcli import formats
from xentcli.errors import Refused, Unavailable, XentError, printable
from xentcli.load.batch import Values
from xentcli.load.build import build_batch
from xentcli.load.document import Document, Mapping
from xentcli.load.fields import Fields
from xentcli.load.keys import ABOUT, BATCH, KEY_NAMES, KEYS
from xentcli.methods import arithmetic
from xentcli.model import About, Case, Numerics
from xentcli.words import SEQUENTIAL


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


def read_case(doc: Document, name: str, overrides: Overrides) -> Case:
    """Return the case of a document; raises Refused with all that is wrong in it."""
    values = _read(Fields(doc), overrides)
    numerics = _numerics(values, overrides)
    checked = _check(values)
    if doc.problems:
        raise Refused(sorted(doc.problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    inputs = {key.name: checked[key.name] for key in BATCH if key.name != "bad_labels"}
    return Case(
        name=printable(name),
        path=doc.path,
        about=About(*(checked[key.name] for key in ABOUT)),
        numerics=numerics,
        reduction=overrides.reduction or checked["reduction"],
        batch=build_batch(dtype=numerics.dtype, wrap=checked["bad_labels"] == "wrap", **inputs),
        expectations=checked["expect"] + checked["derived"],
        overridden=overrides.names,
    )


def _read(fields: Fields, overrides: Overrides) -> Values:
    """Read every key by itself."""
    root = fields.doc.root
    entries = fields.mapping(root, "a case", KEY_NAMES)
    missing = [key.name for key in KEYS if key.required and key.name not in entries]
    if missing and isinstance(root, Mapping):
        keys = ("key " if len(missing) == 1 else "keys ") + " and ".join(missing)
        fields.refuse(root, f"missing {keys}; a case needs title, logits and labels")
    read = {
        key.name: key.kind.read(fields, key.name, entries[key.name][1]) for key in KEYS if key.name in entries
    }
    accepted = {name: value for name, value in read.items() if value is not None}
    by_key = {key.name: key.default for key in KEYS} | accepted
    return Values(fields, entries, by_key, frozenset(accepted), overrides.dtype or by_key["dtype"])


def _check(values: Values) -> dict[str, Any]:
    """Hold every key that was read against the others."""
    checked = dict(values.by_key)
    for key in KEYS:
        if key.rows_only and values.is_binary and key.name in values.entries:
            place, _ = values.entries[key.name]
            values.fields.refuse(place, f"{key.name} goes with rows of logits; here they are one per example")
        elif key.kind.check is not None and key.name in values.accepted:
            checked[key.name] = key.kind.check(values, key.name, values[key.name])
    return checked


def _numerics(values: Values, overrides: Overrides) -> Numerics:
    """Return the numerics; refused where they do not go together, or not here."""
    ways = values["accumulate"]
    carried = [way for way in ways if way != SEQUENTIAL]
    if len(carried) > 1:
        values.refuse("accumulate", f"sums are carried in one format, {' or '.join(carried)}, not in both")
    numerics = Numerics(
        values.dtype,
        overrides.arithmetic or values["arithmetic"],
        carried[0] if carried else None,
        SEQUENTIAL in ways,
        values["flush_subnormals"],
    )
    try:
        formats.dtype(numerics.dtype)
    except XentError as error:  # no number can be read without it
        values.refuse("dtype", str(error))
        raise Unavailable(values.fields.doc.problems) from error
    try:
        arithmetic.get(
            numerics.arithmetic, numerics.dtype, numerics.accumulate, sequential=numerics.sequential
        )
    except XentError as error:
        values.refuse("arithmetic" if "arithmetic" in values.entries else "dtype", str(error))
    if values.is_binary and not arithmetic.by_name(numerics.arithmetic).has_sigmoid:
        values.refuse("arithmetic", f"arithmetic {numerics.arithmetic} has no sigmoid; take arithmetic numpy")
    return numerics

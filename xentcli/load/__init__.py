"""Case files → cases. All problems of all files are raised together as ``Refused``, with line and column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xentcli import formats
from xentcli.errors import CaseError, Refused, Unavailable, XentError, printable
from xentcli.load.build import build_batch
from xentcli.load.checks import MOST_EXAMPLES, Values
from xentcli.load.document import Document, Mapping
from xentcli.load.fields import MOST_REPEATED, Fields, Room
from xentcli.load.keys import ABOUT, BATCH, KEY_NAMES, KEYS
from xentcli.methods import arithmetic
from xentcli.model import About, Case, Numerics
from xentcli.words import SEQUENTIAL

if TYPE_CHECKING:
    from xentcli.load.sources import Source

__all__ = ["KEYS", "KEY_NAMES", "Overrides", "load", "load_all"]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line sets in place of the case; None leaves the case's own."""

    dtype: str | None = None
    arithmetic: str | None = None
    reduction: str | None = None
    methods: str | None = None


def load_all(
    sources: Sequence["Source"], problems: Sequence[CaseError] = (), overrides: Overrides | None = None
) -> list[Case]:
    """Load every source; raises Refused with the problems of all of them and those passed in.

    A case of a folder that needs a library which is not installed is skipped.
    """
    cases: list[Case] = []
    all_problems, room = list(problems), _room()
    for source in sources:
        try:
            cases.append(load(source, overrides, room))
        except Refused as refused:
            if source.named or not isinstance(refused, Unavailable):
                all_problems.extend(refused.problems)
            continue
        # An example of two bytes or less is a repeated one.
        room.examples -= max(0, len(cases[-1].batch.logits) - len(source.data) // 2)
        if room.examples < 0:
            limit = f"more than {MOST_EXAMPLES} repeated examples"
            problem = f"with it the cases of this call have {limit}; name fewer cases at once"
            raise Refused([*all_problems, CaseError(source.path, problem)])
    if all_problems:
        raise Refused(all_problems)
    return cases


def _room() -> Room:
    return Room(MOST_REPEATED, MOST_EXAMPLES)


def load(source: "Source", overrides: Overrides | None = None, room: Room | None = None) -> Case:
    """Load one case; raises Refused with all its problems. ``room`` is what a call may still repeat."""
    overrides = overrides or Overrides()
    doc = Document(source.path, source.data)
    values = _read(Fields(doc, room or _room()), overrides)
    numerics = _numerics(values, overrides)
    for key in KEYS:
        if key.rows_only and values.is_binary and key.name in values.entries:
            place, _ = values.entries[key.name]
            values.fields.refuse(place, f"{key.name} goes with rows of logits; here they are one per example")
        elif key.kind.check is not None and values[key.name] is not None:
            key.kind.check(values, key.name, values[key.name])
    if doc.problems:
        raise Refused(sorted(doc.problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    inputs = {key.name: values.argument(key.name) for key in BATCH if key.name != "bad_labels"}
    return Case(
        name=printable(source.name),
        path=source.path,
        about=About(*(values[key.name] for key in ABOUT)),
        numerics=numerics,
        reduction=overrides.reduction or values["reduction"],
        batch=build_batch(dtype=numerics.dtype, wrap=values["bad_labels"] == "wrap", **inputs),
        expectations=tuple(expectation for _, _, expectation in values["expect"] + values["derived"]),
        overridden=tuple(name for name in Overrides.__slots__ if getattr(overrides, name) is not None),
    )


def _read(fields: Fields, overrides: Overrides) -> Values:
    """Read every key by itself."""
    root = fields.doc.root
    entries = fields.mapping(root, "a case", KEY_NAMES)
    missing = [key.name for key in KEYS if key.required and key.name not in entries]
    if missing and isinstance(root, Mapping):
        keys = ("key " if len(missing) == 1 else "keys ") + " and ".join(missing)
        fields.refuse(root, f"missing {keys}; a case needs logits and labels")
    by_key: dict[str, Any] = {}
    for key in KEYS:
        value = key.kind.read(fields, key.name, entries[key.name][1]) if key.name in entries else None
        by_key[key.name] = key.default if value is None else value
    return Values(fields, entries, by_key, overrides.dtype or by_key["dtype"])


def _numerics(values: Values, overrides: Overrides) -> Numerics:
    ways, name = values["accumulate"], overrides.arithmetic or values["arithmetic"]
    carried, sequential = [way for way in ways if way != SEQUENTIAL], SEQUENTIAL in ways
    if len(carried) > 1:
        values.refuse("accumulate", f"sums are carried in one format, {' or '.join(carried)}, not in both")
    accumulate = carried[0] if carried else None
    try:
        formats.dtype(values.dtype)
    except XentError as error:  # no number can be read without it
        values.refuse("dtype", str(error))
        raise Unavailable(values.fields.doc.problems) from error
    try:
        arithmetic.get(name, values.dtype, accumulate, sequential=sequential)
    except XentError as error:
        asked = overrides.dtype is not None and overrides.arithmetic is None
        way = f"--dtype {overrides.dtype} goes with --arithmetic numpy here: " if asked else ""
        values.refuse("arithmetic" if "arithmetic" in values.entries else "dtype", f"{way}{error}")
    if values.is_binary and not arithmetic.by_name(name).has_sigmoid:
        values.refuse("arithmetic", f"arithmetic {name} has no sigmoid; take arithmetic numpy")
    return Numerics(values.dtype, name, accumulate, sequential, values["flush_subnormals"])

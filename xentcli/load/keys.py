"""The keys of a case file, one row per key.

The loader walks over this table to read a case, and ``xent new`` writes its template from it. ``make golden``
writes the JSON Schema and the table of keys in ``cases`` from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from xentcli.load import checks
from xentcli.load.build import BINARY_CLIP, CLIP, TILE
from xentcli.load.document import Node
from xentcli.load.fields import Fields
from xentcli.methods.steps import NAMES as STEP_NAMES
from xentcli.methods.steps import STEPS
from xentcli.model import AffectedVersions, LibraryOutput, Reference
from xentcli.words import (
    ACCUMULATES,
    ALONG,
    ARITHMETICS,
    BAD_LABELS,
    DTYPES,
    REDUCTIONS,
    SEQUENTIAL,
    SMOOTHINGS,
    Z_LOSS,
)

Schema = Mapping[str, Any]
Check = Callable[[checks.Values, str, Any], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read (None: it was refused), its JSON Schema, how it is held against the other keys."""

    read: Callable[[Fields, str, Node], Any]
    schema: Schema
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a case file; its ``summary`` is Markdown.

    ``default`` is the value where the key is absent, ``without`` what documents say of that where the default
    does not say it. ``rows_only``: the key goes with rows of logits, not with a binary case.
    """

    name: str
    kind: Kind
    example: str
    summary: str
    default: Any = None
    without: str = "none"
    required: bool = False
    rows_only: bool = False


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or(words: tuple[str, ...]) -> str:
    """Write words as Markdown: `a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _one_of(*words: str, check: Check | None = None) -> Kind:
    return Kind(partial(Fields.choice, words=words), {"enum": words}, check)


def _some_of(*words: str) -> Kind:
    one = {"enum": words}
    several = {"type": "array", "items": one, "minItems": 1}
    return Kind(partial(Fields.choices, words=words), {"anyOf": [one, several]})


def _records(record: type, schema: Schema) -> Kind:
    return Kind(partial(Fields.records, record=record), schema)


_SIZE = {"type": "integer", "minimum": 1}
_BOUND = {"type": "number", "exclusiveMinimum": 0}
_CLIPS = f"`{list(CLIP)}`; in a binary case `{list(BINARY_CLIP)}`"

LINE = Kind(Fields.text, _ref("line"))
BOOLEAN = Kind(Fields.boolean, {"type": "boolean"})
COUNT = Kind(partial(Fields.integer, least=1), {"type": "integer", "minimum": 1})
SHARE = Kind(Fields.fraction, {"type": "number", "minimum": 0, "maximum": 1})
ARITHMETIC = _one_of(*ARITHMETICS)
SOURCES = _records(Reference, {"anyOf": [_ref("line"), {"type": "array", "items": _ref("source")}]})
AFFECTS = _records(AffectedVersions, {"type": "array", "items": _ref("affected")})
OUTPUTS = _records(LibraryOutput, {"type": "array", "items": _ref("output")})
ARRAY = Kind(Fields.array, {"anyOf": [_ref("matrix"), _ref("vector")]}, checks.Values.fits)
LABELS = Kind(checks.read_labels, {"anyOf": [_ref("vector"), _ref("label_rows")]}, checks.check_labels)
BAD_LABEL = _one_of(*BAD_LABELS, check=checks.check_bad_labels)
WEIGHTS = Kind(Fields.vector, _ref("weights"), checks.check_class_weights)
IGNORED = Kind(Fields.integer, {"type": "integer"}, checks.check_ignore_index)
BOUNDS = Kind(checks.read_clip, {"type": "array", "minItems": 2, "maxItems": 2, "items": _BOUND})
_SIZES = {"anyOf": [_SIZE, {"type": "array", "minItems": 1, "items": _SIZE}]}
_DIVISION = {
    "type": "object",
    "properties": {"along": {"enum": ALONG}, "sizes": _SIZES},
    "required": ["sizes"],
    "additionalProperties": False,
}
POSITIVE = Kind(checks.read_positive, _BOUND, checks.check_knob)
NOT_NEGATIVE = Kind(checks.read_not_negative, {"type": "number", "minimum": 0}, checks.check_knob)
CAP = Kind(checks.read_positive, _BOUND, checks.check_softcap)
ORDER = Kind(
    partial(Fields.choices, words=STEP_NAMES),
    {"anyOf": [{"enum": STEP_NAMES}, {"type": "array", "items": {"enum": STEP_NAMES}, "minItems": 1}]},
)
PADDING = Kind(partial(Fields.integer, least=1), _SIZE, checks.check_padding)
PARTS = Kind(checks.read_parts, {"anyOf": [*_SIZES["anyOf"], _DIVISION]}, checks.check_parts)
EXPECTATIONS = Kind(checks.read_expectations, _ref("expectations"), checks.check_expectations)

ABOUT: Final = (
    Key("title", LINE, "A wrong and confident answer loses 30", "what the case shows", "", without="none"),
    Key("source", SOURCES, "https://…", "where the numbers come from: an address, or a list", ()),
    Key(
        "affects", AFFECTS, "[{library: torch, versions: all, state: open}]", "library versions that fail", ()
    ),
    Key(
        "prints",
        OUTPUTS,
        '[{library: torch, version: 2.13.0, call: "F.cross_entropy(x, y)", text: tensor(nan)}]',
        "what a library printed, and the call that printed it",
        (),
    ),
)
NUMERICS: Final = (
    Key("dtype", _one_of(*DTYPES), "float32", f"the format of every number: {_or(DTYPES)}", "float32"),
    Key("arithmetic", ARITHMETIC, "numpy", f"how exp, log, sums are computed: {_or(ARITHMETICS)}", "numpy"),
    Key(
        "accumulate",
        _some_of(*ACCUMULATES, SEQUENTIAL),
        "float32",
        f"the format of sums: {_or(ACCUMULATES)}; `{SEQUENTIAL}` adds term after term",
        (),
        without="the dtype, in NumPy's pairs",
        rows_only=True,
    ),
    Key("flush_subnormals", BOOLEAN, "true", "whether subnormal numbers are 0", default=False),
)
BATCH: Final = (
    Key("logits", ARRAY, "[[0, 30], [2, 1]]", "a row per example, a number per class", required=True),
    Key("labels", LABELS, "[0, 0]", "a class per example, from 0; or rows of probabilities", required=True),
    Key(
        "bad_labels",
        BAD_LABEL,
        "nan",
        "what an invalid label counts for: `nan` or `wrap`; `as_is` in a binary case",
        without="an invalid label is refused",
    ),
    Key("probabilities", ARRAY, "[[1, 0], [0.7, 0.3]]", "used as the softmax by naive, clipped and guarded"),
    Key("class_weights", WEIGHTS, "[1, 1]", "a weight per class", without="1", rows_only=True),
    Key("label_smoothing", SHARE, "0.1", "the share of a label that is spread", 0.0, rows_only=True),
    Key(
        "smoothing_over",
        _one_of(*SMOOTHINGS),
        "others",
        f"what it is spread over: all {_or(SMOOTHINGS)}, but the label's own",
        SMOOTHINGS[0],
        rows_only=True,
    ),
    Key("ignore_index", IGNORED, "-100", "the label of examples that do not count", rows_only=True),
    Key("clip", BOUNDS, "[1e-7, 1.0]", "the bounds of clipped and bce_clipped", without=_CLIPS),
    Key("tile", COUNT, "4", "how many classes online reads at a time", TILE, rows_only=True),
    *(
        Key(step.name, CAP if step.needs_tanh else POSITIVE, step.example, step.summary, rows_only=True)
        for step in STEPS
    ),
    Key(
        "order",
        ORDER,
        "[softcap, scale]",
        f"the order of these: {_or(STEP_NAMES)}",
        (),
        without="that of this table",
        rows_only=True,
    ),
    Key(Z_LOSS, NOT_NEGATIVE, "1e-4", "the share of (log Σ exp x)² that is added", 0.0, rows_only=True),
    Key("padding", PADDING, "1", "how many of the last logits are no classes", 0, rows_only=True),
    Key(
        "parts",
        PARTS,
        "{along: examples, sizes: 2}",
        f"the batch in parts, a number or sizes: along {_or(ALONG)}",
        rows_only=True,
    ),
)
RESULTS: Final = (
    Key("reduction", _one_of(*REDUCTIONS), "mean", f"how losses become a loss: {_or(REDUCTIONS)}", "mean"),
    Key("expect", EXPECTATIONS, "{dense: [30.0, 0.3133]}", "what the source printed, with its digits", ()),
    Key("derived", EXPECTATIONS, "{log1p: 15.15663}", "what follows from the definition instead", ()),
)
GROUPS: Final = (ABOUT, NUMERICS, BATCH, RESULTS)
KEYS: Final = tuple(key for group in GROUPS for key in group)
KEY_NAMES: Final = tuple(key.name for key in KEYS)

"""The keys of a case file, one row per key.

The loader walks over this table to read a case, and ``xent new`` writes its template from it. ``make golden``
writes the JSON Schema and the table of keys in ``cases`` from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from xentcli.load import batch
from xentcli.load.about import read_records, read_sources
from xentcli.load.build import BINARY_CLIP, CLIP, TILE
from xentcli.load.document import Node
from xentcli.load.expect import check_expectations, read_expectations
from xentcli.load.fields import Fields
from xentcli.model import AffectedVersions, LibraryOutput
from xentcli.words import ACCUMULATES, ARITHMETICS, BAD_LABELS, DTYPES, REDUCTIONS, SEQUENTIAL

Schema = Mapping[str, Any]
Check = Callable[[batch.Values, str, Any], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read from its node, its JSON Schema, and how it is held against the other keys.

    ``read`` and ``check`` return None where they refused the value.
    """

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
    """Refer to a definition of the JSON Schema."""
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


def _records(record: type, name: str) -> Kind:
    return Kind(partial(read_records, record=record), {"type": "array", "items": _ref(name)})


_BOUND = {"type": "number", "exclusiveMinimum": 0}
_SOURCES = {"type": "array", "items": _ref("source")}
_CLIPS = f"`{list(CLIP)}`; in a binary case `{list(BINARY_CLIP)}`"

LINE = Kind(Fields.text, _ref("line"))
BOOLEAN = Kind(Fields.boolean, {"type": "boolean"})
COUNT = Kind(partial(Fields.integer, least=1), {"type": "integer", "minimum": 1})
SHARE = Kind(Fields.fraction, {"type": "number", "minimum": 0, "maximum": 1})
ARITHMETIC = _one_of(*ARITHMETICS)
SOURCES = Kind(read_sources, {"anyOf": [_ref("line"), _SOURCES]})
AFFECTED = _records(AffectedVersions, "affected")
OUTPUTS = _records(LibraryOutput, "output")
ARRAY = Kind(Fields.array, {"anyOf": [_ref("matrix"), _ref("vector")]}, batch.check_array)
LABELS = Kind(batch.read_labels, {"anyOf": [_ref("vector"), _ref("label_rows")]}, batch.check_labels)
BAD_LABEL = _one_of(*BAD_LABELS, check=batch.check_bad_labels)
WEIGHTS = Kind(Fields.vector, _ref("weights"), batch.check_class_weights)
IGNORED = Kind(Fields.integer, {"type": "integer"}, batch.check_ignore_index)
BOUNDS = Kind(batch.read_clip, {"type": "array", "minItems": 2, "maxItems": 2, "items": _BOUND})
EXPECTATIONS = Kind(read_expectations, _ref("expectations"), check_expectations)

ABOUT: Final = (
    Key("title", LINE, "A wrong and confident answer loses 30", "what the case shows", required=True),
    Key("source", SOURCES, "https://…", "where the numbers come from: an address, or a list", ()),
    Key(
        "affects",
        AFFECTED,
        "[{library: torch, versions: all, state: open}]",
        "which versions of which libraries fail this way",
        (),
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
    Key(
        "arithmetic", ARITHMETIC, "numpy", f"how exp, log and sums are computed: {_or(ARITHMETICS)}", "numpy"
    ),
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
    Key(
        "probabilities",
        ARRAY,
        "[[1, 0], [0.7, 0.3]]",
        "what naive, clipped and guarded read instead of the softmax",
    ),
    Key("class_weights", WEIGHTS, "[1, 1]", "a weight per class", without="1", rows_only=True),
    Key("label_smoothing", SHARE, "0.1", "the share of a label spread over all classes", 0.0, rows_only=True),
    Key("ignore_index", IGNORED, "-100", "the label of examples that do not count", rows_only=True),
    Key("clip", BOUNDS, "[1e-7, 1.0]", "the bounds of clipped and bce_clipped", without=_CLIPS),
    Key("tile", COUNT, "4", "how many classes online reads at a time", TILE, rows_only=True),
)
RESULTS: Final = (
    Key("reduction", _one_of(*REDUCTIONS), "mean", f"how losses become a loss: {_or(REDUCTIONS)}", "mean"),
    Key("expect", EXPECTATIONS, "{dense: [30.0, 0.3133]}", "what the source printed, with its digits", ()),
    Key("derived", EXPECTATIONS, "{log1p: 15.15663}", "what follows from the definition instead", ()),
)
GROUPS: Final = (ABOUT, NUMERICS, BATCH, RESULTS)
KEYS: Final = tuple(key for group in GROUPS for key in group)
KEY_NAMES: Final = tuple(key.name for key in KEYS)

"""Nodes → Case: which keys there are, and how they must fit together."""

from collections.abc import Sequence
from dataclasses import dataclass

from xentcli import formats
from xentcli.errors import Refused, Unavailable, XentError, printable
from xentcli.load.about import read_about
from xentcli.load.batch import BatchReader
from xentcli.load.document import Document, Mapping, Node
from xentcli.load.expect import ExpectationReader
from xentcli.load.fields import Fields
from xentcli.methods import arithmetic
from xentcli.model import Case, Numerics
from xentcli.words import ACCUMULATES, ARITHMETICS, DTYPES, REDUCTIONS, SEQUENTIAL

KEYS = (
    "title",
    "source",
    "affects",
    "prints",
    "dtype",
    "arithmetic",
    "accumulate",
    "flush_subnormals",
    "logits",
    "labels",
    "bad_labels",
    "probabilities",
    "class_weights",
    "label_smoothing",
    "ignore_index",
    "clip",
    "tile",
    "reduction",
    "expect",
    "derived",
)
REQUIRED = ("title", "logits", "labels")


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


class Loader:
    """Makes one Case of one document."""

    def __init__(self, doc: Document, overrides: Overrides) -> None:
        self.doc, self.overrides, self.fields = doc, overrides, Fields(doc)
        self.keys = self.fields.mapping(doc.root, "a case", KEYS)

    def case(self, name: str) -> Case:
        """Read all keys, then refuse everything that is wrong at once."""
        if (missing := [key for key in REQUIRED if key not in self.keys]) and isinstance(
            self.doc.root, Mapping
        ):
            keys = ("key " if len(missing) == 1 else "keys ") + " and ".join(missing)
            self.doc.refuse(self.doc.root, f"missing {keys}; a case needs title, logits and labels")
        about = read_about(self.fields, self.keys)
        numerics = self._numerics()
        self._works(numerics)
        reduction = self._choice("reduction", REDUCTIONS)
        reader = BatchReader(self.fields, self.keys, numerics.dtype)
        batch = reader.read()
        if reader.is_binary and not arithmetic.by_name(numerics.arithmetic).has_sigmoid:
            place = self._value("arithmetic") or self.doc.root
            self.doc.refuse(place, f"arithmetic {numerics.arithmetic} has no sigmoid; take arithmetic numpy")
        expectations = ExpectationReader(self.fields, self.keys, reader, reduction).read()
        if self.doc.problems or about is None or batch is None:
            raise Refused(
                sorted(self.doc.problems, key=lambda problem: (problem.line or 0, problem.column or 0))
            )
        return Case(
            name=printable(name),
            path=self.doc.path,
            about=about,
            numerics=numerics,
            reduction=self.overrides.reduction or reduction or "mean",
            batch=batch,
            expectations=expectations,
            overridden=self.overrides.names,
        )

    def _value(self, key: str) -> Node | None:
        return self.keys[key][1] if key in self.keys else None

    def _choice(self, key: str, known: Sequence[str]) -> str | None:
        node = self._value(key)
        return None if node is None else self.fields.choice(key, node, known)

    def _numerics(self) -> Numerics:
        dtype, chosen = self._choice("dtype", DTYPES), self._choice("arithmetic", ARITHMETICS)
        accumulate, flush = self._value("accumulate"), self._value("flush_subnormals")
        known = (*ACCUMULATES, SEQUENTIAL)
        words = () if accumulate is None else self.fields.choices("accumulate", accumulate, known)
        if len(carried := [word for word in words if word != SEQUENTIAL]) > 1 and accumulate is not None:
            self.doc.refuse(
                accumulate, f"sums are carried in one format, {' or '.join(carried)}, not in both"
            )
        return Numerics(
            self.overrides.dtype or dtype or "float32",
            self.overrides.arithmetic or chosen or "numpy",
            carried[0] if carried else None,
            SEQUENTIAL in words,
            flush is not None and self.fields.boolean("flush_subnormals", flush),
        )

    def _works(self, how: Numerics) -> None:
        """Refuse numerics that do not go together, or not here."""
        try:
            formats.dtype(how.dtype)
        except XentError as error:  # no number can be read without it
            self.doc.refuse(self._value("dtype") or self.doc.root, str(error))
            raise Unavailable(self.doc.problems) from error
        try:
            arithmetic.get(how.arithmetic, how.dtype, how.accumulate, sequential=how.sequential)
        except XentError as error:
            self.doc.refuse(self._value("arithmetic") or self._value("dtype") or self.doc.root, str(error))

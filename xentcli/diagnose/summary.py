"""A part of a dump in a few numbers, and two such parts in one: how a dump of any size is gone through.

``merge`` is exact, associative and commutative: whole numbers are counted, extremes have a total order (by
value, then by row), means are exact sums rounded at the end, and quantiles and samples depend on the
rows alone. So parts may be evaluated by any number of threads or machines, and merged as they come.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from xentcli.diagnose.columns import columns_of
from xentcli.diagnose.distribution import NO_NUMBERS, Distribution, distribution_of, exact_sum
from xentcli.diagnose.evaluated import is_wrong, visible
from xentcli.diagnose.labels import NO_LABELS, Labels, labels_of
from xentcli.diagnose.profile import NO_PROFILE, Profile, gaps_of, profile_of
from xentcli.diagnose.recorded import NOTHING, Shared, shared_by
from xentcli.diagnose.rules import RowRule, Severity
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.diagnose.dumps import Shard
    from xentcli.diagnose.loss import Loss
    from xentcli.formats import BoolArray, FloatArray, IntArray

LEADING: Final = 3  # rows that a sentence names
STATES: Final = ("nan", "infinite", "off")  # how a loss goes wrong
SAMPLED: Final = 64  # rows whose loss is evaluated in long double
_OF_OTHER_FORMATS: Final = {"rounded-logits", "low-precision-sum"}  # never why a loss in this one is wrong


class Asked(Protocol):
    """A question asked of each row of a dump; the summaries that answer it have ``rows`` and ``merge``."""

    @property
    def ignore_index(self) -> int:
        """The label of rows that are ignored."""

    @property
    def in_order(self) -> bool:
        """Whether parts have to be summed up in their order."""

    def nothing(self) -> Any:  # noqa: ANN401 - a summary of its kind
        """Return the summary of no rows."""

    def summarise(self, shard: "Shard", rows: slice) -> Any:  # noqa: ANN401 - as above
        """Read rows start to stop of a shard, and sum them up."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked of each row: rules, and how a loss goes wrong in it, if one is given.

    ``most`` is how many of the worst rows are to be shown. Where ``profiled``, the number of rows of the
    dump, is not 0, gaps and where findings lie are asked for too.
    """

    rules: tuple[RowRule, ...]
    ignore_index: int
    most: int
    loss: "Loss | None" = None
    profiled: int = 0

    @property
    def kept(self) -> int:
        """How many rows are kept for each rule, and for each way to go wrong."""
        return max(self.most, LEADING)

    @property
    def in_order(self) -> bool:
        """Whether the loss may remember its calls."""
        return self.loss is not None and not (self.loss.is_method or self.loss.is_recorded)

    def nothing(self) -> "Summary":
        """Return the summary of no rows."""
        return Summary(self.kept)

    def summarise(self, shard: "Shard", rows: slice) -> "Summary":
        """Read rows start to stop of a shard, and sum them up."""
        return summarise(shard, rows, self)


class Row(NamedTuple):
    """A row of a dump, and what is known of it; the smallest tuple is the worst row.

    ``loss`` is the true one; ``response`` is what the loss in question gives, and ``state`` how that goes
    wrong: a number of ``STATES`` from 1, 0 where it does not, -1 where the loss was not asked.
    """

    order: float
    row: int
    bits: int
    loss: float
    response: float
    state: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows something befalls, and the worst of them, in order."""

    number: int = 0
    worst: tuple[Row, ...] = ()

    def merge(self, other: "Tally", most: int) -> "Tally":
        """Return the tally of the rows of both, with so many of the worst."""
        return Tally(self.number + other.number, _worst(self.worst, other.worst, most))


@dataclass(frozen=True, slots=True)
class Responses:
    """What the loss in question gives: the rows of each of ``STATES``, the finite values' sum, the extremes.

    ``zeros`` is the number of rows where it is 0 and the true loss is not, and ``shared`` what lies between a
    recorded loss and the true one in all rows.
    """

    states: Mapping[str, Tally] = field(default_factory=dict)
    total: int = 0
    smallest: float = math.inf
    largest: float = -math.inf
    zeros: int = 0
    shared: Shared = NOTHING

    def merge(self, other: "Responses", most: int) -> "Responses":
        """Return the responses of the rows of both."""
        return Responses(
            _merged(self.states, other.states, most),
            self.total + other.total,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            self.zeros + other.zeros,
            self.shared.merge(other.shared),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """Rows of a dump in a few numbers.

    ``smallest`` and ``largest`` are those of all finite logits, inf and -inf where there are none. ``total``
    is the sum of ``losses``, the finite ones of rows that are not ignored. Sums are in units of 2^-1126.
    ``rules`` has the rows of each rule by its name, or, where a loss is in question, those that explain it;
    ``harmed`` those that a rule does harm to, and ``severities`` how many rows suffer each harm. ``sample``
    has rows drawn by chance, ``kept`` is as in ``Question``, and ``profile`` is empty unless asked for.
    """

    kept: int
    rows: int = 0
    ignored: int = 0
    smallest: float = math.inf
    largest: float = -math.inf
    losses: Distribution = NO_NUMBERS
    total: int = 0
    midrange: Distribution = NO_NUMBERS
    range: Distribution = NO_NUMBERS
    rules: Mapping[str, Tally] = field(default_factory=dict)
    harmed: Mapping[str, Tally] = field(default_factory=dict)
    severities: Mapping[Severity, int] = field(default_factory=dict)
    labels: Labels = NO_LABELS
    responses: Responses = Responses()
    sample: tuple[Row, ...] = ()
    profile: Profile = NO_PROFILE

    def merge(self, other: "Summary") -> "Summary":
        """Return the summary of the rows of both."""
        return merge(self, other)


def summarise(shard: "Shard", rows: slice, question: Question) -> Summary:
    """Read rows start to stop of a shard, and sum them up.

    Raises ReadError where the file has changed, XentError where the loss in question cannot be called.
    """
    logits, labels = shard.logits[rows], None if shard.labels is None else shard.labels[rows]
    first = shard.first + rows.indices(len(shard.logits))[0]
    with np.errstate(all="ignore"):
        return _Part(shard, first, question, logits, labels).summary()


def merge(one: Summary, other: Summary) -> Summary:
    """Return the summary of the rows of both, which have no row in common."""
    most = one.kept
    return Summary(
        most,
        one.rows + other.rows,
        one.ignored + other.ignored,
        min(one.smallest, other.smallest),
        max(one.largest, other.largest),
        one.losses.merge(other.losses),
        one.total + other.total,
        one.midrange.merge(other.midrange),
        one.range.merge(other.range),
        _merged(one.rules, other.rules, most),
        _merged(one.harmed, other.harmed, most),
        {
            severity: one.severities.get(severity, 0) + other.severities.get(severity, 0)
            for severity in Severity
            if severity in one.severities or severity in other.severities
        },
        one.labels.merge(other.labels),
        one.responses.merge(other.responses, most),
        _worst(one.sample, other.sample, SAMPLED),
        one.profile.merge(other.profile),
    )


def _merged(one: Mapping[str, Tally], other: Mapping[str, Tally], most: int) -> dict[str, Tally]:
    nobody = Tally()
    names = dict.fromkeys((*one, *other))
    return {name: one.get(name, nobody).merge(other.get(name, nobody), most) for name in names}


def _worst(one: tuple[Row, ...], other: tuple[Row, ...], most: int) -> tuple[Row, ...]:
    return one or other if not (one and other) else tuple(sorted(one + other)[:most])


class _Part:
    """Rows that were read together: which of them are the worst, and what a loss makes of them."""

    def __init__(
        self,
        shard: "Shard",
        first: int,
        question: Question,
        logits: "FloatArray",
        labels: "NDArray[Any] | None",
    ) -> None:
        self.shard, self.first, self.question, self.rows = shard, first, question, (logits, labels)
        self.columns = columns_of(logits, labels, question.rules, question.ignore_index, shard.kind)
        loss = self.columns.loss
        self.order: FloatArray = np.where(np.isfinite(loss), -loss, 0)  # the largest loss first
        self.response: FloatArray = np.full(len(loss), np.nan)
        self.state = np.full(len(loss), -1)
        self.responses, self.labels = Responses(), NO_LABELS
        self.explained: dict[str, IntArray] = {}
        if labels is not None and question.loss is not None:
            self.responses = self._ask(question.loss, logits, labels)
        if labels is not None and shard.kind == "indices":
            invalid = labels[self.columns.invalid(question.rules)]
            self.labels = labels_of(labels, invalid, logits.shape[1], question.ignore_index)

    def summary(self) -> Summary:
        """Sum them up."""
        columns = self.columns
        counted = np.where(columns.ignored, np.nan, columns.loss)
        sampled = np.flatnonzero(np.isfinite(counted))
        return Summary(
            self.question.kept,
            len(counted),
            int(columns.ignored.sum()),
            float(np.fmin.reduce(columns.low, initial=np.inf)) + 0.0,  # -0 is 0
            float(np.fmax.reduce(columns.high, initial=-np.inf)) + 0.0,
            distribution_of(counted),
            exact_sum(counted[sampled]),
            distribution_of(columns.midrange),
            distribution_of(columns.range),
            *self._of_rules(),
            self.labels,
            self.responses,
            self._worst(sampled, self._chance(), SAMPLED),
            self._profile(),
        )

    def _profile(self) -> Profile:
        """Return the gaps of rows and where those of each rule lie, if that is asked for."""
        if not self.question.profiled:
            return NO_PROFILE
        gaps = gaps_of(*self.rows, self.columns.ignored, self.shard.kind)
        return profile_of(gaps, self.explained, self.first, len(self.order), self.question.profiled)

    def _ask(self, loss: "Loss", logits: "FloatArray", labels: "NDArray[Any]") -> Responses:
        """Have a loss respond to the rows whose labels it can take, and sum up what it says."""
        asked = ~self.columns.invalid(self.question.rules)
        if not loss.takes_ignored:
            asked &= ~self.columns.ignored
        if loss.is_recorded:
            start = self.first - self.shard.first
            own = self.shard.losses[start : start + len(logits)]
            given = own[asked].astype(np.float64)
        else:
            given = loss.values(logits[asked], labels[asked], self.columns.ignored[asked])
        self.response[asked] = given
        is_off = is_wrong(self.response, self.columns.loss, self.shard.format)
        kinds = [~asked, np.isnan(self.response), np.isinf(self.response), is_off]
        self.state = np.select(kinds, [-1, 1, 2, 3], 0)
        error = -np.abs(self.response - self.columns.loss)
        orders = (np.zeros(len(asked)), np.zeros(len(asked)), error)
        return Responses(
            {
                state: self._tally(np.flatnonzero(self.state == at), order)
                for at, (state, order) in enumerate(zip(STATES, orders, strict=True), 1)
            },
            exact_sum(given[np.isfinite(given)]),
            float(np.fmin.reduce(given, initial=np.inf)),
            float(np.fmax.reduce(given, initial=-np.inf)),
            int(((self.response == 0) & (self.columns.loss > 0)).sum()),
            self._shared(logits, labels) if loss.is_recorded else NOTHING,
        )

    def _shared(self, logits: "FloatArray", labels: "NDArray[Any]") -> Shared:
        """Return what recorded losses have in common with the true ones in the rows that count."""
        count = (self.state >= 0) & ~self.columns.ignored
        dtypes = (self.shard.format, str(self.shard.losses.dtype.newbyteorder("=")))
        classes = labels[count] if self.shard.kind == "indices" else None
        eps = max(FORMATS[dtype].eps for dtype in dtypes)
        return shared_by(logits[count], classes, self.columns.loss[count], self.response[count], eps)

    def _tally(self, rows: "IntArray", order: "FloatArray") -> Tally:
        """Count some rows, and name the worst by an order (N,)."""
        return Tally(len(rows), self._worst(rows, order, self.question.kept))

    def _worst(self, rows: "IntArray", order: "FloatArray", most: int) -> tuple[Row, ...]:
        """Return the worst of some rows by an order (N,), of equal ones the first."""
        keys = order[rows]
        if len(rows) > most:
            rows = rows[keys <= np.partition(keys, most - 1)[most - 1]]
        rows = rows[np.argsort(order[rows], kind="stable")][:most]
        numbers = (self.columns.bits, self.columns.loss, self.response, self.state)
        fields = (order[rows], self.first + rows, *(each[rows] for each in numbers))
        return tuple(map(Row, *(each.tolist() for each in fields)))

    def _chance(self) -> "FloatArray":
        """Return a number per row (N,), drawn by its place in the dump alone: the same in any part.

        Source: splitmix64 of S. Vigna, https://prng.di.unimi.it/splitmix64.c, whose state is the place.
        """
        places = self.first + np.arange(1, len(self.order) + 1)
        z = places.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).astype(np.float64)

    def _of_rules(self) -> "tuple[dict[str, Tally], dict[str, Tally], dict[Severity, int]]":
        """Return the rows of each rule, those that it does harm to, and how many suffer each harm."""
        rules, harmed = dict[str, Tally](), dict[str, Tally]()
        suffering: dict[Severity, BoolArray] = {}
        some = int(np.bitwise_or.reduce(self.columns.bits))
        for at, rule in enumerate(self.question.rules):
            if not some >> at & 1:
                continue
            rows = np.flatnonzero(self.columns.applies(at))
            if len(explaining := self._explaining(rule, rows)):
                rules[rule.name], self.explained[rule.name] = self._tally(explaining, self.order), explaining
            if len(suffer := self._harmed(rule, rows)):
                harmed[rule.name] = self._tally(suffer, self.order)
                suffering.setdefault(rule.severity, np.zeros(len(self.order), bool))[suffer] = True
        return rules, harmed, {severity: int(rows.sum()) for severity, rows in suffering.items()}

    def _explaining(self, rule: RowRule, rows: "IntArray") -> "IntArray":
        """Return the rows in which a rule says why the loss in question goes wrong, all if there is none."""
        if self.question.loss is None or rule.severity is Severity.BROKEN:
            return rows
        return rows[:0] if rule.finding in _OF_OTHER_FORMATS else rows[self.state[rows] > 0]

    def _harmed(self, rule: RowRule, rows: "IntArray") -> "IntArray":
        """Return the rows that a rule does harm to: where a method is off, those that show it.

        A loss that collapses is off by itself, one that cancels by the rounding of the logits.
        """
        if rule.severity is Severity.NOTE:
            return rows[:0]
        if rule.severity is Severity.OFF and self.shard.kind == "indices":
            columns, dtype = self.columns, self.shard.format
            size = np.abs(columns.midrange[rows]) + columns.range[rows] / 2
            error = columns.loss[rows] if rule.finding == "tail-collapse" else FORMATS[dtype].eps * size
            rows = rows[error > visible(dtype)]
        return rows

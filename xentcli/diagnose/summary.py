"""A survey in a few numbers: quantiles, how many rows each rule applies to, the worst rows."""

from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from xentcli import formats
from xentcli.bulk import losses
from xentcli.diagnose.evaluated import visible
from xentcli.diagnose.rules import CASE_CLIP, RowRule, Severity
from xentcli.diagnose.survey import Survey
from xentcli.diagnose.tried import Tried, try_methods
from xentcli.formats import FORMATS
from xentcli.judge.findings import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xentcli.diagnose.response import Response
    from xentcli.formats import FloatArray, IntArray

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
LEADING: Final = 3  # rows that a sentence names
_SAMPLE: Final = 64  # rows whose loss is evaluated in long double
_OF_OTHER_FORMATS: Final = {"rounded-logits", "low-precision-sum"}  # never why a loss in this one is wrong
_LABELS: Final = 2**20  # labels counted at a time: 8 MiB, however long the dump
_RANKS: Final = tuple(Severity)
_FEWEST: Final = 8  # rows of random logits that lie from 0 to 1 by chance once in 2^16
_LOOKED_AT: Final = 4096  # rows
_SUM_OF_ROUNDED: Final = 2.0**-7  # what probabilities rounded to bfloat16 and then summed may be off
_PROBABILITIES: Final = RowRule(
    "other-probabilities",
    "other-probabilities",
    "the logits look like probabilities",
    lambda f: f.ignored,
    severity=Severity.OFF,
)
_ALL_IGNORED: Final = RowRule(
    "empty-mean",
    "empty-mean",
    "every label is ignored: the mean is 0 / 0",
    lambda f: f.ignored,
    severity=Severity.BROKEN,
)
_FREQUENT_IGNORED: Final = RowRule(
    "ignored-class-is-frequent",
    "ignored-class-is-frequent",
    "the most frequent label is a class, and is ignored",
    lambda f: f.ignored,
    severity=Severity.OFF,
)


@dataclass(frozen=True, slots=True)
class Losses:
    """Of rows with a finite loss: how many, the mean, the quantiles of ``QUANTILES``.

    ``ulps`` is the largest error of ``xentcli.bulk.losses`` in a seeded sample of ``sampled`` rows.
    """

    number: int
    mean: float
    quantiles: tuple[float, ...]
    ulps: Decimal | None
    sampled: int


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row to look at, number ``row`` of its file and ``row_in_dump`` of all, and the rules that apply.

    ``label`` and ``loss`` are None where there is none or it is unknown. ``lowest`` and ``highest`` are the
    classes of the smallest and largest logit, or of the first nan; ``response`` is what the loss in question
    gives, and ``tried`` what xent's methods do.
    """

    path: str
    row: int
    row_in_dump: int
    label: float | None
    label_sum: float | None
    loss: float | None
    min: float
    max: float
    lowest: int
    highest: int
    rules: tuple[RowRule, ...]
    response: float | None
    is_ignored: bool
    tried: tuple[Tried, ...]

    @property
    def is_invalid(self) -> bool:
        """Whether it has no loss, whatever the method."""
        return any(rule.is_invalid for rule in self.rules)

    @property
    def findings(self) -> tuple[str, ...]:
        """The names of its findings, each once."""
        return tuple(dict.fromkeys(rule.finding for rule in self.rules))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A dump in a few numbers; ``offset`` and ``spread`` are the medians of midrange and range.

    ``rules`` are those that apply, with the number of their rows, the worst first, and ``rows`` the worst;
    ``leading`` has the first rows of each severity, or of each way in which a loss goes wrong, too.
    ``severities`` has what each does in this dump, and ``harmed`` how many rows that befalls. ``response`` is
    that of the loss in question, and its rules are those of the rows where it goes wrong.
    """

    survey: Survey
    dtype: str
    total: int
    classes: int
    offset: float
    spread: float
    losses: Losses | None
    rules: dict[RowRule, int]
    rows: tuple[WorstRow, ...]
    leading: tuple[WorstRow, ...]
    severities: dict[RowRule, Severity]
    harmed: dict[Severity, int]
    response: "Response | None"

    @property
    def harmful_rows(self) -> tuple[WorstRow, ...]:
        """The worst rows less those that have notes only."""
        return tuple(
            row for row in self.rows if self.is_failing(row) or self._severity(row) is not Severity.NOTE
        )

    def is_failing(self, row: WorstRow) -> bool:
        """Whether the loss in question goes wrong in a row."""
        return self.response is not None and bool((self.response.failing == row.row_in_dump).any())

    def _severity(self, row: WorstRow) -> Severity:
        found = (self.severities[rule] for rule in row.rules if rule in self.severities)
        if self.response is not None:  # what other methods make of it is not asked
            found = (severity for severity in found if severity is Severity.BROKEN)
        return min(found, key=_RANKS.index, default=Severity.NOTE)


def summarise(survey: Survey, most: int = 10, response: "Response | None" = None) -> Diagnosis:
    """Sum up a survey, and what a loss makes of it; show the worst rows, at most so many."""
    first = survey.shards[0].logits
    affected = {rule: rows for rule in survey.rules if len(rows := survey.affected(rule))}
    harmed = {rule: worst for rule, rows in affected.items() if len(worst := _harmed(survey, rule, rows))}
    severities = {rule: rule.severity if rule in harmed else Severity.NOTE for rule in affected}
    if response is not None:
        affected = _explaining(affected, response)
    ranked = sorted(affected, key=lambda rule: _RANKS.index(severities[rule]))
    of_rank = {rank: [harmed[rule] for rule in harmed if rule.severity is rank] for rank in _RANKS[:-1]}
    turns = list(of_rank.values())
    if response is not None:
        turns = [[response.nan], [response.infinite], [response.off], of_rank[Severity.BROKEN]]
    turns.append([_worst_first(survey, affected[rule]) for rule in ranked])
    orders = [list(dict.fromkeys(_by_turns(rows, max(most, LEADING)))) for rows in turns]
    numbers = list(dict.fromkeys(row for order in orders for row in order))
    leading = {row for order in orders for row in order[:LEADING]}.union(numbers[:most])
    named = tuple(_worst_row(survey, row, response) for row in numbers if row in leading)
    shown = set(numbers[:most])
    dump_wide = _count_dump_rules(survey)
    found = {rule: len(affected[rule]) for rule in ranked}
    if response is not None:
        found = _explained(found, response, named)
    else:
        names = {rule: _renamed(rule, affected[rule], named) for rule in ranked}
        found = {names[rule]: number for rule, number in found.items()}
        severities = {names[rule]: severity for rule, severity in severities.items()}
        named = tuple(replace(row, rules=tuple(names[rule] for rule in row.rules)) for row in named)
    severities = {rule: rule.severity for rule in found} | severities
    return Diagnosis(
        survey,
        survey.dtype,
        sum(len(shard.logits) for shard in survey.shards),
        first.shape[1],
        _median(survey.columns.midrange),
        _median(survey.columns.range),
        _losses(survey),
        dump_wide | found,
        tuple(row for row in named if row.row_in_dump in shown),
        named,
        severities | {rule: rule.severity for rule in dump_wide},
        {rank: len(np.unique(np.concatenate(rows))) for rank, rows in of_rank.items() if rows},
        response,
    )


def _harmed(survey: Survey, rule: RowRule, rows: "IntArray") -> "IntArray":
    """Return the rows that a rule does harm to, the worst first: where a method is off, those that show it.

    A loss that collapses is off by itself, one that cancels by the rounding of the logits.
    """
    columns = survey.columns
    if rule.severity is Severity.NOTE:
        return rows[:0]
    if rule.severity is Severity.OFF and survey.kind == "indices":
        size = np.abs(columns.midrange[rows]) + columns.range[rows] / 2
        error = columns.loss[rows] if rule.finding == "tail-collapse" else FORMATS[survey.dtype].eps * size
        rows = rows[error > visible(survey.dtype)]
    return _worst_first(survey, rows)


def _explaining(affected: "dict[RowRule, IntArray]", response: "Response") -> "dict[RowRule, IntArray]":
    """Return the rules that explain where a loss goes wrong, with the rows where it does."""
    found = {
        rule: rows if rule.severity is Severity.BROKEN else np.intersect1d(rows, response.failing)
        for rule, rows in affected.items()
    }
    return {rule: rows for rule, rows in found.items() if len(rows) and rule.finding not in _OF_OTHER_FORMATS}


def _explained(
    found: dict[RowRule, int], response: "Response", named: "Sequence[WorstRow]"
) -> dict[RowRule, int]:
    """Return the rules of broken rows, and of what makes the loss go wrong in the rows that are named."""
    broken = {rule: rows for rule, rows in found.items() if rule.severity is Severity.BROKEN}
    causes: dict[str, str] = {}
    for row in (row for row in named if row.row_in_dump in response.failing and not row.is_invalid):
        for finding in response.causes_of(row.row_in_dump, row.tried):
            causes.setdefault(finding, response.state(row.row_in_dump))
    explained = {}
    for finding, state in causes.items():
        known = [rule for rule in found if rule.finding == finding and response.name in rule.methods]
        rule, rows = _rule_of(finding, response.name, state), len(getattr(response, state))
        explained.update({known[0]: found[known[0]]} if known else {rule: rows})
    return broken | {rule: rows for rule, rows in explained.items() if rule not in broken}


def _rule_of(finding: str, name: str, state: str) -> RowRule:
    """Return the rule of a finding in a loss of which no rule says it."""
    words = next(each.short for each in FINDINGS if each.name == finding)
    severity = Severity.OFF if state == "off" else Severity.NAN
    return RowRule(
        finding, f"{name} {finding}", words, lambda f: f.ignored, severity=severity, methods=(name,)
    )


def _renamed(rule: RowRule, rows: "IntArray", named: "Sequence[WorstRow]") -> RowRule:
    """Return the rule of methods with the finding that is why they fail in the worst row that is named."""
    mine = [row for row in named if rule.methods and row.row_in_dump in rows]
    states = {"off"} if rule.severity is Severity.OFF else {"nan", "infinite", "off"}
    causes = [
        each.finding
        for row in mine
        for each in row.tried
        if each.method in rule.methods and each.state in states and each.finding
    ]
    return replace(rule, finding=causes[0]) if causes else rule


def _by_turns(rows: "Iterable[IntArray]", most: int) -> "Iterator[int]":
    """Yield the first row of each rule, then the second."""
    ranks = zip_longest(*(numbers[:most].tolist() for numbers in rows))
    return (row for rank in ranks for row in rank if row is not None)


def _count_dump_rules(survey: Survey) -> dict[RowRule, int]:
    """Return the findings of the dump as a whole: none of its labels counts, or those of a class do not."""
    ignored, index = survey.columns.ignored, survey.ignore_index
    if ignored and ignored == survey.rows:
        return {_ALL_IGNORED: ignored}
    if _are_probabilities(survey):
        return {_PROBABILITIES: survey.rows}
    classes = survey.shards[0].logits.shape[1]
    if not ignored or not 0 <= index < classes:
        return {}
    counts = np.zeros(classes, np.int64)
    for labels in (shard.labels for shard in survey.shards if shard.labels is not None):
        for start in range(0, len(labels), _LABELS):
            block = np.asarray(labels[start : start + _LABELS])
            valid = block[(block >= 0) & (block < classes)].astype(np.int64)
            counts += np.bincount(valid, minlength=classes)
    return {_FREQUENT_IGNORED: ignored} if counts[index] == counts.max() else {}


def _are_probabilities(survey: Survey) -> bool:
    """Whether all logits lie from 0 to 1, and those of each row that is looked at sum to 1."""
    if survey.rows < _FEWEST or not 0 <= survey.columns.min <= survey.columns.max <= 1:
        return False
    x = np.asarray(survey.shards[0].logits[:_LOOKED_AT]).astype(np.float64)
    sums = 1.0 if survey.kind == "binary" else x.sum(axis=1)
    return bool((np.isfinite(x).all(axis=1) & (np.abs(sums - 1) <= _SUM_OF_ROUNDED)).all())


def row_of(survey: Survey, row: int) -> "tuple[FloatArray, FloatArray | float | None]":
    """Return a row's logits (C,) and its label: a number, or probabilities (C,)."""
    shard, number = survey.place(row)
    logits = np.asarray(shard.logits[number])
    if shard.labels is None or shard.kind == "rows":
        return logits, None if shard.labels is None else np.asarray(shard.labels[number])
    return logits, shard.labels[number].item()


def _worst_first(survey: Survey, rows: "IntArray") -> "IntArray":
    """Order rows by their loss, the largest finite one first; where there is none, they stay in order."""
    loss = survey.columns.loss[rows]
    return rows[np.argsort(np.where(np.isfinite(loss), -loss, 0), kind="stable")]


def _worst_row(survey: Survey, row: int, response: "Response | None") -> WorstRow:
    (logits, label), (shard, number) = row_of(survey, row), survey.place(row)
    wide = logits.astype(np.float64)
    lowest, highest = int(wide.argmin()), int(wide.argmax())
    return WorstRow(
        shard.path,
        number,
        row,
        None if isinstance(label, np.ndarray) else label,
        float(label.astype(np.float64).sum()) if isinstance(label, np.ndarray) else None,
        float(survey.columns.loss[row]) if survey.labelled else None,
        float(wide[lowest]),
        float(wide[highest]),
        lowest,
        highest,
        survey.rules_of(row),
        None if response is None or not response.asked[row] else float(response.values[row]),
        survey.kind == "indices" and label == survey.ignore_index,
        () if label is None else _tried(survey, row, logits, label),
    )


def _tried(survey: Survey, row: int, logits: "FloatArray", label: "FloatArray | float") -> tuple[Tried, ...]:
    clip = next((rule.clip for rule in survey.rules if rule.name == CASE_CLIP), None)
    ignored = survey.ignore_index if survey.kind == "indices" else None
    loss = float(survey.columns.loss[row])
    return try_methods(logits, label, loss, ignored, clip, binary=survey.kind == "binary")


def _median(values: "FloatArray") -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _losses(survey: Survey) -> Losses | None:
    """Sum up the finite losses of rows that are not ignored; None where there are none."""
    if not survey.labelled:
        return None
    counted = np.flatnonzero(np.isfinite(survey.columns.loss) & ~survey.ignored())
    if not len(counted):
        return None
    loss = survey.columns.loss[counted]
    quantiles = tuple(np.quantile(loss, QUANTILES).tolist())
    if survey.kind != "indices":  # evaluated in float64 to begin with
        return Losses(len(counted), float(loss.mean()), quantiles, None, 0)
    random = np.random.default_rng(0)
    sample = counted if len(counted) <= _SAMPLE else np.sort(random.choice(counted, _SAMPLE, replace=False))
    errors = [error for row in sample.tolist() if (error := _error(survey, row)) is not None]
    return Losses(len(counted), float(loss.mean()), quantiles, max(errors, default=None), len(sample))


def _error(survey: Survey, row: int) -> Decimal | None:
    """Return the error of a loss in ulps, against its definition in long double."""
    logits, label = row_of(survey, row)
    x, label = logits.astype(np.longdouble), cast("int", label)
    with np.errstate(all="ignore"):
        below = x - x[label]
        below[label] = -np.inf
        shift = max(below.max(initial=-np.inf), 0)
        tail = np.exp(below - shift).sum()
        true = np.log(tail + np.exp(-shift)) + shift if shift else np.log1p(tail)
    loss = losses(logits[None], np.array([label]))
    return formats.ulps(float(loss[0]), Decimal(str(true)), formats.FORMATS[str(loss.dtype)])

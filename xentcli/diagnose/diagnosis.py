"""What is said of a survey: how many rows each finding has, the worst rows and why, quantiles."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from xentcli import formats
from xentcli.bulk import losses
from xentcli.diagnose.distribution import exact_mean
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.files.stored import ReadError
from xentcli.diagnose.response import Response, response_of
from xentcli.diagnose.rules import CASE_CLIP, RowRule, Severity
from xentcli.diagnose.steps import OutOfStep, out_of_step
from xentcli.diagnose.summary import LEADING, STATES, Row, Tally
from xentcli.diagnose.survey import Survey
from xentcli.diagnose.tried import Tried, try_methods
from xentcli.judge.findings import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xentcli.diagnose.saved import SavedStep
    from xentcli.formats import FloatArray

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
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
_OUT_OF_STEP: Final = RowRule(
    "labels-out-of-step",
    "labels-out-of-step",
    "the labels fit the logits of another position",
    lambda f: f.ignored,
    severity=Severity.OFF,
)


@dataclass(frozen=True, slots=True)
class Losses:
    """Of rows with a finite loss: how many, the mean, the quantiles of ``QUANTILES``.

    The mean is rounded once. Quantiles that ``are_counted`` are right to ``COUNTED_ERROR`` of themselves.
    ``ulps`` is the largest error of ``xentcli.bulk.losses`` in a seeded sample of ``sampled`` rows.
    """

    number: int
    mean: float
    quantiles: tuple[float, ...]
    are_counted: bool
    ulps: Decimal | None
    sampled: int


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row to look at, number ``row`` of its file and ``row_in_dump`` of all, and the rules that apply.

    ``label`` and ``loss`` are None where there is none or it is unknown. ``lowest`` and ``highest`` are the
    classes of the smallest and largest logit, or of the first nan; ``response`` is what the loss in question
    gives, None where it was not asked, ``state`` how that goes wrong, and ``tried`` what xent's methods do.
    """

    shard: Shard
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
    state: str | None
    is_ignored: bool
    tried: tuple[Tried, ...]

    @property
    def path(self) -> str:
        """The file that it is in."""
        return self.shard.path

    @property
    def number(self) -> int:
        """Its number in the step of which it was saved, else in its file."""
        return self.shard.number_of(self.row)

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
    that of the loss in question, and its rules are those of the rows where it goes wrong. ``out_of_step`` is
    how labels fit another position, None where they do not.
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
    response: Response | None
    out_of_step: OutOfStep | None = None

    @property
    def saved(self) -> "SavedStep | None":
        """The step of which the only file holds rows, if ``xentcli.watch`` saved it."""
        return self.survey.shards[0].saved if len(self.survey.shards) == 1 else None

    @property
    def steps(self) -> "list[SavedStep]":
        """The steps of which files hold rows, as of several ranks."""
        return [shard.saved for shard in self.survey.shards if shard.saved is not None]

    @property
    def harmful_rows(self) -> tuple[WorstRow, ...]:
        """The worst rows less those that have notes only."""
        return tuple(row for row in self.rows if row.state or self._severity(row) is not Severity.NOTE)

    def _severity(self, row: WorstRow) -> Severity:
        found = (self.severities[rule] for rule in row.rules if rule in self.severities)
        if self.response is not None:  # what other methods make of it is not asked
            found = (severity for severity in found if severity is Severity.BROKEN)
        return min(found, key=_RANKS.index, default=Severity.NOTE)


@np.errstate(all="ignore")  # a signalling nan warns wherever it is cast
def diagnosis_of(survey: Survey) -> Diagnosis:
    """Say what a survey found.

    Some rows are read again. Those that cannot be are left out: ``survey.stopped`` of the diagnosis says why.
    """
    try:
        return _diagnosis_of(survey)
    except ReadError as error:
        if survey.stopped is not None:
            raise
        return _diagnosis_of(replace(survey, stopped=error))


def _diagnosis_of(survey: Survey) -> Diagnosis:
    summary, response = survey.summary, response_of(survey)
    rules = {rule: summary.rules[rule.name] for rule in survey.rules if rule.name in summary.rules}
    harmed = {rule: summary.harmed[rule.name] for rule in survey.rules if rule.name in summary.harmed}
    severities = {rule: rule.severity if rule in harmed else Severity.NOTE for rule in rules}
    ranked = sorted(rules, key=lambda rule: _RANKS.index(severities[rule]))
    of_rank = {rank: [harmed[rule] for rule in harmed if rule.severity is rank] for rank in _RANKS[:-1]}
    turns = list(of_rank.values())
    if response is not None:
        turns = [[summary.responses.states[state]] for state in STATES if state in summary.responses.states]
        turns.append(of_rank[Severity.BROKEN])
    turns.append([rules[rule] for rule in ranked])
    named, shown = _worst_rows(survey, turns)
    found = {rule: rules[rule].number for rule in ranked}
    if response is not None:
        found = _explained(found, response, named)
    else:
        names = {rule: _renamed(rule, named) for rule in ranked}
        found = {names[rule]: number for rule, number in found.items()}
        severities = {names[rule]: severity for rule, severity in severities.items()}
        named = [replace(row, rules=tuple(names[rule] for rule in row.rules)) for row in named]
    severities = {rule: rule.severity for rule in found} | severities
    step = None if survey.stopped else out_of_step(survey.shards[0], survey.ignore_index)
    dump_wide = _dump_rules(survey) | ({} if step is None else {_OUT_OF_STEP: survey.rows})
    first = survey.shards[0].logits
    return Diagnosis(
        survey,
        survey.dtype,
        survey.total,
        first.shape[1],
        summary.midrange.quantiles((0.5,))[0],
        summary.range.quantiles((0.5,))[0],
        _losses(survey),
        dump_wide | found,
        tuple(row for row in named if row.row_in_dump in shown),
        tuple(named),
        severities | {rule: rule.severity for rule in dump_wide},
        dict(summary.severities),
        response,
        step,
    )


def _worst_rows(survey: Survey, turns: "list[list[Tally]]") -> "tuple[list[WorstRow], set[int]]":
    """Return the rows to name, the worst first, and the numbers of those to show.

    To name are the first of each list of tallies, to show the first of all. Rows are read again; of a file
    that cannot be read any longer there are none.
    """
    most = survey.question.most
    orders = [list(_by_turns(tallies, max(most, LEADING))) for tallies in turns]
    rows = {row.row: row for order in orders for row in order}
    shown = set(list(rows)[:most])
    leading = {row.row for order in orders for row in order[:LEADING]} | shown
    named = []
    for number, row in rows.items():
        if number in leading:
            with suppress(ReadError) if survey.stopped else nullcontext():
                named.append(_worst_row(survey, row))
    return named, shown


def _explained(
    found: dict[RowRule, int], response: Response, named: "Sequence[WorstRow]"
) -> dict[RowRule, int]:
    """Return the rules of broken rows, and of what makes the loss go wrong in the rows that are named."""
    broken = {rule: rows for rule, rows in found.items() if rule.severity is Severity.BROKEN}
    causes: dict[str, str] = {}
    for row in named:
        if row.state and row.response is not None and not row.is_invalid:
            for finding in response.causes_of(row.response, row.state, row.tried):
                causes.setdefault(finding, row.state)
    explained: dict[RowRule, int] = {}
    for finding, state in causes.items():
        known = [rule for rule in found if rule.finding == finding and response.name in rule.methods]
        rule, rows = _rule_of(finding, response.name, state), getattr(response, state)
        explained.update({known[0]: found[known[0]]} if known else {rule: rows})
    return broken | {rule: rows for rule, rows in explained.items() if rule not in broken}


def _rule_of(finding: str, name: str, state: str) -> RowRule:
    """Return the rule of a finding in a loss of which no rule says it."""
    words = next(each.short for each in FINDINGS if each.name == finding)
    severity = Severity.OFF if state == "off" else Severity.NAN
    return RowRule(
        finding, f"{name} {finding}", words, lambda f: f.ignored, severity=severity, methods=(name,)
    )


def _renamed(rule: RowRule, named: "Sequence[WorstRow]") -> RowRule:
    """Return the rule of methods with the finding that is why they fail in the worst row that is named."""
    states = {"off"} if rule.severity is Severity.OFF else {"nan", "infinite", "off"}
    causes = [
        each.finding
        for row in named
        if rule.methods and rule in row.rules
        for each in row.tried
        if each.method in rule.methods and each.state in states and each.finding
    ]
    return replace(rule, finding=causes[0]) if causes else rule


def _by_turns(tallies: "Iterable[Tally]", most: int) -> "Iterator[Row]":
    """Yield the first row of each rule, then the second; none twice."""
    seen = set()
    for rank in zip_longest(*(tally.worst[:most] for tally in tallies)):
        for row in rank:
            if row is not None and row.row not in seen:
                seen.add(row.row)
                yield row


def _dump_rules(survey: Survey) -> dict[RowRule, int]:
    """Return the findings of the dump as a whole: none of its labels counts, or those of a class do not."""
    ignored, counts = survey.summary.ignored, survey.summary.labels.counts
    if ignored and ignored == survey.rows:
        return {_ALL_IGNORED: ignored}
    if _are_probabilities(survey):
        return {_PROBABILITIES: survey.rows}
    is_frequent = ignored and counts is not None and counts[survey.ignore_index] == counts.max()
    return {_FREQUENT_IGNORED: ignored} if is_frequent else {}


def _are_probabilities(survey: Survey) -> bool:
    """Whether all logits lie from 0 to 1, and those of each row that is looked at sum to 1."""
    if survey.rows < _FEWEST or not 0 <= survey.summary.smallest <= survey.summary.largest <= 1:
        return False
    if survey.stopped is not None:
        return False
    x = survey.shards[0].logits[:_LOOKED_AT].astype(np.float64)
    sums = 1.0 if survey.kind == "binary" else x.sum(axis=1)
    return bool((np.isfinite(x).all(axis=1) & (np.abs(sums - 1) <= _SUM_OF_ROUNDED)).all())


def row_of(shard: Shard, row: int) -> "tuple[FloatArray, FloatArray | float | None]":
    """Return a row's logits (C,) and its label: a number, or probabilities (C,)."""
    rows = slice(row, row + 1)
    label = None if shard.labels is None else shard.labels[rows][0]
    return shard.logits[rows][0], label if shard.kind == "rows" or label is None else label.item()


def _worst_row(survey: Survey, row: Row) -> WorstRow:
    shard, number = survey.place(row.row)
    logits, label = row_of(shard, number)
    wide = logits.astype(np.float64)
    lowest, highest = int(wide.argmin()), int(wide.argmax())
    return WorstRow(
        shard,
        number,
        row.row,
        None if isinstance(label, np.ndarray) else label,
        float(label.astype(np.float64).sum()) if isinstance(label, np.ndarray) else None,
        row.loss if survey.labelled else None,
        float(wide[lowest]),
        float(wide[highest]),
        lowest,
        highest,
        tuple(rule for bit, rule in enumerate(survey.rules) if row.bits >> bit & 1),
        None if row.state < 0 else row.response,
        STATES[row.state - 1] if row.state > 0 else None,
        survey.kind == "indices" and label == survey.ignore_index,
        () if label is None or not np.isfinite(label).all() else _tried(survey, row.loss, logits, label),
    )


def _tried(
    survey: Survey, loss: float, logits: "FloatArray", label: "FloatArray | float"
) -> tuple[Tried, ...]:
    clip = next((rule.clip for rule in survey.rules if rule.name == CASE_CLIP), None)
    ignored = survey.ignore_index if survey.kind == "indices" else None
    return try_methods(logits, label, loss, ignored, clip, binary=survey.kind == "binary")


def _losses(survey: Survey) -> Losses | None:
    """Sum up the finite losses of rows that are not ignored; None where there are none."""
    losses = survey.summary.losses
    if not survey.labelled or not losses.number:
        return None
    mean, quantiles = exact_mean(survey.summary.total, losses.number), losses.quantiles(QUANTILES)
    sample = survey.summary.sample
    if survey.kind != "indices" or survey.stopped is not None:  # of soft labels, evaluated in float64 anyway
        return Losses(losses.number, mean, quantiles, losses.is_counted, None, 0)
    errors = [error for row in sample if (error := _error(*row_of(*survey.place(row.row)))) is not None]
    return Losses(losses.number, mean, quantiles, losses.is_counted, max(errors, default=None), len(sample))


def _error(logits: "FloatArray", label: "FloatArray | float | None") -> Decimal | None:
    """Return the error of a loss in ulps, against its definition in long double."""
    x, label = logits.astype(np.longdouble), cast("int", label)
    with np.errstate(all="ignore"):
        below = x - x[label]
        below[label] = -np.inf
        shift = max(below.max(initial=-np.inf), 0)
        tail = np.exp(below - shift).sum()
        true = np.log(tail + np.exp(-shift)) + shift if shift else np.log1p(tail)
    loss = losses(logits[None], np.array([label]), backend="numpy")  # as the survey's are
    return formats.ulps(float(loss[0]), Decimal(str(true)), formats.FORMATS[str(loss.dtype)])

"""A survey in a few numbers: quantiles, how many rows each rule applies to, the worst rows."""

from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli import formats
from xentcli.bulk import losses
from xentcli.diagnose.rules import RowRule
from xentcli.diagnose.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.formats import BoolArray, FloatArray, IntArray

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SAMPLE: Final = 64  # rows whose loss is evaluated in long double
_WORST: Final = 10


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
class RuleCount:
    """A rule, and how many rows it applies to."""

    rule: RowRule
    rows: int


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row to look at, number ``row`` of its file and ``row_in_dump`` of all, and the rules that apply."""

    path: str
    row: int
    row_in_dump: int
    label: int | None
    loss: float
    min: float
    max: float
    rules: tuple[RowRule, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """The names of its findings, each once."""
        return tuple(dict.fromkeys(rule.finding for rule in self.rules))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A dump in a few numbers; ``offset`` and ``spread`` are the medians of midrange and range."""

    survey: Survey
    dtype: str
    total: int
    classes: int
    offset: float
    spread: float
    losses: Losses | None
    rules: tuple[RuleCount, ...]
    rows: tuple[WorstRow, ...]

    @property
    def is_invalid(self) -> bool:
        """Whether some row has no loss, whatever the method."""
        return any(each.rule.is_invalid for each in self.rules)


def summarise(survey: Survey, most: int = _WORST) -> Diagnosis:
    """Sum up a survey; of the rows that rules apply to, show the worst, at most so many."""
    first = survey.shards[0].logits
    affected = {rule: survey.affected(rule) for rule in survey.rules}
    affected = {rule: rows for rule, rows in affected.items() if len(rows)}
    return Diagnosis(
        survey,
        str(first.dtype.newbyteorder("=")),
        sum(len(shard.logits) for shard in survey.shards),
        first.shape[1],
        _median(survey.columns.midrange),
        _median(survey.columns.range),
        _losses(survey),
        tuple(RuleCount(rule, len(rows)) for rule, rows in affected.items()),
        tuple(_worst_row(survey, row) for row in worst_rows(survey, list(affected.values()), most)),
    )


def worst_rows(survey: Survey, affected: "Sequence[IntArray]", most: int) -> list[int]:
    """Choose rows: the worst that each rule applies to, then the second worst, each row once."""
    ranked = [rows[_worst_first(survey, rows)][:most].tolist() for rows in affected]
    by_rank = (row for rank in zip_longest(*ranked) for row in rank if row is not None)
    return list(dict.fromkeys(by_rank))[:most]


def row_of(survey: Survey, row: int) -> "tuple[FloatArray, int | None]":
    """Return a row's logits (C,) and its label."""
    shard, number = survey.place(row)
    return np.asarray(shard.logits[number]), None if shard.labels is None else int(shard.labels[number])


def _worst_first(survey: Survey, rows: "IntArray") -> "IntArray":
    """Order rows: those with the largest finite loss first, in their order where there is none."""
    loss = survey.columns.loss[rows]
    return np.argsort(np.where(np.isfinite(loss), -loss, 0), kind="stable")


def _worst_row(survey: Survey, row: int) -> WorstRow:
    logits, label = row_of(survey, row)
    shard, number = survey.place(row)
    x, loss = logits.astype(np.float64), float(survey.columns.loss[row])
    return WorstRow(
        shard.path, number, row, label, loss, float(x.min()), float(x.max()), survey.rules_of(row)
    )


def _median(values: "FloatArray") -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _losses(survey: Survey) -> Losses | None:
    """Sum up the finite losses of rows that are not ignored; None where there are none."""
    counted = np.flatnonzero(np.isfinite(survey.columns.loss) & ~_is_ignored(survey))
    if not survey.labelled or not len(counted):
        return None
    loss = survey.columns.loss[counted]
    quantiles = tuple(np.quantile(loss, QUANTILES).tolist())
    random = np.random.default_rng(0)
    sample = counted if len(counted) <= _SAMPLE else np.sort(random.choice(counted, _SAMPLE, replace=False))
    errors = [error for row in sample.tolist() if (error := _error(survey, row)) is not None]
    return Losses(len(counted), float(loss.mean()), quantiles, max(errors, default=None), len(sample))


def _is_ignored(survey: Survey) -> "BoolArray":
    labels = [shard.labels for shard in survey.shards]
    if not survey.labelled:
        return np.zeros(survey.rows, bool)
    return np.concatenate([np.asarray(each) == survey.ignore_index for each in labels])[: survey.rows]


def _error(survey: Survey, row: int) -> Decimal | None:
    """Return the error of a loss in ulps, against its definition in long double."""
    logits, label = row_of(survey, row)
    x = logits.astype(np.longdouble)
    with np.errstate(all="ignore"):
        below = x - x[label]
        below[label] = -np.inf
        shift = max(below.max(initial=-np.inf), 0)
        tail = np.exp(below - shift).sum()
        true = np.log(tail + np.exp(-shift)) + shift if shift else np.log1p(tail)
    (loss,) = losses(logits[None], np.array([label])).astype(np.float64).tolist()
    dtype = str(logits.dtype.newbyteorder("="))
    return formats.ulps(loss, Decimal(str(true)), formats.FORMATS[dtype])

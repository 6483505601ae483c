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
    from collections.abc import Iterable

    from xentcli.formats import FloatArray, IntArray

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SAMPLE: Final = 64  # rows whose loss is evaluated in long double


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
    """A dump in a few numbers; ``offset`` and ``spread`` are the medians of midrange and range.

    ``rules`` are those that apply, with the number of their rows, and ``rows`` the worst.
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


def summarise(survey: Survey, most: int = 10) -> Diagnosis:
    """Sum up a survey; of the rows that rules apply to, show the worst, at most so many."""
    first = survey.shards[0].logits
    affected = {rule: rows for rule in survey.rules if len(rows := survey.affected(rule))}
    return Diagnosis(
        survey,
        str(first.dtype.newbyteorder("=")),
        sum(len(shard.logits) for shard in survey.shards),
        first.shape[1],
        _median(survey.columns.midrange),
        _median(survey.columns.range),
        _losses(survey),
        {rule: len(rows) for rule, rows in affected.items()},
        _worst_rows(survey, affected.values(), most),
    )


def row_of(survey: Survey, row: int) -> "tuple[FloatArray, int | None]":
    """Return a row's logits (C,) and its label."""
    shard, number = survey.place(row)
    return np.asarray(shard.logits[number]), None if shard.labels is None else int(shard.labels[number])


def _worst_rows(survey: Survey, affected: "Iterable[IntArray]", most: int) -> tuple[WorstRow, ...]:
    """Choose rows: the worst that each rule applies to, then the second worst, each row once.

    The worst have the largest finite loss; where there is none, rows stay in their order.
    """
    badness = np.where(np.isfinite(survey.columns.loss), -survey.columns.loss, 0)
    ranked = [rows[np.argsort(badness[rows], kind="stable")][:most].tolist() for rows in affected]
    by_rank = (row for rank in zip_longest(*ranked) for row in rank if row is not None)
    return tuple(_worst_row(survey, row) for row in list(dict.fromkeys(by_rank))[:most])


def _worst_row(survey: Survey, row: int) -> WorstRow:
    (logits, label), (shard, number) = row_of(survey, row), survey.place(row)
    low, high, loss = float(logits.min()), float(logits.max()), float(survey.columns.loss[row])
    return WorstRow(shard.path, number, row, label, loss, low, high, survey.rules_of(row))


def _median(values: "FloatArray") -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _losses(survey: Survey) -> Losses | None:
    """Sum up the finite losses of rows that are not ignored; None where there are none."""
    if not survey.labelled:
        return None
    counts = np.concatenate([np.asarray(shard.labels) != survey.ignore_index for shard in survey.shards])
    counted = np.flatnonzero(np.isfinite(survey.columns.loss) & counts[: survey.rows])
    if not len(counted):
        return None
    loss = survey.columns.loss[counted]
    quantiles = tuple(np.quantile(loss, QUANTILES).tolist())
    random = np.random.default_rng(0)
    sample = counted if len(counted) <= _SAMPLE else np.sort(random.choice(counted, _SAMPLE, replace=False))
    errors = [error for row in sample.tolist() if (error := _error(survey, row)) is not None]
    return Losses(len(counted), float(loss.mean()), quantiles, max(errors, default=None), len(sample))


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
    loss = losses(logits[None], np.array([label]))
    return formats.ulps(float(loss[0]), Decimal(str(true)), formats.FORMATS[str(loss.dtype)])

"""What a survey found: numbers of all rows, how many each thing spoils, the worst rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from xentcli import formats
from xentcli.bulk import losses
from xentcli.diagnose.spoilers import Spoiler
from xentcli.diagnose.survey import Survey

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
class Spoiled:
    """Something that spoils rows, and how many."""

    spoiler: Spoiler
    number: int


@dataclass(frozen=True, slots=True)
class Row:
    """A row to look at: its number in its file and of all, its label and numbers, what spoils it."""

    path: str
    row: int
    of_all: int
    label: int | None
    loss: float
    low: float
    top: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What there is to say of a dump."""

    survey: Survey
    dtype: str
    total: int
    classes: int
    offset: float
    spread: float
    losses: Losses | None
    spoiled: tuple[Spoiled, ...]
    rows: tuple[Row, ...]

    @property
    def is_broken(self) -> bool:
        """Whether the dump itself is, whatever the method."""
        return any(each.spoiler.broken for each in self.spoiled)


def summarise(survey: Survey, most: int = _WORST) -> Diagnosis:
    """Sum up a survey; of the rows that something spoils, show the worst, at most so many."""
    first = survey.shards[0].logits
    dtype = str(first.dtype.newbyteorder("="))
    counted = [(spoiler, survey.spoiled(spoiler.name)) for spoiler in survey.spoilers]
    spoiled = tuple(Spoiled(spoiler, len(rows)) for spoiler, rows in counted if len(rows))
    total = sum(len(shard.logits) for shard in survey.shards)
    offset, spread = _median(survey.middle), _median(survey.width)
    chosen = guilty(survey, spoiled, most)
    rows = tuple(_row(survey, row) for row in chosen)
    return Diagnosis(
        survey, dtype, total, first.shape[1], offset, spread, _losses(survey, dtype), spoiled, rows
    )


def guilty(survey: Survey, spoiled: Sequence[Spoiled], most: int) -> list[int]:
    """Choose rows: the worst of everything that spoils any, then the second worst, each row once."""
    ranked = []
    for each in spoiled:
        rows = survey.spoiled(each.spoiler.name)
        ranked.append(rows[_worst_first(survey, rows)][:most].tolist())
    chosen: dict[int, None] = {}
    for rank in range(most):
        for rows in ranked:
            if rank < len(rows) and len(chosen) < most:
                chosen.setdefault(rows[rank])
    return list(chosen)


def numbers_of(survey: Survey, row: int) -> tuple[Any, int | None]:
    """Return a row's logits, and its label."""
    shard, at = survey.place(row)
    return np.asarray(shard.logits[at]), None if shard.labels is None else int(shard.labels[at])


def _worst_first(survey: Survey, rows: Any) -> Any:  # noqa: ANN401 - indices
    """Order rows: those with the largest finite loss first, in their order where there is none."""
    loss = survey.loss[rows]
    return np.argsort(np.where(np.isfinite(loss), -loss, 0), kind="stable")


def _row(survey: Survey, row: int) -> Row:
    logits, label = numbers_of(survey, row)
    shard, at = survey.place(row)
    x = logits.astype(np.float64)
    return Row(
        shard.path, at, row, label, float(survey.loss[row]), float(x.min()), float(x.max()), survey.names(row)
    )


def _median(values: Any) -> float:  # noqa: ANN401 - an array
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _losses(survey: Survey, dtype: str) -> Losses | None:
    """Sum up the finite losses of rows that count; None where there are none."""
    counted = np.flatnonzero(np.isfinite(survey.loss) & ~_is_ignored(survey))
    if not survey.labelled or not len(counted):
        return None
    loss = survey.loss[counted]
    quantiles = tuple(np.quantile(loss, QUANTILES).tolist())
    random = np.random.default_rng(0)
    sample = counted if len(counted) <= _SAMPLE else np.sort(random.choice(counted, _SAMPLE, replace=False))
    errors = [error for row in sample.tolist() if (error := _error(survey, row, dtype)) is not None]
    return Losses(len(counted), float(loss.mean()), quantiles, max(errors, default=None), len(sample))


def _is_ignored(survey: Survey) -> Any:  # noqa: ANN401 - an array
    labels = [shard.labels for shard in survey.shards]
    if not survey.labelled or any(each is None for each in labels):
        return np.zeros(survey.rows, bool)
    return np.concatenate([np.asarray(each) == survey.ignore_index for each in labels])[: survey.rows]


def _error(survey: Survey, row: int, dtype: str) -> Decimal | None:
    """Return the error of a loss in ulps, against its definition in long double."""
    logits, label = numbers_of(survey, row)
    x = logits.astype(np.longdouble)
    with np.errstate(all="ignore"):
        below = x - x[label]
        below[label] = -np.inf
        shift = max(below.max(initial=-np.inf), 0)
        tail = np.exp(below - shift).sum()
        true = np.log(tail + np.exp(-shift)) + shift if shift else np.log1p(tail)
    (got,) = losses(logits[None], np.array([label])).astype(np.float64).tolist()
    return formats.ulps(got, Decimal(str(true)), formats.FORMATS[dtype])

"""What a loss makes of the rows of a dump: one of xent's methods, or anyone's function."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.diagnose.evaluated import is_wrong
from xentcli.diagnose.survey import Survey
from xentcli.errors import XentError
from xentcli.frameworks.conventions import (
    CONVENTIONS,
    Convention,
    convention_of_library,
    find_convention,
)
from xentcli.frameworks.function import failure
from xentcli.frameworks.request import request
from xentcli.frameworks.subject import InSubprocess
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic

if TYPE_CHECKING:
    from xentcli.diagnose.tried import Tried
    from xentcli.formats import BoolArray, FloatArray, IntArray
    from xentcli.methods.method import Method
    from xentcli.model import Batch

_SAME: Final = 1e-3  # relative: what two programs that make the same mistake may differ by
_MOST_CAUSES: Final = 2  # of a function whose formula is unknown
_KERNEL_NUMBERS: Final = 2**20  # of a block; a method makes a few arrays of its size
_REQUEST_NUMBERS: Final = 2**15  # of a block that travels as JSON, 20 bytes each

Progress = Callable[[float], object]
Respond = Callable[["Batch"], "FloatArray"]  # a batch of n rows → their losses (n,), float64


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """The losses (N,), float64, that a method or function gives for a dump, and the rows where it goes wrong.

    ``off`` has those finite and off by more than 1 %, visibly. ``mean`` and ``total`` are those of the rows
    that count. Rows that were not ``asked``, for their label is invalid or unknown to the loss, have 0.
    """

    name: str
    is_method: bool
    values: "FloatArray"
    asked: "BoolArray"
    nan: "IntArray"
    infinite: "IntArray"
    off: "IntArray"
    mean: float
    total: float

    @property
    def failing(self) -> "IntArray":
        """The rows where the loss goes wrong: the nan ones, the infinite ones, then those the most off."""
        return np.concatenate([self.nan, self.infinite, self.off])

    def state(self, row: int) -> str:
        """Say how a failing row is wrong."""
        value = self.values[row]
        return "nan" if np.isnan(value) else "infinite" if np.isinf(value) else "off"

    def causes_of(self, row: int, tried: "Sequence[Tried]") -> tuple[str, ...]:
        """Name why a failing row is wrong: as the method is there, or those that return the same."""
        value, state = self.values[row], self.state(row)
        alike = [each for each in tried if each.method == self.name]
        if not self.is_method:
            alike = [each for each in tried if each.state == state and _is_same(each.loss, value)]
        return tuple(dict.fromkeys(each.finding for each in alike if each.finding))[:_MOST_CAUSES]


def _is_same(one: float, other: float) -> bool:
    if not math.isfinite(one) or not math.isfinite(other):
        return one == other or (math.isnan(one) and math.isnan(other))
    return abs(one - other) <= _SAME * abs(other)


def respond_by_method(
    survey: Survey, method: "Method", clip: tuple[float, float] | None, progress: Progress
) -> Response:
    """Run a method on all rows; raises XentError where it does not support them."""
    ar = arithmetic.get("numpy", survey.dtype)

    def respond(batch: "Batch") -> "FloatArray":
        if (reason := method.why_unsupported(batch)) is not None:
            raise XentError(f"{method.name}: {reason}")
        with np.errstate(all="ignore"):
            return method.loss(ar, batch)[:, 0].astype(np.float64)

    asked = _asked(survey, ignored=True)
    values = _values(survey, asked, respond, _KERNEL_NUMBERS, clip, progress)
    return _response(survey, method.name, values, asked, is_method=True)


def respond_by_target(
    survey: Survey, target: str, called: Convention, progress: Progress, *, is_chosen: bool
) -> Response:
    """Call a function, in a process of its own, with all rows that it supports.

    Unless its convention ``is_chosen`` it is called with the first row by that of each library whose arrays
    it may expect.

    Where it returns one number for many rows, each row is a call, as of a mean. Raises XentError where it
    cannot be imported, raises, or returns no losses.
    """
    subject = _open(survey, target, called, is_chosen=is_chosen)
    called = replace(subject.convention, reduction=called.reduction)
    try:
        asked = _asked(survey, ignored="ignore_index" in subject.parameters)

        def respond(batch: "Batch") -> "FloatArray":
            nonlocal subject
            if (reason := subject.convention.why_unsupported(batch, subject.parameters)) is not None:
                raise XentError(f"{target}: {reason}; {_hint(subject)}")
            losses = _called(subject, batch, survey.dtype, target)
            if len(losses) == 1 < len(batch.logits):
                subject.stop()
                subject = InSubprocess(target, None, replace(called, reduction="mean"), math.inf)
                losses = _called(subject, batch, survey.dtype, target)
            if len(losses) != len(batch.logits):
                raise XentError(f"{target}: returned {len(losses)} losses for {len(batch.logits)} rows")
            return losses

        values = _values(survey, asked, respond, _REQUEST_NUMBERS, None, progress)
    finally:
        subject.stop()
    return _response(survey, target, values, asked, is_method=False)


def _open(survey: Survey, target: str, called: Convention, *, is_chosen: bool) -> InSubprocess:
    """Start a function, by a convention in which it takes a row that is no broken one."""
    subject = InSubprocess(target, None, called, math.inf)
    labels = {"binary": ".binary", "rows": ".rows"}.get(survey.kind, "")
    names = [convention_of_library(name) for name in ("numpy", *subject.libraries)]
    names = [f"{name.partition('.')[0]}{labels}" for name in names]
    row = int(np.flatnonzero(np.isfinite(survey.columns.loss))[:1].sum())
    shard, number = survey.place(row)
    x, y = np.asarray(shard.logits[number : number + 1]), np.asarray(shard.labels[number : number + 1])
    batch = build_batch(x[:, 0] if survey.kind == "binary" else x, y, survey.dtype)
    for name in () if is_chosen else [each for each in names if each in CONVENTIONS]:
        other = InSubprocess(target, None, find_convention(name, target, None), math.inf)
        if other.convention.why_unsupported(batch, other.parameters) is None:
            response = other.respond(request(batch, survey.dtype, "none", other.convention))
            if "losses" in response:
                subject.stop()
                return other
        other.stop()
    return subject


def _called(subject: InSubprocess, batch: "Batch", dtype: str, target: str) -> "FloatArray":
    response = subject.respond(request(batch, dtype, "none", subject.convention))
    if (failed := failure(response)) is not None and "losses" not in response:
        raise XentError(f"{target}: {failed}; {_hint(subject)}")
    return np.array(response["losses"], np.float64)


def _hint(subject: InSubprocess) -> str:
    return f"is its convention {subject.convention.name}? Give --convention NAME"


def _asked(survey: Survey, *, ignored: bool) -> "BoolArray":
    """Mark the rows (N,) that a loss is called with: valid labels, ignored ones if it knows them."""
    asked = np.ones(survey.rows, bool)
    for rule in survey.rules:
        if rule.finding == "label-out-of-range":
            asked[survey.affected(rule)] = False
    if not ignored:
        asked &= ~survey.ignored()
    return asked


def _values(  # noqa: PLR0913, PLR0917 - a dump, a loss, and how it is called
    survey: Survey,
    asked: "BoolArray",
    respond: Respond,
    numbers: int,
    clip: tuple[float, float] | None,
    progress: Progress,
) -> "FloatArray":
    values = np.zeros(survey.rows)
    skipped = survey.ignore_index if (survey.ignored() & asked).any() else None
    for rows, x, y in _blocks(survey, numbers):
        take = asked[rows]
        if take.any():
            logits = x[take, 0] if survey.kind == "binary" else x[take]
            batch = build_batch(logits, y[take], survey.dtype, ignore_index=skipped, clip=clip)
            values[rows][take] = respond(batch)
        progress(rows.stop / survey.rows)
    return values


def _blocks(survey: Survey, numbers: int) -> "Iterator[tuple[slice, FloatArray, IntArray]]":
    """Yield rows of the dump that were read, with their logits and labels, so many numbers at once."""
    step = max(1, numbers // survey.shards[0].logits.shape[1])
    for shard, begin in zip(survey.shards, survey.starts, strict=False):
        for start in range(0, min(len(shard.logits), survey.rows - begin), step):
            stop = min(start + step, len(shard.logits), survey.rows - begin)
            rows = slice(begin + start, begin + stop)
            yield rows, np.asarray(shard.logits[start:stop]), np.asarray(shard.labels[start:stop])


def _response(
    survey: Survey, name: str, values: "FloatArray", asked: "BoolArray", *, is_method: bool
) -> Response:
    loss, number = survey.columns.loss, survey.rows - survey.columns.ignored
    off = np.flatnonzero(is_wrong(values, loss, survey.dtype))
    worst = np.argsort(-np.abs(values[off] - loss[off]), kind="stable")
    with np.errstate(all="ignore"):
        total = float(values.sum())
    return Response(
        name,
        is_method,
        values,
        asked,
        np.flatnonzero(np.isnan(values)),
        np.flatnonzero(np.isinf(values)),
        off[worst],
        total / number if number else math.nan,
        total,
    )

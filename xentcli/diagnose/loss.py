"""The loss in question, which is called with the rows of a dump: a method of xent's, or anyone's function."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.columns import columns_of
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.recorded import NAME
from xentcli.errors import XentError
from xentcli.frameworks.conventions import (
    CONVENTIONS,
    Convention,
    convention_of_library,
    find_convention,
)
from xentcli.frameworks.function import LossFunction, failure
from xentcli.frameworks.request import request
from xentcli.frameworks.subject import InSubprocess, Subject
from xentcli.frameworks.target import Function
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, FloatArray
    from xentcli.methods.method import Method
    from xentcli.model import Batch

_KERNEL_NUMBERS: Final = 2**20  # of a block; a method makes a few arrays of its size
_REQUEST_NUMBERS: Final = 2**15  # of a block that travels as JSON, 20 bytes each

Respond = Callable[["Batch"], "FloatArray"]  # a batch of n rows → their losses (n,), float64


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """The loss in question: a method of xent's, a function, or what was recorded beside the logits.

    It is called with at most ``numbers`` logits at once, and with ignored rows where it ``takes_ignored``.
    One that ``is_recorded`` is read, and never called.
    """

    name: str
    is_method: bool
    takes_ignored: bool
    numbers: int
    dtype: str
    ignore_index: int
    clip: tuple[float, float] | None
    respond: Respond
    is_recorded: bool = False

    def values(self, logits: "FloatArray", labels: "NDArray[Any]", ignored: "BoolArray") -> "FloatArray":
        """Return what it gives for rows (n,), float64; raises XentError where it gives no losses."""
        step, values = max(1, self.numbers // logits.shape[1]), np.zeros(len(logits))
        for start in range(0, len(logits), step):
            rows = slice(start, start + step)
            x = logits[rows] if logits.shape[1] > 1 else logits[rows, 0]
            skipped = self.ignore_index if ignored[rows].any() else None
            batch = build_batch(x, labels[rows], self.dtype, ignore_index=skipped, clip=self.clip)
            values[rows] = self.respond(batch)
        return values


def recorded_loss(dtype: str, ignore_index: int) -> Loss:
    """Return the losses that each shard holds as the loss in question."""

    def respond(_: "Batch") -> "FloatArray":
        raise NotImplementedError

    return Loss(NAME, False, True, 1, dtype, ignore_index, None, respond, is_recorded=True)


def method_loss(method: "Method", dtype: str, ignore_index: int, clip: tuple[float, float] | None) -> Loss:
    """Return a method as the loss in question; it raises XentError where it does not support the rows."""
    ar = arithmetic.get("numpy", dtype)

    def respond(batch: "Batch") -> "FloatArray":
        if (reason := method.why_unsupported(batch)) is not None:
            raise XentError(f"{method.name}: {reason}")
        with np.errstate(all="ignore"):
            return method.loss(ar, batch)[:, 0].astype(np.float64)

    return Loss(method.name, True, True, _KERNEL_NUMBERS, dtype, ignore_index, clip, respond)


@contextmanager
def target_loss(  # noqa: PLR0913 - a dump, a function, and how it is called
    shards: Sequence[Shard],
    ignore_index: int,
    target: str | Function,
    called: Convention,
    *,
    is_chosen: bool,
    libraries: Sequence[str] = (),
) -> "Iterator[Loss]":
    """Start a function, in a process of its own, as the loss in question, and stop it at the end.

    One that is no name of it is called in this process. Unless its convention ``is_chosen`` it is called with
    an ordinary row by that of each library whose arrays it may expect: of ``libraries``, NumPy, and those
    that it imports. Where it returns one number for many rows, each row is a call, as of a mean. Raises
    XentError where it cannot be imported, raises, or returns no losses.
    """
    dtype, name = shards[0].format, _name(target)
    subject = _open(shards, ignore_index, target, called, None if is_chosen else (*libraries, "numpy"))
    called = replace(subject.convention, reduction=called.reduction)

    def respond(batch: "Batch") -> "FloatArray":
        nonlocal subject
        if (reason := subject.convention.why_unsupported(batch, subject.parameters)) is not None:
            raise XentError(f"{name}: {reason}; {_hint(subject)}")
        losses = _called(subject, batch, dtype, name)
        if len(losses) == 1 < len(batch.logits):
            _stop(subject)
            subject = _start(target, replace(called, reduction="mean"))
            losses = _called(subject, batch, dtype, name)
        if len(losses) != len(batch.logits):
            raise XentError(f"{name}: returned {len(losses)} losses for {len(batch.logits)} rows")
        return losses

    try:
        takes_ignored = "ignore_index" in subject.parameters
        yield Loss(name, False, takes_ignored, _REQUEST_NUMBERS, dtype, ignore_index, None, respond)
    finally:
        _stop(subject)


def _name(target: str | Function) -> str:
    """Name a function in messages: by its parentheses it is no method of xent's."""
    return target if isinstance(target, str) else f"{getattr(target, '__name__', type(target).__name__)}()"


def _start(target: str | Function, called: Convention) -> Subject:
    """Start a function in a process of its own; one that is no name of it is called in this process."""
    if isinstance(target, str):
        return InSubprocess(target, None, called, math.inf)
    return LossFunction.build(target, None, called)


def _stop(subject: Subject) -> None:
    if isinstance(subject, InSubprocess):
        subject.stop()


def _open(
    shards: Sequence[Shard],
    ignore_index: int,
    target: str | Function,
    called: Convention,
    libraries: Sequence[str] | None,
) -> Subject:
    """Start a function, by a convention in which it takes a row that is no broken one; None: ``called``."""
    subject, kind, dtype = _start(target, called), shards[0].kind, shards[0].format
    labels = {"binary": ".binary", "rows": ".rows"}.get(kind, "")
    imported = subject.libraries if isinstance(subject, InSubprocess) else ()
    names = [convention_of_library(name) for name in (*(libraries or ()), *imported)]
    names = [f"{name.partition('.')[0]}{labels}" for name in dict.fromkeys(names)]
    x, y = _ordinary_row(shards, ignore_index)
    batch = build_batch(x[:, 0] if kind == "binary" else x, y, dtype)
    for name in () if libraries is None or not len(x) else [each for each in names if each in CONVENTIONS]:
        other = _start(target, find_convention(name, ""))
        if other.convention.why_unsupported(batch, other.parameters) is None:
            response = other.respond(request(batch, dtype, "none", other.convention))
            if "losses" in response:
                _stop(subject)
                return other
        _stop(other)
    return subject


def _ordinary_row(shards: Sequence[Shard], ignore_index: int) -> "tuple[FloatArray, NDArray[Any]]":
    """Return the logits (1, C) and label of an early row that has a finite loss, else of the first."""
    for shard in shards:
        x, y = (
            rows[: max(1, _REQUEST_NUMBERS // shard.logits.shape[1])] for rows in (shard.logits, shard.labels)
        )
        finite = np.flatnonzero(np.isfinite(columns_of(x, y, (), ignore_index, shard.kind).loss))
        if len(finite):
            return x[finite[:1]], y[finite[:1]]
    return shards[0].logits[:1], shards[0].labels[:1]


def _called(subject: Subject, batch: "Batch", dtype: str, name: str) -> "FloatArray":
    response = subject.respond(request(batch, dtype, "none", subject.convention))
    if (failed := failure(response)) is not None and "losses" not in response:
        raise XentError(f"{name}: {failed}; {_hint(subject)}")
    return np.array(response["losses"], np.float64)


def _hint(subject: Subject) -> str:
    way = "--convention NAME" if isinstance(subject, InSubprocess) else "convention="
    return f"is its convention {subject.convention.name}? Give {way}"

"""Case × framework method → Outcome, each library in a process of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Self

import numpy as np

from xentcli.errors import XentError
from xentcli.formats import FORMATS
from xentcli.frameworks.conventions import CONVENTIONS, convention_of_library
from xentcli.frameworks.function import failure
from xentcli.frameworks.request import TRIAL, WORKER, address, request
from xentcli.model import Case, Outcome
from xentcli.process import Fields, Process

if TYPE_CHECKING:
    from xentcli.frameworks import FrameworkMethod

SECONDS = 120.0  # for a response; the first has to import the library, which takes TensorFlow ten alone


def run(
    cases: Sequence[Case],
    methods: "Sequence[FrameworkMethod]",
    seconds: float = SECONDS,
    show: Callable[[float], None] = lambda _: None,
) -> list[tuple[Outcome, ...]]:
    """Run the methods on every case; see ``Session.run``."""
    with Session(methods, seconds) as session:
        return session.run(cases, show)


class Session:
    """The processes of methods, a library in each; open from ``with`` on, until it ends."""

    def __init__(self, methods: "Sequence[FrameworkMethod]", seconds: float = SECONDS) -> None:
        same_library = groupby(methods, key=lambda method: (method.is_target, method.library))
        self._groups = [(Process(WORKER), list(group)) for _, group in same_library]
        self._described: dict[str, FrameworkMethod] = {}
        self._seconds = seconds

    def __enter__(self) -> Self:
        """Have the libraries imported, all at the same time."""
        try:
            for process, (first, *_) in self._groups:
                process.send(address(first.target, None, first.convention))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        for process, _methods in self._groups:
            process.stop()

    def run(
        self, cases: Sequence[Case], show: Callable[[float], None] = lambda _: None
    ) -> list[tuple[Outcome, ...]]:
        """Run the methods on every case, library by library; the outcomes of each case in their order.

        A binary case runs the binary functions alone, another case the others. ``show`` takes the share that
        is done.
        """
        outcomes: list[list[Outcome]] = [[] for _ in cases]
        calls, done = len(cases) * sum(len(group) for _, group in self._groups), 0
        for process, group in self._groups:
            for method in self._ready(process, group):
                for case, ran in zip(cases, outcomes, strict=True):
                    if method.convention.binary == case.batch.binary:
                        ran.append(_outcome(process, case, method, self._seconds))
                    done += 1
                    show(done / calls)
        return [tuple(ran) for ran in outcomes]

    def _ready(self, process: Process, group: "Sequence[FrameworkMethod]") -> "Iterator[FrameworkMethod]":
        """Yield the methods of a process, somebody's functions with what they support, once it responds."""
        for each in group:
            if each.name not in self._described:
                is_first = each is group[0]
                if each.is_target and not is_first:
                    process.send(address(each.target, None, each.convention))
                response = process.receive(self._seconds) if each.is_target or is_first else {}
                ready = _described(process, each, response, self._seconds) if each.is_target else each
                self._described[each.name] = ready
            yield self._described[each.name]


def _described(
    process: Process, method: "FrameworkMethod", described: Fields, seconds: float
) -> "FrameworkMethod":
    """Return somebody's function with what it supports, and with a convention in which it takes a batch.

    ``described`` is the response to its address.

    One that fails as NumPy's is called as one of the library that its file imports, and one that returns a
    number for a batch is called for each row too. Raises XentError where it cannot be imported.
    """
    if (problem := failure(described)) is not None:
        raise XentError(
            problem if "refused" in described else f"{method.target}: while it was imported: {problem}"
        )
    names = [convention_of_library(name) for name in described["libraries"]]
    others = [CONVENTIONS[name] for name in names if method.convention.library == "numpy"]
    for convention in (method.convention, *others):
        trial = process.request({**address(method.target, None, convention), **TRIAL}, seconds)
        if failure(trial) is None:
            reduction = "mean" if len(trial["losses"]) == 1 else convention.reduction
            called = replace(convention, reduction=reduction)
            return replace(method, convention=called, supports=tuple(described["parameters"]))
    return replace(method, supports=tuple(described["parameters"]))


def _outcome(process: Process, case: Case, method: "FrameworkMethod", seconds: float) -> Outcome:
    batch, convention = case.batch, method.convention
    outcome = Outcome(method.name, case.dtype, (), None, None, (), version=method.library.version)
    if (reason := method.why_unsupported(batch)) is not None:
        return replace(outcome, inapplicable=reason)
    fields = request(batch, case.dtype, case.reduction, convention)
    if batch.probabilities is not None:
        fields["keywords"]["probabilities"] = batch.probabilities.astype(np.float64).tolist()
    response = process.request({**address(method.target, None, convention), **fields}, seconds)
    if (raised := failure(response)) is not None:
        return replace(outcome, raised=raised)
    if len(response["losses"]) != len(batch.logits):
        shape = tuple(response["shape"])
        return replace(outcome, raised=f"returned shape {shape}; expected ({len(batch.logits)},)")
    dtype = "float64" if response["dtype"] == "float" else response["dtype"]  # a Python float
    if dtype not in FORMATS:
        return replace(outcome, raised=f"returned numbers of dtype {dtype}; expected {', '.join(FORMATS)}")
    loss, gradient = None if case.reduction == "none" else response.get("loss"), response.get("gradient")
    return replace(
        outcome,
        dtype=dtype,
        losses=tuple(response["losses"]),
        loss=None if loss is None else loss[0],
        gradient=None if gradient is None else np.array(gradient, np.float64).reshape(batch.logits.shape),
    )

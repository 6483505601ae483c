"""Case × framework method → Outcome, each library in a process of its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from xentcli.errors import XentError
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
    """Run the methods on every case, library by library; the outcomes of each case in the order of methods.

    A binary case runs the binary functions alone, another case the others. ``show`` takes the share that
    is done.
    """
    outcomes: list[list[Outcome]] = [[] for _ in cases]
    same_library = groupby(methods, key=lambda method: (method.is_target, method.library))
    groups = [(Process(WORKER), list(group)) for _, group in same_library]
    calls, done = len(cases) * len(methods), 0
    try:
        for process, (first, *_) in groups:  # they import their libraries at the same time
            process.send(address(first.target, None, first.convention))
        for process, group in groups:
            described = process.receive(seconds)
            for each in group:
                if each.is_target and each is not group[0]:
                    described = process.request(address(each.target, None, each.convention), seconds)
                method = _described(process, each, described, seconds) if each.is_target else each
                for case, ran in zip(cases, outcomes, strict=True):
                    if method.convention.binary == case.batch.binary:
                        ran.append(_outcome(process, case, method, seconds))
                    done += 1
                    show(done / calls)
            process.stop()
    finally:
        for process, _ in groups:
            process.stop()
    return [tuple(ran) for ran in outcomes]


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
    loss, gradient = None if case.reduction == "none" else response.get("loss"), response.get("gradient")
    return replace(
        outcome,
        dtype=response["dtype"],
        losses=tuple(response["losses"]),
        loss=None if loss is None else loss[0],
        gradient=None if gradient is None else np.array(gradient, np.float64).reshape(batch.logits.shape),
    )

"""Case × framework method → Outcome, each library in a process of its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from xentcli.frameworks.function import failure
from xentcli.frameworks.request import address, request
from xentcli.model import Case, Outcome
from xentcli.process import Process

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

    A binary case runs the binary functions alone, another case the others. ``show`` is told which share is
    done.
    """
    total, done = len(cases) * len(methods), 0
    outcomes: list[list[Outcome]] = [[] for _ in cases]
    for _, same_library in groupby(methods, key=lambda method: method.library):
        # -P: a file torch.py beside the cases is not imported.
        process = Process("-P", "-m", "xentcli.frameworks.worker")
        try:
            for method in same_library:
                for case, ran in zip(cases, outcomes, strict=True):
                    if method.convention.binary == case.batch.binary:
                        ran.append(_outcome(process, case, method, seconds))
                    done += 1
                    show(done / total)
        finally:
            process.stop()
    return [tuple(ran) for ran in outcomes]


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
    loss, gradient = response.get("loss"), response.get("gradient")
    return replace(
        outcome,
        dtype=response["dtype"],
        losses=tuple(response["losses"]),
        loss=None if loss is None else loss[0],
        gradient=None if gradient is None else np.array(gradient, np.float64).reshape(batch.logits.shape),
    )

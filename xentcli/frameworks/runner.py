"""Frameworks in processes of their own: one that aborts or hangs costs an answer, and not the run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.model import Case, Outcome
from xentcli.process import Process
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.frameworks import FrameworkMethod

SECONDS = 120.0  # for an answer; the first has to import the library


def run(
    cases: Sequence[Case], methods: "Sequence[FrameworkMethod]", seconds: float = SECONDS
) -> list[tuple[Outcome, ...]]:
    """Run the methods on every case, library by library; the outcomes of each case in the order given.

    Softmax functions are left out of binary cases, and binary ones out of the others.
    """
    found: dict[tuple[int, str], Outcome] = {}
    for library in dict.fromkeys(method.library for method in methods):
        worker = Process("-m", "xentcli.frameworks.worker")
        try:
            for method in (method for method in methods if method.library == library):
                for number, case in enumerate(cases):
                    if method.binary == case.batch.binary:
                        found[number, method.name] = _outcome(worker, case, method, seconds)
        finally:
            worker.stop()
    numbers = range(len(cases))
    return [tuple(found[n, m.name] for m in methods if (n, m.name) in found) for n in numbers]


def _outcome(worker: Process, case: Case, method: "FrameworkMethod", seconds: float) -> Outcome:
    version = method.version
    if (unfit := method.unfit(case.batch)) is not None:
        return Outcome(method.name, case.dtype, (), None, None, (), unfit, version=version)
    answer = worker.ask(_question(case, method.name), seconds)
    if "raised" in answer:
        said = f"raised {answer['raised']}"
        return Outcome(method.name, case.dtype, (), None, None, (), version=version, raised=said)
    gradient = None
    if answer["gradient"] is not None:
        gradient = np.array(answer["gradient"], np.float64).reshape(case.batch.logits.shape)
    losses, loss = tuple(answer["losses"]), answer["loss"]
    return Outcome(method.name, answer["dtype"], losses, loss, gradient, (), version=version)


def _question(case: Case, method: str) -> dict[str, Any]:
    batch, weighting = case.batch, case.batch.weighting
    weights, indices = weighting.class_weights, batch.class_labels
    if indices is not None and weighting.ignored is not None:
        indices = np.where(weighting.ignored, IGNORE_INDEX, indices)

    def plain(array: Any) -> Any:  # noqa: ANN401 - an array as lists
        if array is None or array.dtype.kind in "iu":
            return None if array is None else array.tolist()
        return array.astype(np.float64)[:, 0].tolist() if batch.binary else array.astype(np.float64).tolist()

    return {
        "method": method,
        "dtype": case.dtype,
        "reduction": case.reduction,
        "logits": plain(batch.logits),
        "labels": plain(batch.labels),
        "indices": plain(indices),
        "probabilities": plain(batch.probabilities),
        "weights": None if weights is None else weights.astype(np.float64).tolist(),
        "smoothing": weighting.smoothing,
    }

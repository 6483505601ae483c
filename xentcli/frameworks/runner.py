"""Case × framework method → Outcome, each library in a process of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xentcli.frameworks.request import request
from xentcli.model import Case, Outcome
from xentcli.process import Fields, Process

if TYPE_CHECKING:
    from xentcli.frameworks import FrameworkMethod

SECONDS = 120.0  # for a response; the first has to import the library, which takes TensorFlow ten alone


def run(
    cases: Sequence[Case], methods: "Sequence[FrameworkMethod]", seconds: float = SECONDS
) -> list[tuple[Outcome, ...]]:
    """Run the methods on every case, library by library; the outcomes of each case in the order of methods.

    A binary case runs the binary functions alone, another case the others.
    """
    outcomes: dict[tuple[int, str], Outcome] = {}
    for library in dict.fromkeys(method.library for method in methods):
        # -P: a file torch.py beside the cases is not imported.
        process = Process("-P", "-m", "xentcli.frameworks.worker")
        try:
            for method in (method for method in methods if method.library == library):
                for number, case in enumerate(cases):
                    if method.convention.binary == case.batch.binary:
                        outcomes[number, method.name] = _outcome(process, case, method, seconds)
        finally:
            process.stop()
    numbers = range(len(cases))
    return [tuple(outcomes[n, m.name] for m in methods if (n, m.name) in outcomes) for n in numbers]


def _outcome(process: Process, case: Case, method: "FrameworkMethod", seconds: float) -> Outcome:
    version = method.library.version
    if (reason := method.why_unsupported(case.batch)) is not None:
        return Outcome(method.name, case.dtype, (), None, None, (), reason, version=version)
    response = process.request(_request(case, method), seconds)
    if (raised := _raised(response)) is not None:
        return Outcome(method.name, case.dtype, (), None, None, (), version=version, raised=raised)
    losses, loss, gradient = tuple(response["losses"]), response.get("loss"), response.get("gradient")
    return Outcome(
        method.name,
        response["dtype"],
        losses,
        None if loss is None else loss[0],
        None if gradient is None else np.array(gradient, np.float64).reshape(case.batch.logits.shape),
        (),
        version=version,
    )


def _raised(response: Fields) -> str | None:
    if "refused" in response:
        return str(response["refused"])
    if "raised" in response:
        return f"raised {response['raised']}"
    return response.get("unusable", response.get("gradient_failed"))


def _request(case: Case, method: "FrameworkMethod") -> Fields:
    convention = method.convention
    fields = request(case.batch, case.dtype, case.reduction, convention)
    if case.batch.probabilities is not None:
        fields["keywords"]["probabilities"] = case.batch.probabilities.astype(np.float64).tolist()
    function = {"target": method.target, "gradient": None, "convention": convention.name}
    return {**function, "returns": convention.reduction, **fields}

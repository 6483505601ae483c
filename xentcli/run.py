"""Case × Method → Outcome: kernels are run, floating-point complaints are not raised, losses are reduced."""

from typing import TYPE_CHECKING

import numpy as np

from xentcli import arithmetic, trace
from xentcli.methods import QUANTITIES, select
from xentcli.model import Case, Floats, Observation, Outcome

if TYPE_CHECKING:
    from xentcli.arithmetic import Arithmetic
    from xentcli.methods import Method, Quantity
    from xentcli.model import FloatArray, IntArray


def run(case: Case, methods: tuple["Method", ...]) -> tuple[Outcome, ...]:
    """Run the methods on a case, in the order given.

    Raises XentError where the case's arithmetic does not work in its dtype.
    """
    ar = arithmetic.get(case.arithmetic, case.dtype, case.accumulate)
    return tuple(_outcome(ar, case, method) for method in methods)


def observe(case: Case) -> tuple[Observation, ...]:
    """Compute the quantities that the case has expectations for and that are no losses."""
    ar = arithmetic.get(case.arithmetic, case.dtype, case.accumulate)
    expected = {expectation.quantity for expectation in case.expectations}
    return tuple(_observation(ar, case, quantity) for quantity in QUANTITIES if quantity.name in expected)


def methods_of(case: Case) -> tuple["Method", ...]:
    """Return the methods a case runs unless told otherwise: the blog's four and those it expects."""
    quantities = {quantity.name for quantity in QUANTITIES}
    expected = [e.quantity for e in case.expectations if e.quantity not in quantities]
    return select(",".join(["default", *expected]))


def _outcome(ar: "Arithmetic", case: Case, method: "Method") -> Outcome:
    dtype = method.dtype or case.dtype
    if case.batch.indices is None and not method.soft_labels:
        return Outcome(method.name, dtype, (), None, None, (), "takes one class an example, not soft labels")
    recording, steps = trace.traced(ar, case.batch)
    # nan and infinity are what this program is about: results, not warnings.
    with np.errstate(all="ignore"):
        losses = method.kernel(recording, case.batch)
        loss = _reduce(recording if method.dtype is None else recording.python, losses, case.reduction)
        gradient = None if method.gradient is None else method.gradient(ar, case.batch).astype(np.float64)
    return Outcome(method.name, dtype, _floats(losses), loss, gradient, tuple(steps))


def _observation(ar: "Arithmetic", case: Case, quantity: "Quantity") -> Observation:
    with np.errstate(all="ignore"):
        values = quantity.kernel(ar, case.batch)
    return Observation(quantity.name, quantity.dtype or case.dtype, _floats(values))


def _reduce(ar: "Arithmetic", losses: "FloatArray", reduction: str) -> float | None:
    if reduction == "none":
        return None
    reduced = ar.mean(losses) if reduction == "mean" else ar.total(losses)
    return float(reduced[0, 0])


def _floats(values: "FloatArray | IntArray") -> Floats:
    return tuple(values.astype(np.float64).ravel().tolist())

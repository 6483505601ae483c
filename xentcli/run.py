"""Case × Method → Outcome, and evaluate: the one way from a case to its result.

Kernels are run, their floating-point complaints are results and not warnings, losses are reduced.
"""

from typing import TYPE_CHECKING

import numpy as np

from xentcli.formats import FORMATS, nearest
from xentcli.judge import Result, judge
from xentcli.methods import arithmetic, knobs, trace
from xentcli.methods.table import QUANTITIES, select
from xentcli.model import Case, Floats, Observation, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.formats import FloatArray, IntArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.methods.method import Method, Quantity


def evaluate(
    case: Case, methods: "Sequence[Method] | None" = None, others: tuple[Outcome, ...] = ()
) -> Result:
    """Run methods on a case and judge them, with the outcomes of ``others`` after theirs.

    Without methods those that the case runs by default. Raises XentError where the case's arithmetic does not
    support its dtype.
    """
    return judge(case, (*run(case, methods_of(case, methods)), *others), observe(case))


def run(case: Case, methods: "Sequence[Method]") -> tuple[Outcome, ...]:
    """Run methods on a case; one outcome each, in their order."""
    ar = arithmetic_of(case)
    return tuple(_outcome(ar, case, method) for method in methods)


def observe(case: Case) -> tuple[Observation, ...]:
    """Compute the quantities that the case has expectations for and that are no losses."""
    ar = arithmetic_of(case)
    expected = {expectation.quantity for expectation in case.expectations}
    return tuple(_observation(ar, case, quantity) for quantity in QUANTITIES if quantity.name in expected)


def methods_of(case: Case, chosen: "Sequence[Method] | None" = None) -> "tuple[Method, ...]":
    """Return the methods that a case runs: of those chosen, else the default ones and those it expects.

    Left out are those for another kind of batch (binary ones, those in parts, the others), unless they are
    expected or none is left.
    """
    expected: list[str] = []
    if chosen is None:
        quantities = {quantity.name for quantity in QUANTITIES}
        expected = [e.quantity for e in case.expectations if e.quantity not in quantities]
        chosen = select(",".join(["default", *expected]))
    fitting = (each for each in chosen if each.is_for(case.batch) or each.name in expected)
    return tuple(fitting) or tuple(chosen)


def arithmetic_of(case: Case) -> "Arithmetic":
    """Return the arithmetic of a case."""
    how = case.numerics
    return arithmetic.get(
        how.arithmetic,
        how.dtype,
        how.accumulate,
        sequential=how.sequential,
        flush_subnormals=how.flush_subnormals,
    )


def _outcome(ar: "Arithmetic", case: Case, method: "Method") -> Outcome:
    dtype = method.dtype or case.numerics.loss_dtype
    reason = method.why_unsupported(case.batch)
    if method.mean is not None and case.reduction == "sum":
        reason = reason or "reduces to a mean, not to a sum"
    if reason is not None:
        return Outcome(method.name, dtype, (), None, None, (), reason)
    recording, steps = trace.traced(ar, case.batch)
    with np.errstate(all="ignore"):
        losses = knobs.losses(recording, case.batch, method)
        loss = _reduce(recording if method.dtype is None else recording.python, losses, case, method)
        slope = None if method.gradient is None else knobs.gradient(ar, case.batch, method)
    gradient = None if slope is None else slope.astype(np.float64)
    return Outcome(method.name, dtype, _floats(losses), loss, gradient, tuple(steps))


def _observation(ar: "Arithmetic", case: Case, quantity: "Quantity") -> Observation:
    with np.errstate(all="ignore"):
        values = quantity.kernel(ar, case.batch)
    return Observation(quantity.name, quantity.dtype or case.numerics.loss_dtype, _floats(values))


def _reduce(ar: "Arithmetic", losses: "FloatArray", case: Case, method: "Method") -> float | None:
    if case.reduction == "none":
        return None
    if method.mean is not None:
        return float(method.mean.reduce(ar, case.batch, losses)[0, 0])
    if case.reduction == "sum":
        return float(ar.sum_losses(losses)[0, 0])
    return float(ar.mean(losses, nearest(case.batch.divisor, FORMATS["float64"]))[0, 0])


def _floats(values: "FloatArray | IntArray") -> Floats:
    return tuple(values.astype(np.float64).ravel().tolist())

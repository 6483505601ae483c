"""Case × Method → Outcome: kernels are run, floating-point complaints are not raised, losses are reduced."""

from typing import TYPE_CHECKING

import numpy as np

from xentcli.methods import arithmetic, trace
from xentcli.methods.table import QUANTITIES, select
from xentcli.model import Case, Floats, Observation, Outcome

if TYPE_CHECKING:
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.methods.table import Method, Quantity
    from xentcli.model import FloatArray, IntArray


def run(case: Case, methods: tuple["Method", ...]) -> tuple[Outcome, ...]:
    """Run the methods on a case, in the order given.

    Raises XentError where the case's arithmetic does not work in its dtype.
    """
    ar = arithmetic_of(case)
    return tuple(_outcome(ar, case, method) for method in methods)


def observe(case: Case) -> tuple[Observation, ...]:
    """Compute the quantities that the case has expectations for and that are no losses."""
    ar = arithmetic_of(case)
    expected = {expectation.quantity for expectation in case.expectations}
    return tuple(_observation(ar, case, quantity) for quantity in QUANTITIES if quantity.name in expected)


def methods_of(case: Case, chosen: tuple["Method", ...] | None = None) -> tuple["Method", ...]:
    """Return the methods that a case runs: of those chosen, else the default ones and those it expects.

    Of softmax and binary methods those that the case has labels for are left, if any are.
    """
    if chosen is None:
        quantities = {quantity.name for quantity in QUANTITIES}
        expected = [e.quantity for e in case.expectations if e.quantity not in quantities]
        chosen = select(",".join(["default", *expected]))
    return tuple(method for method in chosen if method.binary == case.batch.binary) or chosen


def arithmetic_of(case: Case) -> "Arithmetic":
    """Return the arithmetic of a case."""
    how = case.numerics
    return arithmetic.get(
        how.arithmetic,
        how.dtype,
        how.accumulate,
        in_order=how.in_order,
        flush_subnormals=how.flush_subnormals,
    )


def _outcome(ar: "Arithmetic", case: Case, method: "Method") -> Outcome:
    dtype = method.dtype or case.numerics.of_losses
    if (unfit := method.unfit(case.batch)) is not None:
        return Outcome(method.name, dtype, (), None, None, (), unfit)
    recording, steps = trace.traced(ar, case.batch)
    # nan and infinity are what this program is about: results, not warnings.
    with np.errstate(all="ignore"):
        losses = method.kernel(recording, case.batch)
        loss = _reduce(recording if method.dtype is None else recording.python, losses, case)
        gradient = None if method.gradient is None else method.gradient(ar, case.batch).astype(np.float64)
    return Outcome(method.name, dtype, _floats(losses), loss, gradient, tuple(steps))


def _observation(ar: "Arithmetic", case: Case, quantity: "Quantity") -> Observation:
    with np.errstate(all="ignore"):
        values = quantity.kernel(ar, case.batch)
    return Observation(quantity.name, quantity.dtype or case.numerics.of_losses, _floats(values))


def _reduce(ar: "Arithmetic", losses: "FloatArray", case: Case) -> float | None:
    if case.reduction == "none":
        return None
    weighting = case.batch.weighting
    if case.reduction == "sum":
        reduced = ar.total(losses)
    else:
        reduced = ar.mean(losses) if weighting is None else ar.mean(losses, weighting.divisor)
    return float(reduced[0, 0])


def _floats(values: "FloatArray | IntArray") -> Floats:
    return tuple(values.astype(np.float64).ravel().tolist())

"""What every cross-entropy must satisfy: properties with their inputs, and the tolerance that each allows.

Each property is one that a released library broke. What is asked is the same in every run.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.check import inputs
from xentcli.check.conventions import Convention
from xentcli.check.faults import disagreement
from xentcli.check.probes import Probe
from xentcli.check.report import Fault
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from xentcli.process import Fields

Asked = Sequence[tuple[Probe, "Fields"]]
Rule = Callable[[Asked, Convention, float], list[Fault]]
_RESIDUAL: Final = 0.01  # of the largest entry: where xent calls a gradient wrong


@dataclass(frozen=True, slots=True)
class Property:
    """A property: what it asserts and to what tolerance, and what is asked.

    ``words`` are the kinds of faults against the exact loss that break it, None all; ``rule`` finds others.
    """

    name: str
    asserts: str
    probes: Callable[[Convention, Sequence[str]], Iterable[Probe]]
    words: frozenset[str] | None = None
    rule: Rule | None = None


def _unmoved(asked: Asked, convention: Convention, max_ulps: float) -> list[Fault]:
    """Compare every shifted batch with the first of its dtype, which is not."""
    first: dict[str, tuple[Probe, Fields]] = {}
    faults = []
    for probe, answer in asked:
        was = first.setdefault(probe.dtype, (probe, answer))
        shift = float(probe.batch.logits[0, 0] - was[0].batch.logits[0, 0])
        for row in range(len(probe.batch.logits)):
            said = f"shifted by {shift:g}, the loss changes"
            faults += disagreement(said, (*was, row), (probe, answer, row), convention, max_ulps)
    return faults


def _sums_to_zero(asked: Asked, _: Convention, __: float) -> list[Fault]:
    for probe, answer in asked:
        gradient = answer.get("gradient")
        if not isinstance(gradient, list):
            continue
        values = np.array(gradient).reshape(probe.batch.logits.shape)
        tolerance = max(_RESIDUAL, probe.batch.logits.shape[1] * 2.0 ** (1 - FORMATS[probe.dtype].precision))
        for row in values[np.isfinite(values).all(axis=1)]:
            largest, residual = np.abs(row).max(), abs(math.fsum(row.tolist()))
            if residual > tolerance * largest:
                said = f"a gradient with the largest entry {largest:.3g} sums to {residual:.3g}"
                return [Fault("gradient sum", f"{said} ({probe.dtype})")]
    return []


def _unpermuted(asked: Asked, convention: Convention, max_ulps: float) -> list[Fault]:
    said = "with the classes in another order, the loss changes"
    return [
        fault
        for probe, answer in asked
        for row in range(len(probe.batch.logits))
        for fault in disagreement(said, (probe, answer, 0), (probe, answer, row), convention, max_ulps)
    ]


def _alone(asked: Asked, convention: Convention, max_ulps: float) -> list[Fault]:
    """Compare the rows of the first batch of a dtype with those that follow it one by one."""
    faults, row = [], 0
    for probe, answer in asked:
        if len(probe.batch.logits) > 1:
            batch, row = (probe, answer), 0
            continue
        said = f"alone, the loss of example {row} changes"
        faults += disagreement(said, (*batch, row), (probe, answer, 0), convention, max_ulps)
        row += 1
    return faults


def _is_plus_zero(asked: Asked, _: Convention, __: float) -> list[Fault]:
    losses = [loss for _, answer in asked for loss in answer.get("losses", ())]
    wrong = [loss for loss in losses if not (loss == 0 and math.copysign(1, loss) == 1)]
    return [Fault("one class", f"the loss of one class is {wrong[0]}, not +0.0")] if wrong else []


_NONE: Final[frozenset[str]] = frozenset()
_WITHIN: Final = "each within its allowed ulps of the truth"

PROPERTIES: Final = (
    Property(
        "translation",
        "L(x + c) = L(x) where x + c is exact: to twice the allowed ulps, for each may be off by as many",
        inputs.shifted,
        _NONE,
        _unmoved,
    ),
    Property(
        "gradient-sum",
        "the gradient sums to 0 where the labels sum to 1: to 1 % of its largest entry, since p - 1 is "
        "off by 100 % where it lost the label's entry; or to C roundings of the dtype, if that is more",
        inputs.gaps,
        _NONE,
        _sums_to_zero,
    ),
    Property(
        "no-collapse",
        "a loss that rounds to something positive is not 0, down to the dtype's smallest number (or C/2 of "
        f"those, where every term rounds to 0): {_WITHIN}",
        inputs.tails,
        frozenset({"collapsed", "negative", "nan", "off"}),
    ),
    Property(
        "one-hot",
        f"a one-hot row says the same as an index, beside masked classes (-inf) too: {_WITHIN}",
        inputs.masked,
    ),
    Property(
        "unnormalised-labels",
        f"labels that sum to s have the loss Σ y_j (log Σ exp x - x_j), {_WITHIN}, and the gradient s·p - y, "
        "to 1 % of its largest entry, where it counts as wrong",
        inputs.unnormalised,
    ),
    Property(
        "soft-labels",
        f"labels may be spread over classes, at an offset, beside a mask, far from the maximum: {_WITHIN}",
        inputs.soft,
    ),
    Property(
        "ignored-rows",
        "an ignored row has loss 0 and gradient 0, exactly, even where it holds nan; the others are "
        f"{_WITHIN}, and the mean counts only them",
        inputs.ignored,
    ),
    Property(
        "weights-and-smoothing",
        f"the targets are w_j ((1 - ε) y_j + ε / C), and a mean divides by the labels' weights, or by N "
        f"where labels are rows, as PyTorch has it: {_WITHIN}",
        inputs.weighted,
    ),
    Property(
        "bad-labels",
        "a label out of range raises, or its loss is nan or inf: never a plausible number",
        inputs.bad_labels,
        frozenset({"plausible"}),
    ),
    Property(
        "permutation",
        "the order of the classes changes no loss: to twice the allowed ulps, as sums round otherwise",
        inputs.permuted,
        _NONE,
        _unpermuted,
    ),
    Property(
        "batching",
        "a row alone has the loss that it has in a batch: to twice the allowed ulps, as other vector lengths "
        "round otherwise",
        inputs.batch_and_rows,
        _NONE,
        _alone,
    ),
    Property(
        "sizes",
        f"no number of rows or classes is special, nor are logits that are equal: {_WITHIN}",
        inputs.sizes,
    ),
    Property("empty-batch", "no rows have no losses, and none is made up: shape (0,)", inputs.empty),
    Property(
        "one-class",
        "the loss of one class is +0.0, exactly, whatever its logit",
        inputs.one_class,
        None,
        _is_plus_zero,
    ),
    Property(
        "reductions",
        "mean and sum are those of the losses: log2 N ulps more than a loss, for the sum",
        inputs.reduced,
    ),
)

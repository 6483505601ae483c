"""A sweep: the points of a curve in a format, its breakdowns, and what theory says of each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.errors import XentError
from xentcli.formats import FORMATS
from xentcli.sweep.breakdowns import Breakdown, Breakdowns, find_breakdowns
from xentcli.sweep.example import case_example
from xentcli.sweep.points import Evaluator, Points
from xentcli.sweep.quantities import QUANTITIES, Range
from xentcli.sweep.theory import Prediction, predict

if TYPE_CHECKING:
    from xentcli.methods.method import Method
    from xentcli.model import Case
    from xentcli.sweep.example import Example
    from xentcli.sweep.points import Others
    from xentcli.sweep.quantities import Quantity


@dataclass(frozen=True, eq=False)
class Curve:
    """What methods make of an example while a quantity is varied, in one format.

    ``predictions`` has one per breakdown, None where there is no theory of it.
    """

    example: "Example"
    quantity: "Quantity"
    range: "Range"
    points: Points
    breakdowns: Breakdowns
    predictions: tuple[Prediction | None, ...]

    @property
    def dtype(self) -> str:
        """The format of logits and losses."""
        return self.example.numerics.dtype

    def with_theory(self) -> "list[tuple[Breakdown, Prediction | None]]":
        """Return each breakdown with what theory says of it."""
        return list(zip(self.breakdowns.rows, self.predictions, strict=True))


_POINTS: Final = 121  # of the curve around a case, and of one of many classes, which take seconds, a quarter
_MANY: Final = 1000
_AROUND: Final = 1.2  # times the distance of a case from 0: it lies inside the curve
_FACTOR: Final = 100.0  # by which the logits of a case without a label's class are scaled down and up


def around(case: "Case", row: int, methods: "Sequence[Method]") -> "tuple[Curve, float] | None":
    """Return the curve on which an example of a case lies, without breakdowns, and the example's own value.

    The gap is varied, or the scale where the label has no class. None where the case has no such curve.
    """
    for quantity in (QUANTITIES["gap"], QUANTITIES["scale"]):
        try:
            example = case_example(case, row, None, quantity)
        except XentError:
            continue
        value = 1.0 if quantity.name == "scale" else example.gap
        if not math.isfinite(value) or not np.isfinite(example.logits).any():
            continue
        form = FORMATS[case.dtype]
        low, high = 1 / _FACTOR, _FACTOR
        if quantity.name == "gap":
            _, high = quantity.default_range(form)
            high = max(high, min(_AROUND * abs(value), form.largest / 2))
            low = -high
        number = _POINTS if len(example.logits) < _MANY else _POINTS // 4
        span = Range(low, high, number, is_log=quantity.name == "scale")
        values = sorted({*span.values(quantity, form), quantity.rounded(value, form)})
        points = Evaluator(example, quantity, methods).points(values)
        return Curve(
            example, quantity, span, points, Breakdowns((), (), are_exhaustive=False), ()
        ), quantity.rounded(value, form)
    return None


def sweep(  # noqa: PLR0913, PLR0917 - what is varied, how, and by what it is evaluated
    example: "Example",
    quantity: "Quantity",
    span: "Range",
    methods: "Sequence[Method]",
    others: "Others | None" = None,
    show: Callable[[float], None] = lambda _: None,
) -> Curve:
    """Vary a quantity of an example over a range: evaluate every point, then find the breakdowns.

    ``others`` returns the outcomes of frameworks for cases. ``show`` takes the share that is done. Raises
    XentError where the range is beyond the format or the classes.
    """
    classes = len(example.logits)
    if quantity.name == "label-rank" and span.high > classes:
        raise XentError(f"--label-rank {span.low:g}:{span.high:g}: the ranks of {classes} classes end there")
    evaluator = Evaluator(example, quantity, methods, others)
    points = evaluator.points(span.values(quantity, FORMATS[example.numerics.dtype]))
    breakdowns = find_breakdowns(evaluator, points, show)
    predictions = tuple(predict(example, quantity, breakdown) for breakdown in breakdowns.rows)
    return Curve(example, quantity, span, points, breakdowns, predictions)

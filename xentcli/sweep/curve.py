"""A sweep: the points of a curve in a format, its breakdowns, and what theory says of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xentcli.errors import XentError
from xentcli.formats import FORMATS
from xentcli.sweep.breakdowns import Breakdown, Breakdowns, find_breakdowns
from xentcli.sweep.points import Evaluator, Points
from xentcli.sweep.theory import Prediction, predict

if TYPE_CHECKING:
    from xentcli.methods.method import Method
    from xentcli.sweep.example import Example
    from xentcli.sweep.points import Others
    from xentcli.sweep.quantities import Quantity, Range


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

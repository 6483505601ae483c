"""What the loss in question made of a dump, and why it went wrong in a row."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli.diagnose.distribution import exact_mean
from xentcli.diagnose.knob import knob_of_rows
from xentcli.diagnose.recorded import Relation, is_other, relation_of
from xentcli.diagnose.summary import STATES
from xentcli.diagnose.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.diagnose.tried import Tried

_SAME: Final = 1e-3  # relative: what two programs that make the same mistake may differ by
_MOST_CAUSES: Final = 2  # of a function whose formula is unknown


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """What the loss in question makes of a dump: in how many rows it is nan, infinite, or off.

    ``off`` are those finite and off by more than 1 %, visibly. ``mean`` and ``total`` are those of the rows
    that count, and ``zeros`` is the number of those where it is 0 and the true loss is not. ``relation`` is
    what lies between a recorded loss and the true one in all rows, None where nothing does.
    """

    name: str
    is_method: bool
    nan: int
    infinite: int
    off: int
    mean: float
    total: float
    zeros: int
    is_recorded: bool = False
    relation: Relation | None = None

    @property
    def failing(self) -> int:
        """In how many rows the loss goes wrong."""
        return self.nan + self.infinite + self.off

    def causes_of(self, value: float, state: str, tried: "Sequence[Tried]") -> tuple[str, ...]:
        """Name why a value is wrong so: as the method is there, or those that return the same."""
        alike = [each for each in tried if each.method == self.name]
        if not self.is_method:
            alike = [each for each in tried if each.state == state and _is_same(each.loss, value)]
        return tuple(dict.fromkeys(each.finding for each in alike if each.finding))[:_MOST_CAUSES]


def response_of(survey: Survey) -> Response | None:
    """Return what the loss in question makes of a dump, None where there is none."""
    loss, found = survey.question.loss, survey.summary.responses
    if loss is None:
        return None
    nan, infinite, off = (found.states[state].number if state in found.states else 0 for state in STATES)
    number = survey.rows - survey.summary.ignored
    mean = total = math.nan
    if infinite and not nan:  # of both signs it is nan
        mean = total = found.smallest + found.largest if math.isinf(found.smallest) else found.largest
    elif not nan:
        total = exact_mean(found.total, 1)
        mean = exact_mean(found.total, number) if number else math.nan
    relation = _relation(survey, number) if loss.is_recorded else None
    return Response(
        loss.name, loss.is_method, nan, infinite, off, mean, total, found.zeros, loss.is_recorded, relation
    )


def _relation(survey: Survey, number: int) -> Relation | None:
    """Return what lies between recorded losses and the true ones: of all rows, else a knob, of some."""
    shared = survey.summary.responses.shared
    relation = relation_of(shared, _counts(survey, number))
    if relation is not None or not is_other(shared) or survey.stopped is not None:
        return relation
    found = knob_of_rows(survey.shards, survey.ignore_index)
    if found is None:
        return None
    knob, looked_at = found.knob, None if found.rows == number else found.rows
    return Relation(knob.name, found.value, found.definition, knob.cause, knob.remedy, looked_at)


def _counts(survey: Survey, number: int) -> "list[tuple[str, int]]":
    """Return what the sum of losses may have been divided by, the likeliest first, with its words."""
    shape = survey.shards[0].shape or (survey.rows,)
    return [
        ("the number of rows that count", number),
        ("the number of rows", survey.rows),
        ("the number of sequences, the batch's size", shape[0]),
        ("the length of a sequence", shape[-1]),
    ]


def _is_same(one: float, other: float) -> bool:
    if not math.isfinite(one) or not math.isfinite(other):
        return one == other or (math.isnan(one) and math.isnan(other))
    return abs(one - other) <= _SAME * abs(other)

"""Points of a curve: the example of each value run and judged, and a word per method for what came of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.formats import FORMATS, ulps
from xentcli.judge import Result, judge
from xentcli.judge.findings.finding import WRONG
from xentcli.judge.findings.ranges import clip_active
from xentcli.judge.verdicts import judged_dtype
from xentcli.model import About, Case
from xentcli.run import methods_of, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import FloatArray
    from xentcli.methods.method import Method
    from xentcli.model import Batch, Judgement, Outcome
    from xentcli.sweep.example import Example
    from xentcli.sweep.quantities import Quantity

    Others = Callable[[Sequence[Case]], Sequence[tuple[Outcome, ...]]]

# What a loss is beside the true one, in a word: the first of those that hold. It is capped from the first
# value at which the clip changes a probability that counts, and off where it is wrong by more than 1 %, as a
# gradient is, and by more than the 4 ulps of the verdict: the digits of small formats and of subnormal losses
# are 1 % apart. A right loss may have a gradient that is nan, 0 or wrong.
STATES: Final = (
    "nan",
    "negative",
    "inf",
    "0",
    "capped",
    "off",
    "gradient nan",
    "gradient 0",
    "gradient wrong",
    "right",
    "undefined",
    "none",
)
RIGHT: Final = STATES.index("right")
_OF_VERDICT: Final = {"nan": "nan", "negative": "negative", "overflow": "inf", "collapsed": "0"}
_OF_GRADIENT: Final = {"nan": "gradient nan", "dead": "gradient 0", "wrong": "gradient wrong"}
_AT_A_TIME: Final = 2**14  # logits of a batch: the steps of all methods take some 20 MB
_SURE: Final = 1e-9  # of the largest relative error allowed: float64 tells of all that is farther from it


@dataclass(frozen=True, eq=False)
class Track:
    """What a method makes of n values: losses (n,) of ``dtype``, their errors and verdicts, and states (n,).

    ``slopes`` (n,) are d loss / d logit of the label's class. Losses and slopes are nan, errors None and
    verdicts empty where there are none; ``failure`` says why.
    """

    method: str
    dtype: str
    version: str | None
    failure: str | None
    losses: "FloatArray"
    ulps: tuple[Decimal | None, ...]
    verdicts: tuple[str, ...]
    slopes: "FloatArray"
    states: "NDArray[np.int64]"


@dataclass(frozen=True, eq=False)
class Points:
    """Values (n,), the true losses and slopes there, and the track of each method."""

    values: tuple[float, ...]
    exact: tuple[Decimal, ...]
    exact_slopes: "FloatArray"
    tracks: tuple[Track, ...]


class Evaluator:
    """Evaluates values of a quantity of an example by methods, and by ``others`` of frameworks."""

    def __init__(
        self,
        example: "Example",
        quantity: "Quantity",
        methods: "Sequence[Method]",
        others: "Others | None" = None,
    ) -> None:
        self.example, self.quantity = example, quantity
        self._methods, self._others = methods, others

    def points(self, values: Sequence[float]) -> Points:
        """Evaluate values (n,), n at least 1."""
        results = [result for result, _ in self._results(values)]
        tracks = [[_track(r, self._column(r), *pair) for pair in _pairs(r)] for r in results]
        return Points(
            values=tuple(values),
            exact=tuple(loss for result in results for loss in result.exact.losses),
            exact_slopes=np.concatenate([_column_of(r.exact.gradients, self._column(r)) for r in results]),
            tracks=tuple(_joined(parts) for parts in zip(*tracks, strict=True)),
        )

    def states(self, values: Sequence[float]) -> "NDArray[np.int64]":
        """Return the states (methods, n) of values (n,): places in ``STATES``."""
        parts = [np.stack([_states(r, *pair) for pair in _pairs(r)]) for r, _ in self._results(values)]
        return np.concatenate(parts, axis=1)

    def _results(self, values: Sequence[float]) -> Iterator[tuple[Result, "Batch"]]:
        """Yield the results of batches that have a row per value in all, none of them sampled."""
        classes = len(self.example.logits)
        several = max(1, _AT_A_TIME // max(classes, 1))
        rest = iter(values)
        while some := tuple(islice(rest, several)):
            cases = [self._case(batch) for batch in self.example.batches(self.quantity, some)]
            others = [()] * len(cases) if self._others is None else self._others(cases)
            for case, theirs in zip(cases, others, strict=True):
                outcomes = (*run(case, methods_of(case, self._methods) if self._methods else ()), *theirs)
                result = judge(case, outcomes, ())
                if len(result.exact.rows) < len(case.batch.logits):  # sampled: half of them at a time
                    half = len(some) // 2
                    yield from self._results(some[:half])
                    yield from self._results(some[half:])
                else:
                    yield result, case.batch

    def _case(self, batch: "Batch") -> Case:
        title = About(f"{self.quantity.name} varied")
        return Case("sweep", "", title, self.example.numerics, "none", batch, (), ())

    def _column(self, result: Result) -> int:
        """Return the class whose slope is shown: the label's, or the one that is varied, else the first."""
        indices = result.case.batch.class_labels
        if self.quantity.name == "logit":
            return self.example.place or 0
        return 0 if indices is None or len(set(indices.tolist())) != 1 else int(indices[0])


def _pairs(result: Result) -> "list[tuple[Outcome, Judgement | None]]":
    return list(zip(result.outcomes, result.judgements, strict=True))


def _column_of(gradients: "Sequence[FloatArray] | FloatArray", column: int) -> "FloatArray":
    return np.array([row[min(column, len(row) - 1)] for row in gradients], np.float64)


def _track(result: Result, column: int, outcome: "Outcome", judgement: "Judgement | None") -> Track:
    number = len(result.exact.rows)
    dtype = judged_dtype(outcome.dtype, result.case.numerics.loss_dtype)
    nothing = np.full(number, np.nan)
    errors: tuple[Decimal | None, ...] = (None,) * number
    if judgement is not None:
        pairs = zip(outcome.losses, result.exact.losses, strict=True)
        errors = tuple(ulps(loss, true, FORMATS[dtype]) for loss, true in pairs)
    return Track(
        method=outcome.method,
        dtype=outcome.dtype,
        version=outcome.version,
        failure=outcome.failure,
        losses=nothing if judgement is None else np.array(outcome.losses, np.float64),
        ulps=errors,
        verdicts=("",) * number if judgement is None else judgement.verdicts,
        slopes=nothing if outcome.gradient is None else _column_of(outcome.gradient, column),
        states=_states(result, outcome, judgement),
    )


def _joined(parts: Sequence[Track]) -> Track:
    """Put the parts of a track one after the other."""
    first = next((part for part in parts if part.failure is None), parts[0])
    return Track(
        method=first.method,
        dtype=first.dtype,
        version=first.version,
        failure=next((part.failure for part in parts if part.failure is not None), None),
        losses=np.concatenate([part.losses for part in parts]),
        ulps=tuple(error for part in parts for error in part.ulps),
        verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
        slopes=np.concatenate([part.slopes for part in parts]),
        states=np.concatenate([part.states for part in parts]),
    )


def _states(result: Result, outcome: "Outcome", judgement: "Judgement | None") -> "NDArray[np.int64]":
    """Return the state of each row (n,)."""
    number = len(result.exact.rows)
    if judgement is None:
        return np.full(number, STATES.index("none"))
    losses = np.array(outcome.losses, np.float64)
    is_off = _are_off(losses, result)
    gradients = ("",) * number if judgement.gradient is None else judgement.gradient.states
    words = (
        _word(verdict, found, gradient, off=off)
        for verdict, found, gradient, off in zip(
            judgement.verdicts, judgement.findings, gradients, is_off, strict=True
        )
    )
    return np.array([STATES.index(word) for word in words], np.int64)


def _word(verdict: str, findings: Sequence[str], gradient: str, *, off: bool) -> str:
    if verdict == "undefined" or verdict in _OF_VERDICT:
        return _OF_VERDICT.get(verdict, verdict)
    if clip_active.name in findings:
        return "capped"
    return "off" if off and verdict == "off" else _OF_GRADIENT.get(gradient, "right")


def _are_off(losses: "FloatArray", result: Result) -> list[bool]:
    """Say of each finite loss whether it is off by more than 1 % of the true one."""
    numbers = result.exact.numbers.at(slice(-1))
    with np.errstate(all="ignore"):
        share = np.abs(losses - numbers.near) / (WRONG * np.abs(numbers.near))
    is_zero = numbers.near == 0  # or so small that a fraction of it would fill the memory
    are_off: list[bool] = np.where(is_zero, losses != 0, share > 1).tolist()
    unsure = np.isfinite(losses) & numbers.is_finite & ~is_zero & ~(np.abs(share - 1) > _SURE)
    for place in unsure.nonzero()[0].tolist():
        true = Fraction(result.exact.losses[place])
        are_off[place] = abs(Fraction(losses[place].item()) - true) > Fraction(WRONG) * abs(true)
    return are_off


def words_of(states: Any) -> list[str]:  # noqa: ANN401 - an array of any shape that is flat
    """Return the words of states."""
    return [STATES[state] for state in states]

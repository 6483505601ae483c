"""One method on one example, step by step: where the first infinity and the first nan are born, and why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.digits import text
from xentcli.errors import XentError, count
from xentcli.judge import Result
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.judge.verdicts import VERDICTS
from xentcli.methods.trace import inputs
from xentcli.model import Case, Judgement, Outcome

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.model import Step

_SIGNS = {"multiply": "×", "subtract": "-", "add": "+", "divide": "/"}


@dataclass(frozen=True, slots=True)
class Birth:
    """The first step whose result is abnormal although nothing that went into it was."""

    step: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A step as text: its word, its formula, the example's numbers in the step's dtype."""

    name: str
    formula: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What ``xent explain`` shows of one method and one example."""

    case: Case
    example: int
    outcome: Outcome
    verdict: str
    gradient: str | None
    steps: tuple[Explained, ...]
    births: tuple[Birth, ...]
    findings: tuple[Finding, ...]
    ignored: bool


def explain(result: Result, method: str | None, example: int | None) -> Explanation:
    """Explain a method on an example: else the first in which something is found, its worst example.

    Methods that the case expects something of come first. Raises XentError where the method cannot take the
    case or there is no such example.
    """
    outcome, judgement = _chosen(result, method)
    rows = result.exact.rows
    place = _place(result, outcome, judgement, example)
    row = rows[place]
    names = (*judgement.findings[place], *judgement.reduction_findings)
    return Explanation(
        result.case,
        row,
        outcome,
        judgement.verdicts[place],
        None if judgement.gradient is None else judgement.gradient.states[place],
        (*_given(result.case, row), *(_explained(step, row) for step in outcome.steps)),
        tuple(filter(None, (_birth(outcome.steps, row, "infinity"), _birth(outcome.steps, row, "nan")))),
        tuple(finding for finding in FINDINGS if finding.name in names),
        result.case.batch.is_ignored(row),
    )


def _chosen(result: Result, method: str | None) -> tuple[Outcome, Judgement]:
    pairs = [
        (outcome, judgement)
        for outcome, judgement in zip(result.outcomes, result.judgements, strict=True)
        if judgement is not None and method in {None, outcome.method}
    ]
    if not pairs:
        raise XentError(f"{method} cannot take {result.case.name}: it {result.outcomes[0].inapplicable}")
    about = {expectation.quantity for expectation in result.case.expectations}
    wrong = [pair for pair in pairs if pair[1].verdict != "accurate" or pair[1].all_findings]
    return next((pair for pair in wrong if pair[0].method in about), (*wrong, *pairs)[0])


def _place(result: Result, outcome: Outcome, judgement: Judgement, example: int | None) -> int:
    rows, examples = result.exact.rows, len(result.case.batch.logits)

    def badness(place: int) -> tuple[bool, int, float]:
        error = abs(outcome.losses[rows[place]] - float(result.exact.losses[place]))
        known = not judgement.findings[place]
        return known, VERDICTS.index(judgement.verdicts[place]), 0.0 if np.isnan(error) else -error

    if example is None:
        return min(range(len(rows)), key=badness)
    if example not in rows:
        if 0 <= example < examples:
            sampled = f"{len(rows)} of the {examples} examples, among them {', '.join(map(str, rows[:5]))}"
            raise XentError(f"example {example} was not evaluated, only a sample: {sampled}")
        known = f"{count(examples, 'example')}, 0 to {examples - 1}"
        raise XentError(f"there is no example {example}; the case has {known}")
    return rows.index(example)


def _given(case: Case, row: int) -> tuple[Explained, ...]:
    """Return what the case gives, as the first steps."""
    return tuple(
        Explained(name, "given", tuple(text(float(value), case.dtype) for value in array[row]))
        for name, array in inputs(case.batch).items()
    )


def _explained(step: "Step", row: int) -> Explained:
    dtype = str(step.result.dtype)
    values = np.atleast_1d(_row(step, row))
    return Explained(step.name, step.formula, tuple(text(float(value), dtype) for value in values))


def _row(step: "Step", row: int) -> "FloatArray":
    """Return the example's result; the reduced loss belongs to every example."""
    return step.row(row if len(step.result) > row else 0)


def _birth(steps: "tuple[Step, ...]", row: int, kind: str) -> Birth | None:
    is_born = np.isnan if kind == "nan" else np.isinf
    made = {id(step.result): step for step in steps}
    for step in steps:
        result = _row(step, row)
        born = is_born(result)
        if step.operation in {"mean", "total"}:
            born = born & ~np.array(is_born(step.operands[0].astype(np.float64)).any())
        for number in range(len(step.operands)):
            before = is_born(_operand(step, number, row))
            born = born & ~(before.any(keepdims=True) if len(result) == 1 else before)
        if born.any():
            entry = int(np.flatnonzero(born)[0])
            return Birth(step.name, _sentence(step, row, entry, made))
    return None


def _operand(step: "Step", number: int, row: int) -> "FloatArray":
    operand: Any = step.operands[number]
    if not isinstance(operand, np.ndarray) or operand.dtype.kind in "iu":
        return np.zeros(1)  # a bound, or class indices: nothing abnormal comes from them
    return step.operand(number, row)


def _sentence(step: "Step", row: int, entry: int, made: "dict[int, Step]") -> str:
    result = _row(step, row)
    dtype = str(step.result.dtype)
    operands = [_written(step, number, row, entry, made) for number in range(len(step.operands))]
    if sign := _SIGNS.get(step.operation):
        done = f"{operands[0]} {sign} {operands[1]}"
    elif step.operation == "sum":
        done = "the sum over the classes"
    elif step.operation == "mean" and np.isnan(result).any():
        done = "the mean over no example, 0 / 0,"
    elif step.operation in {"mean", "total"}:
        done = "the sum over the examples"
    else:
        done = f"{step.name.split()[0]}({operands[0]})"
    of = f" of class {entry}" if len(result) > 1 else ""
    return f"{step.name}{of}: {done} is {_short(float(result[entry]), dtype)}"


def _written(step: "Step", number: int, row: int, entry: int, made: "dict[int, Step]") -> str:
    """Write an operand's number, and the log of a zero as what it is."""
    values = _operand(step, number, row)
    index = entry if len(values) > 1 else 0
    before = made.get(id(step.operands[number]))
    if before is not None and before.operation.startswith("log") and before.operation != "log1p":
        inner = before.operand(0, row)
        if inner[index if len(inner) > 1 else 0] == 0:
            return "log(0)"
    return _short(float(values[index]), str(step.result.dtype))


def _short(value: float, dtype: str) -> str:
    """Write a number within a sentence: 0, not 0.0."""
    return text(value, dtype).removesuffix(".0")

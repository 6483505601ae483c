"""One method on one example, step by step: where the first infinity and the first nan start, and why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.digits import format_number
from xentcli.errors import XentError, count
from xentcli.judge import Result
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.judge.verdicts import VERDICTS
from xentcli.methods.trace import inputs
from xentcli.model import LOGARITHMS, LOSS_REDUCTIONS, Case, Judgement, Operation, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xentcli.formats import FloatArray
    from xentcli.model import Step


@dataclass(frozen=True, slots=True)
class StepValues:
    """A step of one example: its name, its formula, its numbers, which are of ``dtype``."""

    name: str
    formula: str
    values: tuple[float, ...]
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What ``xent explain`` shows of one method and one example.

    ``births``: the first step with an infinity, and with a nan, that nothing before it had; a sentence each.
    ``others``: the methods that could be explained as well, where none was asked for.
    """

    case: Case
    example: int
    outcome: Outcome
    verdict: str
    gradient: str | None
    steps: tuple[StepValues, ...]
    births: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    others: tuple[str, ...]


def explain(result: Result, method: str | None, example: int | None) -> Explanation:
    """Explain a method on an example; without one, the worst example in which something is found.

    Methods that the case expects something of come first. Raises XentError where the method does not support
    the case or there is no such example.
    """
    outcome, judgement = _choose_method(result, method)
    place = _choose_example(result, outcome, judgement, example)
    row = result.exact.rows[place]
    names = (*judgement.findings[place], *judgement.reduction_findings)
    births = (_birth(outcome.steps, row, is_born) for is_born in (np.isinf, np.isnan))
    return Explanation(
        result.case,
        row,
        outcome,
        judgement.verdicts[place],
        None if judgement.gradient is None else judgement.gradient.states[place],
        tuple(_steps(result.case, outcome, row)),
        tuple(filter(None, births)),
        tuple(finding for finding in FINDINGS if finding.name in names),
        () if method else tuple(o.method for o in result.outcomes if o is not outcome and o.failure is None),
    )


def _choose_method(result: Result, method: str | None) -> tuple[Outcome, Judgement]:
    pairs = [
        (outcome, judgement)
        for outcome, judgement in zip(result.outcomes, result.judgements, strict=True)
        if judgement is not None and method in {None, outcome.method}
    ]
    if not pairs:
        reason = result.outcomes[0].inapplicable
        raise XentError(f"{method} does not support {result.case.name}: it {reason}")
    expected = {expectation.quantity for expectation in result.case.expectations}
    wrong = [pair for pair in pairs if pair[1].verdict != "accurate" or pair[1].all_findings]
    return next((pair for pair in wrong if pair[0].method in expected), (*wrong, *pairs)[0])


def _choose_example(result: Result, outcome: Outcome, judgement: Judgement, example: int | None) -> int:
    """Return the place of an example among those evaluated."""
    rows, examples = result.exact.rows, len(result.case.batch.logits)

    def badness(place: int) -> tuple[bool, int, float]:
        error = abs(outcome.losses[rows[place]] - float(result.exact.losses[place]))
        nothing_found = not judgement.findings[place]
        return nothing_found, VERDICTS.index(judgement.verdicts[place]), 0.0 if np.isnan(error) else -error

    if example is None:
        return min(range(len(rows)), key=badness)
    if example in rows:
        return rows.index(example)
    if 0 <= example < examples:
        sample = f"{len(rows)} of the {examples} examples, among them {', '.join(map(str, rows[:5]))}"
        raise XentError(f"example {example} was not evaluated, only a sample: {sample}")
    number = f"the case has {count(examples, 'example')}, 0 to {examples - 1}"
    raise XentError(f"there is no example {example}; {number}")


def _steps(case: Case, outcome: Outcome, row: int) -> "Iterator[StepValues]":
    for name, array in inputs(case.batch).items():
        yield StepValues(name, "given", tuple(array[row].astype(np.float64).tolist()), case.dtype)
    for step in outcome.steps:
        values = tuple(step.row(row).tolist())
        yield StepValues(step.name, step.formula, values, str(step.result.dtype))


def _birth(steps: "tuple[Step, ...]", row: int, is_born: "Callable[[Any], Any]") -> tuple[str, str] | None:
    """Find the first step with an entry that is abnormal although no operand of it is."""
    by_name = {step.name: step for step in steps}
    for step in steps:
        born = is_born(step.row(row))
        if step.operation in LOSS_REDUCTIONS:  # of several examples, not of this one alone
            arrays = (each for each in step.operands if isinstance(each, np.ndarray))
            born = born & ~np.any([is_born(each.astype(np.float64)).any() for each in arrays])
        else:
            for number in range(len(step.operands)):
                before = is_born(_operand(step, number, row))
                born = born & ~(before.any(keepdims=True) if len(born) == 1 else before)
        if born.any():
            return step.name, _sentence(step, row, int(np.flatnonzero(born)[0]), by_name)
    return None


def _operand(step: "Step", number: int, row: int) -> "FloatArray":
    operand: Any = step.operands[number]
    if not isinstance(operand, np.ndarray) or operand.dtype.kind in "iub":
        return np.zeros(1)  # a bound, class indices or a condition: nothing abnormal comes from them
    return step.operand(number, row)


def _sentence(step: "Step", row: int, entry: int, by_name: "dict[str, Step]") -> str:
    result = step.row(row)
    if step.operation is Operation.SUM:
        action = "the sum over the classes"
    elif step.operation is Operation.MEAN and np.isnan(result).any():
        action = "the mean over no example, 0 / 0,"
    elif step.operation in LOSS_REDUCTIONS:
        action = "the sum over the examples"
    elif step.operation is Operation.PICK:
        action = "the entry of an invalid label"
    else:
        operands = (_operand_text(step, number, row, entry, by_name) for number in range(len(step.operands)))
        action = step.operation.notation(step.operands)[1].format(*operands)
    place = f" of class {entry}" if len(result) > 1 else ""
    return f"{step.name}{place}: {action} is {_short(result[entry], step)}"


def _operand_text(step: "Step", number: int, row: int, entry: int, by_name: "dict[str, Step]") -> str:
    """Write an operand's number; the log of a zero as log(0)."""
    values = _operand(step, number, row)
    index = entry if len(values) > 1 else 0
    before = by_name.get(step.inputs[number] or "")
    if before is not None and before.operation in LOGARITHMS:
        inner = before.operand(0, row)
        if inner[index if len(inner) > 1 else 0] == 0:
            return "log(0)"
    return _short(values[index], step)


def _short(value: float, step: "Step") -> str:
    """Write a number of a step within a sentence: 0, not 0.0."""
    return format_number(float(value), str(step.result.dtype)).removesuffix(".0")

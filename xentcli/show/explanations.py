"""Explanations as a sheet of steps with sentences after it, and as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xentcli import __version__
from xentcli.digits import number, text
from xentcli.show import render as render_sheets
from xentcli.show.json import dump
from xentcli.show.prose import filled
from xentcli.show.results import numerics
from xentcli.show.sheet import Sheet, number_cell

if TYPE_CHECKING:
    from xentcli.explain import Explanation, StepValues
    from xentcli.show.screen import Screen

_FEW = 12  # classes that a cell shows in full
_FINDING = ("name", "cause", "remedy", "source", "case")


def render(explanations: Sequence["Explanation"], form: str, screen: "Screen") -> str:
    """Render what ``xent explain`` shows, JSON by the schema ``xent.explain/1``."""
    if form == "json":
        fields = list(map(_fields, explanations))
        return dump({"schema": "xent.explain/1", "version": __version__, "explanations": fields})
    return "\n".join(
        render_sheets([_sheet(explanation)], form, screen) + _sentences(explanation, screen.width)
        for explanation in explanations
    )


def _sheet(explanation: "Explanation") -> Sheet:
    born = {step for step, _ in explanation.births}
    rows = tuple(
        (step.name, step.formula, _values_cell(step), "born here" if step.name in born else "")
        for step in explanation.steps
    )
    case = explanation.case
    about = ", ".join((explanation.outcome.method, f"example {explanation.example}", *numerics(case)))
    return Sheet(f"{case.name}: {case.title} ({about})", ("step", "is", "values", "abnormal"), rows)


def _sentences(explanation: "Explanation", width: int) -> str:
    outcome = explanation.outcome
    loss = text(outcome.losses[explanation.example], outcome.dtype)
    gradient = "" if explanation.gradient is None else f", and its gradient is {explanation.gradient}"
    stands = loss if loss == explanation.verdict else f"{loss}: {explanation.verdict}"
    lines = [f"Born in {sentence}." for _, sentence in explanation.births]
    lines += ["The example is ignored."] if explanation.case.batch.is_ignored(explanation.example) else []
    lines += [f"The loss is {stands}{gradient}."]
    if (outcome.loss is not None and len(outcome.losses) > 1) or str(outcome.loss) == "nan":
        lines.append(f"The {explanation.case.reduction} is {text(outcome.loss, outcome.dtype)}.")
    for finding in explanation.findings:
        lines += ["", f"{finding.name}: {finding.cause}", f"  Remedy: {finding.remedy}"]
        lines += [f"  Source: {finding.source}", f"  Case: xent run {finding.case}"]
    return "".join(f"{filled(line, width)}\n" for line in lines)


def _fields(explanation: "Explanation") -> dict[str, Any]:
    case, outcome = explanation.case, explanation.outcome
    return {
        "name": case.name,
        "dtype": case.dtype,
        "arithmetic": case.numerics.arithmetic,
        "method": outcome.method,
        "example": explanation.example,
        "loss": number(outcome.losses[explanation.example], outcome.dtype),
        "verdict": explanation.verdict,
        "gradient": explanation.gradient,
        "steps": [
            {"step": s.name, "is": s.formula, "values": [number(v, s.dtype) for v in s.values]}
            for s in explanation.steps
        ],
        "born": [{"step": step, "sentence": sentence} for step, sentence in explanation.births],
        "findings": [{key: getattr(finding, key) for key in _FINDING} for finding in explanation.findings],
    }


def _values_cell(step: "StepValues") -> str:
    """Write the numbers of a step; of many classes the first ones and how many more there are."""
    if len(step.values) == 1:
        return number_cell(step.values[0], step.dtype)
    shown = step.values if len(step.values) <= _FEW else step.values[: _FEW - 1]
    more = f" … {len(step.values) - len(shown)} more" if len(shown) < len(step.values) else ""
    return " ".join(text(value, step.dtype) for value in shown) + more

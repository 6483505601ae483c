"""Explanations as a sheet of steps with sentences after it, and as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xentcli import __version__
from xentcli.digits import format_number, json_number, json_numbers
from xentcli.show import render as render_parts
from xentcli.show.cells import case_heading, numerics
from xentcli.show.json import dump
from xentcli.show.sheet import Cell, Lines, Part, Sheet, Tone, labelled, number_cell, paragraph

if TYPE_CHECKING:
    from xentcli.explain import Explanation, StepValues
    from xentcli.show.screen import Screen

_RIGHT_GRADIENTS = (None, "alive", "zero", "undefined")
_FEW = 12  # classes that a cell shows in full
_FINDING = ("name", "cause", "remedy", "source", "case")


def render(explanations: Sequence["Explanation"], form: str, screen: "Screen") -> str:
    """Render what ``xent explain`` shows, JSON by the schema ``xent.explain/1``."""
    if form == "json":
        fields = list(map(_fields, explanations))
        return dump({"schema": "xent.explain/1", "version": __version__, "explanations": fields})
    return render_parts([part for e in explanations for part in _parts(e, screen.width)], form, screen)


def _parts(explanation: "Explanation", width: int) -> list[Part]:
    """Return the sentence, what was computed, its steps, and what is known of what is wrong."""
    case = explanation.case
    about = (explanation.outcome.method, f"example {explanation.example}", *numerics(case))
    top = paragraph(_sentence(explanation), width, Tone.HEADING)
    top += [("",), *case_heading(case, width), ("  ", Cell(" · ".join(about), Tone.CONTEXT))]
    if explanation.others:
        more = f"other methods: --method {', '.join(explanation.others)}"
        top += paragraph(more, width, Tone.CONTEXT, indent=2)
    parts: list[Part] = [Lines(tuple(top)), _sheet(explanation)]
    for finding in explanation.findings:
        lines: list[tuple[str, ...]] = [("  ", Cell(finding.name, Tone.COMMAND))]
        lines += paragraph(finding.cause, width, indent=4)
        lines += labelled("remedy", finding.remedy, width)
        lines += [("  ", Cell("source  ", Tone.CONTEXT), finding.source)]
        lines += [("  ", Cell("case    ", Tone.CONTEXT), Cell(f"xent run {finding.case}", Tone.COMMAND))]
        parts.append(Lines(tuple(lines)))
    return parts


def _sheet(explanation: "Explanation") -> Sheet:
    born = {step for step, _ in explanation.births}
    here = Cell("starts here", Tone.ALOUD)
    rows = tuple(
        (step.name, step.formula, here if step.name in born else "", _values_cell(step))
        for step in explanation.steps
    )
    return Sheet("", ("step", "is", "", "values"), rows)


def _sentence(explanation: "Explanation") -> str:
    """Say what the loss is, then where its infinity or nan starts."""
    outcome = explanation.outcome
    loss = format_number(outcome.losses[explanation.example], outcome.dtype)
    gradient = "" if explanation.gradient is None else f", and its gradient is {explanation.gradient}"
    verdict = "" if loss == explanation.verdict else f" ({explanation.verdict})"
    is_right = explanation.verdict == "accurate" and explanation.gradient in _RIGHT_GRADIENTS
    what = "Nothing is wrong: " if is_right else ""
    where = f"in example {explanation.example}"
    sentences = [f"{what}{outcome.method} gives {loss} {where}{verdict}{gradient}."]
    starts = [sentence for _, sentence in explanation.births]
    sentences += [f"It starts in {', then in '.join(starts)}."] if starts else []
    if explanation.case.batch.is_ignored(explanation.example):
        sentences.append("The example is ignored.")
    if (outcome.loss is not None and len(outcome.losses) > 1) or str(outcome.loss) == "nan":
        sentences.append(f"The {explanation.case.reduction} is {format_number(outcome.loss, outcome.dtype)}.")
    return " ".join(sentences)


def _fields(explanation: "Explanation") -> dict[str, Any]:
    case, outcome = explanation.case, explanation.outcome
    return {
        "name": case.name,
        "dtype": case.dtype,
        "arithmetic": case.numerics.arithmetic,
        "method": outcome.method,
        "example": explanation.example,
        "loss": json_number(outcome.losses[explanation.example], outcome.dtype),
        "verdict": explanation.verdict,
        "gradient": explanation.gradient,
        "steps": [
            {"step": s.name, "is": s.formula, "values": json_numbers(s.values, s.dtype)}
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
    return " ".join(format_number(value, step.dtype) for value in shown) + more

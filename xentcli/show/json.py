"""Results as strict JSON, schema ``xent.run/1``; sheets as a list of objects."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import __version__
from xentcli.digits import json_number, json_numbers, json_ulps
from xentcli.formats import FORMATS, nearest
from xentcli.words import SEQUENTIAL

if TYPE_CHECKING:
    from xentcli.judge import Result
    from xentcli.model import Case, Comparison, Judgement, Outcome
    from xentcli.show.sheet import Sheet


def render_results(results: Sequence["Result"]) -> str:
    """Render results by the schema ``xent.run/1``: keys are only ever added to it."""
    overridden = results[0].case.overridden if results else ()
    document = {
        "schema": "xent.run/1",
        "version": __version__,
        **({"overridden": list(overridden)} if overridden else {}),
        "cases": [_case(result) for result in results],
        "summary": {
            "cases": len(results),
            "numbers": sum(result.numbers for result in results),
            "reproduced": sum(result.reproduced for result in results),
        },
    }
    return dump(document)


def render(sheets: Sequence["Sheet"]) -> str:
    """Render sheets as lists of objects, a key a column."""
    return dump([dict(zip(sheet.columns, row, strict=True)) for sheet in sheets for row in sheet.rows])


def _case(result: "Result") -> dict[str, Any]:
    case = result.case
    return {
        "name": case.name,
        "path": case.path,
        "title": case.title,
        "source": case.about.sources[0].url if case.about.sources else None,
        "dtype": case.dtype,
        "arithmetic": case.numerics.arithmetic,
        "reduction": case.reduction,
        "shape": list(case.batch.sizes),
        **_particulars(case),
        "exact": _exact(result),
        "methods": [_method(*pair) for pair in zip(result.outcomes, result.judgements, strict=True)],
        "expectations": [_expectation(check) for check in result.comparisons],
    }


def _particulars(case: "Case") -> dict[str, Any]:
    """Return what only some cases say, under the keys of the case file."""
    how, about, weighting = case.numerics, case.about, case.batch.weighting
    fields: dict[str, Any] = {
        "sources": [_without_none(asdict(source)) for source in about.sources if source.title],
        "affects": [asdict(affected) for affected in about.affects],
        "prints": [asdict(printed) for printed in about.prints],
        "accumulate": [word for word in (how.accumulate, SEQUENTIAL * how.sequential) if word],
        "flush_subnormals": how.flush_subnormals,
    }
    if weighting.class_weights is not None:
        fields["class_weights"] = json_numbers(weighting.class_weights, case.dtype)
    fields["label_smoothing"] = weighting.smoothing
    if weighting.ignored is not None:
        fields["ignored"] = np.flatnonzero(weighting.ignored).tolist()
    return {name: value for name, value in fields.items() if value}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _exact(result: "Result") -> dict[str, Any]:
    form = FORMATS[result.case.numerics.loss_dtype]
    exact = result.exact
    fields: dict[str, Any] = {
        "loss": None if exact.loss is None else json_number(nearest(exact.loss, form), form.name),
        "losses": json_numbers([nearest(loss, form) for loss in exact.losses], form.name),
        "gradient": [json_numbers(row, form.name) for row in exact.gradients],
    }
    if len(exact.rows) < len(result.case.batch.logits):
        fields["sampled"] = list(exact.rows)
    return fields


def _method(outcome: "Outcome", judgement: "Judgement | None") -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": outcome.method,
        **({} if outcome.version is None else {"version": outcome.version}),
        "loss": json_number(outcome.loss, outcome.dtype),
        "losses": json_numbers(outcome.losses, outcome.dtype),
    }
    if judgement is None:
        reasons = {"inapplicable": outcome.inapplicable, "raised": outcome.raised}
        return fields | {name: reason for name, reason in reasons.items() if reason is not None}
    fields |= {
        "ulps": json_ulps(judgement.ulps),
        "verdict": judgement.verdict,
        "verdicts": list(judgement.verdicts),
        "findings": list(judgement.all_findings),
    }
    if judgement.gradient is not None and outcome.gradient is not None:
        fields["gradient"] = {
            "state": judgement.gradient.state,
            "states": list(judgement.gradient.states),
            "error": json_number(judgement.gradient.error, "float64"),
            "residual": json_number(judgement.gradient.residual, "float64"),
            "values": [json_numbers(row, outcome.dtype) for row in outcome.gradient],
        }
    return fields


def _expectation(check: "Comparison") -> dict[str, Any]:
    expected = [json_number(float(text), "float64") for text in check.expectation.texts]
    got = json_numbers(check.values, check.dtype)
    return {
        "quantity": check.expectation.quantity,
        **({"derived": True} if check.expectation.derived else {}),
        "expected": _shaped(expected, check.expectation.shape),
        "got": _shaped(got, check.expectation.shape),
        "numbers": len(check.hits),
        "reproduced": sum(check.hits),
    }


def _shaped(values: list[Any], shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - a value, a list or lists
    """Give flattened values their shape back."""
    if not shape:
        return values[0]
    if len(shape) == 1:
        return values
    return [values[start : start + shape[1]] for start in range(0, len(values), shape[1])]


_NESTED = {dict, list}


def dump(document: object) -> str:
    """Write a document as strict JSON, lists of plain values on one line."""
    return f"{_pretty(document)}\n"


def _pretty(value: object, margin: str = "") -> str:
    """Write a value over indented lines; a list or object of plain values stays on one."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list) or _NESTED.isdisjoint(map(type, inner)):
        return json.dumps(value, allow_nan=False)
    names = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(inner)
    deeper = f"{margin}  "
    items = [f"{deeper}{name}{_pretty(item, deeper)}" for name, item in zip(names, inner, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(items), margin + closing])

"""Results as strict JSON, schema ``xent.run/1``; sheets as a list of objects."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xentcli import __version__
from xentcli.show.digits import number

if TYPE_CHECKING:
    from xentcli.model import Check, Outcome, Result
    from xentcli.show.sheets import Sheet


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
    return _dump(document)


def render(sheets: Sequence["Sheet"]) -> str:
    """Render sheets as lists of objects, a key a column."""
    return _dump([dict(zip(sheet.columns, row, strict=True)) for sheet in sheets for row in sheet.rows])


def _case(result: "Result") -> dict[str, Any]:
    case = result.case
    return {
        "name": case.name,
        "path": case.path,
        "title": case.title,
        "dtype": case.dtype,
        "arithmetic": case.arithmetic,
        "reduction": case.reduction,
        "shape": list(case.batch.logits.shape),
        "methods": [_method(outcome) for outcome in result.outcomes],
        "expectations": [_expectation(check) for check in result.checks],
    }


def _method(outcome: "Outcome") -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": outcome.method,
        "loss": number(outcome.loss, outcome.dtype),
        "losses": [number(loss, outcome.dtype) for loss in outcome.losses],
    }
    if outcome.inapplicable is not None:
        fields["inapplicable"] = outcome.inapplicable
    return fields


def _expectation(check: "Check") -> dict[str, Any]:
    expected = [number(float(text), "float64") for text in check.expectation.texts]
    got = [number(value, check.dtype) for value in check.got]
    return {
        "quantity": check.expectation.quantity,
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


def _dump(document: object) -> str:
    return f"{_pretty(document)}\n"


def _pretty(value: object, margin: str = "") -> str:
    """Write a value over indented lines; a list or object of plain values stays on one."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list) or not any(isinstance(item, dict | list) for item in inner):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    names = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(inner)
    deeper = f"{margin}  "
    items = [f"{deeper}{name}{_pretty(item, deeper)}" for name, item in zip(names, inner, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(items), margin + closing])

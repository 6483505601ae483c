"""A diagnosis as a sentence and its evidence, and as JSON."""

import math
from typing import TYPE_CHECKING, Any, Final

from xentcli import __version__
from xentcli.diagnose.diagnosis import QUANTILES, Diagnosis
from xentcli.diagnose.distribution import COUNTED_ERROR
from xentcli.diagnose.rules import RowRule, Severity
from xentcli.digits import format_ulps, json_number, json_ulps
from xentcli.errors import count, printable
from xentcli.show.json import dump
from xentcli.show.sheet import Cell, Lines, Part, Sheet, Tone, labelled, paragraph
from xentcli.show.verdict import remedy, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xentcli.diagnose.diagnosis import WorstRow
    from xentcli.diagnose.saved import SavedStep
    from xentcli.diagnose.survey import AnySurvey

_TONES: Final = {Severity.BROKEN: Tone.ALOUD, Severity.NAN: Tone.ALOUD, Severity.OFF: Tone.SILENT}
_STEPS: Final = 3  # that a line names, as of some ranks


def parts(diagnosis: Diagnosis, observed: str | None, after: str, width: int) -> list[Part]:
    """Return the verdict, the worst rows, the findings by the harm they do, then notes and facts.

    ``after`` is the command that shows more of the worst rows.
    """
    found: list[Part] = [Lines(tuple(paragraph(verdict(diagnosis, observed), width, Tone.HEADING)))]
    if rows := diagnosis.harmful_rows:
        found.append(worst_rows(diagnosis, rows))
    found += findings(diagnosis)
    if mended := remedies(diagnosis):
        lines = [line for sentence in mended for line in labelled("remedy", sentence, width)]
        if diagnosis.rows and diagnosis.survey.labelled:  # a command stays on one line, to be copied
            lines.append(("  ", Cell("next    ", Tone.CONTEXT), Cell(after, Tone.COMMAND)))
        found.append(Lines(tuple(lines)))
    about = (*notes(diagnosis), *facts(diagnosis))
    lines = [line for fact in about for line in paragraph(fact, width, Tone.CONTEXT, indent=2)]
    return [*found, Lines(tuple(lines))]


def findings(diagnosis: Diagnosis) -> list[Sheet]:
    """Return a sheet of findings, their rows and how they show, for each harm that they do."""
    sheets = []
    for severity, tone in _TONES.items():
        rules = [(rule, rows) for rule, rows in diagnosis.rules.items() if rank(diagnosis, rule) is severity]
        cells = tuple(_finding(rule, rows, tone) for rule, rows in rules)
        sheets += [Sheet(severity.value, ("finding", "rows", "how"), cells)] if cells else []
    return sheets


def remedies(diagnosis: Diagnosis) -> list[str]:
    """Return what to do about the findings that do harm, each remedy once."""
    harmful = (rule for rule in diagnosis.rules if rank(diagnosis, rule) is not Severity.NOTE)
    return list(dict.fromkeys(remedy(rule.finding) for rule in harmful))


def rank(diagnosis: Diagnosis, rule: RowRule) -> Severity:
    """Return the harm that a rule does; where it explains a loss that is wrong, what it always does."""
    if diagnosis.response is not None:
        return Severity.OFF if rule.severity is Severity.NOTE else rule.severity
    return diagnosis.severities[rule]


def _finding(rule: RowRule, rows: int, tone: Tone) -> tuple[str, ...]:
    return Cell(rule.finding, Tone.COMMAND), Cell(str(rows), is_number=True), Cell(rule.says, tone)


def notes(diagnosis: Diagnosis) -> "Iterator[str]":
    """Yield a sentence per finding that does no harm in most training: which formats, bounds or methods."""
    if diagnosis.response is not None:
        return
    noted: dict[str, list[str]] = {}
    for rule, rows in diagnosis.rules.items():
        if rank(diagnosis, rule) is Severity.NOTE:
            noted.setdefault(rule.finding, []).append(f"{rule.name} in {count(rows, 'row')}")
    for name, each in noted.items():
        yield f"note: {name}, {', '.join(each)}"


def facts(diagnosis: Diagnosis) -> "Iterator[str]":
    """Yield what is in the dump."""
    survey, summary, loss = diagnosis.survey, diagnosis.survey.summary, diagnosis.losses
    files = f" in {len(survey.shards)} files" if len(survey.shards) > 1 else ""
    shape = f"{diagnosis.total} × {diagnosis.classes} {diagnosis.dtype}{files}"
    shape += f" · {survey.shards[0].names}" if survey.shards[0].names else ""
    shape += "".join(f" · {step}" for step in diagnosis.steps[:_STEPS])
    shape += " · …" if len(diagnosis.steps) > _STEPS else ""
    said = [f"{shape} · no finite logit" if survey.rows or survey.complete else shape]
    if summary.smallest <= summary.largest:
        offset = f"offset {diagnosis.offset:.6g}, spread {diagnosis.spread:.6g} (medians over rows)"
        said = [f"{shape} · finite logits {summary.smallest:.6g} to {summary.largest:.6g}", offset]
    if summary.ignored:
        said[-1] += f" · {count(summary.ignored, 'label')} ignored ({survey.ignore_index})"
    if loss is not None:
        quantiles = " ".join(f"{value:.6g}" for value in loss.quantiles)
        shares = " ".join(f"{100 * share:g}" for share in QUANTILES)
        said += [f"mean loss {loss.mean:.6g} of {count(loss.number, 'row')}"]
        if loss.sampled:
            said[-1] += f" · to {format_ulps(loss.ulps)} ulps in {count(loss.sampled, 'row')} sampled"
        error = f" (each to {100 * COUNTED_ERROR:.1g} %)" if loss.are_counted else ""
        said += [f"percentiles {shares}: {quantiles}{error}"]
    yield from said
    yield from (f"note: {note}" for note in survey.notes)


def worst_rows(diagnosis: Diagnosis, rows: "Sequence[WorstRow]") -> Sheet:
    """Return the worst rows: their files where there are several, and what the loss in question gives."""
    response = diagnosis.response
    columns = ["file"] * (len(diagnosis.survey.shards) > 1) + ["row", "label", "loss"]
    columns += ["gives"] * (response is not None) + ["min", "max", "findings"]
    return Sheet("", tuple(columns), tuple(_worst_row(diagnosis, row, columns) for row in rows))


def _worst_row(diagnosis: Diagnosis, row: "WorstRow", columns: "Sequence[str]") -> tuple[str, ...]:
    rules = [rule for rule in row.rules if rule in diagnosis.rules]
    harmful = [rule.finding for rule in rules if rank(diagnosis, rule) is not Severity.NOTE]
    cells = {
        "file": printable(row.path),
        "row": Cell(str(row.number), is_number=True),
        "label": Cell("" if row.label is None else f"{row.label}", is_number=True),
        "loss": _number(row.loss, 6) if row.loss is not None else Cell("unknown", is_number=True),
        "gives": _number(row.response, 6),
        "min": _number(row.min, 4),
        "max": _number(row.max, 4),
        "findings": Cell(" ".join(dict.fromkeys(harmful)), Tone.COMMAND),
    }
    return tuple(cells[name] for name in columns)


def _number(value: float | None, digits: int) -> Cell:
    if value is None:
        return Cell("", is_number=True)
    return Cell(f"{value:.{digits}g}", Tone.PLAIN if math.isfinite(value) else Tone.ALOUD, is_number=True)


def _step_fields(path: str, saved: "SavedStep") -> dict[str, object]:
    """Return what a file of a step says of itself; ``total`` is how many rows the step had."""
    return {
        "file": path,
        "step": saved.step,
        "rank": saved.rank,
        "rows": len(saved.numbers),
        "total": saved.total,
        "what": saved.what,
    }


def json_survey(survey: "AnySurvey") -> dict[str, Any]:
    """Return which files were read, and which were not."""
    left_out = [{"file": file, "why": why} for file, why in survey.left_out]
    return {
        "complete": survey.complete,
        "files": [shard.path for shard in survey.shards],
        **({"left_out": left_out} if left_out else {}),
        **({"notes": list(survey.notes)} if survey.notes else {}),
    }


def as_json(diagnosis: Diagnosis, observed: str | None) -> str:
    """Render by the schema ``xent.diagnose/2``: keys are only ever added to it."""
    survey, summary, loss = diagnosis.survey, diagnosis.survey.summary, diagnosis.losses
    response = diagnosis.response
    return dump(
        {
            "schema": "xent.diagnose/2",
            "version": __version__,
            "verdict": verdict(diagnosis, observed),
            **json_survey(survey),
            "steps": [
                _step_fields(shard.path, shard.saved) for shard in survey.shards if shard.saved is not None
            ],
            "dtype": diagnosis.dtype,
            "shape": [diagnosis.total, diagnosis.classes],
            "rows": survey.rows,
            "labelled": survey.labelled,
            "labels": survey.kind,
            "ignored": summary.ignored,
            "smallest": json_number(summary.smallest, "float64"),
            "largest": json_number(summary.largest, "float64"),
            "offset": json_number(diagnosis.offset, "float64"),
            "spread": json_number(diagnosis.spread, "float64"),
            "losses": None
            if loss is None
            else {
                "number": loss.number,
                "mean": json_number(loss.mean, "float64"),
                "quantile_error": COUNTED_ERROR if loss.are_counted else 0,
                "quantiles": [list(pair) for pair in zip(QUANTILES, loss.quantiles, strict=True)],
                "ulps": json_ulps(loss.ulps),
                "sampled": loss.sampled,
            },
            "response": None
            if response is None
            else {
                "name": response.name,
                "nan": response.nan,
                "infinite": response.infinite,
                "off": response.off,
                "mean": json_number(response.mean, "float64"),
                "relation": None
                if response.relation is None
                else {
                    "kind": response.relation.kind,
                    "value": json_number(response.relation.value, "float64"),
                    "looked_at": response.relation.looked_at,
                    "definition": response.relation.definition,
                    "cause": response.relation.cause,
                    "remedy": response.relation.remedy,
                },
            },
            "findings": [
                {
                    "finding": rule.finding,
                    "rule": rule.name,
                    "rows": rows,
                    "says": rule.says,
                    "clip": rule.clip and list(rule.clip),
                    "invalid": rule.is_invalid,
                    "severity": rank(diagnosis, rule).value,
                    "methods": list(rule.methods),
                }
                for rule, rows in diagnosis.rules.items()
            ],
            "worst": [
                {
                    "file": row.path,
                    "row": row.row,
                    "row_in_step": None if row.shard.saved is None else row.number,
                    "label": json_number(row.label, "float64") if isinstance(row.label, float) else row.label,
                    "loss": json_number(row.loss, "float64"),
                    "smallest": json_number(row.min, "float64"),
                    "largest": json_number(row.max, "float64"),
                    "findings": list(row.findings),
                    "rules": [rule.name for rule in row.rules],
                    "response": json_number(row.response, "float64"),
                }
                for row in diagnosis.rows
            ],
        }
    )

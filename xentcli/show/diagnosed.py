"""A diagnosis as tables with a paragraph per finding, and as JSON."""

from typing import TYPE_CHECKING

from xentcli import __version__
from xentcli.diagnose.summary import QUANTILES, Diagnosis
from xentcli.digits import error, number, three
from xentcli.errors import count, printable
from xentcli.judge.findings import FINDINGS
from xentcli.show.json import dump
from xentcli.show.prose import filled
from xentcli.show.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xentcli.diagnose.summary import WorstRow

_ROUNDED_CAUSE = "Rounding the logits to a half format changes the loss."
_ROUNDED_REMEDY = "Compute the loss in float32, from logits that were not rounded."


def sheets(diagnosis: Diagnosis) -> list[Sheet]:
    """Return what is in the dump, the findings in its rows, and the worst rows."""
    title = "" if diagnosis.survey.complete else "interrupted: this is a part of the dump"
    sheets = [Sheet(title, ("dump", ""), tuple(_facts(diagnosis)))]
    if diagnosis.rules:
        read, rules = diagnosis.survey.rows, diagnosis.rules.items()
        cells = ((rule.finding, str(rows), f"{rows / read:.3g}", rule.says) for rule, rows in rules)
        sheets.append(Sheet("", ("finding", "rows", "share", "how"), tuple(cells)))
    if diagnosis.rows:
        columns = ("file", "row", "label", "loss", "min", "max", "findings")
        sheets.append(Sheet("the worst rows", columns, tuple(map(_worst_row, diagnosis.rows))))
    return sheets


def prose(diagnosis: Diagnosis, width: int) -> str:
    """Return a paragraph per finding: the cause, in how many rows, and the remedy."""
    catalogue = {finding.name: (finding.cause, finding.remedy) for finding in FINDINGS}
    most: dict[str, int] = {}
    for rule, rows in diagnosis.rules.items():
        most[rule.finding] = max(most.get(rule.finding, 0), rows)
    lines = []
    for name, rows in most.items():
        cause, remedy = catalogue.get(name, (_ROUNDED_CAUSE, _ROUNDED_REMEDY))
        head = f"{name} ({count(rows, 'row')}): {cause}"
        lines += ["", filled(head, width), filled(f"  Remedy: {remedy}", width)]
    return "".join(f"{line}\n" for line in lines)


def closing(diagnosis: Diagnosis) -> str:
    """Return the one sentence that ends a diagnosis."""
    rows = diagnosis.survey.rows
    read = f"{count(rows, 'row')} of {count(diagnosis.classes, 'class', 'classes')}"
    if not diagnosis.survey.complete:
        read = f"interrupted after {rows} of {count(diagnosis.total, 'row')}"
    invalid = [f"{rule.finding} {number}" for rule, number in diagnosis.rules.items() if rule.is_invalid]
    return f"{read}; {'invalid: ' + ', '.join(invalid) if invalid else 'none is invalid'}"


def as_json(diagnosis: Diagnosis) -> str:
    """Render by the schema ``xent.diagnose/2``: keys are only ever added to it."""
    survey, columns, loss = diagnosis.survey, diagnosis.survey.columns, diagnosis.losses
    return dump(
        {
            "schema": "xent.diagnose/2",
            "version": __version__,
            "complete": survey.complete,
            "files": [shard.path for shard in survey.shards],
            "dtype": diagnosis.dtype,
            "shape": [diagnosis.total, diagnosis.classes],
            "rows": survey.rows,
            "labelled": survey.labelled,
            "ignored": columns.ignored,
            "smallest": number(columns.min, "float64"),
            "largest": number(columns.max, "float64"),
            "offset": number(diagnosis.offset, "float64"),
            "spread": number(diagnosis.spread, "float64"),
            "losses": None
            if loss is None
            else {
                "number": loss.number,
                "mean": loss.mean,
                "quantiles": [list(pair) for pair in zip(QUANTILES, loss.quantiles, strict=True)],
                "ulps": error(loss.ulps),
                "sampled": loss.sampled,
            },
            "findings": [
                {
                    "finding": rule.finding,
                    "rule": rule.name,
                    "rows": rows,
                    "says": rule.says,
                    "clip": rule.clip and list(rule.clip),
                    "invalid": rule.is_invalid,
                }
                for rule, rows in diagnosis.rules.items()
            ],
            "worst": [
                {
                    "file": row.path,
                    "row": row.row,
                    "label": row.label,
                    "loss": number(row.loss, "float64"),
                    "smallest": number(row.min, "float64"),
                    "largest": number(row.max, "float64"),
                    "findings": list(row.findings),
                    "rules": [rule.name for rule in row.rules],
                }
                for row in diagnosis.rows
            ],
        }
    )


def _facts(diagnosis: Diagnosis) -> "Iterator[tuple[str, str]]":
    survey, columns, loss = diagnosis.survey, diagnosis.survey.columns, diagnosis.losses
    files = count(len(survey.shards), "file")
    yield "logits", f"{diagnosis.total} × {diagnosis.classes} {diagnosis.dtype} in {files}"
    yield "finite logits", f"{columns.min:.6g} to {columns.max:.6g}"
    yield "offset, spread", f"{diagnosis.offset:.6g}, {diagnosis.spread:.6g} (medians over rows)"
    if not survey.labelled:
        yield "labels", "missing: rules that need them are skipped"
        return
    yield "labels", f"{columns.ignored} ignored ({survey.ignore_index})"
    if loss is None:
        yield "loss", "no row has a finite loss"
        return
    yield "mean loss", f"{loss.mean:.6g} of {count(loss.number, 'row')}"
    quantiles = " ".join(f"{value:.6g}" for value in loss.quantiles)
    yield f"quantiles {' '.join(f'{q:g}' for q in QUANTILES)}", quantiles
    yield "error of the losses", f"at most {three(loss.ulps)} ulps in {loss.sampled} rows sampled"


def _worst_row(row: "WorstRow") -> tuple[str, ...]:
    label = "" if row.label is None else str(row.label)
    numbers = (f"{row.loss:.6g}", f"{row.min:.4g}", f"{row.max:.4g}")
    return printable(row.path), str(row.row), label, *numbers, " ".join(row.findings)

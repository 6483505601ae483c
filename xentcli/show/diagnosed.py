"""A diagnosis as tables with a paragraph a finding, and as JSON."""

from typing import TYPE_CHECKING, Any

from xentcli import __version__
from xentcli.diagnose.summary import QUANTILES, Diagnosis
from xentcli.digits import error, number, three
from xentcli.errors import count, printable
from xentcli.judge.findings import FINDINGS
from xentcli.show.json import dump
from xentcli.show.prose import filled
from xentcli.show.sheet import Sheet

if TYPE_CHECKING:
    from xentcli.diagnose.summary import Row, Spoiled

_OF_ROUNDING = "Compute the loss in float32, of logits that were not rounded."


def sheets(diagnosis: Diagnosis) -> list[Sheet]:
    """Return what is in the dump, what spoils its rows, and the worst of them."""
    title = "" if diagnosis.survey.complete else "interrupted: this is a part of the dump"
    facts = Sheet(title, ("of the dump", ""), tuple(_facts(diagnosis)))
    spoiled = tuple(
        (e.spoiler.name, str(e.number), _share(diagnosis, e.number), e.spoiler.says)
        for e in diagnosis.spoiled
    )
    found = [facts]
    if spoiled:
        found.append(Sheet("", ("spoiled", "rows", "share", "how"), spoiled))
    if diagnosis.rows:
        columns = ("file", "row", "label", "loss", "smallest", "largest", "spoiled by")
        found.append(Sheet("the worst rows", columns, tuple(map(_shown, diagnosis.rows))))
    return found


def prose(diagnosis: Diagnosis, width: int) -> str:
    """Return a paragraph a finding: what, in how many rows, and the remedy."""
    by_finding: dict[str | None, list[Spoiled]] = {}
    for each in diagnosis.spoiled:
        by_finding.setdefault(each.spoiler.finding, []).append(each)
    lines = []
    for name, spoiled in by_finding.items():
        most = max(each.number for each in spoiled)
        finding = next((finding for finding in FINDINGS if finding.name == name), None)
        cause = finding.cause if finding else "Rounding the logits to half a format changes the loss."
        remedy = finding.remedy if finding else _OF_ROUNDING
        head = f"{name or 'rounded-logits'} ({count(most, 'row')}): {cause}"
        lines += ["", filled(head, width), filled(f"  Remedy: {remedy}", width)]
    return "".join(f"{line}\n" for line in lines)


def closing(diagnosis: Diagnosis) -> str:
    """Return the one sentence that ends a diagnosis."""
    rows = diagnosis.survey.rows
    read = f"{count(rows, 'row')} of {diagnosis.classes} classes"
    if not diagnosis.survey.complete:
        read = f"interrupted after {rows} of {count(diagnosis.total, 'row')}"
    broken = [each for each in diagnosis.spoiled if each.spoiler.broken]
    if broken:
        return f"{read}; broken: {', '.join(f'{e.spoiler.name} {e.number}' for e in broken)}"
    return f"{read}; none of them is broken"


def as_json(diagnosis: Diagnosis) -> str:
    """Render by the schema ``xent.diagnose/1``: keys are only ever added to it."""
    survey, loss = diagnosis.survey, diagnosis.losses
    return dump(
        {
            "schema": "xent.diagnose/1",
            "version": __version__,
            "complete": survey.complete,
            "files": [shard.path for shard in survey.shards],
            "dtype": diagnosis.dtype,
            "shape": [diagnosis.total, diagnosis.classes],
            "rows": survey.rows,
            "labelled": survey.labelled,
            "ignored": survey.ignored,
            "smallest": _plain(survey.low),
            "largest": _plain(survey.top),
            "offset": _plain(diagnosis.offset),
            "spread": _plain(diagnosis.spread),
            "losses": None
            if loss is None
            else {
                "number": loss.number,
                "mean": loss.mean,
                "quantiles": [list(pair) for pair in zip(QUANTILES, loss.quantiles, strict=True)],
                "ulps": error(loss.ulps),
                "sampled": loss.sampled,
            },
            "spoiled": [
                {
                    "name": each.spoiler.name,
                    "rows": each.number,
                    "says": each.spoiler.says,
                    "finding": each.spoiler.finding,
                    "broken": each.spoiler.broken,
                }
                for each in diagnosis.spoiled
            ],
            "worst": [_fields(row) for row in diagnosis.rows],
        }
    )


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    survey, loss = diagnosis.survey, diagnosis.losses
    files = count(len(survey.shards), "file")
    facts = [
        ("logits", f"{diagnosis.total} × {diagnosis.classes} {diagnosis.dtype} in {files}"),
        ("finite logits", f"{survey.low:.6g} to {survey.top:.6g}"),
        ("offset, spread", f"{diagnosis.offset:.6g}, {diagnosis.spread:.6g} (medians over rows)"),
    ]
    if not survey.labelled:
        return [*facts, ("labels", "missing: what depends on them is left out")]
    facts.append(("labels", f"{survey.ignored} ignored ({survey.ignore_index})"))
    if loss is None:
        return [*facts, ("loss", "no row has a finite one")]
    shown = " ".join(f"{value:.6g}" for value in loss.quantiles)
    return [
        *facts,
        ("mean loss", f"{loss.mean:.6g} of {count(loss.number, 'row')}"),
        (f"quantiles {' '.join(f'{q:g}' for q in QUANTILES)}", shown),
        ("error of the losses", f"at most {three(loss.ulps)} ulps in {loss.sampled} rows sampled"),
    ]


def _share(diagnosis: Diagnosis, number: int) -> str:
    return f"{number / max(1, diagnosis.survey.rows):.3g}"


def _shown(row: "Row") -> tuple[str, ...]:
    label = "" if row.label is None else str(row.label)
    numbers = (f"{row.loss:.6g}", f"{row.low:.6g}", f"{row.top:.6g}")
    return printable(row.path), str(row.row), label, *numbers, ", ".join(row.names)


def _fields(row: "Row") -> dict[str, Any]:
    return {
        "file": row.path,
        "row": row.row,
        "label": row.label,
        "loss": _plain(row.loss),
        "smallest": _plain(row.low),
        "largest": _plain(row.top),
        "spoiled_by": list(row.names),
    }


def _plain(value: float) -> float | int | str | None:
    return number(value, "float64")

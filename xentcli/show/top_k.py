"""A diagnosis of a top-k dump as a sentence and its evidence, and as JSON."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING, Any

from xentcli import __version__
from xentcli.diagnose.diagnosis import QUANTILES
from xentcli.diagnose.distribution import COUNTED_ERROR
from xentcli.diagnose.summary import LEADING
from xentcli.diagnose.top_k import BROKEN
from xentcli.digits import json_number
from xentcli.errors import count, printable
from xentcli.show.diagnosed import json_survey
from xentcli.show.json import dump
from xentcli.show.sheet import Cell, Lines, Part, Sheet, Tone, paragraph
from xentcli.show.verdict import of_nothing, of_survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xentcli.diagnose.distribution import Distribution
    from xentcli.diagnose.survey import TopKSurvey
    from xentcli.diagnose.top_k import BrokenRow


def parts(survey: "TopKSurvey", width: int) -> list[Part]:
    """Return the verdict, the first broken rows, how many there are of each kind, and facts."""
    answer = Lines(tuple(paragraph(verdict(survey), width, Tone.HEADING)))
    lines = (line for fact in facts(survey) for line in paragraph(fact, width, Tone.CONTEXT, indent=2))
    return [answer, *broken(survey), Lines(tuple(lines))]


def broken(survey: "TopKSurvey") -> list[Sheet]:
    """Return the first broken rows, and how many there are of each kind; nothing where none is."""
    if not survey.summary.broken:
        return []
    columns = ("file", "row", "label", "how")[len(survey.shards) == 1 :]
    rows = tuple(_row(survey, row)[-len(columns) :] for row in survey.summary.broken)
    kinds = [(name, survey.summary.why[name]) for name in BROKEN if name in survey.summary.why]
    cells = ((Cell(str(rows), is_number=True), Cell(BROKEN[name], Tone.ALOUD)) for name, rows in kinds)
    return [Sheet("", columns, rows), Sheet("broken", ("rows", "how"), tuple(cells))]


def facts(survey: "TopKSurvey") -> list[str]:
    """Return what is in the dump, and the notes of the run."""
    return [*_facts(survey), *(f"note: {note}" for note in survey.notes)]


def verdict(survey: "TopKSurvey") -> str:
    """Say in a sentence or two what the losses are, or at least are, and which rows are broken."""
    if not survey.rows:
        return of_nothing(survey)
    said = " ".join(filter(None, (_of_broken(survey), _of_losses(survey))))
    return of_survey(said, survey)


def _of_broken(survey: "TopKSurvey") -> str:
    """Say how many rows are broken, and name the first; nothing where none is."""
    number, rows = sum(survey.summary.why.values()), survey.summary.broken[:LEADING]
    if not number:
        return "" if survey.labelled else f"No row of {survey.rows} is broken."
    named = [f"{_place(survey, row)} ({BROKEN[row.why]})" for row in rows]
    more = f" and {number - len(named)} more" if number > len(named) else ""
    are = "is" if number == 1 else "are"
    return f"{number} of {count(survey.rows, 'row')} {are} broken: {', '.join(named)}{more}."


def _place(survey: "TopKSurvey", row: "BrokenRow") -> str:
    shard, number = survey.place(row.row)
    return f"row {number}" + (f" of {printable(shard.path)}" if len(survey.shards) > 1 else "")


def _of_losses(survey: "TopKSurvey") -> str:
    """Say what the mean loss is of rows whose label is among the k, and of the others."""
    summary, k = survey.summary, survey.shards[0].logits.shape[1]
    inside, outside, number = summary.inside.number, summary.outside.number, summary.number
    if not number:
        is_ignored = summary.ignored == survey.rows
        return f"Every label is ignored ({survey.ignore_index}): there is no loss." * is_ignored
    that_count = " that count" if number < survey.rows else ""
    said = f"Of {count(number, 'row')}{that_count} the label is among the {k} largest in "
    if not inside:
        return f"{said}none; the mean loss is at least {_floor(summary.mean)}."
    mean = f"{summary.mean_inside:.6g}" if survey.has_losses else f"at least {_floor(summary.mean_inside)}"
    if not outside:
        return f"{said}{'all' if number > 1 else 'it'}; the mean loss is {mean}."
    others = f"that of the other {outside} ({100 * outside / number:.3g} %) is at least"
    total = f"that of all at least {_floor(summary.mean)}"
    return f"{said}{inside}; their mean loss is {mean}, {others} {_floor(summary.mean_outside)}, and {total}."


def _facts(survey: "TopKSurvey") -> "Iterator[str]":
    """Say what is in the dump."""
    summary, first = survey.summary, survey.shards[0]
    files = f" in {len(survey.shards)} files" if len(survey.shards) > 1 else ""
    normaliser = "no logsumexp: losses are lower bounds"
    if first.logsumexp is not None:
        normaliser = first.names or "with logsumexp"
    fact = f"{survey.total} × the {first.logits.shape[1]} largest, {survey.dtype}{files} · {normaliser}"
    if summary.ignored:
        fact += f" · {count(summary.ignored, 'label')} ignored ({survey.ignore_index})"
    yield fact
    if summary.inside.number:
        yield f"label inside, {_percentiles(summary.inside, is_bound=not survey.has_losses)}"
    if summary.outside.number:
        yield f"label outside, {_percentiles(summary.outside, is_bound=True)}"
    if survey.has_losses and summary.inside.number:
        rounding = Context(prec=2, rounding=ROUND_CEILING).create_decimal_from_float(summary.rounding)
        yield f"losses are right to {float(rounding):g}, the rounding of what is stored"


def _percentiles(losses: "Distribution", *, is_bound: bool) -> str:
    """Name percentiles, and what they are; what they are at least is rounded down."""
    shares = " ".join(f"{100 * share:g}" for share in QUANTILES)
    values = " ".join(_floor(each) if is_bound else f"{each:.6g}" for each in losses.quantiles(QUANTILES))
    error = f" (each to {100 * COUNTED_ERROR:.1g} %)" if losses.is_counted else ""
    return f"percentiles {shares}: {'at least ' * is_bound}{values}{error}"


def _floor(bound: float) -> str:
    """Write what a loss is at least, rounded down."""
    return f"{float(Context(prec=6, rounding=ROUND_FLOOR).create_decimal_from_float(bound)):.6g}"


def _row(survey: "TopKSurvey", row: "BrokenRow") -> tuple[str, ...]:
    shard, number = survey.place(row.row)
    label = "" if row.label is None else str(row.label)
    numbers = (Cell(str(number), is_number=True), Cell(label, is_number=True))
    return printable(shard.path), *numbers, Cell(BROKEN[row.why], Tone.ALOUD)


def as_json(survey: "TopKSurvey") -> str:
    """Render by the schema ``xent.diagnose-top-k/1``: keys are only ever added to it."""
    summary, first = survey.summary, survey.shards[0]
    normaliser = None if first.logsumexp is None else str(first.logsumexp.dtype.newbyteorder("="))
    return dump(
        {
            "schema": "xent.diagnose-top-k/1",
            "version": __version__,
            "verdict": verdict(survey),
            **json_survey(survey),
            "dtype": survey.dtype,
            "shape": [survey.total, first.logits.shape[1]],
            "logsumexp": normaliser,
            "rows": survey.rows,
            "labelled": survey.labelled,
            "ignored": summary.ignored,
            "inside": _json_losses(summary.inside, summary.mean_inside)
            | {"exact": survey.has_losses, "rounding": summary.rounding},
            "outside": _json_losses(summary.outside, summary.mean_outside) | {"exact": False},
            "mean": json_number(summary.mean, "float64") if summary.number else None,
            "exact": survey.has_losses and not summary.outside.number,
            "broken": [
                {"name": name, "rows": summary.why[name], "says": words}
                for name, words in BROKEN.items()
                if name in summary.why
            ],
            "first": [
                {"file": shard.path, "row": number, "label": row.label, "name": row.why}
                for row in summary.broken
                for shard, number in [survey.place(row.row)]
            ],
        }
    )


def _json_losses(losses: "Distribution", mean: float) -> dict[str, Any]:
    """Return losses, or their bounds, in a few numbers."""
    quantiles = zip(QUANTILES, losses.quantiles(QUANTILES), strict=True)
    return {
        "number": losses.number,
        "mean": json_number(mean, "float64") if losses.number else None,
        "quantile_error": COUNTED_ERROR if losses.is_counted else 0,
        "quantiles": [list(pair) for pair in quantiles] if losses.number else [],
    }

"""Two dumps beside each other as a sentence and its evidence, and as JSON."""

from typing import TYPE_CHECKING, Any

from xentcli import __version__
from xentcli.digits import format_number, json_number
from xentcli.errors import count
from xentcli.show.json import dump
from xentcli.show.sheet import Lines, Part, Tone, labelled, paragraph

if TYPE_CHECKING:
    from xentcli.diagnose.against import Comparison


def parts(comparison: "Comparison", width: int) -> list[Part]:
    """Return the sentence, what to do, and how far the numbers are apart."""
    change = comparison.change
    lines = paragraph(sentence(comparison), width, Tone.HEADING)
    if change is not None and change.remedy:
        lines += labelled("remedy", change.remedy, width)
    facts = [line for fact in _facts(comparison) for line in paragraph(fact, width, Tone.CONTEXT, indent=2)]
    return [Lines(tuple(lines)), Lines(tuple(facts))]


def sentence(comparison: "Comparison") -> str:
    """Say what turns one dump into the other, else how far apart they are."""
    if comparison.change is not None:
        return comparison.change.sentence
    apart = comparison.apart
    share = 100 * (apart.number - apart.same) / apart.number
    far = f"{apart.largest:.3g} ulps" if apart.largest < float("inf") else "beyond all ulps"
    return (
        f"No one change turns the first dump into the second: {share:.3g} % of the logits differ, at most by "
        f"{far} (row {apart.row}, class {apart.place}), in the middle by {apart.median:.3g}."
    )


def _facts(comparison: "Comparison") -> list[str]:
    apart, (ours, theirs) = comparison.apart, comparison.formats
    read = f"{count(comparison.rows, 'row')} of {count(comparison.classes, 'class', 'classes')}"
    looked = "" if comparison.looked_at == comparison.rows else f", {comparison.looked_at} of them looked at"
    facts = [f"{read}{looked} · {ours} and {theirs}", f"{apart.same} of {apart.number} logits are the same"]
    if apart.same < apart.number:
        numbers = f"{format_number(apart.one, ours)} and {format_number(apart.other, theirs)}"
        facts.append(f"furthest apart in row {apart.row}, class {apart.place}: {numbers}")
    return facts


def as_json(comparison: "Comparison") -> str:
    """Return the comparison by the schema ``xent.against/1``."""
    change, apart = comparison.change, comparison.apart
    found: dict[str, Any] | None = None
    if change is not None:
        found = {
            "name": change.name,
            "value": None if change.value is None else json_number(change.value, "float64"),
            "remedy": change.remedy,
        }
    return dump(
        {
            "schema": "xent.against/1",
            "version": __version__,
            "verdict": sentence(comparison),
            "rows": comparison.rows,
            "classes": comparison.classes,
            "formats": list(comparison.formats),
            "looked_at": comparison.looked_at,
            "change": found,
            "apart": {
                "numbers": apart.number,
                "same": apart.same,
                "median_ulps": json_number(apart.median, "float64"),
                "largest_ulps": json_number(apart.largest, "float64"),
                "row": apart.row,
                "class": apart.place,
            },
        }
    )

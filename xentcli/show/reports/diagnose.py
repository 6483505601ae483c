"""A diagnosis → the document of ``xent diagnose``: the verdict, worst rows, findings, pictures."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xentcli.diagnose.bins import bins_of
from xentcli.diagnose.distribution import COUNTED_ERROR
from xentcli.diagnose.profile import ALL, parts_of
from xentcli.errors import XentError, count, printable
from xentcli.show import charts
from xentcli.show.diagnosed import facts, findings, notes, rank, remedies, worst_rows
from xentcli.show.document import Code, Content, Document, Facts, Picture, Prose, Section, render
from xentcli.show.reports.shared import findings_section, sheets_in, with_links
from xentcli.show.sheet import Cell, Sheet, Tone
from xentcli.show.verdict import verdict

if TYPE_CHECKING:
    from xentcli.diagnose.diagnosis import Diagnosis
    from xentcli.diagnose.distribution import Distribution
    from xentcli.diagnose.profile import Places
    from xentcli.diagnose.rules import RowRule

_RUNS: Final = 6  # of parts that a cell names
_GAP: Final = (
    "The gap of a row is its largest other logit less the label's: below 0 the label wins, above 0 another "
    "class."
)
_STRIPS: Final = (
    "The stronger the colour of a part, the more of its rows have the finding; one row is seen too."
)


def report(diagnosis: "Diagnosis", observed: str | None, after: str, command: str) -> str:
    """Return the document; ``observed`` and ``after`` are as ``show.diagnose`` has them.

    The survey has to be profiled. Without xent[report] there are tables in place of pictures, and a note.
    """
    sections = [
        each
        for each in (
            Section("Worst rows", "rows", tuple(_rows(diagnosis))),
            Section("Findings", "findings-of-rows", tuple(_findings(diagnosis, after))),
            Section("Where the findings lie", "places", tuple(_places(diagnosis))),
            Section("Losses", "losses", tuple(_losses(diagnosis))),
            Section("Gaps", "gaps", tuple(_gaps(diagnosis))),
            Section("The dump", "dump", tuple(Prose((fact,)) for fact in facts(diagnosis))),
        )
        if each.contents
    ]
    sections += findings_section(sheets_in(sections))
    names = [Path(shard.path).name for shard in diagnosis.survey.shards[:1]]
    of = names[0] if len(diagnosis.survey.shards) == 1 else count(len(diagnosis.survey.shards), "file")
    answer = verdict(diagnosis, observed)
    return render(Document(f"xent diagnose, {of or 'a dump'}", answer, (), tuple(sections), command))


def _rows(diagnosis: "Diagnosis") -> Iterator[Content]:
    if rows := diagnosis.harmful_rows:
        yield with_links(worst_rows(diagnosis, rows))


def _findings(diagnosis: "Diagnosis", after: str) -> Iterator[Content]:
    """Yield the findings by the harm they do, what to do, and what to type next; then those that do none."""
    sheets = findings(diagnosis)
    yield from map(with_links, sheets)
    if sheets:
        yield Facts((("remedy", tuple(remedies(diagnosis))),))
    if sheets and diagnosis.rows and diagnosis.survey.labelled:
        yield Code(after)
    yield from (Prose((Cell(note, Tone.CONTEXT),)) for note in notes(diagnosis))


def _losses(diagnosis: "Diagnosis") -> Iterator[Content]:
    """Yield the histogram of the true losses, where there are some."""
    numbers = diagnosis.survey.summary.losses
    if not diagnosis.survey.labelled or not numbers.number:
        return
    others = diagnosis.survey.rows - numbers.number
    without = (
        f" {count(others, 'other row has none, or is ignored', 'other rows have none, or are ignored')}."
    )
    yield Prose((f"The true losses of {count(numbers.number, 'row')}.{without * bool(others)}",))
    yield from _histogram(numbers, "loss")


def _gaps(diagnosis: "Diagnosis") -> Iterator[Content]:
    """Yield the histogram of gaps, where labels are classes."""
    numbers = diagnosis.survey.summary.profile.gaps
    if numbers.number:
        wins = (
            "" if diagnosis.survey.kind != "binary" else " The other class of a binary row has a logit of 0."
        )
        yield Prose((f"{_GAP}{wins} Of {count(numbers.number, 'row')} it is finite.",))
        yield from _histogram(numbers, "gap")


def _histogram(numbers: "Distribution", what: str) -> Iterator[Content]:
    """Yield a histogram and its table."""
    bins = bins_of(numbers)
    names = None if bins.are_even else [f"{low} to {high}" for low, high in bins.names]
    rows = tuple(
        (Cell(low, is_number=True), Cell(high, is_number=True), Cell(str(number), is_number=True))
        for (low, high), number in zip(bins.names, bins.counts, strict=True)
    )
    if numbers.is_counted:
        each = f"Of more than a million numbers each is known to {100 * COUNTED_ERROR:.1g} %."
        yield Prose((Cell(each, Tone.CONTEXT),))
    table = Sheet("", (f"{what} from", "up to", "rows"), rows)
    highest = max(zip(bins.counts, bins.names, strict=True), key=lambda each: each[0])
    label = f"Histogram: most rows, {highest[0]}, have a {what} from {' up to '.join(highest[1])}"
    yield from _pictured(lambda: charts.histogram(bins.edges, bins.counts, what, names), label, table)


def _places(diagnosis: "Diagnosis") -> Iterator[Content]:
    """Yield a strip for each finding, which shows in which parts of the dump its rows lie."""
    places = diagnosis.survey.summary.profile.places
    lying = {rule: places[rule.name] for rule in diagnosis.rules if rule.name in places}
    if not lying:
        return
    total = sum(len(shard.logits) for shard in diagnosis.survey.shards)
    parts, every = parts_of(diagnosis.survey.question.profiled), places[ALL].counts
    strips = [
        (
            _name(rule, lying),
            [
                (part.start, part.stop, min(1.0, int(each.counts[at]) / int(every[at])))
                for at, part in enumerate(parts)
                if each.counts[at]
            ],
        )
        for rule, each in lying.items()
    ]
    yield Prose(
        (f"The dump in {count(len(parts), 'equal part')}, from its first row to its last. {_STRIPS}",)
    )
    columns = ("finding", "how", "harm", "rows", "first row", "last row", "parts")
    rows = tuple(_place(diagnosis, rule, each) for rule, each in lying.items())
    table = with_links(Sheet("", columns, rows))
    label = f"Where the rows of {count(len(lying), 'finding')} lie in {count(total, 'row')}"
    yield from _pictured(lambda: charts.strips(parts[-1].stop, strips), label, table)


def _name(rule: "RowRule", rules: "dict[RowRule, Places]") -> str:
    """Name a rule by its finding, and where several have that by its own name too."""
    is_one = sum(other.finding == rule.finding for other in rules) == 1
    return printable(rule.finding if is_one or rule.name == rule.finding else f"{rule.finding}, {rule.name}")


def _place(diagnosis: "Diagnosis", rule: "RowRule", places: "Places") -> tuple[str, ...]:
    """Return a rule, how many rows it has, the first and the last of them, and in which parts they lie."""
    ends = []
    for row in (places.first, places.last):
        shard, number = diagnosis.survey.place(int(row))
        several = len(diagnosis.survey.shards) > 1
        ends.append(f"{number} of {printable(shard.path)}" if several else Cell(str(number), is_number=True))
    rows = Cell(str(int(places.counts.sum())), is_number=True)
    return rule.finding, rule.says, rank(diagnosis, rule).value, rows, *ends, _runs(places)


def _runs(places: "Places") -> str:
    """Name the parts that have rows, from 1, those that follow each other by the first and the last."""
    some = [at + 1 for at, number in enumerate(places.counts.tolist()) if number]
    breaks = [0, *(at for at, (one, other) in enumerate(pairwise(some), 1) if other > one + 1), len(some)]
    runs = [some[start:stop] for start, stop in pairwise(breaks)]
    named = [f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs[:_RUNS]]
    more = f" and {len(runs) - _RUNS} more runs" if len(runs) > _RUNS else ""
    return f"{', '.join(named)}{more} of {len(places.counts)}"


def _pictured(draw: "Callable[[], charts.Chart]", label: str, table: Sheet) -> Iterator[Content]:
    """Yield a picture and its table; where xent[report] is not installed a note in place of the picture."""
    try:
        yield Picture(charts.svg(draw(), label), table)
    except XentError as missing:
        yield Prose((Cell(f"{missing}.", Tone.CONTEXT),))
        yield table

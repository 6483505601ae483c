"""Results → the document of ``xent run``: every case in full, then what its findings mean."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from xentcli.errors import count, printable
from xentcli.show.cells import label
from xentcli.show.document import (
    Code,
    Content,
    Document,
    Facts,
    Link,
    Prose,
    Section,
    Several,
    anchors,
    render,
)
from xentcli.show.reports.shared import findings_section, references, sheets_in, to_finding, with_links
from xentcli.show.run import about, causes, listed, missing, sentence, sheet_of, typed
from xentcli.show.sentences import closing
from xentcli.show.sheet import Cell, Sheet, Tone

if TYPE_CHECKING:
    from xentcli.judge import Result

JUDGED: Final = ("loss", "verdict", "ulps", "gradient", "residual", "findings")
_GIVEN: Final = ("loss", "losses", "expected", "reproduced")


def report(results: "Sequence[Result]", command: str) -> str:
    """Return the document; of one case its sentence is the answer, of several how many are reproduced."""
    names = anchors([result.case.name for result in results], "case")
    if len(results) == 1:
        (result,), (name,) = results, names
        title, contents = _title(result), tuple(_case(result, name))
        sections = [Section(title, name, contents)]
        subject, answer = f"xent run {result.case.name}", str(sentence(result))
    else:
        sections = [
            Section("Cases", "cases", (_listed(results, names),)),
            Section("The numbers of each case", "numbers", (), case_sections(results, names)),
        ]
        subject, answer = f"xent run, {count(len(results), 'case')}", f"{closing(results)}."
    sections += findings_section(sheets_in(sections))
    return render(Document(subject, answer, (), tuple(sections), command))


def case_sections(results: "Sequence[Result]", names: Sequence[str]) -> tuple[Section, ...]:
    """Return a section per case, which begins with what the methods give and why."""
    return tuple(
        Section(_title(result), name, (Prose((sentence(result),)), *_case(result, name)))
        for result, name in zip(results, names, strict=True)
    )


def rows_of(result: "Result", anchor: str) -> dict[str, str]:
    """Return the anchor of each method's row by its label: that of the case, two hyphens, a number."""
    return {label(outcome): f"{anchor}--{at}" for at, outcome in enumerate(result.outcomes, 1)}


def _title(result: "Result") -> str:
    return f"{result.case.name}: {printable(result.case.title)}"


def _listed(results: "Sequence[Result]", names: Sequence[str]) -> Sheet:
    """Return a line per case, which leads to it."""
    sheet = listed(results)
    rows = zip(sheet.rows, names, strict=True)
    return replace(sheet, rows=tuple((Link(row[0], f"#{name}"), *row[1:]) for row, name in rows))


def _case(result: "Result", anchor: str) -> Iterator[Content]:
    """Yield how each method stands to the truth and why, what it gave, and where the case comes from."""
    case = result.case
    yield Prose((Cell(about(result), Tone.CONTEXT),))
    yield with_links(sheet_of(result, JUDGED, None), rows_of(result, anchor))
    found = causes(result)
    because = tuple((names, (Several((to_finding(each.name), each.cause)),)) for each, names in found)
    yield Facts((*because, ("remedy", tuple(dict.fromkeys(each.remedy for each, _ in found)))))
    yield replace(sheet_of(result, _GIVEN, None), title="What each method gave, and what was expected")
    yield from (Prose((note,)) for note in missing(result))
    affects = tuple(f"{each.library} {each.versions} ({each.state})" for each in case.about.affects)
    prints = tuple(f"{each.library} {each.version}: {each.call} → {each.text}" for each in case.about.prints)
    sources = references(case.about.sources)
    yield Facts((("affects", affects), ("prints", prints), ("source", sources)))
    if (name := typed(result)) is not None:
        yield Code(f"xent explain {name}")

"""What documents share: sheets with links, and what each finding in them means."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xentcli.judge.findings import FINDINGS
from xentcli.show.document import Code, Facts, Link, Picture, Prose, Section, Several, anchors
from xentcli.show.sheet import Cell, Sheet, Tone

if TYPE_CHECKING:
    from xentcli.model import Reference

_KIND = "finding"  # of the anchors of findings
_COLUMNS = ("finding", "findings")  # of sheets, in which findings are named


def to_finding(name: str) -> Link:
    """Return the name of a finding as a link to what it means."""
    return Link(name, f"#{_KIND}-{name}", tone=Tone.COMMAND)


def with_links(sheet: Sheet, rows: Mapping[str, str] | None = None) -> Sheet:
    """Return a sheet whose findings are links; ``rows`` has the anchor of each row by its first cell."""
    places = [at for at, column in enumerate(sheet.columns) if column in _COLUMNS]
    found = []
    for row in sheet.rows:
        cells = list(row)
        for at in places:
            cells[at] = Several(map(to_finding, cells[at].split()))
        if rows and str(row[0]) in rows:
            cells[0] = Link(row[0], anchor=rows[str(row[0])])
        found.append(tuple(cells))
    return replace(sheet, rows=tuple(found))


def sheets_in(sections: Iterable[Section]) -> Iterator[Sheet]:
    """Yield the sheets of sections and of the sections in them."""
    for section in sections:
        for each in section.contents:
            if isinstance(each, Sheet | Picture):
                yield each.table if isinstance(each, Picture) else each
        yield from sheets_in(section.sections)


def findings_section(sheets: Iterable[Sheet]) -> list[Section]:
    """Return a section of what the findings in sheets mean and what to do; none without any."""
    names = {
        name
        for sheet in sheets
        for at, column in enumerate(sheet.columns)
        if column in _COLUMNS
        for row in sheet.rows
        for name in row[at].split()
    }
    found = [finding for finding in FINDINGS if finding.name in names]
    sections = tuple(
        Section(
            finding.name,
            anchor,
            (
                Prose((finding.cause,)),
                Facts((("remedy", (finding.remedy,)), ("source", (_source(finding.source),)))),
                Code(f"xent findings {finding.name}"),
            ),
        )
        for finding, anchor in zip(found, anchors([each.name for each in found], _KIND), strict=True)
    )
    return [Section("What the findings mean", "findings", (), sections)] if sections else []


def _source(text: str) -> str:
    return Link(text, text) if text.startswith(("http://", "https://")) else text


def references(sources: "Sequence[Reference]") -> tuple[str, ...]:
    """Return where a case comes from: links, with title and date."""
    return tuple(
        Several(
            (
                Link(each.url, each.url),
                *(Cell(text, Tone.CONTEXT) for text in (each.title, each.date) if text),
            )
        )
        for each in sources
    )

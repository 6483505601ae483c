"""What documents share: sheets with links, and what each finding in them means."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from xentcli.judge.findings import FINDINGS
from xentcli.show.document import Code, Facts, Link, Prose, Section, Several, anchors
from xentcli.show.sheet import Cell, Sheet, Tone

if TYPE_CHECKING:
    from xentcli.model import Reference

FINDING: Final = "finding"  # the kind of the anchors of findings


def finding_links(names: str) -> str:
    """Return the names of findings, as a cell has them, as links to what they mean."""
    return Several(Link(name, f"#{FINDING}-{name}", tone=Tone.COMMAND) for name in names.split())


def with_links(sheet: Sheet, rows: Mapping[str, str] | None = None) -> Sheet:
    """Return a sheet whose findings are links; ``rows`` has the anchor of each row by its first cell."""
    at = sheet.columns.index("findings") if "findings" in sheet.columns else None
    found = []
    for row in sheet.rows:
        cells = list(row)
        if at is not None:
            cells[at] = finding_links(cells[at])
        if rows and str(row[0]) in rows:
            cells[0] = Link(row[0], anchor=rows[str(row[0])])
        found.append(tuple(cells))
    return replace(sheet, rows=tuple(found))


@dataclass(frozen=True, slots=True)
class Column:
    """The column of a sheet in which something is named."""

    sheet: Sheet
    name: str


def findings_in(sheets: Iterable[Sheet]) -> set[str]:
    """Return the names in the columns ``findings`` and ``finding`` of sheets."""
    return {
        name
        for sheet in sheets
        for at, column in enumerate(sheet.columns)
        if column in {"findings", "finding"}
        for row in sheet.rows
        for name in row[at].split()
    }


def findings_section(names: Iterable[str]) -> Section | None:
    """Return what each finding means, and what to do; None where there is none."""
    asked = set(names)
    found = [finding for finding in FINDINGS if finding.name in asked]
    if not found:
        return None
    sections = tuple(
        Section(
            finding.name,
            anchor,
            (
                Prose((finding.cause,)),
                Facts((("remedy", (finding.remedy,)), ("source", (source_link(finding.source),)))),
                Code(f"xent findings {finding.name}"),
            ),
        )
        for finding, anchor in zip(found, anchors([each.name for each in found], FINDING), strict=True)
    )
    return Section("What the findings mean", "findings", (), sections)


def source_link(text: str) -> str:
    """Return a source as a link where it is an address."""
    return Link(text, text) if text.lower().startswith(("http://", "https://")) else text


def references(sources: "Sequence[Reference]") -> tuple[str, ...]:
    """Return where a case comes from, as links with title and date."""
    return tuple(
        Several((Link(each.url, each.url), *(Cell(word, Tone.CONTEXT) for word in (each.title, each.date) if word)))
        for each in sources
    )

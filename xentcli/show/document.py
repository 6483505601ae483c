"""Contents → one HTML document: no script, nothing loaded, the answer first, texts of files inert.

It is XML too. A content security policy forbids what is not in the file, so that even a text that got in as
HTML would run nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from xentcli import __version__
from xentcli.errors import printable
from xentcli.show.html import CLASSES, DARK, LIGHT
from xentcli.show.junit import cleaned
from xentcli.show.sheet import Cell, Sheet, Tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_ADDRESS: Final = re.compile(r"#[\w-]+|https?://\S+", re.ASCII | re.IGNORECASE)  # that a link may have
_SENTENCE: Final = re.compile(r"(?<=[.!?]) (?=[A-Z0-9'])")  # between two sentences
_TALL: Final = 24  # rows from which a table scrolls under its heading
_LONG: Final = 40  # characters of a cell from which it is broken into lines


class Link(Cell):
    """A text that leads somewhere, or that one is led to.

    ``target`` is the ``#anchor`` or the address that it leads to, none where it is no http one; ``hint`` says
    more, to who rests on it and to a screen reader; ``anchor`` is the name of its row.
    """

    __slots__ = ("anchor", "hint", "target")
    target: str
    hint: str
    anchor: str

    def __new__(
        cls, words: str, target: str = "", *, hint: str = "", anchor: str = "", tone: Tone | None = None
    ) -> Self:
        """Make one of a text; its tone is that of the text unless given."""
        own = words.tone if isinstance(words, Cell) else Tone.PLAIN
        is_number = isinstance(words, Cell) and words.is_number
        link = super().__new__(cls, words, own if tone is None else tone, is_number=is_number)
        link.target, link.hint, link.anchor = target, hint, anchor
        return link


class Several(Cell):
    """Texts in one cell, as some links."""

    __slots__ = ("texts",)
    texts: tuple[str, ...]

    def __new__(cls, texts: "Iterable[str]") -> Self:
        """Join texts by spaces."""
        joined = tuple(texts)
        several = super().__new__(cls, " ".join(joined))
        several.texts = joined
        return several


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph of texts."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names, each with what there is to say: a text, or several, one below the other."""

    facts: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """What can be typed, or lines of a program."""

    text: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Sheets of the same columns, whose names stand upright over narrow cells."""

    title: str
    sheets: tuple[Sheet, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG document of ``charts.svg``, and the table of the same numbers."""

    svg: str
    table: Sheet


Content = Sheet | Prose | Facts | Code | Matrix | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, which a link finds by its anchor, over contents and smaller sections."""

    title: str
    anchor: str
    contents: tuple[Content, ...]
    sections: "tuple[Section, ...]" = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A report: what it is of, its answer, contents, sections, and the command that made it."""

    subject: str
    answer: str
    contents: tuple[Content, ...]
    sections: tuple[Section, ...]
    command: str


def anchors(names: Sequence[str], kind: str) -> list[str]:
    """Return an anchor for each name, as ``case-abnormal``: letters, digits, single hyphens; no two alike."""
    taken: set[str] = set()
    found = []
    for name in names:
        own = f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
        anchor, number = own, 1
        while anchor in taken:
            number += 1
            anchor = f"{own}-{number}"
        taken.add(anchor)
        found.append(anchor)
    return found


def render(document: Document) -> str:
    """Return the document as HTML that ends with a line end."""
    first, *more = _SENTENCE.split(document.answer, maxsplit=1)
    style = f"{LIGHT}\n@media screen and (prefers-color-scheme:dark){{{DARK}}}\n{_css()}"
    lines = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        '<meta name="color-scheme" content="light dark"/>\n<meta name="referrer" content="no-referrer"/>',
        f"<title>{_text(f'{document.subject}: {first}')}</title>",
        f"<style>\n{style}</style>\n</head>\n<body>",
        '<a class="skip" href="#report">Skip to the report</a>',
        f'<main id="report" class="xent" tabindex="-1">\n<p class="context">{_text(document.subject)}</p>',
        f"<h1>{_text(first)}</h1>",
        *(f'<p class="lead">{_text(rest)}</p>' for rest in more),
        *_contents(document.contents, document.subject),
        *_table_of_contents(document.sections),
        *(line for section in document.sections for line in _section(section, 2)),
        "</main>\n<footer>\n<h2>How this was made</h2>",
        f"<pre><code>{_text(document.command)}</code></pre>",
        f"<p>xent {__version__}</p>\n</footer>\n</body>\n</html>\n",
    ]
    return "\n".join(lines)


def _css() -> str:
    return Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


def _text(text: str) -> str:
    """Return a text that is inert in HTML, between tags and in an attribute."""
    return escape(cleaned(printable(text)))


def _table_of_contents(sections: Sequence[Section]) -> "Iterator[str]":
    """Yield the links to sections, where there are several."""
    if len(sections) > 1:
        links = (f'<li><a href="#{each.anchor}">{_text(each.title)}</a></li>' for each in sections)
        yield f'<nav aria-label="Contents">\n<ul>{"".join(links)}</ul>\n</nav>'


def _section(section: Section, level: int) -> "Iterator[str]":
    title = f'<h{level} id="{section.anchor}--title">{_text(section.title)}</h{level}>'
    yield f'<section id="{section.anchor}" aria-labelledby="{section.anchor}--title">\n{title}'
    yield from _contents(section.contents, section.title)
    for smaller in section.sections:
        yield from _section(smaller, level + 1)
    yield "</section>"


def _contents(contents: Sequence[Content], title: str) -> "Iterator[str]":
    """Yield contents; sheets of the same columns that follow each other are one table."""
    together = groupby(contents, lambda each: each.columns if isinstance(each, Sheet) else id(each))
    for _, some in together:
        members = list(some)
        first = members[0]
        if isinstance(first, Sheet):
            yield _table([each for each in members if isinstance(each, Sheet)], title)
        elif isinstance(first, Matrix):
            yield _table(first.sheets, first.title, is_matrix=True)
        elif isinstance(first, Prose):
            yield f"<p>{''.join(map(_cell, first.texts))}</p>"
        elif isinstance(first, Facts):
            yield _facts(first)
        elif isinstance(first, Code):
            lines = "\n".join(map(_text, first.text.strip("\n").split("\n")))
            yield f'<pre tabindex="0"><code>{lines}</code></pre>'
        else:
            numbers = _table([first.table], title)
            yield f"<figure>\n{first.svg.strip()}\n</figure>"
            yield f"<details>\n<summary>The numbers of the picture</summary>\n{numbers}</details>"


def _facts(facts: Facts) -> str:
    shown = [(name, texts) for name, texts in facts.facts if any(texts)]
    rows = (
        f"<dt>{_text(name)}</dt>{''.join(f'<dd>{_cell(text)}</dd>' for text in texts)}\n"
        for name, texts in shown
    )
    return f"<dl>\n{''.join(rows)}</dl>" if shown else ""


def _table(sheets: Sequence[Sheet], title: str, *, is_matrix: bool = False) -> str:
    """Return sheets under one heading, in a region that scrolls and that the keyboard reaches."""
    columns, rows = sheets[0].columns, tuple(row for sheet in sheets for row in sheet.rows)
    numbers = Sheet("", columns, rows).are_numbers()
    has_one = len(sheets) == 1 and not is_matrix
    name = title if is_matrix else sheets[0].title if has_one else ""
    caption = f"<caption>{_text(name)}</caption>\n" if name else ""
    kinds = " ".join(["scroll", *["tall"] * (len(rows) >= _TALL), *["matrix"] * is_matrix])
    head = "".join(_head(name, is_number) for name, is_number in zip(columns, numbers, strict=True))
    bodies = (_body(sheet, numbers, "" if has_one else sheet.title) for sheet in sheets)
    return (
        f'<div class="{kinds}" role="region" aria-label="{_text(name or title)}" tabindex="0">\n'
        f"<table>\n{caption}"
        f"<thead>\n<tr>{head}</tr>\n</thead>\n{''.join(bodies)}</table>\n</div>"
    )


def _head(name: str, is_number: bool) -> str:
    kind = ' class="number"' if is_number else ""
    return f'<th scope="col"{kind}><span>{_cell(name)}</span></th>' if name else "<td></td>"


def _body(sheet: Sheet, numbers: Sequence[bool], title: str) -> str:
    heading = f'<tr><th scope="rowgroup" colspan="{len(numbers)}">{_text(title)}</th></tr>\n' if title else ""
    rows = "".join(_row(row, numbers) for row in sheet.rows)
    return f"<tbody>\n{heading}{rows}</tbody>\n"


def _row(cells: Sequence[str], numbers: Sequence[bool]) -> str:
    """Return a row; its first cell names it."""
    name = cells[0]
    anchor = f' id="{name.anchor}"' if isinstance(name, Link) and name.anchor else ""
    starts = ['<th scope="row"' if name else "<td", *["<td"] * (len(cells) - 1)]
    ends = ["</th>" if name else "</td>", *["</td>"] * (len(cells) - 1)]
    shown = (
        f"{start}{_kind(cell, is_number=is_number)}>{_cell(cell)}{end}"
        for start, cell, end, is_number in zip(starts, cells, ends, numbers, strict=True)
    )
    return f"<tr{anchor}>{''.join(shown)}</tr>\n"


def _kind(cell: str, *, is_number: bool) -> str:
    return ' class="number"' if is_number else ' class="long"' if len(cell) > _LONG else ""


def _cell(cell: str) -> str:
    """Return a text with its colour and its links."""
    if isinstance(cell, Several):
        return " ".join(map(_cell, cell.texts))
    tone = CLASSES.get(cell.tone) if isinstance(cell, Cell) else None
    kind, text = f' class="{tone}"' if tone else "", _text(cell)
    if isinstance(cell, Link) and _ADDRESS.fullmatch(cell.target):
        is_outside = ' rel="noreferrer noopener"' if not cell.target.startswith("#") else ""
        hint = f' title="{_text(cell.hint)}" aria-label="{_text(cell.hint)}"' if cell.hint else ""
        return f'<a href="{_text(cell.target)}"{is_outside}{kind}{hint}>{text}</a>'
    return f"<span{kind}>{text}</span>" if kind else text

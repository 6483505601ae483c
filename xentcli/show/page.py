"""A page about a name: a sentence, then facts under aligned keys, and code; as text, Markdown and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xentcli.errors import XentError, printable
from xentcli.show import render as render_parts
from xentcli.show.json import dump
from xentcli.show.markdown import escaped
from xentcli.show.sheet import Cell, Lines, Tone, paragraph

if TYPE_CHECKING:
    from xentcli.show.screen import Screen


class Command(str):
    """What can be typed; it stays on its line, to be copied."""

    __slots__ = ()


class Code(str):
    """Lines of code."""

    __slots__ = ()


class Detail(Code):
    """Lines of code that a terminal has no room for, unless all of a page is asked for."""

    __slots__ = ()


Facts = dict[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Page:
    """A ``kind`` of thing, its name, the sentence that says what it is, and blocks of facts.

    A fact of several items has a line for each; one that is empty is left out.
    """

    kind: str
    name: str
    sentence: str
    blocks: tuple[Facts, ...]

    def facts(self) -> "Iterator[list[tuple[str, tuple[str, ...]]]]":
        """Yield the facts of each block that are not empty, as a key and its items."""
        for block in self.blocks:
            items = [(key, (value,) if isinstance(value, str) else value) for key, value in block.items()]
            if filled := [(key, values) for key, values in items if any(values)]:
                yield filled


def render(pages: Sequence[Page], form: str, screen: "Screen", *, verbose: bool = True) -> str:
    """Render pages, as lines without details unless verbose; raises XentError for csv, which has no page."""
    if form == "csv":
        raise XentError("a page has no rows for csv; write it as plain, markdown or json")
    if form == "json":
        return dump([{page.kind: page.name, "sentence": page.sentence, **_fields(page)} for page in pages])
    if form == "markdown":
        return "\n".join("".join(_markdown(page)) for page in pages)
    shown = pages if verbose else map(_brief, pages)
    return render_parts([_lines(page, screen.width) for page in shown], form, screen)


def _brief(page: Page) -> Page:
    """Return the page without its details, and with a line that says which they are."""
    blocks = [
        {key: value for key, value in block.items() if not isinstance(value, Detail)} for block in page.blocks
    ]
    hidden = [key for block in page.facts() for key, (value, *_) in block if isinstance(value, Detail)]
    blocks[-1] |= {"with -v": "; ".join(hidden)}
    return replace(page, blocks=tuple(block for block in blocks if block))


def _fields(page: Page) -> dict[str, object]:
    return {
        key: value if isinstance(value, str) else list(value)
        for block in page.blocks
        for key, value in block.items()
    }


def _lines(page: Page, width: int) -> Lines:
    """Return the sentence, then the facts beside their keys and the code below its own."""
    name = f"{page.name}:"
    first, *rest = paragraph(f"{name} {printable(page.sentence)}", width)
    lines = [(Cell(name, Tone.HEADING), first[1][len(name) :]), *rest]
    keys = [key for block in page.facts() for key, (value, *_) in block if not isinstance(value, Code)]
    margin = 4 + max(map(len, keys))
    for block in page.facts():
        lines.append(("",))
        for key, items in block:
            if isinstance(items[0], Code):
                lines += [(Cell(f"  {key}", Tone.CONTEXT),)]
                lines += [(f"    {line}",) for line in items[0].splitlines()]
                continue
            heads = [key, *[""] * (len(items) - 1)]
            lines += [line for pair in zip(heads, items, strict=True) for line in _fact(*pair, width, margin)]
    return Lines(tuple(lines))


def _fact(key: str, item: str, width: int, margin: int) -> list[tuple[str, ...]]:
    """Return a fact beside its key; what can be typed stays on its line."""
    head = Cell(f"  {key}".ljust(margin), Tone.CONTEXT)
    if isinstance(item, Command):
        return [(head, Cell(item, Tone.COMMAND))]
    first, *rest = paragraph(printable(item), width, indent=margin)
    return [(head, first[1]), *rest]


def _markdown(page: Page) -> Iterator[str]:
    yield f"### {escaped(page.name)}\n\n{escaped(printable(page.sentence))}\n"
    for block in page.facts():
        yield "\n"
        for key, items in block:
            if isinstance(items[0], Code):
                yield f"{key}:\n\n```python\n{items[0]}\n```\n"
            else:
                shown = (f"`{i}`" if isinstance(i, Command) else escaped(printable(i)) for i in items)
                yield f"- {key}: {'; '.join(shown)}\n"

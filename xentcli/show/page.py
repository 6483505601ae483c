"""A page about a name: a sentence, then facts under aligned keys, and code; as text, Markdown and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
            yield [(key, values) for key, values in items if any(values)]


def render(pages: Sequence[Page], form: str, screen: "Screen") -> str:
    """Render pages; raises XentError for csv, in which a page has no form."""
    if form == "csv":
        raise XentError("a page has no rows for csv; write it as plain, markdown or json")
    if form == "json":
        return dump([{page.kind: page.name, "sentence": page.sentence, **_fields(page)} for page in pages])
    if form == "markdown":
        return "\n".join("".join(_markdown(page)) for page in pages)
    return render_parts([_lines(page, screen.width) for page in pages], form, screen)


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

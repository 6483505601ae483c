"""A page about a name: a sentence, then facts under aligned keys, and code; as text, Markdown and JSON."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xentcli.errors import XentError, printable
from xentcli.show.json import dump
from xentcli.show.markdown import escaped
from xentcli.show.prose import hanging

if TYPE_CHECKING:
    from xentcli.show.screen import Screen


class Command(str):
    """What can be typed; it stays on its line, to be copied."""

    __slots__ = ()


class Code(str):
    """Lines of code."""

    __slots__ = ()


Facts = dict[str, str | tuple[str, ...]]
_BOLD, _DIM, _CYAN = "1", "2", "36"


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
    colour = screen.colour and form == "table"
    return "\n\n".join("".join(_text(page, screen.width, colour=colour)) for page in pages)


def _fields(page: Page) -> dict[str, object]:
    return {
        key: value if isinstance(value, str) else list(value)
        for block in page.blocks
        for key, value in block.items()
    }


def _text(page: Page, width: int, *, colour: bool) -> Iterator[str]:
    def styled(text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if colour and text.strip() else text

    margin = 4 + max(
        len(key) for block in page.facts() for key, (first, *_) in block if not isinstance(first, Code)
    )
    sentence = hanging("", f"{page.name}: {printable(page.sentence)}", width, 0)
    yield f"{styled(sentence[: len(page.name) + 1], _BOLD)}{sentence[len(page.name) + 1 :]}\n"
    for block in page.facts():
        yield "\n"
        for key, items in block:
            if isinstance(items[0], Code):
                yield f"  {styled(key, _DIM)}\n{textwrap.indent(items[0], '    ')}\n"
                continue
            for number, item in enumerate(items):
                head = f"  {'' if number else key}".ljust(margin)
                shown = (
                    styled(item, _CYAN)
                    if isinstance(item, Command)
                    else hanging(head, printable(item), width, margin)[margin:]
                )
                yield f"{styled(head, _DIM)}{shown}\n"


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

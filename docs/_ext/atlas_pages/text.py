"""Markdown of texts and cells: everything of a file is escaped, so that it is shown as it is."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from xentcli.errors import printable
from xentcli.show.sheet import Cell, Tone

_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]()<>#+!|~$%&:'\"^=@-]")
_HTTP: Final = ("https://", "http://")


def escaped(text: str) -> str:
    """Return a text of which no character is markup; a line end becomes ``\\n``, visible."""
    return _SPECIAL.sub(r"\\\g<0>", printable(text))


def code(text: str) -> str:
    """Return a text as code on a line."""
    safe = printable(text)
    longest = max((len(run) for run in re.findall("`+", safe)), default=0)
    fence, pad = "`" * (longest + 1), " " if "`" in safe else ""
    return f"{fence}{pad}{safe.replace('|', chr(92) + '|')}{pad}{fence}"


def block(text: str, language: str) -> str:
    """Return lines of code, with a fence that none of them has."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def cell(text: str) -> str:
    """Return a cell, with what it means as a class; the text says it too."""
    if not text:
        return ""
    tone = text.tone if isinstance(text, Cell) else Tone.PLAIN
    return escaped(text) if tone is Tone.PLAIN else f"[{escaped(text)}]{{.{tone.name.lower()}}}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: str = "") -> str:
    """Return a table of Markdown cells; ``numbers`` has an r for each column that is aligned right."""
    sides = ["---:" if side == "r" else "---" for side in numbers.ljust(len(columns))]
    lines = [columns, sides, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def link(text: str, target: str) -> str:
    """Return a link of text to an address or a page; any other target is text beside it."""
    shown = escaped(text)
    if target.startswith(_HTTP):
        return f"[{shown}](<{re.sub('[<>]', '', printable(target))}>)"
    return (
        f"[{shown}]({target})" if target.endswith(".md") or "#" in target else f"{shown} ({escaped(target)})"
    )


def short(url: str) -> str:
    """Return how an address is read: owner/repository#number of a thread, else without the scheme."""
    thread = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)/(?:issues|pull)/(\d+)", url)
    return f"{thread[1]}#{thread[2]}" if thread else re.sub(r"^https?://", "", url)


def source(text: str) -> str:
    """Return where something is from: an address as a link, anything else as text."""
    return link(short(text), text) if text.startswith(_HTTP) else escaped(text)

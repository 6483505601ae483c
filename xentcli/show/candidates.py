"""Candidates for a stuck loss as text and JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xentcli import __version__
from xentcli.errors import count
from xentcli.identify import digits_of
from xentcli.show import render as render_parts
from xentcli.show.json import dump
from xentcli.show.sheet import Cell, Lines, Tone, labelled, paragraph

if TYPE_CHECKING:
    from xentcli.identify import Candidate
    from xentcli.show.screen import Screen

_CERTAIN = 4  # digits, of which a share of a constant needs one more
_FIELDS = ("definition", "value", "cause", "remedy", "owner", "source", "bundled")
Found = tuple[str, Sequence["Candidate"]]  # a loss as typed, and what it may be


def render(found: Sequence[Found], form: str, screen: "Screen") -> str:
    """Render what ``xent identify`` shows: a paragraph per candidate, the likeliest first."""
    if form == "json":
        documents = [_as_json(*one) for one in found]
        return "".join(map(dump, documents))
    parts = [part for typed, candidates in found for part in _parts(typed, candidates, screen.width)]
    return render_parts(parts, form, screen)


def _as_json(typed: str, candidates: Sequence["Candidate"]) -> dict[str, Any]:
    """Return a loss and its candidates by the schema ``xent.identify/1``."""
    fields = [
        {name: getattr(candidate.constant, name) for name in _FIELDS}
        | {"share": str(candidate.share), "case": candidate.case}
        for candidate in candidates
    ]
    return {"schema": "xent.identify/1", "version": __version__, "typed": typed, "candidates": fields}


def _parts(typed: str, candidates: Sequence["Candidate"], width: int) -> list[Lines]:
    if not candidates:
        return [Lines(tuple(paragraph(f"{typed}: nothing known fits these digits.", width, Tone.HEADING)))]
    is_certain = len(candidates) == 1 and digits_of(typed) >= _CERTAIN + (candidates[0].share != 1)
    firsts = (f"{typed} {'is' if is_certain else 'may be'}", *["or"] * (len(candidates) - 1))
    remedies = [candidate.constant.remedy for candidate in candidates]
    return [
        _paragraph(first, candidate, width, is_known=candidate.constant.remedy in remedies[:place])
        for place, (first, candidate) in enumerate(zip(firsts, candidates, strict=True))
    ]


def _paragraph(first: str, candidate: "Candidate", width: int, *, is_known: bool) -> Lines:
    """Return a candidate; its remedy unless that was said already."""
    constant, share = candidate.constant, candidate.share
    cause = constant.cause[0].upper() + constant.cause[1:]
    sentence = f"{first} {constant.definition}. {cause}."
    if share != 1:
        some = f"{count(share.numerator, 'example')} in {share.denominator}"
        sentence = f"{first} {share} of {constant.definition}: {some} at that floor, the rest at 0."
    lines = paragraph(sentence, width, Tone.HEADING)
    lines += [] if is_known else labelled("remedy", constant.remedy, width)
    lines += labelled("seen in", constant.owner, width)
    lines += labelled("source", constant.source, width)
    if (command := _command(candidate)) is not None:
        lines.append(("  ", Cell("next    ", Tone.CONTEXT), Cell(command, Tone.COMMAND)))
    return Lines(tuple(lines))


def _command(candidate: "Candidate") -> str | None:
    """Return what shows the value; a command stays on one line, to be copied."""
    constant = candidate.constant
    if candidate.share == 1 and constant.bundled is not None:
        return f"xent run {constant.bundled}"
    if candidate.case is None:
        return None
    if candidate.share == 1 and constant.clip is None:
        return f'xent run --logits "{constant.logits}" --labels 0'
    return f"echo '{candidate.case}' | xent run -"

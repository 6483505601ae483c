"""Candidates for a stuck loss as text and JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xentcli import __version__
from xentcli.errors import count
from xentcli.show.json import dump
from xentcli.show.prose import filled

if TYPE_CHECKING:
    from xentcli.identify import Candidate
    from xentcli.show.screen import Screen

_FIELDS = ("definition", "value", "cause", "owner", "source", "bundled")


def render(typed: str, candidates: Sequence["Candidate"], form: str, screen: "Screen") -> str:
    """Render what ``xent identify`` shows: a paragraph per candidate, the likeliest first."""
    if form == "json":
        return _as_json(typed, candidates)
    if not candidates:
        return f"{typed}: nothing known fits these digits.\n"
    return "\n".join(_paragraph(typed, candidate, screen.width) for candidate in candidates)


def _as_json(typed: str, candidates: Sequence["Candidate"]) -> str:
    """Render by the schema ``xent.identify/1``."""
    fields = [
        {name: getattr(candidate.constant, name) for name in _FIELDS}
        | {"share": str(candidate.share), "case": candidate.case}
        for candidate in candidates
    ]
    return dump({"schema": "xent.identify/1", "version": __version__, "typed": typed, "candidates": fields})


def _paragraph(typed: str, candidate: "Candidate", width: int) -> str:
    constant, share = candidate.constant, candidate.share
    lines = [f"{typed} is {constant.definition}", f"  cause: {constant.cause}"]
    if share != 1:
        some = f"{count(share.numerator, 'example')} in {share.denominator}"
        lines[0] = f"{typed} is {share} of {constant.definition}: {some} at that floor, the rest at 0"
    lines += [f"  seen in: {constant.owner}", f"  source: {constant.source}"]
    lines += [] if constant.bundled is None else [f"  bundled: xent run {constant.bundled}"]
    text = "".join(f"{filled(line, width)}\n" for line in lines)
    # A command stays on one line, to be copied.
    return text if candidate.case is None else f'{text}  case: echo "{candidate.case}" | xent run -\n'

"""Candidates for a stuck loss as text and JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xentcli import __version__
from xentcli.show.json import dump
from xentcli.show.prose import filled

if TYPE_CHECKING:
    from xentcli.identify import Candidate
    from xentcli.show.screen import Screen


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
        {
            "definition": candidate.constant.definition,
            "value": candidate.constant.value,
            "share": str(candidate.share),
            "cause": candidate.constant.cause,
            "owner": candidate.constant.owner,
            "source": candidate.constant.source,
            "case": candidate.case,
            "bundled": candidate.constant.bundled,
        }
        for candidate in candidates
    ]
    return dump({"schema": "xent.identify/1", "version": __version__, "typed": typed, "candidates": fields})


def _paragraph(typed: str, candidate: "Candidate", width: int) -> str:
    constant, share = candidate.constant, candidate.share
    what = constant.definition
    if share != 1:
        some = f"{share.numerator} example" + ("" if share.numerator == 1 else "s")
        what = f"{share} of {what}: {some} in {share.denominator} at that floor, the rest at 0"
    lines = [f"{typed} is {what}", f"  cause: {constant.cause}"]
    lines += [f"  seen in: {constant.owner}", f"  source: {constant.source}"]
    if constant.bundled is not None:
        lines.append(f"  bundled: xent run {constant.bundled}")
    lines = [filled(line, width) for line in lines]
    if candidate.case is not None:  # a command stays on one line, to be copied
        lines.append(f'  case: echo "{candidate.case}" | xent run -')
    return "".join(f"{line}\n" for line in lines)

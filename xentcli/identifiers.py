"""Identifiers of findings and cases: numbers that never move, whatever becomes of a name.

XE0101 to XE0999 are findings, from XE1001 on cases. ``identifiers.toml`` is the list.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

FIRST: Final = {"finding": 101, "case": 1001}
LIST: Final = Path(__file__).with_suffix(".toml")
_FORM: Final = re.compile(r"xe\d{4}", re.IGNORECASE)


def kind_of(identifier: str) -> str:
    """Return what an identifier names: a ``finding`` or a ``case``."""
    return "case" if int(identifier[2:]) >= FIRST["case"] else "finding"


def identifier(kind: str, name: str) -> str:
    """Return the identifier of a finding or a case; '' of one that has none yet."""
    return next((key for key, known in _names(kind).items() if known == name), "")


def resolved(kind: str, word: str) -> str:
    """Return the name for an identifier of that kind, in any case of letters; any other word as it is."""
    return _names(kind).get(word.upper(), word) if _FORM.fullmatch(word) else word


@cache
def _names(kind: str) -> dict[str, str]:
    import tomllib  # some milliseconds, and most runs name no identifier

    table: dict[str, Any] = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return {key: name for key, name in table.items() if key != "past" and kind_of(key) == kind}

"""The bytes of case files → Cases; everything that is wrong is told at once, with its place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xentcli.errors import CaseError, Refused, Unavailable
from xentcli.load.case import KEYS, REQUIRED, Loader, Overrides
from xentcli.load.document import Document

if TYPE_CHECKING:
    from xentcli.load.sources import Source
    from xentcli.model import Case

__all__ = ["KEYS", "REQUIRED", "Overrides", "load", "load_all"]


def load_all(
    sources: Sequence["Source"], problems: Sequence[CaseError] = (), overrides: Overrides | None = None
) -> "list[Case]":
    """Load every source; raises Refused with the problems of all of them and those passed in.

    Of a folder, cases are left out that need a library which is not installed.
    """
    cases: list[Case] = []
    found = list(problems)
    for source in sources:
        try:
            cases.append(load(source, overrides))
        except Unavailable as refused:
            found.extend(refused.problems if source.named else ())
        except Refused as refused:
            found.extend(refused.problems)
    if found:
        raise Refused(found)
    return cases


def load(source: "Source", overrides: Overrides | None = None) -> "Case":
    """Read one case; raises Refused with all that is wrong in it."""
    return Loader(Document(source.path, source.data), overrides or Overrides()).case(source.name)

"""Parse case files. All problems of all files are raised together as ``Refused``, with line and column."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xentcli.errors import CaseError, Refused, Unavailable
from xentcli.load.case import Overrides, read_case
from xentcli.load.document import Document
from xentcli.load.keys import KEY_NAMES, KEYS

if TYPE_CHECKING:
    from xentcli.load.sources import Source
    from xentcli.model import Case

__all__ = ["KEYS", "KEY_NAMES", "Overrides", "load", "load_all"]


def load_all(
    sources: Sequence["Source"], problems: Sequence[CaseError] = (), overrides: Overrides | None = None
) -> "list[Case]":
    """Load every source; raises Refused with the problems of all of them and those passed in.

    A case of a folder that needs a library which is not installed is skipped.
    """
    cases: list[Case] = []
    all_problems = list(problems)
    for source in sources:
        try:
            cases.append(load(source, overrides))
        except Unavailable as refused:
            all_problems.extend(refused.problems if source.named else ())
        except Refused as refused:
            all_problems.extend(refused.problems)
    if all_problems:
        raise Refused(all_problems)
    return cases


def load(source: "Source", overrides: Overrides | None = None) -> "Case":
    """Load one case; raises Refused with all its problems."""
    return read_case(Document(source.path, source.data), source.name, overrides or Overrides())

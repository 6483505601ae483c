"""Whether a version lies in a range such as ``>=2.4,<3``, by the numbers of the release alone."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne
from typing import Final

from xentcli.errors import XentError

Release = tuple[int, ...]

_RELEASE: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})*")
_CLAUSE: Final = re.compile(rf"(>=|<=|==|!=|>|<)\s*({_RELEASE.pattern})")
_RANGE: Final = re.compile(r"(?P<library>[A-Za-z][\w.-]*)?\s*(?P<clauses>[<>=!].*)")
_COMPARISONS: Final[dict[str, Callable[[Release, Release], bool]]] = {
    ">=": ge,
    "<=": le,
    "==": eq,
    "!=": ne,
    ">": gt,
    "<": lt,
}


@dataclass(frozen=True, slots=True)
class Range:
    """Versions of a library, of the one that the loss is in where ``library`` is None."""

    library: str | None
    clauses: tuple[tuple[str, Release], ...]

    @classmethod
    def parse(cls, text: str) -> "Range":
        """Read ``>=2.4,<3`` or ``liger-kernel >=0.8``; raises XentError for anything else."""
        problem = XentError(f"'{text}' is no range of versions; write one such as '>=2.4,<3'")
        if (match := _RANGE.fullmatch(text.strip())) is None:
            raise problem
        found = [_CLAUSE.fullmatch(clause.strip()) for clause in match["clauses"].split(",")]
        if not all(found):
            raise problem
        clauses = tuple((clause[1], _numbers(clause[2])) for clause in found if clause is not None)
        return cls(match["library"], clauses)

    def contains(self, version: str) -> bool:
        """Whether a version is in it; 2.13.0rc1 and 2.13.0+cpu count as 2.13.0."""
        match = _RELEASE.match(version)
        release = _numbers(match[0]) if match else ()
        width = max(len(numbers) for numbers in (release, *(bound for _, bound in self.clauses)))
        return all(
            _COMPARISONS[sign](_padded(release, width), _padded(bound, width)) for sign, bound in self.clauses
        )


def _numbers(text: str) -> Release:
    return tuple(map(int, text.split(".")))


def _padded(release: Release, width: int) -> Release:
    """Return as many numbers as ``width``: 2.4 is 2.4.0."""
    return release + (0,) * (width - len(release))

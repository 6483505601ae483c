"""METHODS and QUANTITIES: what can be computed, in the order in which it is shown."""

from collections.abc import Sequence
from typing import Final

from xentcli.errors import XentError, did_you_mean
from xentcli.methods import binary, kernels, knobs, parts
from xentcli.methods.method import Method

METHODS: Final = (*kernels.METHODS, *binary.METHODS, *parts.METHODS, *knobs.METHODS)
QUANTITIES: Final = (*kernels.QUANTITIES, *parts.QUANTITIES, *knobs.QUANTITIES)
METHOD_NAMES: Final = tuple(method.name for method in METHODS)
GROUPS: Final = {
    "default": tuple(method.name for method in METHODS if method.by_default),
    "all": METHOD_NAMES,
}


def select(names: str, others: Sequence[str] = ()) -> tuple[Method, ...]:
    """Return the methods of a list such as ``naive,dense`` or ``all``, in the order of the table.

    Raises XentError for a name that is neither a method nor a group; it may suggest one of ``others``.
    """
    wanted: set[str] = set()
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in METHOD_NAMES and name not in GROUPS:
            known = (*METHOD_NAMES, *GROUPS, *others)
            raise XentError(
                f"unknown method '{name}'" + did_you_mean(name, known, "'xent methods' lists them")
            )
        wanted.update(GROUPS.get(name, (name,)))
    if not wanted:
        raise XentError(f"no method named; known are {', '.join((*METHOD_NAMES, *GROUPS))}")
    return tuple(method for method in METHODS if method.name in wanted)

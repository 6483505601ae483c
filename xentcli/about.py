"""What a case says of itself that changes no number."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a case comes from; ``date`` is of the source, as it gives it: 2018-09-17, 2018-09 or 2018."""

    url: str
    title: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Affected:
    """Which versions of a library show the failure, and whether it is open, intended or fixed there."""

    library: str
    versions: str
    state: str


@dataclass(frozen=True, slots=True)
class Printed:
    """What a version of a library printed, as text, and the call that did."""

    library: str
    version: str
    call: str
    text: str


@dataclass(frozen=True, slots=True)
class About:
    """What a case says of itself that changes no number."""

    title: str
    sources: tuple[Reference, ...] = ()
    affects: tuple[Affected, ...] = ()
    prints: tuple[Printed, ...] = ()

"""What a caller of ``watch`` decides, and the error that it raises."""

import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from xentcli.errors import XentError
from xentcli.words import IGNORE_INDEX

ACTIONS: Final = ("raise", "warn", "skip")
KEPT: Final = ("rows", "all")
_PASSED_OVER: Final = ("xentcli.", "torch.nn.")
# Names of context that a file has for its own, and that np.savez has.
_OWN: Final = {
    "logits",
    "labels",
    "rows",
    "meta",
    "previous_logits",
    "previous_labels",
    "file",
    "allow_pickle",
}


class BadLoss(XentError, FloatingPointError):  # noqa: N818 - what it is
    """A loss that is nan, infinite, negative or worthless; its message says why, and what to look at.

    ``step``, ``rank`` and ``path`` are None where there is none; ``findings`` names the causes, the first
    one first.
    """

    def __init__(
        self,
        message: str,
        step: int | None = None,
        rank: int | None = None,
        path: str | None = None,
        findings: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.step, self.rank, self.path, self.findings = step, rank, path, findings


BadLoss.__module__ = "xentcli"  # the name that a traceback shows, and by which it is imported


class BadLossWarning(RuntimeWarning):
    """What ``on="warn"`` warns with."""


BadLossWarning.__module__ = "xentcli"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of ``watch``; ``names`` are those of its context, ``group`` is torch's.

    ``site`` is the line that calls it, '' where it is traced: what is remembered is remembered of that line.
    """

    on: str = "raise"
    every: int = 1
    folder: str = "."
    keep: str = "rows"
    most: int = 10
    ignore_index: int = IGNORE_INDEX
    names: tuple[str, ...] = ()
    group: Any = None
    gradient: bool = False
    previous: bool = False
    site: str = ""

    @classmethod
    def of(cls, options: Mapping[str, Any], names: tuple[str, ...]) -> "Options":
        """Return the options of a call of ``watch`` by their names there."""
        return cls(
            names=names, **{"folder" if name == "dir" else name: each for name, each in options.items()}
        )

    def check(self) -> "Options":
        """Return itself; raises XentError for a value that an option does not have."""
        if self.on not in ACTIONS:
            raise XentError(f"on={self.on!r}: expected one of {', '.join(map(repr, ACTIONS))}")
        if self.keep not in KEPT:
            raise XentError(f"keep={self.keep!r}: expected one of {', '.join(map(repr, KEPT))}")
        if self.every < 1 or self.most < 0:
            raise XentError(f"every={self.every}, most={self.most}: expected 1 or more, 0 or more")
        for name in self.names:
            if not isinstance(name, str) or not name.isidentifier() or name in _OWN:
                taken = ", ".join(sorted(_OWN))
                raise XentError(f"context={{{name!r}: …}}: expected a name as of a variable, none of {taken}")
        return self

    def refuse(self, *names: str) -> None:
        """Raise XentError for options that are given, but are not for the library of the arrays."""
        for name in names:
            if getattr(self, name):
                other = "; give the criterion to xentcli.Watched(criterion, gradient=True)"
                raise XentError(f"watch: {name}= is for torch{other if name == 'gradient' else ''}")


def caller() -> tuple[int, str]:
    """Return how many calls above its caller the line is that calls ``watch``, and that line.

    A module of torch is called by torch: those calls are passed over too.
    """
    frame, depth = sys._getframe(1), 0  # noqa: SLF001 - the only way
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PASSED_OVER):
        frame, depth = frame.f_back, depth + 1
    return depth, f"{frame.f_code.co_filename}:{frame.f_lineno}"


def options_of(settings: tuple[Any, ...]) -> Options:
    """Return the options of a call of ``watch``, with the line of that call; raises XentError."""
    return replace(Options(*settings), site=caller()[1]).check()


class Memory(threading.local):
    """What is remembered between the calls of one thread, for each set of options."""

    def __init__(self) -> None:
        self.calls: Counter[Options] = Counter()
        self.good: dict[Options, tuple[int | None, float]] = {}
        self.rows: dict[Options, Any] = {}

    def is_due(self, options: Options, step: int | None) -> bool:
        """Count a call, and say whether it is one that looks: by its step where that is known."""
        number = self.calls[options] if step is None else step
        self.calls[options] += 1
        return number % options.every == 0


MEMORY: Final = Memory()

"""How fast a loss is: which batches it has the time, and the memory, for."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.process import Fields

_LONGEST: Final = 10.0  # seconds for a call, as long as a process is waited for
_UNSENT: Final = 10  # a number takes a microsecond as JSON, and a tenth of that in a loss
_SHARE: Final = 1 / 4  # of the time that is left, for one call


@dataclass(slots=True)
class Pace:
    """The least seconds so far of a number, and of an example; ``deadline`` is when no call begins any more.

    Let a call take c + n·a + e·b seconds, n its numbers and e its examples. Then no call has taken less than
    c, n·a or e·b: of each the least that was seen is no less than it is, and what a batch is expected to take
    is no less than what it takes. Small batches are never left out.
    """

    deadline: float
    begin: float = field(default_factory=time.monotonic)
    call: float | None = None  # the shortest
    number: float = 0.0
    example: float = 0.0

    def why_left_out(self, probe: "Probe") -> str | None:
        """Say why a large batch is left out; None where it is not."""
        call = 0.0 if self.call is None else self.call
        expected = call + _numbers(probe) * self.number + len(probe.batch.logits) * self.example
        left = self.deadline - time.monotonic()
        if not probe.is_large or left <= 0 or expected <= min(_LONGEST, _SHARE * left):
            return None
        return f"{_sizes(probe)} would take about {expected:.0f} s; {left:.0f} s are left"

    def why_no_label(self, probe: "Probe", restarting: float) -> str | None:
        """Say why an invalid label is left out: each may cost the process, which starts anew.

        ``restarting`` is how many seconds that took so far.
        """
        if (
            probe.batch.invalid is None
            or not restarting
            or restarting <= _SHARE * (self.deadline - self.begin)
        ):
            return None
        return "more invalid labels are left out: after each the process starts anew"

    def note(self, probe: "Probe", seconds: float) -> None:
        """Remember what a call says of the time of a number, and of an example."""
        number, example = seconds / max(1, _numbers(probe)), seconds / max(1, len(probe.batch.logits))
        if self.call is not None:
            seconds, number, example = (
                min(seconds, self.call),
                min(number, self.number),
                min(example, self.example),
            )
        self.call, self.number, self.example = seconds, number, example


def _numbers(probe: "Probe") -> int:
    """Count the numbers of a batch that take time: those that are not sent take a tenth of it, at most."""
    is_sent = probe.repeated is None or probe.how.with_gradient
    return probe.batch.logits.size // (1 if is_sent else _UNSENT)


def why_unanswered(probe: "Probe", response: "Fields") -> str | None:
    """Say why a right loss might not answer either; None where it does, or should."""
    if not probe.is_large:
        return None
    if response.get("out_of_memory"):
        return (
            f"{_sizes(probe)} took too much memory: {response.get('raised', response.get('gradient_failed'))}"
        )
    return f"{_sizes(probe)} took too long" if response.get("late") else None


def _sizes(probe: "Probe") -> str:
    examples, classes = probe.batch.logits.shape
    return f"a batch of {examples:,} × {classes:,}"

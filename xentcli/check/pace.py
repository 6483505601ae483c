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
    """The times of the largest batches so far; ``deadline`` is when no call begins any more.

    Time grows at most with the numbers, or with the examples where each is a call of its own, as what a first
    call compiles does not: a batch of twice as many takes up to twice as long. Small batches are never left
    out.
    """

    deadline: float
    begin: float = field(default_factory=time.monotonic)
    numbers: tuple[int, float] = (1, 0.0)  # of the batch that has most, and its seconds
    examples: tuple[int, float] = (1, 0.0)

    def why_left_out(self, probe: "Probe") -> str | None:
        """Say why a large batch is left out; None where it is not."""
        sizes = _numbers(probe), len(probe.batch.logits)
        known = (self.numbers, self.examples)
        expected = max(seconds * size / most for size, (most, seconds) in zip(sizes, known, strict=True))
        left = self.deadline - time.monotonic()
        if not probe.is_large or left <= 0 or expected <= min(_LONGEST, _SHARE * left):
            return None
        return f"{_sizes(probe)} would take about {expected:.0f} s"

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
        """Remember a call's time, where no larger batch has one."""
        numbers, examples = _numbers(probe), len(probe.batch.logits)
        self.numbers = max(self.numbers, (numbers, seconds))
        self.examples = max(self.examples, (examples, seconds))


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

"""The processes of a group, of which each has a shard of the classes and returns all losses."""

import tempfile
import time
from typing import Final

import numpy as np

from xentcli.frameworks.function import failure
from xentcli.process import Fields, Process

_TO_FOLLOW: Final = 1.0  # seconds that the others have once one has failed: they may wait for it for ever
_LOOK: Final = 5e-4  # seconds between two looks whether a response has come


class Ranks:
    """The processes of a group, as one: all get the requests, and theirs is one response.

    A row's losses are those that one of them returned, the last for the first row, the one before it for the
    next; gradients are the sum of theirs. Where one fails, so does the response; they all start anew where
    the others then wait for it.

    ``beside`` more processes, of ranks below 0, get the requests too and are in another group. In training
    the group of a loss is hardly ever all that there are: what is reduced over all is wrong there.
    """

    def __init__(self, module: str, world: int, beside: int = 0) -> None:
        self._processes = [Process(module) for _ in range(beside + world)]
        self._beside = beside
        self._meeting: tempfile.TemporaryDirectory[str] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there are processes that have not failed to respond."""
        return all(process.is_running for process in self._processes)

    def request(self, fields: Fields, seconds: float) -> Fields:
        """Return the response of all, as ``Process.request`` does."""
        if self._meeting is None:
            self._meeting = tempfile.TemporaryDirectory(prefix="xent-", ignore_cleanup_errors=True)
        meeting = f"{self._meeting.name}/meeting"
        for rank, process in enumerate(self._processes, -self._beside):
            process.send({**fields, "rank": rank, "meeting": meeting})
        responses = self._responses(seconds)[self._beside :]
        if not self.is_running:
            self.stop()
        failed = [each for each in responses if failure(each) or "ended" in each]
        if failed:  # one that says why comes before one that waited for it
            first = min(failed, key=lambda each: ("ended" in each, each.get("late", False)))
            waited = "ended" not in first and any("ended" in each for each in failed)
            return {**first, "lost": "the other ranks waited for the one that failed"} if waited else first
        return _merged(responses) if "losses" in responses[0] else responses[0]

    def stop(self) -> None:
        """End the processes, if there are any, and what they have started."""
        for process in self._processes:
            process.stop()
        if self._meeting is not None:
            self._meeting.cleanup()
            self._meeting = None

    def _responses(self, seconds: float) -> list[Fields]:
        """Receive a response from each; those who do not follow one that failed have none, and are ended."""
        deadline, received = time.monotonic() + seconds, dict[int, Fields]()
        while len(received) < len(self._processes):
            for rank, process in enumerate(self._processes):
                if rank in received or not (process.has_more or time.monotonic() > deadline):
                    continue
                received[rank] = process.receive(0.0 if not process.has_more else seconds)
                if failure(received[rank]):
                    deadline = min(deadline, time.monotonic() + _TO_FOLLOW)
            time.sleep(_LOOK)
        return [received[rank] for rank in range(len(self._processes))]


def _merged(responses: list[Fields]) -> Fields:
    """Return the response of all: the losses of one each, the sum of the gradients."""
    kinds = [(tuple(each["shape"]), each["dtype"]) for each in responses]
    printed = next((each["printed"] for each in responses if each["printed"]), "")
    whole = {**responses[-1], "printed": printed}
    whole["wrote"] = sorted({name for each in responses for name in each["wrote"]})
    for rank, (shape, dtype) in enumerate(kinds):
        if (shape, dtype) != kinds[-1]:
            shown = f"shape {shape} in {dtype} on rank {rank}, {kinds[-1][0]} in {kinds[-1][1]} on another"
            return {"unusable": f"returned {shown}", "printed": printed, "wrote": whole["wrote"]}
    of_rank = [len(responses) - 1 - row % len(responses) for row in range(len(whole["losses"]))]
    whole["losses"] = [responses[rank]["losses"][row] for row, rank in enumerate(of_rank)]
    for name in ("gradient", "batch_gradient"):
        parts = [each[name] for each in responses if each.get(name) is not None]
        if name in whole:
            whole[name] = np.sum(parts, axis=0).tolist() if len(parts) == len(responses) else None
    return whole

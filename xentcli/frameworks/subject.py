"""A loss that responds to requests: a LossFunction in this process or in one of its own, or a Program."""

import time
from dataclasses import replace

from xentcli.errors import XentError
from xentcli.frameworks.conventions import Convention
from xentcli.frameworks.function import LossFunction, failure
from xentcli.frameworks.program import Program
from xentcli.frameworks.ranks import Ranks
from xentcli.frameworks.request import WORKER, address
from xentcli.process import Fields, Process

_TO_IMPORT = 120.0  # seconds; TensorFlow alone may take ten
_TO_RESPOND = 10.0  # seconds for a batch of a few rows, the first of its shape compiled
_LEAST = 1.0  # seconds for a request, however near the deadline: most batches take less


class InSubprocess:
    """A loss in a process of its own, which is started again after it ended or was too slow.

    ``deadline`` is the time of ``time.monotonic`` to respond by. ``libraries`` are those whose arrays it may
    expect; ``is_class`` says that the target is one, and ``has_apply`` that it is called by ``apply``.
    ``restarting`` is how many seconds went by until the process was there again whose device was lost. Raises
    XentError where it cannot be imported.
    """

    def __init__(self, target: str, gradient: str | None, convention: Convention, deadline: float) -> None:
        self._address, self._deadline = address(target, gradient, convention), deadline
        self._process = (
            Process(WORKER) if convention.ranks == 1 else Ranks(WORKER, convention.ranks, beside=1)
        )
        self._is_lost, self.restarting, self._has_responded, self._has_started = False, 0.0, False, False
        try:
            described = self._start()
        except BaseException:  # interrupted while the loss is imported
            self.stop()
            raise
        self._compiles, self._is_compiled = bool(described.get("compiles")), described.get("is_compiled")
        self.parameters, self.has_gradient = tuple(described["parameters"]), bool(described["has_gradient"])
        self.has_autodiff = bool(described["has_autodiff"])
        self.is_class, self.libraries = bool(described.get("is_class")), described.get("libraries", ())
        self.has_apply = bool(described.get("has_apply"))
        found = {name: described[name] for name in ("reduction", "flushes")}
        self.convention = replace(convention, **found, lacks=tuple(described["lacks"]))

    def respond(self, request: Fields) -> Fields:
        """Send the request to the process.

        A loss that its library can compile is called compiled, unless it may refuse the batch: it may look
        for such numbers only where it sees numbers, which one that its author compiled never does. If another
        then fails or prints, it is called as it is from then on, in a process where nothing was compiled.
        """
        compiled = self._compiles and (self._is_compiled or not request.get("may_be_refused", True))
        response = self._respond({**request, "compiled": compiled})
        if self._compiles and not self._is_compiled and (failure(response) or response["printed"]):
            self._compiles = False
            self.stop()
            response = self._respond(request)
        return response

    def _respond(self, request: Fields) -> Fields:
        if not self._process.is_running:
            begin = time.monotonic()
            try:
                self._start()
            except XentError as error:
                if time.monotonic() < self._deadline - _LEAST:
                    raise
                return {"raised": str(error), "ended": True, "late": True, "printed": ""}  # for want of time
            self.restarting += self._is_lost * (time.monotonic() - begin)
        # The first response says whether it can be judged at all, whatever the budget.
        seconds = self._seconds(_TO_RESPOND) if self._has_responded else _TO_RESPOND
        response = self._process.request({**self._address, **request}, seconds)
        self._has_responded = True
        self._is_lost = "lost" in response
        if self._is_lost:  # the next request has a new process, whose device works
            self.stop()
        return response

    def stop(self) -> None:
        """End the process."""
        self._process.stop()

    def _start(self) -> Fields:
        """Have the loss imported; raises XentError where that fails."""
        seconds = self._seconds(_TO_IMPORT) if self._has_started else _TO_IMPORT
        response = self._process.request(self._address, seconds)
        self._has_started = True
        if "refused" in response or "raised" in response:
            self.stop()
            while_imported = f"{self._address['target']}: while it was imported: {response.get('raised')}"
            raise XentError(response.get("refused", while_imported))
        return response

    def _seconds(self, most: float) -> float:
        return max(_LEAST, min(most, self._deadline - time.monotonic()))


Subject = LossFunction | InSubprocess | Program


def why_unsupported(subject: Subject, request: Fields) -> str | None:
    """Say why a loss is not called with a request, whatever its convention; None where it is."""
    return subject.why_unsupported(request) if isinstance(subject, Program) else None

"""A loss that responds to requests: a LossFunction in this process, or one in a process of its own."""

import time
from dataclasses import replace

from xentcli.errors import XentError
from xentcli.frameworks.conventions import Convention
from xentcli.frameworks.function import LossFunction, failure
from xentcli.frameworks.request import WORKER, address
from xentcli.process import Fields, Process

_TO_IMPORT = 120.0  # seconds; TensorFlow alone may take ten
_TO_RESPOND = 10.0  # seconds for a batch of a few rows, the first of its shape compiled
_LEAST = 1.0  # seconds for a request, however near the deadline: most batches take less


class InSubprocess:
    """A loss in a process of its own, which is started again after it ended or was too slow.

    ``deadline`` is the time of ``time.monotonic`` to respond by. ``libraries`` are those whose arrays it may
    expect; ``is_class`` says that the target is one, and ``has_apply`` that it is called by ``apply``. Raises
    XentError where it cannot be imported.
    """

    def __init__(self, target: str, gradient: str | None, convention: Convention, deadline: float) -> None:
        self._address, self._deadline = address(target, gradient, convention), deadline
        self._process = Process(WORKER)
        try:
            described = self._start()
        except BaseException:  # interrupted while the loss is imported
            self.stop()
            raise
        self._compiles = bool(described.get("compiles"))
        self.parameters, self.has_gradient = tuple(described["parameters"]), bool(described["has_gradient"])
        self.is_class, self.libraries = bool(described.get("is_class")), described.get("libraries", ())
        self.has_apply = bool(described.get("has_apply"))
        self.convention = replace(convention, reduction=described["reduction"], flushes=described["flushes"])

    def respond(self, request: Fields) -> Fields:
        """Send the request to the process.

        A loss that its library can compile is called compiled, unless it may refuse the batch: it may look
        for such numbers only where it sees numbers. If it then fails or prints, it is called as it is
        from then on, in a process where nothing was compiled.
        """
        compiled = self._compiles and not request.get("may_be_refused", True)
        response = self._respond({**request, "compiled": compiled})
        if self._compiles and (failure(response) or response["printed"]):
            self._compiles = False
            self.stop()
            response = self._respond(request)
        return response

    def _respond(self, request: Fields) -> Fields:
        if not self._process.is_running:
            self._start()
        return self._process.request({**self._address, **request}, self._seconds(_TO_RESPOND))

    def stop(self) -> None:
        """End the process."""
        self._process.stop()

    def _start(self) -> Fields:
        """Have the loss imported; raises XentError where that fails."""
        response = self._process.request(self._address, self._seconds(_TO_IMPORT))
        if "refused" in response or "raised" in response:
            self.stop()
            while_imported = f"{self._address['target']}: while it was imported: {response.get('raised')}"
            raise XentError(response.get("refused", while_imported))
        return response

    def _seconds(self, most: float) -> float:
        return max(_LEAST, min(most, self._deadline - time.monotonic()))


Subject = LossFunction | InSubprocess

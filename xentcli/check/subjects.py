"""The loss that is checked: in a process of its own, or in this one."""

import math
import time
from dataclasses import replace
from typing import Protocol

from xentcli.errors import XentError
from xentcli.frameworks.conventions import Convention
from xentcli.frameworks.function import Function, LossFunction
from xentcli.process import Fields, Process

_TO_IMPORT = 120.0  # seconds; TensorFlow alone may take ten
_TO_RESPOND = 10.0  # seconds for a batch of a few rows, the first of its shape compiled
_LEAST = 1.0  # seconds that a request is given however little of the budget is left: a batch takes less


class OutOfTime(Exception):  # noqa: N818 - it reads as what happened
    """The budget is spent."""


class Subject(Protocol):
    """A loss that responds to requests; ``parameters`` are as in LossFunction."""

    convention: Convention
    parameters: tuple[str, ...]
    has_gradient: bool

    def respond(self, request: Fields) -> Fields:
        """Return the response to a request for losses; raises OutOfTime."""


class InProcess:
    """A loss called in this process: nothing protects it from a loss that hangs.

    ``budget`` in seconds. Raises XentError where the convention's library is not installed.
    """

    def __init__(
        self, loss: Function, gradient: Function | None, convention: Convention, budget: float
    ) -> None:
        self._function, self._deadline = LossFunction.build(loss, gradient, convention), _deadline(budget)
        self.convention, self.parameters = self._function.convention, self._function.parameters
        self.has_gradient = self._function.has_gradient

    def respond(self, request: Fields) -> Fields:
        """Call the loss."""
        if time.monotonic() > self._deadline:
            raise OutOfTime
        return self._function.respond(request)


class InSubprocess:
    """A loss in a process of its own, which is started again after it ended or was too slow.

    ``budget`` in seconds. Raises XentError where the target cannot be imported.
    """

    def __init__(self, target: str, gradient: str | None, convention: Convention, budget: float) -> None:
        names = {"gradient": gradient, "convention": convention.name, "returns": convention.reduction}
        self._name = {"target": target, **names}
        self._process, self._deadline = Process("-m", "xentcli.frameworks.worker"), _deadline(budget)
        described = self._start()
        self.parameters, self.has_gradient = tuple(described["parameters"]), described["has_gradient"]
        self.convention = replace(convention, reduction=described["reduction"], flushes=described["flushes"])

    def respond(self, request: Fields) -> Fields:
        """Send the request to the process."""
        if time.monotonic() > self._deadline:
            raise OutOfTime
        if not self._process.is_running:
            self._start()
        return self._process.request({**self._name, **request}, self._seconds(_TO_RESPOND))

    def stop(self) -> None:
        """End the process."""
        self._process.stop()

    def _start(self) -> Fields:
        """Have the loss imported; raises XentError where that fails."""
        response = self._process.request(self._name, self._seconds(_TO_IMPORT))
        if "refused" in response or "raised" in response:
            self.stop()
            while_imported = f"{self._name['target']}: while it was imported: {response.get('raised')}"
            raise XentError(response.get("refused", while_imported))
        return response

    def _seconds(self, most: float) -> float:
        return max(_LEAST, min(most, self._deadline - time.monotonic()))


def _deadline(budget: float) -> float:
    """Return when the budget is spent, in seconds of the monotonic clock."""
    if not 0 < budget < math.inf:
        raise XentError(f"a budget is a number of seconds above 0, not {budget:g}")
    return time.monotonic() + budget

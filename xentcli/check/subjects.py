"""The loss that is checked: in a process of its own, or in this one."""

import math
import time
from typing import Protocol

from xentcli.check.calls import Callee, Function
from xentcli.check.conventions import Convention, told
from xentcli.errors import XentError
from xentcli.process import Fields, Process

_TO_IMPORT = 120.0  # seconds; TensorFlow alone may take ten
_TO_ANSWER = 10.0  # seconds for a batch of a few rows, the first of its shape compiled


class OutOfTime(Exception):  # noqa: N818 - it reads as what happened
    """The budget is spent."""


def _end(budget: float) -> float:
    """Return when the budget is spent, in seconds of the monotonic clock."""
    if not 0 < budget < math.inf:
        raise XentError(f"a budget is a number of seconds above 0, not {budget:g}")
    return time.monotonic() + budget


class Subject(Protocol):
    """A loss that can be asked.

    ``keywords`` are those it has a parameter for; ``has_gradient``: by autodiff or by a function of its own.
    """

    convention: Convention
    keywords: tuple[str, ...]
    has_gradient: bool

    def answer(self, question: Fields) -> Fields:
        """Return what the loss made of a batch; raises OutOfTime."""


class Here:
    """A loss called in this process: nothing protects it from a loss that hangs."""

    def __init__(
        self, loss: Function, gradient: Function | None, convention: Convention, budget: float
    ) -> None:
        self._callee = Callee.of(loss, gradient, convention)
        self._end = _end(budget)
        self.convention, self.keywords = self._callee.convention, self._callee.keywords
        self.has_gradient = self._callee.has_gradient

    def answer(self, question: Fields) -> Fields:
        """Call the loss."""
        if time.monotonic() > self._end:
            raise OutOfTime
        return self._callee.answer(question)


class Apart:
    """A loss in a process of its own, which is started again after it died or was too slow."""

    def __init__(self, target: str, gradient: str | None, convention: Convention, budget: float) -> None:
        arguments = (target, gradient or "", convention.name, convention.reduction)
        self._target, self._process = target, Process("-m", "xentcli.check.worker", *arguments)
        self._end = _end(budget)
        described = self._started()
        self.keywords, self.has_gradient = tuple(described["keywords"]), described["has_gradient"]
        self.convention = told(convention, self.keywords, flushes=described["flushes"])

    def answer(self, question: Fields) -> Fields:
        """Ask the process."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTime
        if not self._process.is_running:
            self._started()
        return self._process.ask(question, max(1.0, min(_TO_ANSWER, left)))

    def stop(self) -> None:
        """End the process."""
        self._process.stop()

    def _started(self) -> Fields:
        """Have the loss imported; raises XentError where that fails."""
        answer = self._process.ask({}, max(1.0, min(_TO_IMPORT, self._end - time.monotonic())))
        if "refused" in answer or "raised" in answer:
            self.stop()
            said = answer.get("refused") or f"{self._target}: while it was imported: {answer['raised']}"
            raise XentError(said)
        return answer

"""An Arithmetic that records each step: what was computed of what, so that no formula is written twice."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xentcli.model import Step

if TYPE_CHECKING:
    from xentcli.arithmetic import Arithmetic
    from xentcli.model import Batch, FloatArray

# Operation → the word for its result, and how it is written.
_WORDS = {
    "maximum": ("maximum", "max {0}"),
    "larger": ("larger", "larger of {0}, {1}"),
    "subtract": ("difference", "{0} - {1}"),
    "add": ("total", "{0} + {1}"),
    "multiply": ("product", "{0} × {1}"),
    "divide": ("quotient", "{0} / {1}"),
    "negative": ("negated", "-{0}"),
    "clip": ("clipped", "clip({0}, {1}, {2})"),
    "exp": ("exp", "exp({0})"),
    "exp_by_row": ("exp", "exp({0})"),
    "log": ("log", "log({0})"),
    "log_one_by_one": ("log", "log({0})"),
    "log1p": ("log1p", "log1p({0})"),
    "sum": ("sum", "Σ {0}"),
    "pick": ("own", "{0}[label]"),
    "without": ("rest", "{0} but the largest"),
    "widen": ("float64", "float64({0})"),
    "mean": ("reduction", "mean {0}"),
    "total": ("reduction", "sum {0}"),
}


class Traced:
    """Wraps an Arithmetic; ``steps`` fills as kernels call it."""

    def __init__(self, inner: "Arithmetic", batch: "Batch", steps: list[Step], names: dict[int, str]) -> None:
        self._inner, self._batch = inner, batch
        self.steps, self._names = steps, names

    @property
    def python(self) -> "Arithmetic":
        """Python floats, recorded in the same list."""
        return cast("Arithmetic", Traced(self._inner.python, self._batch, self.steps, self._names))

    def __getattr__(self, operation: str) -> Callable[..., "FloatArray"]:
        """Return the operation, recording what it returns."""
        function = getattr(self._inner, operation)

        def record(*operands: Any) -> "FloatArray":  # noqa: ANN401 - arrays and bounds
            result: FloatArray = function(*operands)
            self._record(operation, operands, result)
            return result

        return record

    def _record(self, operation: str, operands: tuple[Any, ...], result: "FloatArray") -> None:
        word, written = _WORDS[operation]
        shown = [self._names.get(id(operand)) or self._plain(operand) for operand in operands]
        if operation == "subtract" and shown[1].startswith(("maximum", "larger")) and shown[0] == "logits":
            word = "shifted"
        if operation == "divide" and shown[0].startswith("exp") and shown[1].startswith("sum"):
            word = "probabilities"
        before = sum(step.name.split()[0] == word for step in self.steps)
        name = f"{word} {before + 1}" if before else word
        self._names[id(result)] = name
        self.steps.append(Step(operation, name, written.format(*shown), operands, result))

    def _plain(self, operand: object) -> str:
        """Name what no step made: a bound, a tile of the logits, what a loop starts from."""
        if isinstance(operand, float):
            return f"{operand:g}"
        part = isinstance(operand, np.ndarray) and np.shares_memory(operand, self._batch.logits)
        return "tile" if part else "start"


def traced(ar: "Arithmetic", batch: "Batch") -> "tuple[Arithmetic, list[Step]]":
    """Return the arithmetic as a kernel takes it, and the list that its steps go to."""
    given = {"logits": batch.logits, "labels": batch.labels, "probabilities": batch.probabilities}
    steps: list[Step] = []
    return cast(
        "Arithmetic", Traced(ar, batch, steps, {id(array): name for name, array in given.items()})
    ), steps

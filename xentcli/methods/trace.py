"""An Arithmetic that records each step: what was computed of what, so that no formula is written twice."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xentcli.model import Step

if TYPE_CHECKING:
    from xentcli.methods.arithmetic import Arithmetic
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
    "absolute": ("magnitude", "|{0}|"),
    "relu": ("relu", "max({0}, 0)"),
    "clamp": ("clamped", "max({0}, {1})"),
    "one_plus": ("sum", "1 + {0}"),
    "one_minus": ("complement", "1 - {0}"),
    "reciprocal": ("reciprocal", "1 / {0}"),
    "scale": ("scaled", "{1} × {0}"),
    "finite": ("finite", "{0}, or 0"),
    "keep": ("kept", "{0} where it counts"),
    "pick": ("own", "{0}[label]"),
    "without": ("rest", "{0} but the largest"),
    "widen": ("float64", "float64({0})"),
    "mean": ("reduction", "mean {0}"),
    "total": ("reduction", "sum {0}"),
}


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made so far: the steps, the name of each result, how often each word was used."""

    names: dict[int, str]
    steps: list[Step] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)

    def named(self, word: str) -> str:
        """Return the name of the next step of a word: the word, numbered from the second on."""
        self.words[word] += 1
        number = self.words[word]
        return word if number == 1 else f"{word} {number}"

    def add(self, step: Step) -> None:
        """Add a step, so that later ones can name its result."""
        self.names[id(step.result)] = step.name
        self.steps.append(step)


class Traced:
    """Wraps an Arithmetic; what is made fills up as kernels call it."""

    def __init__(self, inner: "Arithmetic", batch: "Batch", made: "_Made") -> None:
        self._inner, self._batch, self._made = inner, batch, made

    @property
    def python(self) -> "Arithmetic":
        """Python floats, recorded in the same list."""
        return cast("Arithmetic", Traced(self._inner.python, self._batch, self._made))

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
        shown = [self._made.names.get(id(operand)) or self._plain(operand) for operand in operands]
        if operation == "subtract" and shown[1].startswith(("maximum", "larger")) and shown[0] == "logits":
            word = "shifted"
        if operation == "divide" and shown[0].startswith("exp") and shown[1].startswith("sum"):
            word = "probabilities"
        self._made.add(Step(operation, self._made.named(word), written.format(*shown), operands, result))

    def _plain(self, operand: object) -> str:
        """Name what no step made: a bound, a tile of the logits, what a loop starts from."""
        if isinstance(operand, float):
            return f"{operand:g}"
        part = isinstance(operand, np.ndarray) and np.may_share_memory(operand, self._batch.logits)
        return "tile" if part else "start"


def traced(ar: "Arithmetic", batch: "Batch") -> "tuple[Arithmetic, list[Step]]":
    """Return the arithmetic as a kernel takes it, and the list that its steps go to."""
    made = _Made({id(array): name for name, array in given(batch).items()})
    return cast("Arithmetic", Traced(ar, batch, made)), made.steps


def given(batch: "Batch") -> "dict[str, FloatArray]":
    """Return what a batch gives, by the name that steps call it."""
    arrays = {"logits": batch.logits, "labels": batch.labels, "probabilities": batch.probabilities}
    if (weighting := batch.weighting) is not None:
        arrays |= {"weights": weighting.weights, "weight": weighting.own, "targets": weighting.targets}
    return {name: array for name, array in arrays.items() if array is not None}

"""An Arithmetic that records each step: what was computed from what, so that no formula is written twice."""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xentcli.model import EXPONENTIALS, Operation, Step

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch

LOGITS = frozenset({"logits", Operation.FINAL.value[1]})  # what steps call them
_MAXIMA = frozenset({Operation.ROW_MAX, Operation.MAXIMUM})


class _Recorder:
    """The steps so far, the name of each array and how often each name was used."""

    def __init__(self, batch: "Batch") -> None:
        self.steps: list[Step] = []
        self._logits = batch.logits
        self._names = {id(array): name for name, array in inputs(batch).items()}
        self._operations: dict[str | None, Operation] = {}
        self._uses = defaultdict(int, dict.fromkeys(self._names.values(), 1))

    def record(self, operation: Operation, operands: tuple[Any, ...], result: "FloatArray") -> None:
        """Add a step, so that later ones can name its result."""
        names = tuple([self._names.get(id(operand)) for operand in operands])
        word, notation = operation.notation(operands)
        if operation is Operation.SUBTRACT and names[0] in LOGITS:
            word = "shifted" if self._operations.get(names[1]) in _MAXIMA else word
        elif operation is Operation.DIVIDE:
            above, below = map(self._operations.get, names)
            word = "probabilities" if above in EXPONENTIALS and below is Operation.SUM else word
        self._uses[word] += 1
        name = word if self._uses[word] == 1 else f"{word} {self._uses[word]}"
        shown = [each or self._describe(operand) for each, operand in zip(names, operands, strict=True)]
        self._names[id(result)], self._operations[name] = name, operation
        self.steps.append(Step(operation, name, notation.format(*shown), operands, names, result))

    def _describe(self, operand: object) -> str:
        """Name what no step made: a bound, a tile of the logits, rows of a result, the start of a loop."""
        if isinstance(operand, float):
            return f"{operand:g}"
        if not isinstance(operand, np.ndarray):
            return "start"
        if np.may_share_memory(operand, self._logits):
            return "tile"
        whole = (step.name for step in self.steps if np.may_share_memory(operand, step.result))
        name = next(whole, None)
        return "start" if name is None else f"part of {name}"


class _Traced:
    """Wraps an Arithmetic; a recorder notes every operation."""

    def __init__(self, inner: "Arithmetic", recorder: _Recorder) -> None:
        self._inner, self._recorder = inner, recorder

    @property
    def python(self) -> "Arithmetic":
        """Python floats, recorded in the same list."""
        return cast("Arithmetic", _Traced(self._inner.python, self._recorder))

    def __getattr__(self, name: str) -> Callable[..., "FloatArray"]:
        """Return the operation, recording what it returns."""
        operation, function = Operation[name.upper()], getattr(self._inner, name)

        def recorded(*operands: Any) -> "FloatArray":  # noqa: ANN401 - arrays and bounds
            result: FloatArray = function(*operands)
            self._recorder.record(operation, operands, result)
            return result

        return recorded


def traced(ar: "Arithmetic", batch: "Batch") -> "tuple[Arithmetic, list[Step]]":
    """Return the arithmetic as a kernel takes it, and the list that its steps go to."""
    recorder = _Recorder(batch)
    return cast("Arithmetic", _Traced(ar, recorder)), recorder.steps


def inputs(batch: "Batch") -> "dict[str, FloatArray]":
    """Return the arrays of a batch, by the name that steps call them."""
    arrays = {"logits": batch.logits, "labels": batch.labels, "probabilities": batch.probabilities}
    if not batch.weighting.is_plain:
        arrays |= {"weights": batch.class_weights, "weight": batch.label_weights, "targets": batch.targets}
    return {name: array for name, array in arrays.items() if array is not None}

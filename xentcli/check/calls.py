"""One call of somebody's loss: numbers in, numbers out, and how it behaved."""

import importlib
import importlib.util
import inspect
import io
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from xentcli.check.conventions import KEYWORDS, Convention, told
from xentcli.check.libraries import Library, library
from xentcli.errors import XentError
from xentcli.isolated import Fields, said
from xentcli.words import IGNORE_INDEX

Function = Callable[..., Any]
_SHOWN = 60  # characters of what a loss printed


def function(target: str) -> Function:
    """Import ``module:function`` or ``path/to/file.py:function``.

    Raises XentError where there is no such thing, or where what is imported raises.
    """
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise XentError(f"{target}: name a function: module:function or path/to/file.py:function")
    try:
        found = attrgetter(name)(_module(where))
    except AttributeError as error:
        raise XentError(f"{target}: {error}") from error
    except XentError:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name == where.partition(".")[0]:
            raise XentError(f"{target}: {error}; a file ends in .py: path/to/file.py:function") from error
        raise XentError(f"{target}: cannot be imported: {said(error)}") from error
    if not callable(found):
        raise XentError(f"{target}: is {type(found).__name__}, not a function")
    return found


def _module(where: str) -> Any:  # noqa: ANN401 - a module, of which anything may be asked
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where)
    if not path.is_file():
        raise XentError(f"{where}: no such file")
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise XentError(f"{where}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Callee:
    """A loss and perhaps the function of its gradient, called by a convention.

    ``keywords`` are those of KEYWORDS that the loss has a parameter for.
    """

    loss: Function
    gradient: Function | None
    convention: Convention
    library: Library
    keywords: tuple[str, ...]

    @classmethod
    def of(cls, loss: Function, gradient: Function | None, convention: Convention) -> "Callee":
        """Import the library of the convention; raises XentError where it is not installed."""
        names = _parameters(loss)
        keywords = tuple(keyword for keyword in KEYWORDS if convention.parameter(keyword) in names)
        try:
            return cls(loss, gradient, told(convention, keywords), library(convention.library), keywords)
        except ImportError as error:
            raise XentError(f"convention {convention.name}: {convention.library} is not installed") from error

    @property
    def has_gradient(self) -> bool:
        """Whether there is a gradient to be had, of logits."""
        given = self.gradient is not None or self.convention.library != "numpy"
        return given and not self.convention.probabilities

    def answer(self, question: Fields) -> Fields:
        """Call the loss with a batch; what it raises, prints, writes and returns is the answer."""
        scores, labels = _arrays(question)
        printed = io.StringIO()
        answer: Fields = {}
        with redirect_stdout(printed), warnings.catch_warnings(), self.library.session():
            warnings.simplefilter("ignore")  # nan and infinity are results here
            try:
                answer = self._called(question, scores, labels)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a loss raises is its answer
                answer = {"raised": said(error)}
            if self.has_gradient and "losses" in answer:
                try:
                    answer["gradient"] = self._gradient(question, scores, labels)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
                    answer["gradient"] = f"raised {said(error)}"
        answer["printed"] = printed.getvalue()[:_SHOWN]
        return answer

    def _called(self, question: Fields, scores: Any, labels: Any) -> Fields:  # noqa: ANN401 - arrays
        """Return the losses, in the dtype and shape they came in, and the loss where one was asked for."""
        reduction = question["reduction"]
        if self.convention.reduction == "none":
            whole = self._once(question, scores, labels, "none")
            if reduction != "none" and "reduction" in self.keywords:
                reduced = self._once(question, scores, labels, reduction)
                whole["loss"], whole["loss_shape"] = reduced["losses"], reduced["shape"]
            return whole
        rows = [
            self._once(question, scores[row : row + 1], labels[row : row + 1], "none")
            for row in range(len(scores))
        ]
        reduced = self._once(question, scores, labels, "none")
        losses = [number for row in rows for number in row["losses"]]
        wrote = sorted({name for row in (*rows, reduced) for name in row["wrote"]})
        whole = {"dtype": reduced["dtype"], "shape": [len(losses)], "losses": losses, "wrote": wrote}
        return {**whole, "loss": reduced["losses"], "loss_shape": reduced["shape"]}

    def _once(self, question: Fields, scores: Any, labels: Any, reduction: str) -> Fields:  # noqa: ANN401 - arrays
        x, y = self._made(question, scores, labels)
        before = [self.library.plain(array)[0] for array in (x, y)]
        returned = self.loss(*self._ordered(x, y), **self._filled(question, reduction))
        try:
            values, dtype = self.library.plain(returned)
        except TypeError as error:
            return {"unusable": str(error), "losses": [], "shape": [], "dtype": "", "wrote": []}
        pairs = zip(("logits", "labels"), before, (x, y), strict=True)
        wrote = [name for name, was, now in pairs if not _same(was, self.library.plain(now)[0])]
        return {
            "dtype": dtype,
            "shape": list(values.shape),
            "losses": values.ravel().tolist(),
            "wrote": wrote,
        }

    def _gradient(self, question: Fields, scores: Any, labels: Any) -> Any:  # noqa: ANN401 - arrays
        """Return the gradient as a list, None where there is none."""
        x, y = self._made(question, scores, labels)
        filled = self._filled(question, "none")
        if self.gradient is not None:
            theirs = self._filled(question, "none", self.gradient)
            values = self.library.plain(self.gradient(*self._ordered(x, y), **theirs))[0]
            if values.shape != scores.shape:
                raise ValueError(f"a gradient of shape {values.shape}, where {scores.shape} is wanted")
            return values.ravel().tolist()

        def of_scores(scores: Any) -> Any:  # noqa: ANN401 - an array
            return self.loss(*self._ordered(scores, y), **filled)

        gradient = self.library.gradient(of_scores, x)
        return None if gradient is None else gradient.ravel().tolist()

    def _ordered(self, x: Any, y: Any) -> tuple[Any, Any]:  # noqa: ANN401 - arrays
        return (y, x) if self.convention.labels_first else (x, y)

    def _made(self, question: Fields, scores: Any, labels: Any) -> tuple[Any, Any]:  # noqa: ANN401 - arrays
        of_labels = "int64" if self.convention.labels == "indices" else question["dtype"]
        return self.library.array(scores, question["dtype"]), self.library.array(labels, of_labels)

    def _filled(self, question: Fields, reduction: str | None, of: Function | None = None) -> dict[str, Any]:
        """Return the keyword arguments that the question asks for."""
        names = _parameters(of or self.loss)
        given = {"ignore_index": IGNORE_INDEX, **question["keywords"], "reduction": reduction}
        if "class_weights" in given:
            weights = np.array(given["class_weights"], np.float64)
            given["class_weights"] = self.library.array(weights, question["dtype"])
        filled = {self.convention.parameter(keyword): value for keyword, value in given.items()}
        if self.convention.classes in names:
            filled[str(self.convention.classes)] = list(range(question["shape"][-1]))
        return {name: value for name, value in filled.items() if name in names}


def _arrays(question: Fields) -> tuple[Any, Any]:
    scores = np.array(question["scores"], np.float64).reshape(question["shape"])
    kind = np.int64 if question["labels_are"] == "indices" else np.float64
    labels = np.array(question["labels"], kind).reshape(question["labels_shape"])
    return scores, labels


def _parameters(function: Function) -> frozenset[str]:
    """Name the parameters of a function after the first two; a builtin may not tell."""
    try:
        return frozenset(list(inspect.signature(function).parameters)[2:])
    except (TypeError, ValueError):
        return frozenset()


def _same(was: Any, now: Any) -> bool:  # noqa: ANN401 - arrays
    return bool(np.array_equal(was, now, equal_nan=True))

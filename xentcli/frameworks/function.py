"""One call of somebody's loss: numbers in, numbers out, and how it behaved."""

import importlib
import importlib.util
import inspect
import io
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from xentcli.check.conventions import KEYWORDS, Convention, told
from xentcli.check.libraries import Library, library
from xentcli.errors import XentError
from xentcli.process import Fields, said
from xentcli.words import IGNORE_INDEX

Function = Callable[..., Any]
_SHOWN = 60  # characters of what a loss printed
_SUBNORMAL = 1e-40


def function(target: str) -> Function:
    """Import ``module:function`` or ``path/to/file.py:function``.

    Raises XentError where there is no such thing, or where what is imported raises.
    """
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise XentError(f"{target}: name a function: module:function or path/to/file.py:function")
    try:
        module = _module(where)
    except XentError:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name == where.partition(".")[0]:
            raise XentError(f"{target}: {error}; a file ends in .py: path/to/file.py:function") from error
        raise XentError(f"{target}: cannot be imported: {said(error)}") from error
    try:
        found = attrgetter(name)(module)
    except AttributeError as error:
        raise XentError(f"{target}: {error}") from error
    if not callable(found):
        raise XentError(f"{target}: is {type(found).__name__}, not a function")
    return found


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where)
    if not path.is_file():
        raise XentError(f"{where}: {'is a folder' if path.is_dir() else 'no such file'}")
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
            made = library(convention.library)
            with made.session():
                flushes = not made.plain(made.array(np.array([_SUBNORMAL]), "float32"))[0].all()
            return cls(loss, gradient, told(convention, keywords, flushes=flushes), made, keywords)
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
        wrote: set[str] = set()
        answer: Fields = {}
        with (
            redirect_stdout(printed),
            redirect_stderr(printed),
            warnings.catch_warnings(),
            self.library.session(),
        ):
            warnings.simplefilter("ignore")  # nan and infinity are results here
            try:
                answer = self._called(question, scores, labels, wrote)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a loss raises is its answer
                answer = {"raised": said(error)}
            if self.has_gradient and "losses" in answer:
                try:
                    answer |= self._gradient(question, scores, labels, wrote)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
                    answer["gradient"] = f"raised {said(error)}"
        return {**answer, "printed": printed.getvalue()[:_SHOWN], "wrote": sorted(wrote)}

    def _called(self, question: Fields, scores: Any, labels: Any, wrote: set[str]) -> Fields:
        """Return the losses, in the dtype and shape they came in, and the loss where one was asked for."""
        whole = self._once(question, scores, labels, "none", wrote)
        if self.convention.reduction == "none":
            if question["reduction"] != "none" and "reduction" in self.keywords:
                reduced = self._once(question, scores, labels, question["reduction"], wrote)
                whole["loss"], whole["loss_shape"] = reduced["losses"], reduced["shape"]
            return whole
        alone = [self._once(question, *row, "none", wrote) for row in _rows(scores, labels)]
        losses = [number for row in alone for number in row["losses"]]
        reduced = {"loss": whole["losses"], "loss_shape": whole["shape"]}
        return {**whole, **reduced, "shape": [len(losses)], "losses": losses}

    def _once(self, question: Fields, scores: Any, labels: Any, reduction: str, wrote: set[str]) -> Fields:
        x, y = self._made(question, scores, labels)
        returned = self._watched(self.loss, x, y, self._filled(question, reduction), wrote)
        try:
            values, dtype = self.library.plain(returned)
        except TypeError as error:
            return {"unusable": str(error), "losses": [], "shape": [], "dtype": ""}
        return {"dtype": dtype, "shape": list(values.shape), "losses": values.ravel().tolist()}

    def _watched(
        self,
        function: Function,
        x: Any,
        y: Any,
        keywords: dict[str, Any],
        wrote: set[str],
    ) -> Any:
        """Call a function, and note which of its arguments it wrote into."""
        before = [self.library.plain(array)[0].copy() for array in (x, y)]
        try:
            return function(*self._ordered(x, y), **keywords)
        finally:
            for name, was, now in zip(("logits", "labels"), before, (x, y), strict=True):
                if not np.array_equal(was, self.library.plain(now)[0], equal_nan=True):
                    wrote.add(name)

    def _gradient(self, question: Fields, scores: Any, labels: Any, wrote: set[str]) -> Fields:
        """Return the gradient of each example's loss as a list, None where there is none."""
        alone = self.convention.reduction != "none"
        batches = _rows(scores, labels) if alone else [(scores, labels)]
        found = [self._gradient_once(question, *batch, wrote) for batch in batches]
        if not found or any(values is None for values, _ in found):
            return {"gradient": None if found else []}
        numbers = [number for values, _ in found for number in values.ravel().tolist()]
        return {"gradient": numbers, "gradient_dtype": found[0][1]}

    def _gradient_once(
        self,
        question: Fields,
        scores: Any,
        labels: Any,
        wrote: set[str],
    ) -> tuple[Any, str]:
        x, y = self._made(question, scores, labels)
        if self.gradient is None:
            filled = self._filled(question, "none")
            values = self.library.gradient(lambda scores: self.loss(*self._ordered(scores, y), **filled), x)
            return values, question["dtype"]
        theirs = self._filled(question, "none", self.gradient)
        values, dtype = self.library.plain(self._watched(self.gradient, x, y, theirs, wrote))
        if values.shape != scores.shape:
            raise ValueError(f"a gradient of shape {values.shape}, where {scores.shape} is wanted")
        return values, dtype

    def _ordered(self, x: Any, y: Any) -> tuple[Any, Any]:
        return (y, x) if self.convention.labels_first else (x, y)

    def _made(self, question: Fields, scores: Any, labels: Any) -> tuple[Any, Any]:
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


def _rows(scores: Any, labels: Any) -> list[tuple[Any, Any]]:
    """Return every example as a batch of its own."""
    return [(scores[row : row + 1], labels[row : row + 1]) for row in range(len(scores))]

"""A call of somebody's loss: numbers in, numbers out, and what else it did."""

import importlib
import importlib.util
import inspect
import io
import math
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xentcli.errors import XentError
from xentcli.frameworks.conventions import NAMES, Convention
from xentcli.frameworks.request import arrays
from xentcli.process import Fields, describe
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.frameworks.adapter import Adapter

Function = Callable[..., Any]
Rows = tuple[Any, Any]  # scores and labels of some examples, as NumPy arrays
_SHOWN = 60  # characters of what a loss printed: they stay on a line
_MOST_NUMBERS = 2**16  # of what a loss returns, whatever it was called with
_SUBNORMAL = 1e-40  # in float32


def load(target: str) -> Function:
    """Import ``module:function`` or ``path/to/file.py:function``.

    Raises XentError where there is no such thing, or where what is imported raises.
    """
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise XentError(f"{target}: name a function: module:function or path/to/file.py:function")
    try:
        module = _import(where)
    except XentError:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name == where.partition(".")[0]:
            raise XentError(f"{target}: {error}; a file ends in .py: path/to/file.py:function") from error
        raise XentError(f"{target}: cannot be imported: {describe(error)}") from error
    try:
        function = attrgetter(name)(module)
    except AttributeError as error:
        raise XentError(f"{target}: {error}") from error
    if not callable(function):
        raise XentError(f"{target}: is {type(function).__name__}, not a function")
    return function


def _import(where: str) -> Any:
    if not where.endswith(".py"):
        if importlib.util.find_spec(where.partition(".")[0]) is None:  # what is installed needs no folder
            sys.path.append(str(Path.cwd()))
        return importlib.import_module(where)
    path = Path(where)
    if not path.is_file():
        raise XentError(f"{where}: {'is a folder' if path.is_dir() else 'no such file'}")
    sys.path.insert(0, str(path.parent.resolve()))
    sys.path.append(str(Path.cwd()))
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)  # not None: the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def import_adapter(convention: Convention) -> "Adapter":
    """Import the adapter of a convention's library; raises XentError where that is not installed."""
    try:
        return cast("Adapter", importlib.import_module(f"xentcli.frameworks.{convention.library}"))
    except ImportError as error:
        raise XentError(f"convention {convention.name}: {convention.library} is not installed") from error


class _Unusable(Exception):  # noqa: N818 - it never leaves this file
    """What a function returned is no array of numbers."""


@dataclass(frozen=True, slots=True)
class LossFunction:
    """A loss, perhaps with a function for its gradient, and how it is called.

    ``parameters`` are those of the loss by our names: which of NAMES it supports, and ``reduction``.
    ``compiled`` are the loss and its autodiff, each compiled as a whole, for batches that it has no reason to
    refuse.
    """

    loss: Function
    gradient: Function | None
    convention: Convention
    adapter: "Adapter"
    parameters: tuple[str, ...]
    compiled: tuple[Function, Function] | None = None

    @classmethod
    def build(cls, loss: Function, gradient: Function | None, convention: Convention) -> "LossFunction":
        """Complete the convention: a loss with a parameter ``reduction`` returns losses too.

        Whether the library has subnormal numbers is tried. Raises XentError where it is not installed.
        """
        library = import_adapter(convention)
        names = _parameters(loss)
        parameters = tuple(name for name in (*NAMES, "reduction") if convention.parameter(name) in names)
        with library.session():
            flushes = not library.to_numpy(library.array(np.array([_SUBNORMAL]), "float32"))[0].all()
        reduction = "none" if "reduction" in parameters else convention.reduction
        completed = replace(convention, reduction=reduction, flushes=flushes)
        function = cls(loss, gradient, completed, library, parameters)
        if library.compiled is None or not library.can_compile(loss):
            return function
        return replace(function, compiled=(library.compiled(loss), library.compiled(function.differentiate)))

    @property
    def has_gradient(self) -> bool:
        """Whether there is a gradient with respect to logits."""
        differentiable = self.gradient is not None or self.adapter.gradient is not None
        return differentiable and not self.convention.probabilities

    def in_order(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Order logits and labels as the loss expects them."""
        return (y, x) if self.convention.labels_first else (x, y)

    def differentiate(self, x: Any, y: Any, upstream: Any, **keywords: Any) -> Any:
        """Return the gradient by autodiff of the losses, each multiplied by what comes back to it."""

        def weighted(x: Any) -> Any:
            return self.loss(*self.in_order(x, y), **keywords) * upstream

        return self.adapter.gradient(weighted, x)

    def respond(self, request: Fields) -> Fields:
        """Call the loss with a batch; what it returns, raises, prints and writes into is the response.

        ``losses`` and their ``shape`` and ``dtype``; where the request has a reduction, ``loss`` and
        ``loss_shape``; ``gradient`` (flat) and ``gradient_dtype``, or ``gradient_failed``. Without losses
        ``raised`` or ``unusable`` says why.
        """
        printed, call = _Head(), _Call(self, request)
        with (
            redirect_stdout(printed),
            redirect_stderr(printed),
            warnings.catch_warnings(),
            self.adapter.session(),
        ):
            warnings.simplefilter("ignore")  # nan and infinity are results here
            response = _attempt(call.losses)
            if self.has_gradient and "losses" in response:
                slope = _attempt(call.gradient)
                failed = failure(slope)
                response |= slope if failed is None else {"gradient_failed": failed}
        return {**response, "printed": printed.text, "wrote": sorted(call.wrote)}


def upstream_of(examples: int) -> "FloatArray":
    """Return what the gradient of each loss (N,) is multiplied by on its way back: powers of two, 2 and 4.

    Training hardly ever has ones there: a backward pass that takes them for granted is wrong.
    """
    return 2.0 ** (1 + np.arange(examples) % 2)


def failure(response: Fields) -> str | None:
    """Say why a response has no numbers to use; None where it has."""
    if "raised" in response:
        return f"raised {response['raised']}"
    return response.get("refused", response.get("unusable", response.get("gradient_failed")))


def _attempt(call: Callable[[], Fields]) -> Fields:
    try:
        return call()
    except _Unusable as error:
        return {"unusable": str(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a loss raises is its response
        return {"raised": describe(error)}


class _Head(io.TextIOBase):
    """A stream of which the first characters are kept, however much is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text[: _SHOWN - len(self.text)]
        return len(text)


class _Call:
    """One request to a loss; ``wrote`` collects the arguments that a function wrote into."""

    def __init__(self, function: LossFunction, request: Fields) -> None:
        self._function, self._convention, self._adapter = function, function.convention, function.adapter
        self._request, self._batch = request, arrays(request)
        self._loss, self._differentiate = function.loss, function.differentiate
        if function.compiled and request.get("compiled"):
            compiled, self._differentiate = function.compiled
            self._loss = self._loss if request.get("compared") else compiled
        self._shape: tuple[int, ...] = ()  # of what the loss returns for the batch
        self.wrote: set[str] = set()

    def losses(self) -> Fields:
        """Return the losses, and the loss: reduced by the function where it can, else by its library.

        The losses of a function that only reduces are those of batches of one example.
        """
        function, reduction = self._loss, self._request["reduction"]
        returned = self._returned(function, self._batch)
        (losses, dtype), loss = self._numbers(returned), None
        self._shape = losses.shape
        if self._convention.reduction != "none":
            rows = [self._numbers(self._returned(function, row))[0].ravel() for row in self._rows()]
            losses, loss = np.concatenate([np.zeros(0), *rows]), losses
        elif "reduction" in self._function.parameters and reduction != "none":
            loss, _ = self._numbers(self._returned(function, self._batch, reduction))
        elif reduction != "none":
            loss, _ = self._numbers(self._adapter.REDUCE[reduction](returned))
        response = {"dtype": dtype, "shape": losses.shape, "losses": losses.ravel().tolist()}
        return response | ({} if loss is None else {"loss": loss.ravel().tolist(), "loss_shape": loss.shape})

    def gradient(self) -> Fields:
        """Return the gradient of each example's loss; None where autodiff finds none.

        Of a function that only reduces ``batch_gradient`` is that of the batch, too.
        """
        is_reduced = self._convention.reduction != "none"
        each = [self._slope(batch) for batch in (self._rows() if is_reduced else [self._batch])]
        if any(values is None for values, _ in each):
            return {"gradient": None}
        numbers = [number for values, _ in each for number in values.ravel().tolist()]
        dtype = each[0][1] if each else self._request["dtype"]
        whole = {"batch_gradient": self._slope(self._batch)[0].ravel().tolist()} if is_reduced else {}
        return {"gradient": numbers, "gradient_dtype": dtype, **whole}

    def _rows(self) -> list[Rows]:
        """Return every example as a batch of its own."""
        scores, labels = self._batch
        return [(scores[[row]], labels[[row]]) for row in range(len(scores))]

    def _slope(self, batch: Rows) -> tuple[Any, str]:
        if self._function.gradient is not None:
            values, dtype = self._numbers(self._returned(self._function.gradient, batch))
            if values.shape != batch[0].shape:
                raise _Unusable(f"has shape {values.shape}; expected {batch[0].shape}")
            return values, dtype
        x, y = self._arguments(batch)
        upstream, dtype = upstream_of(len(batch[0])), self._request["dtype"]
        if self._shape != upstream.shape:  # one number; another shape is reported as such
            upstream = np.array(1.0 if self._shape else upstream[0])
        keywords = self._keywords(self._loss, "none")
        slope = self._differentiate(x, y, self._adapter.array(upstream, dtype), **keywords)
        if slope is None:
            return None, dtype
        slope = self._adapter.to_numpy(slope)[0]
        return slope / upstream.reshape(-1, *[1] * (slope.ndim - 1)), dtype

    def _returned(self, function: Function, batch: Rows, reduction: str = "none") -> Any:
        """Call a function, and note which of its arguments it wrote into."""
        arguments = self._arguments(batch)
        before = [self._adapter.to_numpy(array)[0].copy() for array in arguments]
        try:
            return function(*self._function.in_order(*arguments), **self._keywords(function, reduction))
        finally:
            for name, was, now in zip(("logits", "labels"), before, arguments, strict=True):
                if not np.array_equal(was, self._adapter.to_numpy(now)[0], equal_nan=True):
                    self.wrote.add(name)

    def _numbers(self, returned: Any) -> tuple[Any, str]:
        """Return what a function returned in float64, and its dtype."""
        if not isinstance(returned, self._adapter.ARRAY):
            name = type(returned).__name__
            raise _Unusable(f"returned {name}; expected {self._adapter.ARRAY_NAME}")
        numbers, expected = math.prod(getattr(returned, "shape", ())), self._batch[0].size
        if numbers > max(expected, _MOST_NUMBERS):
            raise _Unusable(f"returned {numbers} numbers for {len(self._batch[0])} examples")
        try:
            return self._adapter.to_numpy(returned)
        except TypeError as error:
            raise _Unusable(str(error)) from error

    def _arguments(self, batch: Rows) -> tuple[Any, Any]:
        """Make new arrays: a function may have written into the last ones."""
        dtypes = (self._request["dtype"], self._request["labels_dtype"])
        x, y = (self._adapter.array(*pair) for pair in zip(batch, dtypes, strict=True))
        return x, y

    def _keywords(self, function: Function, reduction: str) -> dict[str, Any]:
        """Return the keyword arguments, of those requested, that a function takes."""
        names = _parameters(function)
        values = {"ignore_index": IGNORE_INDEX, **self._request["keywords"], "reduction": reduction}
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = self._adapter.array(np.array(value, np.float64), self._request["dtype"])
        renamed = {self._convention.parameter(name): value for name, value in values.items()}
        if self._convention.classes is not None:
            renamed[self._convention.classes] = list(range(self._request["shape"][-1]))
        return {name: value for name, value in renamed.items() if name in names}


def _parameters(function: Function) -> frozenset[str]:
    """Name the parameters of a function after the first two; a builtin may not tell."""
    try:
        return frozenset(list(inspect.signature(function).parameters)[2:])
    except (TypeError, ValueError):
        return frozenset()

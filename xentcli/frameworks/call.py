"""One call of a loss for a request: the arrays that it is given, and the numbers that come back."""

import inspect
import math
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.frameworks.at_once import at_once
from xentcli.frameworks.handed import Handed
from xentcli.frameworks.request import UPSTREAM_LAYOUTS, arrays
from xentcli.process import Fields
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.frameworks.adapter import Adapter
    from xentcli.frameworks.conventions import Convention
    from xentcli.frameworks.target import Function

Rows = tuple[Any, Any]  # scores and labels of some examples, as NumPy arrays
_THREADS = 4
_BACK = 4.0  # what comes back to a mean or sum that the loss makes: training hardly ever has 1 there
_PERIOD = 53  # prime: two rows that are a tile apart do not always get the same back
_ANEW = "same memory"
_REUSED = ("in place", _ANEW)
_MOST_NUMBERS = 2**16  # of what a loss returns, whatever it was called with


class Unusable(Exception):  # noqa: N818 - it never leaves this package
    """What a function returned is no array of numbers."""


def upstream_of(examples: int) -> "FloatArray":
    """Return what the gradient of each loss (N,) is multiplied by on its way back: powers of two, 2 and 4.

    Training hardly ever has ones there: a backward pass that takes them for granted is wrong.
    """
    return 2.0 ** (1 + np.arange(examples) % _PERIOD % 2)


@dataclass(frozen=True, slots=True)
class Callee:
    """A loss, perhaps with a function for its gradient, and how it is called.

    ``parameters`` are those of the loss by our names: which of NAMES it supports, and ``reduction``.
    ``compiled`` are the loss and its autodiff, each compiled as a whole, for batches that it has no reason to
    refuse.
    """

    loss: "Function"
    gradient: "Function | None"
    convention: "Convention"
    adapter: "Adapter"
    parameters: tuple[str, ...]
    compiled: "tuple[Function, Function] | None" = None

    @property
    def has_gradient(self) -> bool:
        """Whether there is a gradient with respect to logits."""
        differentiable = self.gradient is not None or self.adapter.gradient is not None
        return differentiable and not self.convention.probabilities

    @property
    def has_autodiff(self) -> bool:
        """Whether the gradient is that of its library's autodiff."""
        return self.has_gradient and self.gradient is None

    def in_order(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Order logits and labels as the loss expects them."""
        return (y, x) if self.convention.labels_first else (x, y)

    def differentiate(self, x: Any, y: Any, upstream: Any, **keywords: Any) -> Any:
        """Return the gradient by autodiff of the losses, each multiplied by what comes back to it."""
        return self.adapter.gradient(self.weighted(y, upstream, keywords), x)

    def losses_of(self, y: Any, keywords: dict[str, Any], x: Any) -> Any:
        """Call the loss; the logits come last, to be differentiated by."""
        return self.loss(*self.in_order(x, y), **keywords)

    def weighted(self, y: Any, upstream: Any, keywords: dict[str, Any]) -> "Function":
        """Return the losses as a function of logits, each multiplied by what comes back to it."""
        return lambda x: self.losses_of(y, keywords, x) * upstream


class Call:
    """One request to a loss; ``wrote`` collects the arguments that a function wrote into."""

    def __init__(self, function: Callee, request: Fields) -> None:
        self._function, self._convention, self._adapter = function, function.convention, function.adapter
        self._request, self._batch = request, arrays(request)
        self._others = [arrays(other) for other in request.get("others", ())]
        self._given = request["keywords"]
        self._kept: dict[str, Any] | None = {} if request.get("when") in _REUSED else None
        self._loss, self._differentiate = function.loss, function.differentiate
        self._is_plain = not any(request.get(key) for key in ("when", "backward", "mode"))
        if function.compiled and request.get("compiled") and self._is_plain:
            compiled, self._differentiate = function.compiled
            self._loss = self._loss if request.get("compared") else compiled
        self._shape: tuple[int, ...] = ()  # of what the loss returns for the batch
        self.wrote: set[str] = set()

    def losses(self) -> Fields:
        """Return the losses, and the loss: reduced by the function where it can, else by its library.

        The losses of a function that only reduces are those of batches of one example; where only the loss
        is asked for, there are none.
        """
        reduction = self._request["reduction"]
        self._begin_gradient()
        returned = self._in_company(partial(self._returned, self._loss))
        (losses, dtype), loss = self._numbers(returned), None
        self._shape = losses.shape
        if self._convention.reduction != "none":
            rows = [self._numbers(self._returned(self._loss, row))[0].ravel() for row in self._rows()]
            losses, loss = np.concatenate([np.zeros(0), *rows]), losses
        elif "reduction" in self._function.parameters and reduction != "none":
            loss, _ = self._numbers(self._returned(self._loss, self._batch, reduction=reduction))
        elif reduction != "none":
            loss, _ = self._numbers(self._adapter.REDUCE[reduction](returned))
        response = {"dtype": dtype, "shape": losses.shape, "losses": losses.ravel().tolist()}
        return response | ({} if loss is None else {"loss": loss.ravel().tolist(), "loss_shape": loss.shape})

    def _begin_gradient(self) -> None:
        """Have what differentiates compiled while the losses are computed."""
        begin = getattr(self._differentiate, "begin", None)
        if begin is None or self._convention.reduction != "none":
            return
        with suppress(Exception):  # it is raised again where the gradient is asked for
            x, y = self._arguments(self._batch)
            back = self._adapter.array(upstream_of(len(self._batch[1])), self._request["dtype"])
            begin(x, y, back, **self._keywords(self._loss, "none", self._handed(None)))

    def losses_of_threads(self) -> Fields:
        """Return the losses of a batch whose rows several threads hand to the loss at once."""

        def numbers(part: Rows) -> tuple[Any, str]:
            return self._numbers(self._returned(self._loss, part))

        def differs(one: tuple[Any, str], other: tuple[Any, str]) -> bool:
            return not np.array_equal(one[0], other[0], equal_nan=True)

        each = at_once(numbers, self._parts(), self._adapter.session, differs)
        losses = np.concatenate([losses for losses, _ in each])
        return {"dtype": each[0][1], "shape": losses.shape, "losses": losses.ravel().tolist()}

    def gradient(self) -> Fields:
        """Return the gradient of each example's loss; None where autodiff finds none.

        Of a function that only reduces ``batch_gradient`` is that of the batch, too.
        """
        is_reduced = self._convention.reduction != "none"
        batches = self._rows() if is_reduced else [self._batch]
        each = [self._slope(batch) for batch in batches]
        if any(values is None for values, _ in each):
            return {"gradient": None}
        numbers = [number for values, _ in each for number in values.ravel().tolist()]
        dtype = each[0][1] if each else self._request["dtype"]
        whole = self._slope(self._batch)[0] if is_reduced else self._slope_of_reduction()
        numbers_of_whole = {} if whole is None else {"batch_gradient": whole.ravel().tolist()}
        return {"gradient": numbers, "gradient_dtype": dtype, **numbers_of_whole}

    def _slope_of_reduction(self) -> Any:
        """Return the gradient (N, C) of the loss that the function itself reduces; None where it does not."""
        reduction, function = self._request["reduction"], self._function
        reduces = "reduction" in function.parameters and function.has_autodiff
        if reduction == "none" or not reduces or self._request.get("is_packed"):
            return None
        x, y = self._arguments(self._batch)
        back = self._adapter.array(np.array(_BACK), self._request["dtype"])
        keywords = self._keywords(function.loss, reduction, self._handed(None))
        slope = function.differentiate(x, y, back, **keywords)
        return None if slope is None else self._adapter.to_numpy(slope)[0] / _BACK

    def _rows(self) -> list[Rows]:
        """Return every example as a batch of its own, where more than the loss is asked for."""
        scores, labels = self._batch
        return [
            (scores[[row]], labels[[row]]) for row in range(len(scores)) if not self._request.get("only_loss")
        ]

    def _parts(self) -> list[Rows]:
        """Return the batch in as many parts as there are threads."""
        parts = (np.array_split(array, _THREADS) for array in self._batch)
        return [(x, y) for x, y in zip(*parts, strict=True) if len(x)]

    def _in_company(self, call: "Function") -> Any:
        """Return what a function of a batch returns for the batch, and call it with the others too."""
        when = self._request.get("when")
        if when in {"before", "refused"}:
            self._call_others(call, suppress(Exception) if when == "refused" else nullcontext())
        returned = call(self._batch, self._reused(call) if when in _REUSED else None)
        if when == "after":
            self._call_others(call, nullcontext())
        return returned

    def _call_others(self, call: "Function", guard: AbstractContextManager[Any]) -> None:
        """Call a function with the others, each with its own keywords."""
        mine = self._given
        for other, request in zip(self._others, self._request["others"], strict=True):
            self._given = request["keywords"]
            with guard:
                call(other)
        self._given = mine

    def _reused(self, call: "Function") -> Rows:
        """Call a function with the others, each in the same arrays; return these with the batch in them."""
        first, *more = [*self._others, self._batch]
        requests = [*self._request["others"], self._request]
        kept = self._arguments(first)
        for batch, request, other in zip(more, requests, requests[1:], strict=False):
            self._given = request["keywords"]
            self._returned(self._loss, first, kept)  # a gradient of it may have kept what it needs
            call(first, kept)
            first, self._given = batch, other["keywords"]
            self._overwrite(kept, self._arguments(batch))
            if self._request["when"] == _ANEW:
                kept = self._adapter.anew(kept[0]), self._adapter.anew(kept[1])
        return kept

    def _overwrite(self, arrays: Rows, values: Rows) -> None:
        for array, new in zip(arrays, values, strict=True):
            self._adapter.overwrite(array, new)

    def _slope(self, batch: Rows) -> tuple[Any, str]:
        """Return the gradient (N, C) and its dtype."""
        theirs, upstream = self._function.gradient, self._upstream(len(batch[1]))
        differentiate = (
            partial(self._autodiff, upstream) if theirs is None else partial(self._returned, theirs)
        )
        whole = batch is self._batch and self._convention.reduction == "none"
        slope = self._in_company(differentiate) if whole else differentiate(batch)
        if slope is None and theirs is None:
            return None, self._request["dtype"]
        values, dtype = (self._adapter.to_numpy if theirs is None else self._numbers)(slope)
        if values.shape != batch[0].shape:
            raise Unusable(f"has shape {values.shape}; expected {batch[0].shape}")
        if theirs is not None:
            return values, dtype
        slope = values
        if self._request.get("is_packed") and upstream.ndim:  # of a factor, in which each has its share
            return slope, self._request["dtype"]
        factor = np.where(upstream == 0, 1.0, upstream)  # where 0 comes back, 0 is what goes on
        return slope / factor.reshape(-1, *[1] * (slope.ndim - 1)), self._request["dtype"]

    def _upstream(self, examples: int) -> "FloatArray":
        """Return what comes back to each loss (N,), or to the number that the function returns."""
        given = self._request.get("upstream")
        upstream = np.array(given) if given else upstream_of(examples)
        if self._shape != upstream.shape:  # one number; another shape is reported as such
            return np.array(1.0 if self._shape else upstream[0])
        return upstream

    def _autodiff(self, upstream: "FloatArray", batch: Rows, kept: Rows | None = None) -> Any:
        """Return the gradient of the losses of a batch, in an array of the library."""
        handed = self._handed(None)
        (x, y), keywords = kept or self._arguments(batch), self._keywords(self._loss, "none", handed)
        upstream = np.resize(upstream, (len(batch[1]),) * upstream.ndim)  # of as many rows as a batch has
        back, mode = self._adapter.array(upstream, self._request["dtype"]), self._request.get("backward")
        if not mode:
            return self._plainly(x, y, back, keywords, handed)
        if mode in UPSTREAM_LAYOUTS.get(self._convention.library, ()):
            return self._laid_out(mode, back, partial(self._function.losses_of, y, keywords), x)
        function = self._function.weighted(y, back, keywords)
        if mode == "twice":
            return self._adapter.gradient(function, x, twice=True)
        others = [self._arguments(other) for other in self._others]
        if mode in {"overwritten", "relabelled"}:
            which = slice(1, 2) if mode == "relabelled" else slice(0, 1)
            return self._adapter.gradient(
                function, x, between=partial(self._overwrite, (x, y)[which], others[0][which])
            )
        others = [(z, self._function.weighted(labels, back, keywords)) for z, labels in others]
        if mode == "summed":
            return self._adapter.gradient(lambda x: sum((each(x) for _, each in others), function(x)), x)
        return self._adapter.gradient(function, x, between=lambda: [each(z) for z, each in others])

    def _plainly(self, x: Any, y: Any, back: Any, keywords: dict[str, Any], handed: Handed) -> Any:
        """Return the gradient of one call; note whether the way back wrote into an argument."""
        if not self._convention.linear:
            handed.watch("logits", x)
        slope = self._differentiate(x, y, back, **keywords)
        self.wrote.update(handed.written)
        return slope

    def _laid_out(self, layout: str, back: Any, function: "Function", x: Any) -> Any:
        """Return the gradient where what comes back lies in memory so; note whether it was written into."""
        back = self._adapter.UPSTREAM_LAYOUTS[layout](back)
        before = self._adapter.to_numpy(back)[0]
        slope = self._adapter.gradient(function, x, upstream=back)
        if not np.array_equal(before, self._adapter.to_numpy(back)[0]):
            self.wrote.add("upstream gradient")
        return slope

    def _returned(
        self, function: "Function", batch: Rows, kept: Rows | None = None, reduction: str = "none"
    ) -> Any:
        """Call a function, and note which of its arguments it wrote into; ``kept`` are arrays for it."""
        x, y = self._arguments(batch) if kept is None else kept
        handed = self._handed(self._kept)
        if not self._convention.linear:  # else its factors are what the loss gets
            handed.watch("logits", x)
        handed.watch("labels", y)
        keywords = self._keywords(function, reduction, handed)
        try:
            if (mode := self._request.get("mode")) and function is self._loss:
                return self._adapter.MODES[mode](partial(self._function.losses_of, y, keywords), x)
            return function(*self._function.in_order(x, y), **keywords)
        finally:
            self.wrote.update(handed.written)

    def _numbers(self, returned: Any) -> tuple[Any, str]:
        """Return what a function returned in float64, and its dtype."""
        if not isinstance(returned, self._adapter.ARRAY):
            name = type(returned).__name__
            raise Unusable(f"returned {name}; expected {self._adapter.ARRAY_NAME}")
        numbers, expected = math.prod(getattr(returned, "shape", ())), self._batch[0].size
        if numbers > max(expected, _MOST_NUMBERS):
            raise Unusable(f"returned {numbers} numbers for {len(self._batch[1])} examples")
        try:
            return self._adapter.to_numpy(returned)
        except TypeError as error:
            raise Unusable(str(error)) from error

    def _arguments(self, batch: Rows) -> tuple[Any, Any]:
        """Make new arrays: a function may have written into the last ones."""
        dtypes = (self._request["dtype"], self._request["labels_dtype"])
        x, y = (self._adapter.array(*pair) for pair in zip(batch, dtypes, strict=True))
        if layout := self._request.get("layout"):
            lay_out, one = self._adapter.LAYOUTS[layout], self._request["laid_out"]
            x = x if self._convention.linear or one not in {"", "logits"} else lay_out(x)
            y = y if one not in {"", "labels"} else lay_out(y)
        return x, y

    def _handed(self, kept: dict[str, Any] | None) -> Handed:
        layout, only, frozen = (self._request.get(key, "") for key in ("layout", "laid_out", "frozen"))
        return Handed(self._adapter, self._convention.library, (layout, only), kept, frozen)

    def _keywords(self, function: "Function", reduction: str, handed: Handed) -> dict[str, Any]:
        """Return the keyword arguments, of those requested, that a function takes."""
        names = parameters_of(function)
        values = {"ignore_index": IGNORE_INDEX, **self._given, "reduction": reduction}
        for name, value in values.items():
            if isinstance(value, list):
                array = self._adapter.array(np.array(value, np.float64), self._request["dtype"])
                values[name] = handed(name, array)
        renamed = {self._convention.parameter(name): value for name, value in values.items()}
        renamed["handed"] = handed  # for what makes the factors of logits
        if self._convention.classes is not None:
            renamed[self._convention.classes] = list(range(self._request["shape"][-1]))
        return {name: value for name, value in renamed.items() if name in names}


def parameters_of(function: "Function", arguments: int = 2) -> frozenset[str]:
    """Name the parameters of a function after the first ones; a builtin may not tell."""
    try:
        return frozenset(list(inspect.signature(function).parameters)[arguments:])
    except (TypeError, ValueError):
        return frozenset()

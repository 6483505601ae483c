"""Somebody's loss as a function of requests: numbers in, numbers out, and what else it did."""

import importlib
import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from xentcli.errors import XentError
from xentcli.frameworks.arranged import arranged
from xentcli.frameworks.call import Call, Callee, Unusable, parameters_of
from xentcli.frameworks.conventions import CHUNKS, COUNT, NAMES, Convention
from xentcli.frameworks.placed import Placed, placed
from xentcli.process import Fields, describe

if TYPE_CHECKING:
    from xentcli.frameworks.adapter import Adapter
    from xentcli.frameworks.shard import Seat
    from xentcli.frameworks.target import Function

_SHOWN = 60  # characters of what a loss printed: they stay on a line
_SUBNORMAL = 1e-40  # in float32


def import_adapter(convention: Convention) -> "Adapter":
    """Import the adapter of a convention's library; raises XentError where that is not installed."""
    try:
        return cast("Adapter", importlib.import_module(f"xentcli.frameworks.{convention.library}"))
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == "xentcli":
            raise  # not the library is missing
        raise XentError(f"convention {convention.name}: {convention.library} is not installed") from error


@dataclass(frozen=True, slots=True)
class LossFunction(Callee):
    """A loss that responds to requests in this process."""

    @classmethod
    def build(
        cls,
        loss: "Function",
        gradient: "Function | None",
        convention: Convention,
        seat: "Seat | None" = None,
    ) -> "LossFunction":
        """Complete the convention: a loss with a parameter ``reduction`` returns losses too.

        Whether the library has subnormal numbers is tried. Raises XentError where it is not installed.
        """
        library = placed(import_adapter(convention), convention.device, convention.library)
        loss = arranged(loss, convention, library, seat)
        if gradient is not None:
            gradient = arranged(gradient, convention, library, seat, is_gradient=True)
        names = parameters_of(loss)
        known = (*NAMES, *CHUNKS, COUNT, "reduction", "bias")
        parameters = tuple(name for name in known if convention.parameter(name) in names)
        with library.session():
            tiny = library.array(np.array([_SUBNORMAL]), "float32")
            flushes = not all(library.to_numpy(each)[0].all() for each in (tiny, tiny + tiny))
        reduction = "none" if "reduction" in parameters else convention.reduction
        lacks = library.lacks if isinstance(library, Placed) else ()
        completed = replace(convention, reduction=reduction, flushes=flushes, lacks=lacks)
        function = cls(loss, gradient, completed, library, parameters)
        if library.compile_both is None:
            return function
        return replace(function, compiled=library.compile_both(loss, function.differentiate))

    def respond(self, request: Fields) -> Fields:
        """Call the loss with a batch; what it returns, raises, prints and writes into is the response.

        ``losses`` and their ``shape`` and ``dtype``; where the request has a reduction, ``loss`` and
        ``loss_shape``; ``gradient`` (flat) and ``gradient_dtype``, or ``gradient_failed``. Without losses
        ``raised`` or ``unusable`` says why. ``lost`` says that the device does not work any more after it.
        """
        printed, call = _Head(), Call(self, request)
        with (
            redirect_stdout(printed),
            redirect_stderr(printed),
            warnings.catch_warnings(),
            self.adapter.session(),
        ):
            warnings.simplefilter("ignore")  # nan and infinity are results here
            threads = request.get("when") == "threads"
            response = _attempt(call.losses_of_threads if threads else call.losses)
            packed = request.get("is_packed") and self.gradient is not None  # not of a factor
            is_asked = request.get("with_gradient", True) and not (threads or packed)
            if self.has_gradient and "losses" in response and is_asked:
                slope = _attempt(call.gradient)
                failed = failure(slope)
                lost = {"gradient_failed": failed, "out_of_memory": "out_of_memory" in slope}
                response |= slope if failed is None else lost
        response = {**response, "printed": printed.text, "wrote": sorted(call.wrote)}
        return response if failure(response) is None else {**response, **self._lost_device()}

    def _lost_device(self) -> Fields:
        """Say whether the device still works: an assert in a kernel leaves none to this process."""
        if not isinstance(self.adapter, Placed):
            return {}
        tried = _attempt(self.adapter.try_device)
        return {"lost": tried["raised"]} if "raised" in tried else {}


def failure(response: Fields) -> str | None:
    """Say why a response has no numbers to use; None where it has."""
    if "raised" in response:
        return f"raised {response['raised']}"
    return response.get("refused", response.get("unusable", response.get("gradient_failed")))


def _attempt(call: Callable[[], Fields | None]) -> Fields:
    try:
        return call() or {}
    except Unusable as error:
        return {"unusable": str(error)}
    except MemoryError as error:
        return {"raised": describe(error), "out_of_memory": True}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a loss raises is its response
        return {"raised": describe(error)}


class _Head(io.TextIOBase):
    """A stream of which the first characters are kept, however much is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text[: _SHOWN - len(self.text)]
        return len(text)

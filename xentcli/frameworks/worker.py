"""The process in which losses are called: they may hang, abort or print there."""

import sys
from functools import cache
from typing import Final

from xentcli.errors import XentError
from xentcli.frameworks.conventions import find_convention
from xentcli.frameworks.function import LossFunction, import_adapter, load
from xentcli.process import Fields

ARRAYS: Final = ("torch", "jax", "tensorflow")  # whose arrays a loss may expect whose file imports them


def handle(request: Fields) -> Fields:
    """Return the response of the loss that a request names; without scores, what it supports.

    It is named by ``target``, ``gradient`` or None, ``convention`` and the reduction that it ``returns``.
    ``refused`` says why it cannot be called.
    """
    try:
        function = _function(*(request[key] for key in ("target", "gradient", "convention", "returns")))
    except XentError as error:
        return {"refused": str(error)}
    if "scores" in request:
        return function.respond(request)
    return {
        "parameters": function.parameters,
        "has_gradient": function.has_gradient,
        "reduction": function.convention.reduction,
        "flushes": function.convention.flushes,
        "compiles": function.compiled is not None,
        "is_class": isinstance(function.loss, type),
        "has_apply": hasattr(function.loss, "apply"),
        "libraries": [name for name in ARRAYS if name in sys.modules],
    }


@cache  # a function is imported at its first request
def _function(target: str, gradient: str | None, convention: str, reduction: str) -> LossFunction:
    called = find_convention(convention, target, reduction)
    import_adapter(called)  # before what lies beside the target can stand in for the library
    loss, theirs = load(target), load(gradient) if gradient else None
    return LossFunction.build(loss, theirs, called)

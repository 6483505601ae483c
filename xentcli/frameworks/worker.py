"""The process in which losses are called: they may hang, abort or print there."""

import sys
from functools import cache
from typing import Final

from xentcli.errors import XentError
from xentcli.frameworks.conventions import Convention, find_convention
from xentcli.frameworks.function import LossFunction, import_adapter
from xentcli.frameworks.shard import join
from xentcli.frameworks.target import load
from xentcli.process import Fields

ARRAYS: Final = ("torch", "jax", "tensorflow")  # whose arrays a loss may expect whose file imports them


def handle(request: Fields) -> Fields:
    """Return the response of the loss that a request names; without scores, what it supports.

    It is named by ``target``, ``gradient`` or None, ``convention``, the reduction that it ``returns``, the
    ``device`` of its arrays, and where the classes are shared out by its ``rank`` and the file that the group
    has for its ``meeting``. ``refused`` says why it cannot be called.
    """
    try:
        names = ("convention", "target", "returns", "device")
        called = _find_convention(*(request[name] for name in names))
        seat = (request.get("rank"), request.get("meeting"))
        function = _function(request["target"], request["gradient"], called, *seat)
    except XentError as error:
        return {"refused": str(error)}
    if "scores" in request:
        return function.respond(request)
    return {
        "parameters": function.parameters,
        "has_gradient": function.has_gradient,
        "has_autodiff": function.has_autodiff,
        "reduction": function.convention.reduction,
        "flushes": function.convention.flushes,
        "lacks": function.convention.lacks,
        "compiles": function.compiled is not None,
        "is_compiled": function.compiled is not None and function.compiled[0] is function.loss,
        "is_class": isinstance(function.loss, type),
        "has_apply": hasattr(function.loss, "apply"),
        "libraries": [name for name in ARRAYS if name in sys.modules],
    }


_find_convention: Final = cache(find_convention)  # a file is read at the first request


@cache  # a function is imported at its first request
def _function(
    target: str, gradient: str | None, called: Convention, rank: int | None, meeting: str | None
) -> LossFunction:
    import_adapter(called)  # before what lies beside the target can stand in for the library
    loss, theirs = load(target), load(gradient) if gradient else None
    seat = None if rank is None or meeting is None else join(rank, called.ranks, meeting)
    return LossFunction.build(loss, theirs, called, seat)

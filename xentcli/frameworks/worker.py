"""The process in which losses are called: they may hang, abort or print there."""

from xentcli.errors import XentError
from xentcli.frameworks.conventions import find_convention
from xentcli.frameworks.function import LossFunction, load
from xentcli.process import Fields, serve


class Worker:
    """Responds to requests for losses; imports a function at its first request.

    A request names the function: ``target``, ``gradient`` or None, ``convention`` and the reduction that it
    ``returns``. One without scores is for what it supports. ``refused`` says why a
    function cannot be called.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[str, ...], LossFunction] = {}

    def handle(self, request: Fields) -> Fields:
        """Return the response of the function that is named."""
        named = tuple(request[key] for key in ("target", "gradient", "convention", "returns"))
        try:
            if named not in self._functions:
                self._functions[named] = _load(*named)
        except XentError as error:
            return {"refused": str(error)}
        function = self._functions[named]
        if "scores" in request:
            return function.respond(request)
        return {
            "parameters": function.parameters,
            "has_gradient": function.has_gradient,
            "reduction": function.convention.reduction,
            "flushes": function.convention.flushes,
        }


def _load(target: str, gradient: str | None, name: str, reduction: str) -> LossFunction:
    loss, theirs = load(target), load(gradient) if gradient else None
    return LossFunction.build(loss, theirs, find_convention(name, target, reduction))


if __name__ == "__main__":
    serve(Worker().handle)

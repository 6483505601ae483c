"""The process in which a loss is called: it may hang, abort or print there."""

import sys

from xentcli.check.calls import Callee, function
from xentcli.check.conventions import convention
from xentcli.errors import XentError
from xentcli.process import Fields, serve

_callees: list[Callee] = []


def answered(question: Fields) -> Fields:
    """Import the loss at the first question, which is empty; call it at every other one."""
    if question:
        return _callees[0].answer(question)
    target, gradient, name, reduction = sys.argv[1:]
    sys.path.insert(0, "")
    try:
        theirs = function(gradient) if gradient else None
        _callees.append(Callee.of(function(target), theirs, convention(name, target, reduction)))
    except XentError as error:
        return {"refused": str(error)}
    made = _callees[0]
    return {"keywords": made.keywords, "has_gradient": made.has_gradient, "flushes": made.convention.flushes}


if __name__ == "__main__":
    serve(answered)

"""A loss that is called otherwise, as a function of scores and labels that returns losses.

Its constants are filled in, the losses are taken out of what it returns, and where it expects a hidden
state and a weight, these are made such that their product is the logits, whatever the order that it adds in:
one of the two is the identity. Where it expects a shard of the classes, that is cut out. The library's own
operations make them, and so its autodiff leads back to the logits.
"""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xentcli.errors import XentError, did_you_mean
from xentcli.frameworks.call import Unusable, parameters_of

if TYPE_CHECKING:
    from xentcli.frameworks.adapter import Adapter
    from xentcli.frameworks.conventions import Convention
    from xentcli.frameworks.handed import Handed
    from xentcli.frameworks.shard import Seat
    from xentcli.frameworks.target import Function

_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def arranged(
    function: "Function",
    convention: "Convention",
    library: "Adapter",
    seat: "Seat | None" = None,
    *,
    is_gradient: bool = False,
) -> "Function":
    """Return a function of two arguments, in the convention's order, that calls one of the convention's.

    It is the same one where that is what it is. ``is_gradient``: it returns gradients, of hidden and weight
    where these are its arguments. ``seat`` is where it has a shard of the classes. Raises XentError where a
    constant is none of its parameters, and where shards have no seat.
    """
    constants, names = dict(convention.constants), parameters_of(function, len(convention.arguments))
    if not (constants or convention.linear or convention.ranks > 1 or convention.result is not None):
        return function
    if convention.ranks > 1 and seat is None:
        raise XentError(f"{convention.name}: is called in processes of its own: use the command xent check")
    known = _named(function)
    if lost := [name for name in constants if known is not None and name not in known]:
        hint = did_you_mean(lost[0], sorted(known or ()), "it has no parameters by name")
        raise XentError(f"{convention.name}: constants: the loss has no parameter '{lost[0]}'{hint}")
    if known is None:  # a function that does not tell is taken at the table's word
        names |= {name for _, name in convention.parameters}

    def call(*arguments: Any, **keywords: Any) -> Any:
        returned = function(*arguments, **constants, **keywords)
        return returned if is_gradient else _taken(returned, convention.result, library)

    whole: Function = call
    if convention.linear:
        whole = _of_logits(call, convention, library, names, is_gradient=is_gradient)
    elif seat is not None:
        whole = (seat.gradient if is_gradient else seat.loss)(call, convention.arguments)
    shown = [inspect.Parameter(name, _POSITIONAL) for name in ("scores", "labels")]
    names |= {"handed"} if convention.linear else set()
    shown += [inspect.Parameter(name, _KEYWORD) for name in sorted(names - constants.keys())]
    whole.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined] # a function may have one
    return whole


def _named(function: "Function") -> frozenset[str] | None:
    """Name all parameters of a function; None where it takes any, or does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None
    return frozenset(each.name for each in parameters)


def _taken(returned: Any, result: int | str | None, library: "Adapter") -> Any:
    """Take the losses out of what a loss returned: an item of a sequence, one of a table, an attribute."""
    if result is None:
        return returned
    kind = type(returned).__name__
    if isinstance(returned, library.ARRAY):  # whose first item would be the loss of an example
        raise Unusable(f"returned {kind}; the convention expects the losses at {result!r} of more than that")
    try:
        if isinstance(result, str) and hasattr(returned, result):
            return getattr(returned, result)
        return returned[result]
    except (KeyError, IndexError, TypeError) as error:
        raise Unusable(f"returned {kind}, without losses at {result!r}") from error


def _of_logits(
    function: "Function",
    convention: "Convention",
    library: "Adapter",
    names: "frozenset[str]",
    *,
    is_gradient: bool,
) -> "Function":
    """Return the function of logits (N, C), or of a product packed by ``pack``, of one of its factors.

    With fewer examples than classes the hidden state is the identity, else the weight is: the smaller one.
    """
    bias_name = convention.parameter("bias")

    def call(x: Any, y: Any, *, handed: "Handed", **keywords: Any) -> Any:
        examples, rows = len(y), x.shape[0]
        is_packed = rows > examples
        if is_packed:
            hidden, weight = (library.contiguous(part[:, :-1]) for part in (x[:examples], x[examples:]))
            bias = library.contiguous(x[examples:, -1])
            keywords |= {bias_name: handed("bias", bias)} if bias_name in names else {}
        elif 0 < examples < x.shape[1]:
            hidden, weight = library.identity(x, examples), library.contiguous(x.T)
        else:
            hidden, weight = x, library.identity(x, x.shape[1])
        factors = {"hidden": handed("hidden", hidden), "weight": handed("weight", weight), "labels": y}
        returned = function(*(factors[name] for name in convention.arguments), **keywords)
        return _gradient_of_logits(returned, x, y) if is_gradient and not is_packed else returned

    return call


def _gradient_of_logits(returned: Any, x: Any, y: Any) -> Any:
    """Take the gradient of logits out of those of hidden and weight."""
    if not isinstance(returned, Sequence) or len(returned) < 2:  # noqa: PLR2004 - the factors
        raise Unusable(f"returned {type(returned).__name__}; expected the gradients of hidden and weight")
    return returned[1].T if 0 < len(y) < x.shape[1] else returned[0]

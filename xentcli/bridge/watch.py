"""``watch``: the one line in a training loop."""

from collections.abc import Mapping
from typing import Any, TypeVar

from xentcli.arrays import library_of
from xentcli.bridge.options import Options
from xentcli.errors import XentError
from xentcli.words import IGNORE_INDEX

Loss = TypeVar("Loss")


def watch(  # noqa: PLR0913 - each is one line of a training loop's business
    loss: Loss,
    logits: Any = None,  # noqa: ANN401 - an array of any library
    labels: Any = None,  # noqa: ANN401
    *,
    hidden: Any = None,  # noqa: ANN401
    weight: Any = None,  # noqa: ANN401
    step: Any = None,  # noqa: ANN401 - under jit it is traced
    on: str = "raise",
    every: int = 1,
    dir: str = ".",  # noqa: A002 - what callers expect it to be called
    keep: str = "rows",
    most: int = 10,
    ignore_index: int = IGNORE_INDEX,
    context: Mapping[str, Any] | None = None,
    group: Any = None,  # noqa: ANN401 - torch's process group
    gradient: bool = False,
    previous: bool = False,
) -> Loss:
    """Return the loss; where it is bad, save the rows that made it and raise ``BadLoss``, which says why.

    Bad is a loss that is nan, infinite or negative, one that means nothing (every label is ignored, a label
    is no class), and one of exactly 0 where the true loss is not. ``loss`` is a number or losses (N,);
    ``logits`` are (…, C), or (N, C, …) with ``labels`` (N, …); labels are class indices or probabilities of
    the logits' shape. Arrays are those of torch, JAX, TensorFlow or NumPy. Of a fused loss, which makes no
    logits, give ``hidden`` (…, D) and ``weight`` (C, D): logits are made of them when the loss is bad.

    ``on`` is "raise", "warn" (BadLossWarning) or "skip": return 0 instead, with a gradient of 0. Only every
    ``every``-th step is looked at. At most ``most`` files are written, to ``dir``: the offending rows and a
    few neighbours, or ``keep="all"``; ``context`` are arrays whose rows go with them. With torch: ``group``
    is a process group that decides together, so that no rank waits for one that has raised; ``gradient``
    also looks at the gradient of the logits; ``previous`` keeps 64 rows of the last good step.

    Under ``jax.jit`` and ``tf.function`` the library's own exception has the message in it. Raises XentError
    for options that there are not.
    """
    names, arrays = _named(context)
    settings = (on, every, str(dir), keep, most, ignore_index, names, group, gradient, previous)
    if labels is None or (logits is None) == (hidden is None) or (hidden is None) != (weight is None):
        raise XentError("watch: give logits and labels, or hidden, weight and labels")
    given = hidden if logits is None else logits
    library = library_of(loss, given)
    # Each by a statement of its own: torch.compile follows no other import.
    if library == "torch":
        from xentcli.bridge.torch import watch as look_in_torch

        found: Loss = look_in_torch(loss, given, labels, weight, step, arrays, settings)
        return found
    if library == "jax":
        from xentcli.bridge.jax import watch as look
    elif library == "tensorflow":
        from xentcli.bridge.tensorflow import watch as look
    else:
        from xentcli.bridge.numpy import watch as look
    result: Loss = look(loss, given, labels, weight, step, arrays, settings)
    return result


def guard(logits: Any, labels: Any, options: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:  # noqa: ANN401
    """Return logits whose gradient is looked at where ``gradient`` is asked for, and the other options.

    Only where the library has no hooks, as torch has: there ``watch`` itself looks at the gradient.
    """
    library = library_of(logits)
    if not options.get("gradient") or library not in {"jax", "tensorflow"}:
        return logits, options
    rest = {name: value for name, value in options.items() if name != "gradient"}
    plain = {name: value for name, value in rest.items() if name not in {"step", "context"}}
    names, arrays = _named(rest.get("context"))
    if library == "jax":
        from xentcli.bridge.jax import guard as guarded
    else:
        from xentcli.bridge.tensorflow import guard as guarded
    return guarded(logits, labels, rest.get("step"), arrays, Options.of(plain, names)), rest


def _named(context: Mapping[str, Any] | None) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    return ((), ()) if context is None else (tuple(context), tuple(context.values()))

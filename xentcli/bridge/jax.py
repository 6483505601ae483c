"""``watch`` for JAX's arrays: eager, and traced by ``jit`` and ``grad``, where a callback looks at them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xentcli.bridge.capture import judge
from xentcli.bridge.numpy import act, classes_of, is_suspicious, named, number_of, seen_step
from xentcli.bridge.options import MEMORY, Options, options_of
from xentcli.errors import XentError


def watch(  # noqa: PLR0913, PLR0917 - what watch() was called with
    loss: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    weight: Any,  # noqa: ANN401
    step: Any,  # noqa: ANN401
    context: Sequence[Any],
    settings: tuple[Any, ...],
) -> Any:  # noqa: ANN401
    """Return the loss as ``xentcli.watch`` does; ``settings`` are the fields of ``Options``.

    With a ``weight`` (C, D), ``logits`` are hidden states (…, D), of which it makes logits.
    """
    options = options_of(settings)
    options.refuse("group", "gradient", "previous")
    loss, logits, labels = (jnp.asarray(each) for each in (loss, logits, labels))
    flag = is_suspicious(loss, labels, classes_of(logits, labels, weight), options.ignore_index)
    arrays = jax.lax.stop_gradient((loss, logits, labels, weight))
    if not isinstance(flag, jax.core.Tracer):
        if not MEMORY.is_due(options, number_of(step)):
            return loss
        if not bool(flag):
            MEMORY.good[options] = number_of(step), float(jnp.mean(arrays[0]))
            return loss
        return _look(loss, arrays, None, step, context, options)
    if options.on == "skip":
        raise XentError("watch: on='skip' needs eager code; in jit and grad use optax.apply_if_finite")
    if options.every > 1 and step is None:
        raise XentError("watch: every= needs step= under jit, which counts no calls")
    if options.every > 1:
        flag &= jnp.asarray(step) % options.every == 0
    _call_back(flag, arrays, step, context, options)
    return loss


def guard(logits: Any, labels: Any, step: Any, context: Sequence[Any], options: Options) -> Any:  # noqa: ANN401
    """Return the logits; in the backward pass their gradient is looked at."""
    options.check()
    options.refuse("group", "previous")
    if options.on == "skip":
        raise XentError("watch: on='skip' cannot skip a gradient of JAX; use optax.apply_if_finite")
    if options.every > 1:
        raise XentError("watch: every= and gradient=True do not go together in JAX")

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # JAX may be missing
    def same(logits: Any, labels: Any, step: Any, context: Any) -> Any:  # noqa: ANN401, ARG001
        return logits

    def backward(given: Any, gradient: Any) -> Any:  # noqa: ANN401
        logits, labels, step, context = given
        nothing = None, None, None
        axis = -1 if labels.shape in {logits.shape, logits.shape[:-1]} else 1
        rows = ~jnp.isfinite(gradient).all(axis)
        arrays = jnp.zeros(0), logits, labels, None
        if isinstance(rows, jax.core.Tracer):
            _call_back(rows.any(), arrays, step, context, options, rows.reshape(-1))
        elif bool(rows.any()):
            return _look(gradient, arrays, np.asarray(rows).reshape(-1), step, context, options), *nothing
        return gradient, *nothing

    same.defvjp(lambda *given: (given[0], given), backward)
    return same(jnp.asarray(logits), jnp.asarray(labels), step, tuple(context))


def _call_back(  # noqa: PLR0913, PLR0917
    flag: Any,  # noqa: ANN401
    arrays: tuple[Any, ...],
    step: Any,  # noqa: ANN401
    context: Sequence[Any],
    options: Options,
    gradient: Any = None,  # noqa: ANN401
) -> None:
    """Have a step looked at where the flag, which is traced, is set."""
    if not all(isinstance(each, jax.Array | np.ndarray | np.generic | float | int) for each in context):
        raise XentError("watch: context= under jit and grad: expected arrays of numbers")
    given = jax.lax.stop_gradient((arrays, gradient, step, tuple(context)))

    def look(arrays: Any, gradient: Any, step: Any, context: Any) -> None:  # noqa: ANN401
        # Under vmap it is called for every example, whatever its flag.
        if gradient is None and MEMORY.is_due(options, number_of(step)):
            _look(None, arrays, None, step, context, options)
        elif gradient is not None and gradient.any():
            _look(None, arrays, np.asarray(gradient), step, context, options)

    jax.lax.cond(flag, lambda given: jax.debug.callback(look, *given), lambda _: None, given)


def _look(  # noqa: PLR0913, PLR0917
    result: Any,  # noqa: ANN401
    arrays: tuple[Any, ...],
    gradient: Any,  # noqa: ANN401
    step: Any,  # noqa: ANN401
    context: Sequence[Any],
    options: Options,
) -> Any:  # noqa: ANN401
    """Look at a step that seems bad, with its arrays in memory; return the result, or what replaces it."""
    rank = jax.process_index() if jax.process_count() > 1 else None
    losses, x, k = map(np.asarray, arrays[:3])
    weight = None if arrays[3] is None else np.asarray(arrays[3])
    place, wide = (number_of(step), rank), losses.astype(np.float64)
    seen = seen_step(wide, x, k, weight, options.ignore_index, place, named(options, context), gradient)
    return act(judge(seen, options), options, result, None if result is None else jnp.zeros_like(result))

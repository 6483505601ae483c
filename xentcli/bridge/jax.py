"""``watch`` for JAX's arrays: eager, and traced by ``jit`` and ``grad``, where a callback looks at them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xentcli.bridge.capture import judge
from xentcli.bridge.numpy import act, class_axis, is_suspicious, seen_step
from xentcli.bridge.options import MEMORY, Options
from xentcli.errors import XentError


def watch(  # noqa: PLR0913, PLR0917 - what watch() was called with
    loss: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    step: Any,  # noqa: ANN401
    context: Sequence[Any],
    settings: tuple[Any, ...],
) -> Any:  # noqa: ANN401
    """Return the loss as ``xentcli.watch`` does; ``settings`` are the fields of ``Options``."""
    options = Options(*settings).check()
    if options.group is not None or options.gradient or options.previous:
        raise XentError("watch: group, gradient and previous are for torch")
    axis = class_axis(np.shape(logits), np.shape(labels))
    flag = is_suspicious(loss, labels, np.shape(logits)[axis], options.ignore_index)
    if not isinstance(flag, jax.core.Tracer):
        return (
            _look(loss, logits, labels, step, context, options) if bool(flag) else _good(loss, step, options)
        )
    if options.every > 1 and step is None:
        raise XentError("watch: every= needs step= under jit, which counts no calls")
    if options.every > 1:
        flag &= jnp.asarray(step) % options.every == 0
    arrays = jax.lax.stop_gradient((loss, logits, labels, -1 if step is None else step, tuple(context)))

    def look(loss: Any, logits: Any, labels: Any, step: Any, context: Any) -> None:  # noqa: ANN401
        number = int(step)
        _look(loss, logits, labels, None if number < 0 else number, context, options)

    jax.lax.cond(flag, lambda given: jax.debug.callback(look, *given), lambda _: None, arrays)
    return jnp.where(flag, 0, loss) if options.on == "skip" else loss


def _good(loss: Any, step: int | None, options: Options) -> Any:  # noqa: ANN401
    MEMORY.good[options] = step, float(jnp.mean(loss))
    return loss


def _look(  # noqa: PLR0913, PLR0917
    loss: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    step: int | None,
    context: Sequence[Any],
    options: Options,
) -> Any:  # noqa: ANN401
    """Look at a step that seems bad, with its arrays in memory."""
    if not MEMORY.is_due(options, step):
        return loss
    rank = jax.process_index() if jax.process_count() > 1 else None
    arrays = dict(zip(options.names, map(np.asarray, context), strict=True))
    losses = np.asarray(loss).astype(np.float64)
    seen = seen_step(losses, np.asarray(logits), np.asarray(labels), step, rank, arrays)
    return act(judge(seen, options), options, loss, jnp.zeros_like(loss))

"""``watch`` for TensorFlow's tensors: eager, and in ``tf.function``, by a ``py_function``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xentcli.bridge.capture import judge
from xentcli.bridge.numpy import act, class_axis, seen_step
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
    loss, logits, labels = (tf.convert_to_tensor(each) for each in (loss, logits, labels))
    axis = class_axis(tuple(logits.shape), tuple(labels.shape))
    number = tf.convert_to_tensor(-1 if step is None else step)
    context = [tf.convert_to_tensor(each) for each in context]
    flag = _is_suspicious(loss, labels, logits.shape[axis], options.ignore_index)
    if options.every > 1 and step is not None:
        flag &= number % options.every == 0

    def look(loss: Any, logits: Any, labels: Any, number: Any, *context: Any) -> Any:  # noqa: ANN401
        return _look(loss, logits, labels, int(number), context, options)

    def looked_at() -> Any:  # noqa: ANN401
        if tf.executing_eagerly():
            return look(loss, logits, labels, number, *context)
        arrays = [tf.stop_gradient(each) for each in (loss, logits)]
        given = tf.py_function(look, [*arrays, labels, number, *context], loss.dtype)
        with tf.control_dependencies([given]):
            return tf.zeros_like(loss) if options.on == "skip" else tf.identity(loss)

    if tf.executing_eagerly() and not bool(flag):
        MEMORY.good[options] = None if step is None else int(step), float(tf.reduce_mean(loss))
    return tf.cond(flag, looked_at, lambda: tf.identity(loss))


def _is_suspicious(loss: Any, labels: Any, classes: int, ignore_index: int) -> Any:  # noqa: ANN401
    """Whether a loss has to be looked at, as ``is_suspicious`` says of arrays with methods."""
    bad = ~tf.reduce_all((loss >= 0) & (loss < np.inf)) | tf.reduce_all(loss == 0)
    if labels.dtype.is_floating:
        return bad
    ignored = labels == tf.cast(ignore_index, labels.dtype)
    invalid = ~ignored & ((labels < 0) | (labels >= tf.cast(classes, labels.dtype)))
    return bad | tf.reduce_all(ignored) | tf.reduce_any(invalid)


def _look(  # noqa: PLR0913, PLR0917
    loss: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    number: int,
    context: Sequence[Any],
    options: Options,
) -> Any:  # noqa: ANN401
    """Look at a step that seems bad, with its tensors in memory."""
    step = None if number < 0 else number
    if not MEMORY.is_due(options, step):
        return loss
    arrays = dict(zip(options.names, (each.numpy() for each in context), strict=True))
    losses = np.asarray(loss.numpy()).astype(np.float64)
    seen = seen_step(losses, logits.numpy(), labels.numpy(), step, None, arrays)
    return act(judge(seen, options), options, loss, tf.zeros_like(loss))

"""``watch`` for TensorFlow's tensors: eager, and in ``tf.function``, by a ``py_function``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xentcli.bridge.capture import judge
from xentcli.bridge.numpy import act, class_axis, named, number_of, seen_step
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
    is_eager = tf.executing_eagerly()
    if options.on == "skip" and not is_eager:
        raise XentError("watch: on='skip' needs eager code; in tf.function use on='warn' and tf.where")
    given = [None if each is None else tf.convert_to_tensor(each) for each in (loss, logits, labels, weight)]
    loss = given[0]
    flag = _is_suspicious(loss, given[2], _classes_of(*given[1:]), options.ignore_index)
    if options.every > 1 and step is None and not is_eager:
        raise XentError("watch: every= needs step= in tf.function, which counts no calls")
    if options.every > 1 and not is_eager:
        flag &= tf.convert_to_tensor(step) % options.every == 0

    def looked_at() -> Any:  # noqa: ANN401
        return _looked_at(loss, given, None, step, context, options)

    if not is_eager:
        return tf.cond(flag, looked_at, lambda: tf.identity(loss))
    if not MEMORY.is_due(options, number_of(None if step is None else np.asarray(step))):
        return tf.identity(loss)
    if bool(flag):
        return looked_at()
    MEMORY.good[options] = number_of(step), float(tf.reduce_mean(loss))
    return tf.identity(loss)


def guard(logits: Any, labels: Any, step: Any, context: Sequence[Any], options: Options) -> Any:  # noqa: ANN401
    """Return the logits; in the backward pass their gradient is looked at."""
    options.check()
    options.refuse("group", "previous")
    if options.on == "skip":
        raise XentError("watch: on='skip' cannot skip a gradient of TensorFlow; use on='warn'")

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def same(logits: Any) -> Any:  # noqa: ANN401
        def backward(gradient: Any) -> Any:  # noqa: ANN401
            axis = class_axis(tuple(logits.shape), tuple(labels.shape), None)
            rows = ~tf.reduce_all(tf.math.is_finite(gradient), axis)
            given = [tf.zeros(0), logits, labels, None]

            def looked_at() -> Any:  # noqa: ANN401
                return _looked_at(gradient, given, tf.reshape(rows, [-1]), step, context, options)

            return tf.cond(tf.reduce_any(rows), looked_at, lambda: tf.identity(gradient))

        return tf.identity(logits), backward

    labels = tf.convert_to_tensor(labels)
    return same(tf.convert_to_tensor(logits))


def _classes_of(logits: Any, labels: Any, weight: Any) -> Any:  # noqa: ANN401
    """Return how many classes labels are indices of, as ``classes_of``; a graph may not know it yet."""
    axis = class_axis(
        tuple(logits.shape), tuple(labels.shape), None if weight is None else tuple(weight.shape)
    )
    if len(labels.shape) == len(logits.shape):
        return None
    return tf.shape(logits)[axis] if weight is None else tf.shape(weight)[0]


def _numpy(array: Any) -> Any:  # noqa: ANN401
    """Return a tensor in memory, or what context is no tensor; a number of bfloat16 has no other way."""
    return np.asarray(array.numpy() if hasattr(array, "numpy") else array)


def _is_suspicious(loss: Any, labels: Any, classes: Any, ignore_index: int) -> Any:  # noqa: ANN401
    """Whether a loss has to be looked at, as ``is_suspicious`` says of arrays with methods."""
    bad = ~tf.reduce_all((loss >= 0) & (loss < np.inf)) | tf.reduce_all(loss == 0)
    if classes is None:
        return bad
    labels = labels if labels.dtype.is_floating else tf.cast(labels, tf.int64)  # uint8 has no -100
    ignored = labels == tf.cast(ignore_index, labels.dtype)
    invalid = ~ignored & ((labels < 0) | (labels >= tf.cast(classes, labels.dtype)))
    return bad | tf.reduce_all(ignored) | tf.reduce_any(invalid)


def _looked_at(  # noqa: PLR0913, PLR0917
    result: Any,  # noqa: ANN401
    arrays: Sequence[Any],
    gradient: Any,  # noqa: ANN401
    step: Any,  # noqa: ANN401
    context: Sequence[Any],
    options: Options,
) -> Any:  # noqa: ANN401
    """Return the result, a loss or a gradient, once a step that seems bad has been looked at."""
    if tf.executing_eagerly():
        return _look(result, arrays, gradient, step, context, options)
    given = [None if each is None else tf.stop_gradient(each) for each in arrays]

    def look(given: Any, gradient: Any, step: Any, context: Any) -> Any:  # noqa: ANN401
        _look(None, given, gradient, step, context, options)

    with tf.control_dependencies([_py_call(look, (given, gradient, step, list(context)))]):
        return tf.identity(result)


def _py_call(function: Any, given: Any) -> Any:  # noqa: ANN401
    """Return an operation that calls a function of tensors; None and what is no tensor passes as it is."""
    flat = tf.nest.flatten(given, expand_composites=False)
    at = [number for number, each in enumerate(flat) if tf.is_tensor(each)]

    def call(*tensors: Any) -> Any:  # noqa: ANN401
        for number, tensor in zip(at, tensors, strict=True):
            flat[number] = tensor
        function(*tf.nest.pack_sequence_as(given, flat))
        return np.int32(0)

    return tf.py_function(call, [flat[number] for number in at], tf.int32)


def _look(  # noqa: PLR0913, PLR0917
    result: Any,  # noqa: ANN401
    arrays: Sequence[Any],
    gradient: Any,  # noqa: ANN401
    step: Any,  # noqa: ANN401
    context: Sequence[Any],
    options: Options,
) -> Any:  # noqa: ANN401
    """Look at a step that seems bad, with its tensors in memory; return the result, or what replaces it."""
    number = number_of(None if step is None else np.asarray(step))
    losses, x, k = map(_numpy, arrays[:3])
    weight = None if arrays[3] is None else _numpy(arrays[3])
    flags = None if gradient is None else np.asarray(gradient)
    wide = losses.astype(np.float64)
    known = named(options, context, _numpy)
    seen = seen_step(wide, x, k, weight, options.ignore_index, (number, None), known, flags)
    return act(judge(seen, options), options, result, None if result is None else tf.zeros_like(result))

"""TensorFlow's losses, with the gradients of its tape."""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from xentcli.frameworks.given import Answer, Given


def answer(given: Given) -> Answer:
    """Call the function of that name."""
    if given.method == "tensorflow.sparse":
        indices = tf.constant(given.indices)
        return taped(given, lambda x, _: tf.nn.sparse_softmax_cross_entropy_with_logits(indices, x))
    return taped(given, lambda x, y: tf.nn.softmax_cross_entropy_with_logits(y, x))


def taped(given: Given, losses_of: Callable[[Any, Any], Any]) -> Answer:
    """Return the losses of logits x and label rows y, reduced by TensorFlow, and their gradient."""
    x, y = tf.Variable(tensor(given.logits, given.dtype)), tensor(given.labels, given.dtype)
    with tf.GradientTape() as tape:
        losses = losses_of(x, y)
        total = tf.reduce_sum(losses)
    gradient = tape.gradient(total, x)
    reduced = {"none": None, "mean": tf.reduce_mean(losses), "sum": total}[given.reduction]
    return Answer(
        losses.numpy(),
        None if reduced is None else np.asarray(reduced.numpy()),
        None if gradient is None else tf.convert_to_tensor(gradient).numpy(),
    )


def tensor(array: Any, dtype: str) -> Any:  # noqa: ANN401 - of a library that may be missing
    """Return a tensor of the dtype."""
    return tf.cast(tf.constant(array, tf.float64), dtype)

"""TensorFlow's tensors and the gradients of its tape."""

from contextlib import nullcontext
from typing import Any

import tensorflow as tf

from xentcli.frameworks.adapter import Loss

ARRAY, ARRAY_NAME = (tf.Tensor, tf.Variable), "a tensor of TensorFlow"
session = nullcontext
compiled = None
REDUCE = {"mean": tf.reduce_mean, "sum": tf.reduce_sum}


def array(values: Any, dtype: str) -> Any:
    """Make a tensor of the dtype."""
    return tf.cast(tf.constant(values), dtype)


def to_numpy(array: Any) -> tuple[Any, str]:
    """Copy the numbers; they are exact in float64."""
    return tf.cast(array, tf.float64).numpy(), array.dtype.name


def gradient(loss: Loss, x: Any) -> Any:
    """Differentiate what the tape records."""
    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss(x))
    slope = tape.gradient(total, x)
    return None if slope is None else tf.convert_to_tensor(slope)

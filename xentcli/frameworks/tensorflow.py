"""TensorFlow's losses, with the gradients of its tape."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from xentcli.frameworks.given import Answer, Given


def answer(given: Given) -> Answer:
    """Call the function of that name."""
    x = tf.Variable(tf.cast(tf.constant(given.logits, tf.float64), given.dtype))
    y = tf.cast(tf.constant(given.labels, tf.float64), given.dtype)
    with tf.GradientTape() as tape:
        if given.method == "tensorflow.sparse":
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.constant(given.indices), x)
        else:
            losses = tf.nn.softmax_cross_entropy_with_logits(y, x)
        total = tf.reduce_sum(losses)
    gradient = tf.convert_to_tensor(tape.gradient(total, x))
    reduced = {"none": None, "mean": tf.reduce_mean(losses), "sum": total}[given.reduction]
    return Answer(losses.numpy(), None if reduced is None else np.asarray(reduced.numpy()), gradient.numpy())

"""Keras' losses of probabilities and of logits, on its TensorFlow backend."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from xentcli.frameworks.given import Answer, Given


def answer(given: Given) -> Answer:
    """Call the function of that name; probabilities are the softmax where the case gives none."""
    x = tf.Variable(tf.cast(tf.constant(given.logits, tf.float64), given.dtype))
    y = tf.cast(tf.constant(given.labels, tf.float64), given.dtype)
    with tf.GradientTape() as tape:
        if given.method == "keras.categorical_crossentropy_logits":
            losses = keras.ops.categorical_crossentropy(y, x, from_logits=True)
        else:
            # Times 1, for Keras traces a softmax back to its logits and takes those.
            softmax = keras.ops.softmax(x) * 1
            given_p = given.probabilities
            p = softmax if given_p is None else tf.cast(tf.constant(given_p, tf.float64), given.dtype)
            losses = keras.ops.categorical_crossentropy(y, p)
        total = tf.reduce_sum(losses)
    gradient = tape.gradient(total, x)
    reduced = {"none": None, "mean": tf.reduce_mean(losses), "sum": total}[given.reduction]
    return Answer(
        losses.numpy(),
        None if reduced is None else np.asarray(reduced.numpy()),
        None if gradient is None else tf.convert_to_tensor(gradient).numpy(),
    )

"""Keras' losses of probabilities and of logits, on its TensorFlow backend."""

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras


def categorical_crossentropy(labels: Any, logits: Any, probabilities: Any = None) -> Any:
    """Return the losses of probabilities, which are the softmax where there are none."""
    # Times 1, for Keras traces a softmax back to its logits and takes those.
    p = keras.ops.softmax(logits) * 1 if probabilities is None else probabilities
    return keras.ops.categorical_crossentropy(labels, p)


def categorical_crossentropy_logits(labels: Any, logits: Any) -> Any:
    """Return the losses of logits."""
    return keras.ops.categorical_crossentropy(labels, logits, from_logits=True)

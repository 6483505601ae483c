"""Keras' losses of probabilities and of logits, on its TensorFlow backend."""

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from xentcli.frameworks.given import Answer, Given
from xentcli.frameworks.tensorflow import taped, tensor

import keras  # isort: skip - after TensorFlow has been told to be quiet


def answer(given: Given) -> Answer:
    """Call the function of that name; probabilities are the softmax where the case gives none."""

    def losses(x: Any, y: Any) -> Any:  # noqa: ANN401 - tensors, of a library that may be missing
        if given.method == "keras.categorical_crossentropy_logits":
            return keras.ops.categorical_crossentropy(y, x, from_logits=True)
        # Times 1, for Keras traces a softmax back to its logits and takes those.
        softmax = keras.ops.softmax(x) * 1
        p = softmax if given.probabilities is None else tensor(given.probabilities, given.dtype)
        return keras.ops.categorical_crossentropy(y, p)

    return taped(given, losses)

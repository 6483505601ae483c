"""A loss of Keras, watched: ``model.compile(loss=watched_loss(keras.losses.CategoricalCrossentropy(…)))``."""

from typing import Any


def watched_loss(loss: Any, **options: Any) -> Any:  # noqa: ANN401 - what Keras takes as a loss
    """Return a watched loss of (labels, logits), in Keras's order; ``options`` are those of ``watch``.

    ``loss`` is a loss of Keras, the name of one, or a function of (labels, logits). Weights of samples and
    classes count as they do without it. Labels of one column (N, 1), as Keras makes them, are class indices.
    """
    from xentcli.bridge.keras_loss import watched_loss as watched  # Keras, once it is used

    return watched(loss, options)

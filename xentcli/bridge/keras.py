"""A loss of Keras, watched: ``model.compile(loss=watched_loss(keras.losses.CategoricalCrossentropy(…)))``."""

from collections.abc import Callable
from typing import Any

from xentcli.bridge.watched import watched


def watched_loss(loss: Callable[..., Any], **options: Any) -> Callable[..., Any]:  # noqa: ANN401
    """Return a watched loss of (labels, logits), in Keras's order; ``options`` are those of ``watch``.

    Labels of one column (N, 1), as Keras makes them, are class indices.
    """

    def loss_of(y_true: Any, y_pred: Any) -> Any:  # noqa: ANN401
        is_column = len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1 != y_pred.shape[-1]
        labels = y_true[..., 0] if is_column else y_true
        return watched(lambda x: loss(y_true, x), y_pred, labels, options)

    return loss_of

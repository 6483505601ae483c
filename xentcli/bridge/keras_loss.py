"""A watched loss as a loss of Keras: weights of samples and classes, masks and reduction are the loss's."""

from collections.abc import Mapping
from typing import Any

import keras

from xentcli.bridge.watched import watched


class WatchedLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras may be missing
    """A loss of (labels, logits, weights of samples), watched."""

    def __init__(self, loss: keras.losses.Loss, options: Mapping[str, Any]) -> None:
        super().__init__(name=loss.name, reduction=loss.reduction)
        self.loss, self.options = loss, dict(options)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:  # noqa: ANN401
        """Call the loss, and watch what it returns."""
        mask = getattr(y_pred, "_keras_mask", None)

        def loss_of(logits: Any) -> Any:  # noqa: ANN401
            if mask is not None:  # that of other logits, whose gradient is looked at
                logits._keras_mask = mask  # noqa: SLF001 - where Keras has it
            return self.loss(y_true, logits, sample_weight)

        y_pred = keras.ops.convert_to_tensor(y_pred)
        return watched(loss_of, y_pred, labels_of(keras.ops.convert_to_tensor(y_true), y_pred), self.options)


def labels_of(y_true: Any, y_pred: Any) -> Any:  # noqa: ANN401
    """Return labels without their one column (N, 1), as Keras makes them of class indices."""
    is_column = len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1 != y_pred.shape[-1]
    return y_true[..., 0] if is_column else y_true


def watched_loss(loss: Any, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return a watched loss; one that is a function, or its name, stays one, which Keras wraps."""
    criterion = keras.losses.get(loss)
    if isinstance(criterion, keras.losses.Loss):
        return WatchedLoss(criterion, options)
    return lambda y_true, y_pred: watched(
        lambda x: criterion(y_true, x), y_pred, labels_of(y_true, y_pred), options
    )

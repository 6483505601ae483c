"""scikit-learn's log_loss."""

from typing import Any

import numpy as np
from scipy import special
from sklearn import metrics


def log_loss(logits: Any, labels: Any, probabilities: Any = None, reduction: str = "mean") -> Any:
    """Return the loss of probabilities, which are the softmax where there are none, in float64.

    log_loss has no losses per example: each is that of a batch of one.
    """
    p = special.softmax(logits, axis=1) if probabilities is None else probabilities
    classes = list(range(logits.shape[1]))
    if reduction == "none":
        return np.array([metrics.log_loss(labels[[row]], p[[row]], labels=classes) for row in range(len(p))])
    return float(metrics.log_loss(labels, p, labels=classes, normalize=reduction == "mean"))

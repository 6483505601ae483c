"""scikit-learn's log_loss of the softmax; it returns Python floats."""

import warnings

import numpy as np
from scipy import special
from sklearn.metrics import log_loss

from xentcli import formats
from xentcli.frameworks.given import Answer, Given


def answer(given: Given) -> Answer:
    """Return the loss, and that of each example as a batch of one."""
    x = given.logits.astype(formats.dtype(given.dtype))
    given_p = given.probabilities
    p = special.softmax(x, axis=1) if given_p is None else given_p.astype(x.dtype)
    classes = list(range(x.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that do not sum to 1 within the rounding of a half format
        pairs = zip(given.indices, p, strict=True)
        losses = [log_loss([index], row[None], labels=classes) for index, row in pairs]
        loss = log_loss(given.indices, p, labels=classes, normalize=given.reduction == "mean")
    return Answer(np.array(losses), None if given.reduction == "none" else np.asarray(loss, np.float64))

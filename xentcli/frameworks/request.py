"""A batch as a request for its losses: plain values that travel between processes as JSON."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.frameworks.conventions import Convention, keywords

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.model import Batch
    from xentcli.process import Fields

WORKER: Final = "xentcli.frameworks.worker"  # the module that handles requests, in a process of its own
TRIAL: "Fields" = {  # ordinary logits and labels of classes: how does a function want to be called?
    "dtype": "float32",
    "shape": (2, 3),
    "scores": [0.5, -1.25, 2.0, 1.5, 0.25, -0.75],
    "labels_shape": (2,),
    "labels_dtype": "int64",
    "labels": [0, 2],
    "keywords": {},
    "reduction": "none",
}


def request(batch: "Batch", dtype: str, reduction: str, convention: Convention) -> "Fields":
    """Return the request for the losses of a batch, which the convention supports, and for the loss.

    Numbers are those of ``dtype``.
    """
    x = scores(batch, dtype, convention)
    indices = convention.labels == "indices"
    labels = batch.class_labels if indices else batch.labels.astype(np.float64)
    assert labels is not None  # noqa: S101 - Convention.why_unsupported says so
    if batch.binary:
        x, labels = x[:, 0], labels[:, 0]
    return {
        "dtype": dtype,
        "shape": x.shape,
        "scores": x.astype(np.float64).ravel().tolist(),
        "labels_shape": labels.shape,
        "labels_dtype": "int64" if indices else dtype,
        "labels": labels.ravel().tolist(),
        "keywords": keywords(batch),
        "reduction": reduction,
    }


def address(target: str, gradient: str | None, called: Convention) -> "Fields":
    """Return what names a loss in a request."""
    return {"target": target, "gradient": gradient, "convention": called.name, "returns": called.reduction}


def arrays(fields: "Fields") -> "tuple[Any, Any]":
    """Return the scores in float64, and the labels in int64 where they are indices, else float64."""
    x = np.array(fields["scores"], np.float64).reshape(fields["shape"])
    kind = np.int64 if fields["labels_dtype"] == "int64" else np.float64
    return x, np.array(fields["labels"], kind).reshape(fields["labels_shape"])


def scores(batch: "Batch", dtype: str, convention: Convention) -> "FloatArray":
    """Return logits (N, C), or probabilities: the case's, else a softmax in float64, rounded to the dtype."""
    if not convention.probabilities:
        return batch.logits
    if batch.probabilities is not None:
        return batch.probabilities
    with np.errstate(all="ignore"):
        x = batch.logits.astype(np.float64)
        e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
        return formats.stored(e / e.sum(axis=1, keepdims=True), dtype)

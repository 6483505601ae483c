"""The formulas. Pure: arrays in, arrays out, every number from the Arithmetic handed in.

A kernel takes a Batch of N examples and C classes and returns losses (N, 1) in the dtype of the batch. It
never changes its inputs and never raises: nan and infinities are results. Labels may be any probabilities
unless it says otherwise. Each docstring says what differs: the formula, where it fails, the source.
"""

from typing import TYPE_CHECKING

import numpy as np

from xentcli.arithmetic import PYTHON

if TYPE_CHECKING:
    from xentcli.arithmetic import Arithmetic
    from xentcli.model import Batch, FloatArray, IntArray


def softmax(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Probabilities (N, C): ``exp(x - m) / sum(exp(x - m))`` with m the largest logit of the row.

    Source: TensorFlow 1.10, ``SoftmaxEigenImpl`` in ``core/kernels/softmax_op_functor.h``.
    """
    exps = ar.exp(_shifted(ar, batch))
    return ar.divide(exps, ar.sum(exps))


def naive(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(p))``, with p given or the softmax.

    Fails as soon as a probability underflows: p = 0 is nan where y = 0 (0 · -inf) and inf where y > 0; in
    float32 from a gap of 103.97 between two logits.

    Source: the blog, ``-tf.reduce_sum(y * tf.log(p))``.
    """
    return _minus_sum(ar, batch.labels, ar.log(_probabilities(ar, batch)))


def clipped(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(clip(p, low, high)))``, with p given or the softmax.

    Never nan for finite logits, but no example can lose more than ``-log(low)``: 82.89307 for 1e-36.

    Source: the blog, ``tf.clip_by_value(p, 1e-36, 1.0)``.
    """
    return _minus_sum(ar, batch.labels, ar.log(ar.clip(_probabilities(ar, batch), *batch.clip)))


def dense(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``sum(y * (log(sum(exp(x - m))) - (x - m)))``.

    Right at any size of logits. A loss below the rounding of 1 comes out as 0 (float32: a gap above 16.64),
    and a logit of -inf under a label of 0 is nan.

    Source: TensorFlow 1.10, ``XentEigenImpl`` in ``core/kernels/xent_op.h``
    (``tf.nn.softmax_cross_entropy_with_logits_v2``).
    """
    shifted = _shifted(ar, batch)
    log_sum = ar.log(ar.sum_of_exp(shifted))
    return ar.sum(ar.multiply(batch.labels, ar.subtract(log_sum, shifted)))


def sparse(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(sum(exp(x - m))) - (x[label] - m)``; takes one class an example, no soft labels.

    As ``dense``, but a logit of -inf that is not the label's does no harm.

    Source: TensorFlow 1.10, ``SparseXentEigenImpl`` in ``core/kernels/sparse_xent_op.h``
    (``tf.nn.sparse_softmax_cross_entropy_with_logits``).
    """
    shifted = _shifted(ar, batch)
    log_sum = ar.log_one_by_one(ar.sum_of_exp(shifted))
    return ar.subtract(log_sum, _picked(shifted, batch))


def by_hand(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * math.log(p))`` in Python floats (float64) over the softmax in the dtype: losses float64.

    Fails where naive does, later only as far as float64 reaches beyond the softmax's own dtype.

    Source: the blog's own check of TensorFlow's result.
    """
    probabilities = softmax(ar, batch).astype(np.float64)
    return _minus_sum(PYTHON, batch.labels.astype(np.float64), PYTHON.log(probabilities))


def softmax_sum(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Mean over the rows of the softmax's sum, (1, 1): the blog prints it to show that it is 1."""
    return ar.mean(ar.sum(softmax(ar, batch)))


def softmax_matches(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Count the entries where the softmax is within 1e-6 of the probabilities given, (1, 1)."""
    if batch.probabilities is None:
        raise ValueError("softmax_matches needs probabilities")
    apart = np.abs(ar.subtract(softmax(ar, batch), batch.probabilities))
    near = (apart < apart.dtype.type(1e-6)).astype(apart.dtype)
    return ar.total(ar.sum(near))


def class_indices(ar: "Arithmetic", batch: "Batch") -> "IntArray":  # noqa: ARG001 - a kernel like the others
    """Class of the largest label of each example, (N, 1) int64: the blog's ``tf.argmax(labels)``."""
    return batch.labels.argmax(axis=1)[:, None]


def _shifted(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Logits less the largest of their row: none above 0, so that no exp overflows."""
    return ar.subtract(batch.logits, ar.maximum(batch.logits))


def _probabilities(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    return softmax(ar, batch) if batch.probabilities is None else batch.probabilities


def _minus_sum(ar: "Arithmetic", labels: "FloatArray", logs: "FloatArray") -> "FloatArray":
    return ar.negative(ar.sum(ar.multiply(labels, logs)))


def _picked(x: "FloatArray", batch: "Batch") -> "FloatArray":
    """Entry of each example's own class, (N, 1)."""
    if batch.indices is None:
        raise ValueError("soft labels have no class index")
    return np.take_along_axis(x, batch.indices[:, None], axis=1)

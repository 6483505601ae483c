"""The formulas. Pure: arrays in, arrays out, every number from the Arithmetic handed in.

A kernel takes a Batch of N examples and C classes and returns losses (N, 1) in the dtype of the batch. It
never changes its inputs and never raises: nan and infinities are results. Labels may be any probabilities
unless it says otherwise. Each docstring says what differs: the formula, where it fails, the source.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch, FloatArray, IntArray


def softmax(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Probabilities (N, C): ``exp(x - m) / sum(exp(x - m))`` with m the largest logit of the row.

    Source: TensorFlow 1.10, ``SoftmaxEigenImpl`` in ``core/kernels/softmax_op_functor.h``.
    """
    exps = ar.exp(shifted_logits(ar, batch))
    return ar.divide(exps, ar.sum(exps))


def unshifted_softmax(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Probabilities (N, C): ``exp(x) / sum(exp(x))``."""
    exps = ar.exp(batch.logits)
    return ar.divide(exps, ar.sum(exps))


def naive(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(p))``, with p given or the softmax.

    Fails as soon as a probability underflows: p = 0 is nan where y = 0 (0 · -inf) and inf where y > 0; in
    float32 from a gap of 103.97 between two logits.

    Source: the blog, ``-tf.reduce_sum(y * tf.log(p))``.
    """
    return _minus_sum(ar, batch.targets, ar.log(probabilities_of(ar, batch)))


def clipped(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(clip(p, low, high)))``, with p given or the softmax.

    No example can lose more than ``-log(low)``: 82.89307 for 1e-36 in float32. A bound that rounds to 0, as
    1e-36 does in float16, clips nothing, and the method fails as naive does.

    Source: the blog, ``tf.clip_by_value(p, 1e-36, 1.0)``.
    """
    return _minus_sum(ar, batch.targets, ar.log(ar.clip(probabilities_of(ar, batch), *batch.clip)))


def guarded(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(where(y > 0, y * log(p), 0))``, with p given or the softmax.

    The value is right where naive's is nan, but its gradient is not: 0 times the infinite slope of log at 0
    is nan on the way back.

    Source: https://github.com/google-deepmind/optax/pull/1786.
    """
    terms = ar.multiply(batch.targets, ar.log(probabilities_of(ar, batch)))
    return ar.negative(ar.sum(ar.keep(terms, batch.targets > 0)))


def textbook(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(exp(x) / sum(exp(x))))``: naive with a softmax that shifts nothing.

    exp overflows from 88.73 on in float32, from 11.1 on in float16, and inf / inf is nan.

    Source: Blanchard, Higham and Higham (2021), algorithm 3.1, doi:10.1093/imanum/draa038.
    """
    return _minus_sum(ar, batch.targets, ar.log(unshifted_softmax(ar, batch)))


def dense(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``sum(y * (log(sum(exp(x - m))) - (x - m)))``.

    Right at any size of logits. A loss below the rounding of 1 comes out as 0 (float32: a gap above 16.64),
    and a logit of -inf under a label of 0 is nan.

    Source: TensorFlow 1.10, ``XentEigenImpl`` in ``core/kernels/xent_op.h``
    (``tf.nn.softmax_cross_entropy_with_logits_v2``).
    """
    shifted = shifted_logits(ar, batch)
    log_sum = ar.log(ar.sum(ar.exp_by_row(shifted)))
    return ar.sum(ar.multiply(batch.targets, ar.subtract(log_sum, shifted)))


def sparse(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(sum(exp(x - m))) - (x[label] - m)``; takes one class an example, no soft labels.

    As ``dense``, but a logit of -inf that is not the label's does no harm.

    Source: TensorFlow 1.10, ``SparseXentEigenImpl`` in ``core/kernels/sparse_xent_op.h``
    (``tf.nn.sparse_softmax_cross_entropy_with_logits``).
    """
    shifted = shifted_logits(ar, batch)
    log_sum = ar.log_one_by_one(ar.sum(ar.exp_by_row(shifted)))
    return _of_classes(ar, batch, log_sum, shifted)


def by_hand(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * math.log(p))`` in Python floats (float64) over the softmax in the dtype: losses float64.

    Fails where naive does, later only as far as float64 reaches beyond the softmax's own dtype.

    Source: the blog's own check of TensorFlow's result.
    """
    probabilities = ar.widen(softmax(ar, batch))
    return _minus_sum(ar.python, ar.widen(batch.targets), ar.python.log(probabilities))


def log1p(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log1p(sum of exp(x - m) over all but the largest) - (x[label] - m)``.

    No tail is lost, down to where exp itself underflows (float32: a gap of 103.97, under eigen 87.34). What
    error there is comes from rounding x - m: half an ulp of a gap of 16 is 8 ulps of the loss. With soft
    labels as ``dense``: a logit of -inf under a label of 0 is nan.

    Source: Blanchard, Higham and Higham (2021), algorithm 4.1, doi:10.1093/imanum/draa038.
    """
    shifted = shifted_logits(ar, batch)
    rest = ar.without(ar.exp_by_row(shifted), shifted.argmax(axis=1))
    tail = ar.log1p(ar.sum(rest))
    if batch.indices is not None:
        return _of_classes(ar, batch, tail, shifted)
    return ar.sum(ar.multiply(batch.targets, ar.subtract(tail, shifted)))


def unshifted(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``(m + log(sum(exp(x - m)))) - x[label]``: the log-sum-exp is right, but of the size of the logits.

    Wrong under a common offset, which rounds the normaliser away: in float32 [1e4, 1e4, 1e4] loses 1.0986328
    for 1.0986123, and from 1e8 on 0. An m that is not finite counts as 0.

    Source: optax 0.2.8, ``softmax_cross_entropy_with_integer_labels`` in ``losses/_classification.py``.
    """
    maximum = ar.finite(ar.maximum(batch.logits))
    log_sum = ar.log(ar.sum(ar.exp_by_row(ar.subtract(batch.logits, maximum))))
    return _of_classes(ar, batch, ar.add(maximum, log_sum), batch.logits)


def online(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(d) - (x[label] - m)``, maximum m and sum d kept in one pass over tiles of classes.

    Where the first tile is all -inf the running maximum is too, and -inf - -inf is nan for the whole row:
    [-inf, -inf, -inf, -inf, 0, 1] in tiles of 4. A small loss collapses as in ``dense``: in float32 above a
    gap of 16.64.

    Source: Milakov and Gimelshein (2018), algorithm 3, arXiv:1805.02867.
    """
    maximum, total = running(ar, batch)
    return _of_classes(ar, batch, ar.log(total), ar.subtract(batch.logits, maximum))


def running(ar: "Arithmetic", batch: "Batch") -> "tuple[FloatArray, FloatArray]":
    """Return the running maximum and sum of exponentials after the last tile, (N, 1) each."""
    logits, tile = batch.logits, batch.tile
    maximum = np.full_like(logits[:, :1], -np.inf)
    total = np.zeros_like(maximum)
    for start in range(0, logits.shape[1], tile):
        part = logits[:, start : start + tile]
        larger = ar.larger(maximum, ar.maximum(part))
        kept = ar.multiply(total, ar.exp(ar.subtract(maximum, larger)))
        total = ar.add(kept, ar.sum(ar.exp_by_row(ar.subtract(part, larger))))
        maximum = larger
    return maximum, total


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


def shifted_logits(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Logits less the largest of their row: none above 0, so that no exp overflows."""
    return ar.subtract(batch.logits, ar.maximum(batch.logits))


def probabilities_of(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Return the probabilities given, else the softmax."""
    return softmax(ar, batch) if batch.probabilities is None else batch.probabilities


def classes_of(batch: "Batch") -> "IntArray":
    """Return each example's class; raises ValueError for soft labels, which a method says it cannot take."""
    if batch.indices is None:
        raise ValueError("soft labels have no class index")
    return batch.indices


def _minus_sum(ar: "Arithmetic", labels: "FloatArray", logs: "FloatArray") -> "FloatArray":
    return ar.negative(ar.sum(ar.multiply(labels, logs)))


def _of_classes(ar: "Arithmetic", batch: "Batch", log_sum: "FloatArray", terms: "FloatArray") -> "FloatArray":
    """Return the loss of ``-log p = log_sum - terms``: the own class's, weighted, smoothed, 0 where ignored.

    Smoothing adds up -log p over all classes before it takes ε / C of the sum, as PyTorch does.

    Source: PyTorch 2.13, ``cross_entropy_loss_label_smoothing`` in ``aten/src/ATen/native/LossNLL.cpp``.
    """
    losses = ar.subtract(log_sum, ar.pick(terms, classes_of(batch)))
    weighting = batch.weighting
    if weighting is None:
        return losses
    if weighting.own is not None:
        losses = ar.multiply(weighting.own, losses)
    if weighting.smoothing:
        every = ar.subtract(log_sum, terms)
        every = every if weighting.weights is None else ar.multiply(weighting.weights, every)
        share = ar.scale(ar.sum(every), weighting.smoothing / terms.shape[1])
        losses = ar.add(ar.scale(losses, 1 - weighting.smoothing), share)
    return losses if weighting.ignored is None else ar.keep(losses, ~weighting.ignored)

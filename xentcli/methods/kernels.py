"""The formulas of softmax cross-entropy, each with its gradient. Arrays in, arrays out.

A loss takes a Batch of N examples and C classes and returns losses (N, 1) in the dtype of the batch; a
gradient returns d loss / d logits (N, C), as frameworks differentiate the formula. Labels may be any
probabilities unless a docstring says otherwise. Each says what differs: the formula, where it fails, the
source. ``method.Method`` has the contract; a method's row stands under its functions.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.methods.method import Method, Quantity

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch

# The softmax


def softmax(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Probabilities (N, C): ``exp(x - m) / sum(exp(x - m))`` with m the largest logit of the row.

    Source: TensorFlow 1.10, ``SoftmaxEigenImpl`` in ``core/kernels/softmax_op_functor.h``.
    """
    exps = ar.exp(_shifted_logits(ar, batch))
    return ar.divide(exps, ar.sum(exps))


def _unshifted_softmax(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Probabilities (N, C): ``exp(x) / sum(exp(x))``."""
    exps = ar.exp(batch.logits)
    return ar.divide(exps, ar.sum(exps))


def _shifted_logits(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Logits less the largest of their row: none above 0, so that no exp overflows."""
    return ar.subtract(batch.logits, ar.row_max(batch.logits))


def _probabilities(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Return the probabilities of the case, else the softmax."""
    return softmax(ar, batch) if batch.probabilities is None else batch.probabilities


# Losses of probabilities


def naive(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(p))``, with p given or the softmax.

    Fails as soon as a probability underflows: p = 0 is nan where y = 0 (0 · -inf) and inf where y > 0; in
    float32 from a gap of 103.97 between two logits.

    Source: the blog, ``-tf.reduce_sum(y * tf.log(p))``.
    """
    return _minus_sum(ar, batch.targets, ar.log(_probabilities(ar, batch)))


def naive_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Through the log, then the softmax: ``-y / p`` is -0 / 0 = nan wherever a probability underflowed."""
    return _through_log(ar, batch, _probabilities(ar, batch))


NAIVE: Final = Method("naive", naive, naive_gradient, "-Σ y·log p", by_default=True, from_probabilities=True)


def clipped(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(clip(p, low, high)))``, with p given or the softmax.

    No example can lose more than ``-log(low)``: 82.89307 for 1e-36 in float32. A bound that rounds to 0, as
    1e-36 does in float16, clips nothing, and the method fails as naive does.

    Source: the blog, ``tf.clip_by_value(p, 1e-36, 1.0)``.
    """
    return _minus_sum(ar, batch.targets, ar.log(ar.clip(_probabilities(ar, batch), *batch.clip)))


def clipped_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Through the log, the clip and the softmax: an active clip passes 0 on.

    Source: TensorFlow 2.21, ``_ClipByValueGrad`` in ``python/ops/clip_ops.py``.
    """
    return _through_log(ar, batch, _probabilities(ar, batch), batch.clip)


CLIPPED: Final = Method(
    "clipped",
    clipped,
    clipped_gradient,
    "-Σ y·log(clip(p, low, high))",
    by_default=True,
    from_probabilities=True,
)


def guarded(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(where(y > 0, y * log(p), 0))``, with p given or the softmax.

    The value is right where naive's is nan, but its gradient is naive's: 0 times the infinite slope of log at
    0 is nan on the way back.

    Source: https://github.com/google-deepmind/optax/pull/1786.
    """
    terms = ar.multiply(batch.targets, ar.log(_probabilities(ar, batch)))
    return ar.negative(ar.sum(ar.where(batch.targets > 0, terms)))


GUARDED: Final = Method(
    "guarded", guarded, naive_gradient, "-Σ where(y > 0, y·log p, 0)", from_probabilities=True
)


def textbook(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * log(exp(x) / sum(exp(x))))``: naive with a softmax that shifts nothing.

    exp overflows from 88.73 on in float32, from 11.1 on in float16, and inf / inf is nan.

    Source: Blanchard, Higham and Higham (2021), algorithm 3.1, doi:10.1093/imanum/draa038.
    """
    return _minus_sum(ar, batch.targets, ar.log(_unshifted_softmax(ar, batch)))


def textbook_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """As ``naive_gradient``, through a softmax that shifts nothing."""
    return _through_log(ar, batch, _unshifted_softmax(ar, batch))


TEXTBOOK: Final = Method(
    "textbook", textbook, textbook_gradient, "-Σ y·log(exp x / Σ exp x)", from_probabilities=True
)


def by_hand(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-sum(y * math.log(p))`` in Python floats (float64) over the softmax in the dtype: losses float64.

    Fails where naive does, later only as far as float64 reaches beyond the softmax's own dtype.

    Source: the blog's own check of TensorFlow's result.
    """
    probabilities = ar.widen(softmax(ar, batch))
    return _minus_sum(ar.python, ar.widen(batch.targets), ar.python.log(probabilities))


BY_HAND: Final = Method(
    "by_hand", by_hand, None, "-Σ y·math.log(p), float64", dtype="float64", from_probabilities=True
)

# Losses of logits


def dense(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``sum(y * (log(sum(exp(x - m))) - (x - m)))``.

    Right at any size of logits. A loss below the rounding of 1 comes out as 0 (float32: a gap above 16.64),
    and a logit of -inf under a label of 0 is nan.

    Source: TensorFlow 1.10, ``XentEigenImpl`` in ``core/kernels/xent_op.h``
    (``tf.nn.softmax_cross_entropy_with_logits_v2``).
    """
    shifted = _shifted_logits(ar, batch)
    log_sum = ar.log(ar.sum(ar.exp_in_rows(shifted)))
    return ar.sum(ar.multiply(batch.targets, ar.subtract(log_sum, shifted)))


def fused_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``softmax - y``, fused with the loss; wrong where labels do not sum to 1.

    For weighted, smoothed or ignored labels ``sum(t) softmax - t``, t the targets, as PyTorch differentiates;
    an ignored row of nan is nan times 0 there.

    Also what JAX makes of ``unshifted`` (the maximum is a constant there). torch.logsumexp's own derivative,
    exp(x - logsumexp), is rounded with the offset as the loss is: [0, 1] for [1e8, 1e8], not [-0.5, 0.5].

    Source: TensorFlow 1.10, ``XentEigenImpl`` in ``core/kernels/xent_op.h``.
    """
    return minus_targets(ar, batch, softmax(ar, batch))


DENSE: Final = Method("dense", dense, fused_gradient, "Σ y·(log Σ exp(x-m) - (x-m))", by_default=True)


def sparse(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(sum(exp(x - m))) - (x[label] - m)``; expects one class per example, no soft labels.

    As ``dense``, but a logit of -inf that is not the label's does no harm.

    Source: TensorFlow 1.10, ``SparseXentEigenImpl`` in ``core/kernels/sparse_xent_op.h``
    (``tf.nn.sparse_softmax_cross_entropy_with_logits``).
    """
    shifted = _shifted_logits(ar, batch)
    log_sum = ar.log_scalar(ar.sum(ar.exp_in_rows(shifted)))
    return pick_losses(ar, batch, log_sum, shifted)


SPARSE: Final = Method(
    "sparse", sparse, fused_gradient, "log Σ exp(x-m) - (x[label]-m)", soft_labels=False, by_default=True
)


def log1p(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log1p(sum of exp(x - m) over all but the largest) - (x[label] - m)``.

    No tail is lost, down to where exp itself underflows (float32: a gap of 103.97, under eigen 87.34). What
    error there is comes from rounding x - m: half an ulp of a gap of 16 is 8 ulps of the loss. With soft
    labels as ``dense``: a logit of -inf under a label of 0 is nan.

    Source: Blanchard, Higham and Higham (2021), algorithm 4.1, doi:10.1093/imanum/draa038.
    """
    shifted = _shifted_logits(ar, batch)
    rest = ar.zero_class(ar.exp_in_rows(shifted), shifted.argmax(axis=1))
    tail = ar.log1p(ar.sum(rest))
    if batch.indices is not None:
        return pick_losses(ar, batch, tail, shifted)
    return ar.sum(ar.multiply(batch.targets, ar.subtract(tail, shifted)))


def log1p_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``softmax - y``, but for the label's class minus the sum of the others: never lost in 1 - 1.

    With soft or smoothed labels ``sum(t) softmax - t``, which is right whatever they sum to. An ignored row
    has the gradient 0, whatever its logits are.
    """
    p = softmax(ar, batch)
    if batch.indices is None or batch.weighting.smoothing:
        gradient = ar.subtract(ar.multiply(p, ar.sum(batch.targets)), batch.targets)
    else:
        others = ar.zero_class(p, batch.indices)
        gradient = ar.subtract(others, ar.multiply(batch.labels, ar.sum(others)))
        if batch.label_weights is not None:
            gradient = ar.multiply(batch.label_weights, gradient)
    return zero_ignored(ar, batch, gradient)


LOG1P: Final = Method("log1p", log1p, log1p_gradient, "log1p(Σ but the largest) - (x[label]-m)")


def unshifted(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``(m + log(sum(exp(x - m)))) - x[label]``: the log-sum-exp is right, but of the size of the logits.

    Wrong under a common offset, which rounds the normaliser away: in float32 [1e4, 1e4, 1e4] loses 1.0986328
    for 1.0986123, and from 1e8 on 0. An m that is not finite counts as 0.

    Source: optax 0.2.8, ``softmax_cross_entropy_with_integer_labels`` in ``losses/_classification.py``.
    """
    row_max = ar.finite_or_zero(ar.row_max(batch.logits))
    log_sum = ar.log(ar.sum(ar.exp_in_rows(ar.subtract(batch.logits, row_max))))
    return pick_losses(ar, batch, ar.add(row_max, log_sum), batch.logits)


UNSHIFTED: Final = Method(
    "unshifted", unshifted, fused_gradient, "(m + log Σ exp(x-m)) - x[label]", soft_labels=False
)


def online(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(d) - (x[label] - m)``, maximum m and sum d kept in one pass over tiles of classes.

    Where the first tile is all -inf the running maximum is too, and -inf - -inf is nan for the whole row:
    [-inf, -inf, -inf, -inf, 0, 1] in tiles of 4. A small loss collapses as in ``dense``: in float32 above a
    gap of 16.64.

    Source: Milakov and Gimelshein (2018), algorithm 3, arXiv:1805.02867.
    """
    maximum, total = _running(ar, batch)
    return pick_losses(ar, batch, ar.log(total), ar.subtract(batch.logits, maximum))


def online_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``exp(x - m) / d - y`` with the maximum and sum after the last tile."""
    maximum, total = _running(ar, batch)
    return minus_targets(ar, batch, ar.divide(ar.exp(ar.subtract(batch.logits, maximum)), total))


def _running(ar: "Arithmetic", batch: "Batch") -> "tuple[FloatArray, FloatArray]":
    """Return the running maximum and sum of exponentials after the last tile, (N, 1) each."""
    logits, tile = batch.logits, batch.tile
    maximum = np.full_like(logits[:, :1], -np.inf)
    total = np.zeros_like(maximum)
    for start in range(0, logits.shape[1], tile):
        part = logits[:, start : start + tile]
        larger = ar.maximum(maximum, ar.row_max(part))
        kept = ar.multiply(total, ar.exp(ar.subtract(maximum, larger)))
        total = ar.add(kept, ar.sum(ar.exp_in_rows(ar.subtract(part, larger))))
        maximum = larger
    return maximum, total


ONLINE: Final = Method(
    "online",
    online,
    online_gradient,
    "log d - (x[label]-m), one pass in tiles",
    soft_labels=False,
    most_tiles=2**13,
)

# Parts that several methods share


def _minus_sum(ar: "Arithmetic", labels: "FloatArray", logs: "FloatArray") -> "FloatArray":
    return ar.negative(ar.sum(ar.multiply(labels, logs)))


def pick_losses(ar: "Arithmetic", batch: "Batch", log_sum: "FloatArray", terms: "FloatArray") -> "FloatArray":
    """Return the losses of ``-log p = log_sum - terms`` at the labels: weighted, smoothed, 0 where ignored.

    Smoothing adds up -log p over all classes before it takes a share of the sum, as PyTorch does.

    Source: PyTorch 2.13, ``cross_entropy_loss_label_smoothing`` in ``aten/src/ATen/native/LossNLL.cpp``.
    """
    if batch.indices is None:
        raise ValueError("soft labels have no class index; Method.why_unsupported says so")
    losses = ar.subtract(log_sum, ar.pick(terms, batch.indices))
    own, each = map(float, batch.weighting.mix(terms.shape[1]))
    if batch.label_weights is not None:
        losses = ar.multiply(batch.label_weights, losses)
    if each:
        every = ar.subtract(log_sum, terms)
        every = every if batch.class_weights is None else ar.multiply(batch.class_weights, every)
        losses = ar.add(ar.scale(losses, own), ar.scale(ar.sum(every), each))
    return zero_ignored(ar, batch, losses)


def zero_ignored(ar: "Arithmetic", batch: "Batch", x: "FloatArray") -> "FloatArray":
    """Return x with 0 in the rows of ignored examples."""
    ignored = batch.weighting.ignored
    return x if ignored is None else ar.where(~ignored[:, None], x)


def minus_targets(ar: "Arithmetic", batch: "Batch", p: "FloatArray") -> "FloatArray":
    """Return a fused gradient: ``p - y``, or ``sum(t) p - t`` where targets are not the labels."""
    if batch.weighting.is_plain:
        return ar.subtract(p, batch.labels)
    return ar.subtract(ar.multiply(p, ar.sum(batch.targets)), batch.targets)


def _through_log(
    ar: "Arithmetic", batch: "Batch", p: "FloatArray", clip: tuple[float, float] | None = None
) -> "FloatArray":
    """Return the gradient of -sum(y log p), p a softmax: ``(g - sum(g p)) p``; g = -y / p, or 0 by a clip."""
    g = ar.divide(ar.negative(batch.targets), p)
    g = g if clip is None else ar.where_inside(p, g, *clip)
    return ar.multiply(ar.subtract(g, ar.sum(ar.multiply(g, p))), p)


METHODS: Final = (NAIVE, CLIPPED, DENSE, SPARSE, BY_HAND, LOG1P, UNSHIFTED, ONLINE, GUARDED, TEXTBOOK)

# What the blog prints besides losses


def softmax_sum(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Mean over the rows of the softmax's sum, (1, 1): the blog prints it to show that it is 1."""
    return ar.mean(ar.sum(softmax(ar, batch)))


def softmax_matches(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Count the entries where the softmax is within 1e-6 of the case's probabilities, (1, 1)."""
    if batch.probabilities is None:
        raise ValueError("softmax_matches needs probabilities; the loader says so")
    apart = np.abs(ar.subtract(softmax(ar, batch), batch.probabilities))
    near = (apart < apart.dtype.type(1e-6)).astype(apart.dtype)
    return ar.sum_losses(ar.sum(near))


def class_indices(ar: "Arithmetic", batch: "Batch") -> "IntArray":  # noqa: ARG001 - a kernel like the others
    """Class of the largest label of each example, (N, 1) int64: the blog's ``tf.argmax(labels)``."""
    return batch.labels.argmax(axis=1)[:, None]


QUANTITIES: Final = (
    Quantity("softmax", softmax, ("N", "C"), "the probabilities"),
    Quantity("softmax_sum", softmax_sum, (), "the mean over the rows of the softmax's sum"),
    Quantity(
        "softmax_matches",
        softmax_matches,
        (),
        "how many entries are within 1e-6 of `probabilities`",
        needs_probabilities=True,
    ),
    Quantity("class_indices", class_indices, ("N",), "the class of the largest label", dtype="int64"),
)

"""Gradients of the losses with respect to the logits, as frameworks differentiate each formula.

A gradient kernel takes what a kernel takes and returns d loss / d logits of each example, (N, C), without the
reduction's factor. nan and infinities are results here too. Labels have to sum to 1 for ``softmax - y``.
"""

from typing import TYPE_CHECKING

from xentcli.methods import kernels

if TYPE_CHECKING:
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch, FloatArray


def naive(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Through the log, then the softmax: ``-y / p`` is -0 / 0 = nan wherever a probability underflowed."""
    p = kernels.probabilities_of(ar, batch)
    return _through_softmax(ar, p, _of_log(ar, batch, p))


def textbook(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """As ``naive``, through a softmax that shifts nothing."""
    p = kernels.unshifted_softmax(ar, batch)
    return _through_softmax(ar, p, _of_log(ar, batch, p))


def clipped(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Through the log, the clip and the softmax: an active clip passes 0 on.

    Source: TensorFlow 2.21, ``_ClipByValueGrad`` in ``python/ops/clip_ops.py``.
    """
    p = kernels.probabilities_of(ar, batch)
    of_clip = ar.inside(_of_log(ar, batch, ar.clip(p, *batch.clip)), p, *batch.clip)
    return _through_softmax(ar, p, of_clip)


def dense(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``softmax - y``, fused with the loss; wrong where labels do not sum to 1.

    Of weighted, smoothed or ignored labels ``sum(t) softmax - t``, t the targets, as PyTorch differentiates;
    an ignored row of nan is nan times 0 there.

    Also what JAX makes of ``unshifted`` (the maximum is a constant there). torch.logsumexp's own derivative,
    exp(x - logsumexp), is rounded with the offset as the loss is: [0, 1] for [1e8, 1e8], not [-0.5, 0.5].

    Source: TensorFlow 1.10, ``XentEigenImpl`` in ``core/kernels/xent_op.h``.
    """
    return _less_targets(ar, batch, kernels.softmax(ar, batch))


def log1p(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``softmax - y``, but for the example's own class minus the sum of the others: never lost in 1 - 1.

    With soft or smoothed labels ``sum(t) softmax - t``, which is right whatever they sum to. An ignored row
    has the gradient 0, whatever its logits are.
    """
    p = kernels.softmax(ar, batch)
    weighting = batch.weighting
    if batch.indices is None or (weighting is not None and weighting.smoothing):
        gradient = ar.subtract(ar.multiply(p, ar.sum(batch.targets)), batch.targets)
    else:
        others = ar.without(p, batch.indices)
        gradient = ar.subtract(others, ar.multiply(batch.labels, ar.sum(others)))
        if weighting is not None and weighting.own is not None:
            gradient = ar.multiply(weighting.own, gradient)
    ignored = None if weighting is None else weighting.ignored
    return gradient if ignored is None else ar.keep(gradient, ~ignored)


def online(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``exp(x - m) / d - y`` with the maximum and sum that the tiles left."""
    maximum, total = kernels.running(ar, batch)
    return _less_targets(ar, batch, ar.divide(ar.exp(ar.subtract(batch.logits, maximum)), total))


def _of_log(ar: "Arithmetic", batch: "Batch", p: "FloatArray") -> "FloatArray":
    """Return the gradient of -sum(y log p) with respect to p: -y / p."""
    return ar.divide(ar.negative(batch.targets), p)


def _less_targets(ar: "Arithmetic", batch: "Batch", p: "FloatArray") -> "FloatArray":
    """Return what a fused gradient is: ``p - y``, with the sum of the targets where they are not labels."""
    if batch.weighting is None:
        return ar.subtract(p, batch.labels)
    return ar.subtract(ar.multiply(p, ar.sum(batch.targets)), batch.targets)


def _through_softmax(ar: "Arithmetic", p: "FloatArray", gradient: "FloatArray") -> "FloatArray":
    """Pass a gradient with respect to the softmax on to the logits: ``(g - sum(g p)) p``."""
    return ar.multiply(ar.subtract(gradient, ar.sum(ar.multiply(gradient, p))), p)

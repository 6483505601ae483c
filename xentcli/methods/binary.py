"""Binary (sigmoid) cross-entropy: one logit x and one label y per example, (N, 1) each; with gradients.

The loss of an example is ``-(y log p + (1 - y) log(1 - p))`` with p given or the sigmoid of x. Gradients are
those with respect to x, (N, 1), as frameworks differentiate each formula. nan and infinities are results.
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from xentcli.methods.method import Method

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch

_SMALLEST_LOG: Final = -100.0  # PyTorch's bound of a log
_SMALLEST_VARIANCE: Final = 1e-12  # PyTorch's bound of p (1 - p)
_method = partial(Method, binary=True, by_default=True)


def _sigmoid(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``1 / (1 + exp(-x))``; rounds to 1 from 16.64 on in float32, where 1 + exp(-x) does."""
    return ar.reciprocal(ar.one_plus(ar.exp(ar.negative(batch.logits))))


def _probabilities(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Return the probabilities of the case, else the sigmoid."""
    return _sigmoid(ar, batch) if batch.probabilities is None else batch.probabilities


def naive(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-(y log p + (1 - y) log(1 - p))``.

    A p that rounds to 0 or 1 is inf, or nan where the label agrees with it (0 · -inf).

    Source: https://github.com/tensorflow/tensorflow/pull/41595, before any epsilon.
    """
    p = _probabilities(ar, batch)
    return _minus_mixed(ar, batch, ar.log(p), ar.log(ar.one_minus(p)))


def naive_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Through the logs and the sigmoid: y / p is 0 / 0 = nan wherever p rounded to 0, and so at 1."""
    p = _probabilities(ar, batch)
    return _through_sigmoid(ar, p, _log_gradient(ar, batch, p))


BCE_NAIVE: Final = _method(
    "bce_naive", naive, naive_gradient, "-(y·log p + (1-y)·log(1-p))", from_probabilities=True
)


def clipped(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """As naive, with p brought into [low, high] first.

    A high bound that rounds to 1, as 1 - 1e-7 does in float16, clips nothing.

    Source: Keras 3, ``binary_crossentropy`` in ``keras/src/backend/tensorflow/nn.py``.
    """
    p = ar.clip(_probabilities(ar, batch), *batch.clip)
    return _minus_mixed(ar, batch, ar.log(p), ar.log(ar.one_minus(p)))


def clipped_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Through the logs, the clip and the sigmoid: an active clip passes 0 on."""
    p = _probabilities(ar, batch)
    return _through_sigmoid(ar, p, ar.where_inside(p, _log_gradient(ar, batch, p), *batch.clip))


BCE_CLIPPED: Final = _method(
    "bce_clipped",
    clipped,
    clipped_gradient,
    "bce_naive's, p clipped to [low, high]",
    from_probabilities=True,
)


def clamped(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``-(y max(log p, -100) + (1 - y) max(log1p(-p), -100))``.

    No example can lose more than 100, and in float32 the loss of a wrong example leaps there from 15.94. Half
    formats round every operation here, while PyTorch computes their sigmoid in float32.

    Source: PyTorch 2.13, ``binary_cross_entropy_out_cpu`` in ``aten/src/ATen/native/Loss.cpp``.
    """
    p = _probabilities(ar, batch)
    log_p = ar.clip(ar.log(p), _SMALLEST_LOG)
    return _minus_mixed(ar, batch, log_p, ar.clip(ar.log1p(ar.negative(p)), _SMALLEST_LOG))


def clamped_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``(p - y) / max(p (1 - p), 1e-12)``, then through the sigmoid: 0 as soon as p rounds to 0 or 1.

    In float16 the floor itself is 0, and the gradient nan there.

    Source: PyTorch 2.13, ``binary_cross_entropy_backward_out_cpu`` in ``aten/src/ATen/native/Loss.cpp``.
    """
    p = _probabilities(ar, batch)
    variance = ar.clip(ar.multiply(ar.one_minus(p), p), _SMALLEST_VARIANCE)
    return _through_sigmoid(ar, p, ar.divide(ar.subtract(p, batch.labels), variance))


BCE_CLAMPED: Final = _method(
    "bce_clamped", clamped, clamped_gradient, "bce_naive's, logs clamped at -100", from_probabilities=True
)


def with_logits(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``max(x, 0) - x y + log1p(exp(-|x|))``: right at any finite logit.

    An infinite one is nan (inf - inf, inf · 0), but for -inf under a label above 0, which rightly loses inf.

    Source: TensorFlow 2.21, ``sigmoid_cross_entropy_with_logits`` in ``python/ops/nn_impl.py``.
    """
    x = batch.logits
    linear = ar.subtract(ar.clip(x, 0.0), ar.multiply(x, batch.labels))
    return ar.add(linear, ar.log1p(ar.exp(ar.negative(ar.absolute(x)))))


def gradient_with_logits(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``sigmoid(x) - y``.

    Source: PyTorch 2.13, ``binary_cross_entropy_with_logits`` in ``tools/autograd/derivatives.yaml``.
    """
    return ar.subtract(_sigmoid(ar, batch), batch.labels)


BCE_WITH_LOGITS: Final = _method(
    "bce_with_logits", with_logits, gradient_with_logits, "max(x, 0) - x·y + log1p(exp(-|x|))"
)
METHODS: Final = (BCE_NAIVE, BCE_CLIPPED, BCE_CLAMPED, BCE_WITH_LOGITS)


def _minus_mixed(ar: "Arithmetic", batch: "Batch", log_p: "FloatArray", log_q: "FloatArray") -> "FloatArray":
    """Return ``-(y log p + (1 - y) log q)``."""
    y = batch.labels
    return ar.negative(ar.add(ar.multiply(y, log_p), ar.multiply(ar.one_minus(y), log_q)))


def _log_gradient(ar: "Arithmetic", batch: "Batch", p: "FloatArray") -> "FloatArray":
    """Return the gradient with respect to p: ``(1 - y) / (1 - p) - y / p``."""
    y = batch.labels
    return ar.subtract(ar.divide(ar.one_minus(y), ar.one_minus(p)), ar.divide(y, p))


def _through_sigmoid(ar: "Arithmetic", p: "FloatArray", gradient: "FloatArray") -> "FloatArray":
    """Pass a gradient with respect to the sigmoid on to its logit: ``g (1 - p) p``."""
    return ar.multiply(ar.multiply(gradient, ar.one_minus(p)), p)

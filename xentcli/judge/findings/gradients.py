"""Findings of a gradient that is dead, nan or wrong."""

from typing import Final

from xentcli.judge.findings.finding import Finding
from xentcli.judge.findings.inputs import labels_not_normalised

dead_gradient: Final = Finding(
    "dead-gradient",
    short="the gradient is 0",
    cause="Every entry of the gradient is 0 although the true gradient is not: the model learns nothing from "
    "it.",
    remedy="Compute the loss from the logits, without a clip; where the gradient underflows, in a wider "
    "format.",
    source="https://github.com/tensorflow/tensorflow/issues/44333",
    case="clip-kills-gradient",
    detect=lambda e: e.gradients == "dead",
)
nan_gradient: Final = Finding(
    "nan-gradient",
    short="the gradient has a nan",
    cause="The gradient has a nan although the true gradient is defined; one step of training spreads it to "
    "the weights.",
    remedy="Use a loss whose gradient is softmax - y, of finite logits; guarding the value is not enough.",
    source="https://github.com/google-deepmind/optax/pull/1786",
    case="where-guards-only-the-value",
    detect=lambda e: (e.gradients == "nan") & ~e.examples.exact.is_nan,
)
wrong_gradient: Final = Finding(
    "wrong-gradient",
    short="the gradient is off",
    cause="The loss is right and its gradient is not: off by more than 1 % of its largest entry.",
    remedy="Differentiate with respect to the logits in one step: softmax - y, or sigmoid(x) - y.",
    source="https://github.com/pytorch/pytorch/issues/103316",
    case="clamped-gradient-vanishes",
    detect=lambda e: (e.gradients == "wrong") & (e.verdicts == "accurate") & ~labels_not_normalised.detect(e),
)
FINDINGS: Final = (dead_gradient, nan_gradient, wrong_gradient)

"""Findings of a gradient that is dead, nan or wrong."""

from typing import TYPE_CHECKING, Final

from xentcli.judge.findings.finding import Finding
from xentcli.judge.findings.inputs import labels_not_normalised

if TYPE_CHECKING:
    from xentcli.judge.evidence import Evidence


def _dead_gradient(e: "Evidence") -> bool:
    return e.gradient == "dead"


DEAD_GRADIENT: Final = Finding(
    "dead-gradient",
    cause="Every entry of the gradient is 0 although the true gradient is not: the example teaches nothing.",
    remedy="Compute the loss from the logits, without a clip; where the gradient underflows, in a wider "
    "format.",
    source="https://github.com/tensorflow/tensorflow/issues/44333",
    case="clip-kills-gradient",
    detect=_dead_gradient,
)


def _nan_gradient(e: "Evidence") -> bool:
    return e.gradient == "nan" and not e.exact.is_nan()


NAN_GRADIENT: Final = Finding(
    "nan-gradient",
    cause="The gradient has a nan although the true gradient is defined; one step of training spreads it.",
    remedy="Use a loss whose gradient is softmax - y, of finite logits; guarding the value is not enough.",
    source="https://github.com/google-deepmind/optax/pull/1786",
    case="where-guards-only-the-value",
    detect=_nan_gradient,
)


def _wrong_gradient(e: "Evidence") -> bool:
    """Detect a gradient that is off beside a loss that is right, for another reason than the labels."""
    return e.gradient == "wrong" and e.verdict == "accurate" and not labels_not_normalised(e)


WRONG_GRADIENT: Final = Finding(
    "wrong-gradient",
    cause="The loss is right and its gradient is not: off by more than 1 % of its largest entry.",
    remedy="Differentiate with respect to the logits in one step: softmax - y, or sigmoid(x) - y.",
    source="https://github.com/pytorch/pytorch/issues/103316",
    case="clamped-gradient-vanishes",
    detect=_wrong_gradient,
)

FINDINGS: Final = (DEAD_GRADIENT, NAN_GRADIENT, WRONG_GRADIENT)

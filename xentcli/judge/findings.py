"""FINDINGS: the named causes of a wrong loss, each with a remedy, a source and a case that shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli.judge import causes

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.judge.evidence import Evidence

_BHH = "Blanchard, Higham and Higham (2021), doi:10.1093/imanum/draa038"


@dataclass(frozen=True, slots=True)
class Finding:
    """A name, one sentence of cause, one of remedy, a source, a bundled case, and how it is told."""

    name: str
    cause: str
    remedy: str
    source: str
    case: str
    told: "Callable[[Evidence], bool]"


FINDINGS: Final = (
    Finding(
        "zero-times-infinity",
        "A probability underflowed to 0, its log is -inf, and 0 × -inf is nan.",
        "Compute the loss from the logits (dense, sparse or log1p), not from probabilities.",
        "https://github.com/allenai/allennlp/issues/2797",
        "zero-times-log-zero",
        causes.zero_times_infinity,
    ),
    Finding(
        "log-of-zero",
        "The probability of a labelled class underflowed to 0, and log(0) is -inf.",
        "Compute the loss from the logits (dense, sparse or log1p): the true loss is finite.",
        "https://github.com/tensorflow/tensorflow/issues/21271",
        "log-of-zero-is-not-the-loss",
        causes.log_of_zero,
    ),
    Finding(
        "difference-overflow",
        "The difference of two finite logits is larger than the format can hold.",
        "Compute the loss in a wider format; sparse does not multiply the classes without a label.",
        "https://github.com/huggingface/transformers/issues/17306",
        "finfo-min-mask",
        causes.difference_overflow,
    ),
    Finding(
        "exp-overflow",
        "exp of a finite logit is larger than the format can hold.",
        "Subtract the largest logit before exp; of a sigmoid take exp of -|x|.",
        _BHH,
        "softmax-without-shift",
        causes.exp_overflow,
    ),
    Finding(
        "clip-active",
        "A probability lay outside the clip, and the clip's bound, not the logits, decided the loss.",
        "Compute the loss from the logits; a clip caps the loss at -log of its lower bound.",
        "https://github.com/keras-team/keras/issues/7563",
        "keras-cap",
        causes.clip_active,
    ),
    Finding(
        "dead-gradient",
        "Every entry of the gradient is 0 although the true gradient is not: the example teaches nothing.",
        "Compute the loss from the logits, without a clip; where the gradient underflows, in a wider format.",
        "https://github.com/tensorflow/tensorflow/issues/44333",
        "clip-kills-gradient",
        lambda e: e.gradient == "dead",
    ),
    Finding(
        "nan-gradient",
        "The gradient has a nan although the true gradient is defined; one step of training spreads it.",
        "Use a loss whose gradient is softmax - y, of finite logits; guarding the value is not enough.",
        "https://github.com/google-deepmind/optax/pull/1786",
        "where-guards-only-the-value",
        lambda e: e.gradient == "nan" and not e.exact.is_nan(),
    ),
    Finding(
        "wrong-gradient",
        "The loss is right and its gradient is not: off by more than 1 % of its largest entry.",
        "Differentiate with respect to the logits in one step: softmax - y, or sigmoid(x) - y.",
        "https://github.com/pytorch/pytorch/issues/103316",
        "clamped-gradient-vanishes",
        causes.wrong_gradient,
    ),
    Finding(
        "tail-collapse",
        "1 plus the other classes' exponentials is rounded: a small loss loses digits, and at last is 0.",
        "Use log1p of the sum without its largest term.",
        "https://github.com/pytorch/pytorch/issues/113708",
        "tail-collapse",
        causes.tail_collapse,
    ),
    Finding(
        "offset-cancellation",
        "The log-sum-exp was rounded at the size of the logits before the label's logit was subtracted.",
        "Subtract the largest logit from all logits, and keep it out of the result.",
        "https://github.com/pytorch/pytorch/issues/11752",
        "common-offset",
        causes.offset_cancellation,
    ),
    Finding(
        "masked-infinity",
        "A class masked with a logit of -inf has the label 0, and 0 × inf is nan in the sum over classes.",
        "Pick the label's class (sparse) instead of multiplying by a one-hot row.",
        "https://github.com/google-deepmind/optax/issues/896",
        "masked-class",
        causes.masked_infinity,
    ),
    Finding(
        "empty-tile",
        "All logits of the first tile are -inf, so that the running maximum is -inf and -inf - -inf is nan.",
        "Start from a finite maximum, or skip tiles whose maximum is -inf.",
        "https://github.com/Dao-AILab/flash-attention/issues/1930",
        "empty-tile",
        causes.empty_tile,
    ),
    Finding(
        "labels-not-normalised",
        "The labels of the example do not sum to 1; softmax - y is then not the gradient of the loss.",
        "Divide each row of labels by its sum, or differentiate the formula: sum(y) softmax - y.",
        "https://github.com/tensorflow/tensorflow/issues/15079",
        "labels-sum-to-two",
        causes.labels_not_normalised,
    ),
    Finding(
        "low-precision-sum",
        "A sum carried in the format lost more than 4 ulps of its terms, or overflowed.",
        "Carry sums in a wider format (with arithmetic numpy, accumulate: float32 or float64).",
        "https://github.com/huggingface/transformers/issues/10674",
        "ordered-sum",
        causes.low_precision_sum,
    ),
    Finding(
        "value-overflows-dtype",
        "The true loss is larger than the largest finite number of the format.",
        "Compute the loss in a wider format.",
        "https://github.com/pytorch/pytorch/issues/85791",
        "loss-beyond-float16",
        causes.value_overflows_dtype,
    ),
    Finding(
        "sigmoid-rounding",
        "A probability next to 1 was rounded, and 1 less it keeps the rounding and not the rest.",
        "Compute the loss from the logit: max(x, 0) - x·y + log1p(exp(-|x|)).",
        "https://github.com/pytorch/pytorch/issues/39435",
        "clamp-leaps",
        causes.sigmoid_rounding,
    ),
    Finding(
        "nan-logit",
        "A logit is nan before the loss is computed.",
        "Look at what computes the logits: the weights, the input, a step that was too large.",
        "https://github.com/liuzhuang13/DenseNetCaffe/issues/20",
        "nan-logit",
        causes.nan_logit,
    ),
    Finding(
        "infinite-logit",
        "A logit is infinite, and inf - inf or inf × 0 is nan; the loss is defined as a limit only.",
        "Find where the logit overflowed: no loss can mend it.",
        "https://github.com/pytorch/pytorch/issues/6864",
        "infinite-logit",
        causes.infinite_logit,
    ),
    Finding(
        "label-on-mask",
        "A class masked with a logit of -inf has a part of the label: the true loss is infinite.",
        "Do not smooth labels over masked classes, and mask no class that a label names.",
        "https://github.com/facebookresearch/pytext/pull/1698",
        "smoothing-meets-mask",
        causes.label_on_mask,
    ),
    Finding(
        "undefined-softmax",
        "The row has no finite logit, or several infinite ones: there is no softmax and no true loss.",
        "Leave such rows out before the loss; ignoring their label does not protect the gradient.",
        "https://github.com/allenai/allennlp/issues/890",
        "all-classes-masked",
        causes.undefined_softmax,
    ),
    Finding(
        "ignored-row-leaks",
        "An ignored example was multiplied by 0 and not left out, and 0 times its infinity or nan is nan.",
        "Choose 0 for ignored examples (where), before the logits too, so that the gradient is spared.",
        "https://github.com/pytorch/pytorch/issues/11551",
        "zero-times-infinite-loss",
        causes.ignored_row_leaks,
    ),
    Finding(
        "label-out-of-range",
        "The label is no class, or no probability: whatever comes out is no loss.",
        "Check labels before the loss; libraries answer with an error, nan, 0 or another class's loss.",
        "https://github.com/tensorflow/tensorflow/issues/8484",
        "label-out-of-range",
        causes.label_out_of_range,
    ),
    Finding(
        "other-probabilities",
        "The probabilities given are not the softmax of the logits.",
        "Give the logits once, to a loss that takes logits: no softmax before it, no renormalising.",
        "https://github.com/keras-team/keras/issues/6143",
        "softmax-twice",
        causes.other_probabilities,
    ),
    Finding(
        "empty-mean",
        "No example counts, and the mean over none is 0 / 0.",
        "Skip the batch, or divide the sum by a count of at least 1.",
        "https://github.com/pytorch/pytorch/issues/70348",
        "every-label-ignored",
        lambda _: False,  # of the reduction, not of an example: truth.py tells it
    ),
)


def findings_of(evidence: "Evidence") -> tuple[str, ...]:
    """Name what is found in one example, in the order of the catalogue."""
    return tuple(finding.name for finding in FINDINGS if finding.told(evidence))

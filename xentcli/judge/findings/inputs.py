"""Findings of the inputs: labels, logits and probabilities that no loss can mend, rows that do not count."""

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, float_sums, format_of, nearest
from xentcli.judge.findings.finding import BLANCHARD, Finding, finding, of_examples

if TYPE_CHECKING:
    from xentcli.formats import BoolArray
    from xentcli.judge.evidence import Evidence, Examples, Reduction

# ulps by which printed probabilities may differ from the softmax: their own method's error, and its printing
_PRINTED: Final = 16


@finding(
    "labels-not-normalised",
    short="labels do not sum to 1",
    cause="The labels of the example do not sum to 1; softmax - y is then not the gradient of the loss.",
    remedy="Divide each row of labels by its sum, or differentiate the formula: sum(y) softmax - y.",
    source="https://github.com/tensorflow/tensorflow/issues/15079",
    case="labels-sum-to-two",
)
@of_examples
def labels_not_normalised(e: "Examples") -> "BoolArray":
    """Detect labels whose sum is not 1, beyond C roundings of their format."""
    if e.batch.binary or e.batch.indices is not None:  # one-hot, ignored or invalid
        return np.zeros(len(e.rows), bool)
    labels = e.batch.labels[e.rows]
    is_known = np.atleast_1d(np.isfinite(labels).all(axis=1))  # of a dump; a case has no others
    sums = float_sums(np.where(is_known[:, None], labels.astype(np.float64), 0))
    allowed = labels.shape[1] * format_of(labels.dtype).eps
    return ~is_known | (sums < 1 - allowed) | (sums > 1 + allowed)


def _reduced_value_overflows(r: "Reduction") -> bool:
    """Detect a true mean or sum beyond the format, of finite losses, that came out infinite."""
    if r.loss is None or not math.isinf(r.loss) or r.exact is None or not r.exact.is_finite():
        return False
    return all(map(math.isfinite, r.losses)) and math.isinf(nearest(r.exact, FORMATS[r.dtype]))


value_overflows_dtype: Final = finding(
    "value-overflows-dtype",
    short="the true loss is beyond the format",
    cause="The true loss is larger than the largest finite number of the format.",
    remedy="Compute the loss in a wider format.",
    source="https://github.com/pytorch/pytorch/issues/85791",
    case="loss-beyond-float16",
    detect_in_reduction=_reduced_value_overflows,
    among=lambda e: e.examples.exact.is_finite & (e.examples.exact.near >= FORMATS[e.dtype].largest),
)(lambda e: np.isinf(e.examples.exact.nearest(FORMATS[e.dtype])))
nan_logit: Final = Finding(
    "nan-logit",
    short="a logit is nan",
    cause="A logit is nan before the loss is computed.",
    remedy="Look at what computes the logits: the weights, the input, a step that was too large.",
    source="https://github.com/liuzhuang13/DenseNetCaffe/issues/20",
    case="nan-logit",
    detect=of_examples(lambda e: e.has_nan & ~e.ignored),
)
infinite_logit: Final = Finding(
    "infinite-logit",
    short="a logit is infinite",
    cause="A logit is infinite, and inf - inf or inf × 0 is nan; the loss is defined as a limit only.",
    remedy="Find the operation that made the logit infinite; no loss function can repair it.",
    source="https://github.com/pytorch/pytorch/issues/6864",
    case="infinite-logit",
    detect=lambda e: e.is_nan & ~e.examples.exact.is_nan & e.examples.has_infinite,
)
ignored_row_leaks: Final = Finding(
    "ignored-row-leaks",
    short="an ignored row is multiplied by 0, not left out",
    cause="An ignored example was multiplied by 0 and not left out, and 0 times its infinity or nan is nan.",
    remedy="Choose 0 for ignored examples (where), before the logits too, so that the gradient is spared.",
    source="https://github.com/pytorch/pytorch/issues/11551",
    case="zero-times-infinite-loss",
    detect=lambda e: e.examples.ignored & (e.losses != 0),
)
label_out_of_range: Final = Finding(
    "label-out-of-range",
    short="a label is invalid",
    cause="The label is no class of the logits, or is no probability: the result has no meaning.",
    remedy="Check labels before the loss; libraries answer with an error, nan, 0 or another class's loss.",
    source="https://github.com/tensorflow/tensorflow/issues/8484",
    case="label-out-of-range",
    detect=of_examples(lambda e: e.invalid),
)


@finding(
    "other-probabilities",
    short="the probabilities given are not the softmax of the logits",
    cause="The probabilities given are not the softmax of the logits.",
    remedy="Give the logits once, to a loss that takes logits: no softmax before it, no renormalising.",
    source="https://github.com/keras-team/keras/issues/6143",
    case="softmax-twice",
    among=lambda e: e.is_wrong,
)
def other_probabilities(e: "Evidence") -> "BoolArray":
    """Detect probabilities that the case gives, that a method took, and that are not those of the logits."""
    batch, logits = e.examples.batch, e.examples.logits
    probabilities = batch.probabilities
    is_taken = any("probabilities" in step.inputs for step in e.steps)
    if probabilities is None or batch.binary or not is_taken:
        return np.zeros(len(logits), bool)
    largest, form = logits.max(axis=1, keepdims=True), format_of(probabilities.dtype)
    # Of float64 logits further apart than float64 reaches exp(-inf) is 0; an infinite largest makes all nan.
    exps = np.exp(logits - largest)
    softmax, p = exps / exps.sum(axis=1, keepdims=True), probabilities[e.examples.rows].astype(np.float64)
    allowed = _PRINTED * form.eps * np.maximum(softmax, p) + form.smallest
    return np.asarray((np.abs(softmax - p) > allowed).any(axis=1))


empty_mean: Final = Finding(
    "empty-mean",
    short="no example counts",
    cause="No example counts, and the mean over none is 0 / 0.",
    remedy="Skip the batch, or divide the sum by a count of at least 1.",
    source="https://github.com/pytorch/pytorch/issues/70348",
    case="every-label-ignored",
    detect_in_reduction=lambda r: r.divisor == 0,
)


@finding(
    "ignored-class-is-frequent",
    short="the ignored label is the most frequent class",
    cause="The ignored label is a class, and the most frequent one: where padding has the id of the end of a "
    "text, no end is ever learned.",
    remedy="Pad with an id of its own, or ignore only what lies beyond the first end of a text.",
    source="https://github.com/huggingface/trl/pull/6357",
    case="pad-is-eos",
)
@of_examples
def ignored_class_is_frequent(e: "Examples") -> "BoolArray":
    """Detect an ignored example whose label is a class, and no other label is more frequent."""
    labels, classes = e.batch.class_labels, e.batch.logits.shape[1]
    if labels is None or not e.ignored.any() or (labels == labels[0]).all():
        return np.zeros(len(e.rows), bool)
    counts = np.bincount(labels[(labels >= 0) & (labels < classes)], minlength=classes)
    is_frequent = np.isin(labels[e.rows], np.flatnonzero(counts == counts.max()))
    return e.ignored & is_frequent


rounded_logits: Final = Finding(  # a case has its logits as they are stored: only in a dump is it detected
    "rounded-logits",
    short="logits rounded to a narrow format have another loss",
    cause="Rounded to float16 or bfloat16 the logits have a loss that differs by more than 1 %.",
    remedy="Keep logits in float32, or subtract the largest of each row before they are rounded.",
    source=BLANCHARD,
    case="rounded-logits",
)
labels_out_of_step: Final = Finding(  # a case has no sequences: only in a dump is it detected
    "labels-out-of-step",
    short="the labels fit the logits of another position",
    cause="The labels of sequences fit when shifted by one position: a causal model predicts the next token.",
    remedy="Judge position t with the label of position t + 1, and shift once: in the loss or in the data.",
    source="https://github.com/huggingface/transformers/issues/3711",
    case="labels-out-of-step",
)
FINDINGS: Final = (
    labels_not_normalised,
    value_overflows_dtype,
    nan_logit,
    infinite_logit,
    ignored_row_leaks,
    label_out_of_range,
    other_probabilities,
    empty_mean,
    ignored_class_is_frequent,
    rounded_logits,
    labels_out_of_step,
)

"""What is wrong with a loss where no finding of the catalogue says it: common mistakes, and symptoms."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

Losses = Callable[["FloatArray", int], float]  # of logits (C,) in float64 and a label


@dataclass(frozen=True, slots=True)
class Symptom:
    """What one sees: a name, what it is in a few words, a remedy."""

    name: str
    short: str
    remedy: str

    @property
    def cause(self) -> str:
        """The few words as a sentence."""
        return f"{self.short[0].upper()}{self.short[1:]}."


def mistakes(x: "FloatArray", label: int | None, true: Decimal, examples: int) -> dict[str, float]:
    """Return what common mistakes make of logits (C,) in float64, by the names of MISTAKES.

    ``label`` is None where the labels are spread, weighted or invalid; ``examples`` are those of the batch.
    """
    classes = len(x)
    loss = float(true)
    values = {"wrong-sign": -loss, "other-base-2": loss / np.log(2), "other-base-10": loss / np.log(10)}
    values |= {"mean-of-classes": loss / classes, "mean-of-batch": loss / examples}
    if label is not None and classes > 1:
        with np.errstate(all="ignore"):
            log_p = -_losses(x)
            p = np.exp(log_p)
            values |= {
                "next-class": -log_p[(label + 1) % classes],
                "previous-class": -log_p[label - 1],
                "label-left-out": x[label] - log_p[label],
                "likeliest-class": -log_p.max(),
                "softmax-twice": _losses(p)[label],
                "softmax-left-out": -x[label],
                "log-left-out": -p[label],
            }
    return {name: float(value) for name, value in values.items()}


def gradient_mistakes(
    true: "FloatArray", label: int | None, examples: int, upstream: float
) -> "dict[str, FloatArray]":
    """Return what common mistakes make of a gradient (C,), by the names of GRADIENT_MISTAKES.

    ``label`` is None where the labels are spread, weighted or invalid; ``examples`` are those of the batch,
    and ``upstream`` is what the gradient was multiplied by on its way back.
    """
    made = {"upstream-ignored": true / upstream, "gradient-of-sum": true * examples}
    made |= {"gradient-negated": -true, "gradient-doubled": 2 * true, "gradient-halved": true / 2}
    if label is not None and len(true) > 1:
        y = (np.arange(len(true)) == label) * 1.0  # np.eye has C² numbers
        made |= {
            "label-not-subtracted": true + y,
            "label-added": true + 2 * y,
            "gradient-next-class": true + y - np.roll(y, 1),
            "gradient-previous-class": true + y - np.roll(y, -1),
        }
    return made


def _losses(x: "FloatArray") -> "FloatArray":
    """Return the loss of every class, of an infinite logit as a limit."""
    top = x.argmax()
    if x[top] == np.inf:
        return np.where(x == np.inf, 0.0, np.inf)
    shifted = x - x[top]
    exps = np.exp(shifted)
    exps[top] = 0
    losses: FloatArray = np.log1p(exps.sum()) - shifted
    return losses


_COUNT: Final = "Count classes from 0, in the labels and in the indices."
_BASE: Final = "Take the natural logarithm."
_MISTAKES: Final = (
    Symptom("wrong-sign", "it returns minus the cross-entropy", "Negate what it returns."),
    Symptom("next-class", "it returns the loss of the next class", _COUNT),
    Symptom("previous-class", "it returns the loss of the class before", _COUNT),
    Symptom("label-left-out", "it returns log Σ exp x alone", "Subtract the label's logit."),
    Symptom("likeliest-class", "it returns the loss of the likeliest class", "Pick the label's logit."),
    Symptom("softmax-twice", "it takes the softmax twice", "Leave the first out: the loss has one."),
    Symptom("softmax-left-out", "it returns -x[label]", "Subtract log Σ exp x first (log_softmax)."),
    Symptom("log-left-out", "it returns -p[label], no logarithm", "Take log_softmax in place of softmax."),
    Symptom("other-base-2", "it takes the logarithm to base 2", _BASE),
    Symptom("other-base-10", "it takes the logarithm to base 10", _BASE),
    Symptom("mean-of-classes", "it divides by the number of classes", "Add the classes up."),
    Symptom("mean-of-batch", "it divides each loss by the batch's size", "Return the losses, or one mean."),
)
_LABEL: Final = "Return softmax - y: subtract 1 from the entry of the label."
_GRADIENT_MISTAKES: Final = (
    Symptom(
        "upstream-ignored",
        "its backward pass ignores the gradient that comes in",
        "Multiply by grad_output: row by row, where the loss is one per example.",
    ),
    Symptom(
        "gradient-of-sum",
        "the gradient of the mean is that of the sum",
        "Divide the gradient by the number of examples.",
    ),
    Symptom("gradient-negated", "the gradient has the wrong sign", "Return softmax - y, not y - softmax."),
    Symptom("gradient-doubled", "the gradient is twice the true one", "Add each part up once."),
    Symptom("gradient-halved", "the gradient is half the true one", "Take the factor 1/2 out."),
    Symptom("label-not-subtracted", "the gradient is the softmax, no label subtracted", _LABEL),
    Symptom("label-added", "the gradient adds the label to the softmax", _LABEL),
    Symptom("gradient-next-class", "the gradient takes the next class for the label", _COUNT),
    Symptom("gradient-previous-class", "the gradient takes the class before for the label", _COUNT),
)
GRADIENT_MISTAKES: Final = {symptom.name: symptom for symptom in _GRADIENT_MISTAKES}
MISTAKES: Final = {symptom.name: symptom for symptom in _MISTAKES} | GRADIENT_MISTAKES

_LOGITS: Final = "Compute it from the logits: subtract the largest, take log1p of the other exponentials."
_ROW: Final = "Subtract the largest logit of each row from the row, before anything else."
_NO_GRADIENT: Final = "it has no gradient: nothing can be learned from it"
_LOSSES: Final = "Return an array of losses (N,)."
_BY_KIND: Final = {
    "nan": Symptom("nan", "it is nan where there is a loss", _LOGITS),
    "overflow": Symptom("infinite", "it is infinite where the loss is not", _LOGITS),
    "collapsed": Symptom("collapsed", "it is 0 where the loss is not", _LOGITS),
    "negative": Symptom("negative", "it is below 0", _LOGITS),
    "off": Symptom("wrong-value", "it is off by more than 1 %", _LOGITS),
    "differs": Symptom("not-invariant", "losses that should be equal differ", _ROW),
    "inaccurate": Symptom("digits-lost", "it loses digits, less than 1 %", "Compute in a wider dtype."),
    "plausible": Symptom(
        "no-true-loss", "it returns a number where there is no loss", "Return nan, or raise."
    ),
    "gradient sum": Symptom("gradient-sum", "the gradient does not sum to 0", "Return softmax - y."),
    "gradient wrong": Symptom(
        "wrong-gradient",
        "the gradient is off by more than 1 %",
        "Return (softmax - y) times what comes back.",
    ),
    "gradient dead": Symptom("dead", "the gradient is 0 where it is not", "Return softmax - y."),
    "gradient nan": Symptom("nan-gradient", "the gradient is nan where there is one", _LOGITS),
    "gradient off": Symptom(
        "gradient-digits-lost",
        "the gradient loses digits, less than 1 %",
        "Compute the softmax from x - max x, in a dtype at least as wide as the logits'.",
    ),
    "gradient reduced": Symptom(
        "gradient-reduced",
        "the gradient of the batch is not that of its losses",
        "Of a mean, divide the gradient of each loss by the number of examples, of a sum do not; multiply "
        "by what comes back.",
    ),
    "gradient of factor": Symptom(
        "gradient-of-product",
        "the gradient of hidden, weight or bias is not that of their product",
        "Multiply by what comes back to each row, and add rows and chunks of them up in float32.",
    ),
    "mean": Symptom("mean", "the losses are right and their mean is not", "Divide by what the labels weigh."),
    "sum": Symptom("sum", "the losses are right and their sum is not", "Add the losses up."),
    "sum for mean": Symptom(
        "sum-for-mean",
        "it returns the sum, not the mean",
        "Divide by N, or pass --reduction sum.",
    ),
    "mean for sum": Symptom(
        "mean-for-sum", "it returns the mean, not the sum", "Do not divide, or pass --reduction mean."
    ),
    "not by the count": Symptom(
        "not-by-the-count",
        "the count of the whole batch does not divide the sum of a part",
        "With num_items_in_batch, divide the sum of the losses by it, once.",
    ),
    "raised": Symptom("raises", "it raises where there is a loss", "Return the loss."),
    "ended": Symptom("ends", "it ends its process or takes too long", "Find the call with --only."),
    "returned": Symptom("returned", "it returns no array", _LOSSES),
    "shape": Symptom("shape", "it returns another shape", _LOSSES),
    "dtype": Symptom("dtype", "it returns another dtype than the logits'", "Round what is returned."),
    "untouched": Symptom("untouched", "it writes into its inputs", "Work on a copy."),
    "quiet": Symptom("quiet", "it prints", "Take the print out."),
    "differentiable": Symptom(
        "differentiable", _NO_GRADIENT, "Use the library's own operations: detach() and .numpy() cut it off."
    ),
    "one class": Symptom("one-class", "the loss of one class is -0.0, not +0.0", "Add 0.0 to the result."),
    "of one class": Symptom("loss-of-one-class", "the loss of one class is not 0", _LOGITS),
}
LABEL_ENTRY: Final = Symptom(
    "label-entry-lost",
    "of the gradient the label's entry, p - 1, is lost to rounding",
    "Compute that entry as minus the sum of the others.",
)
PRODUCT: Final = Symptom(
    "product-sum",
    "it is not the loss of hidden · weightᵀ, added up in float32",
    "Add the product up in float32 whatever its factors are, and round each logit once at most.",
)
INVALID_LABEL: Final = Symptom(
    "label-out-of-range", "it takes an invalid label", "Raise at a label that is no class, or return nan."
)


def symptom_of(kind: str, severity: str) -> Symptom:
    """Return the symptom of a kind of check finding."""
    return _BY_KIND["inaccurate" if severity == "inaccurate" and kind in {"off", "differs"} else kind]


_STALE: Final = Symptom(
    "stale",
    "an earlier call changes what it returns",
    "Keep nothing between calls, or look at all numbers of a batch before what was kept is used again.",
)
_LAYOUT: Final = Symptom(
    "layout",
    "it reads an array as if it lay otherwise in memory",
    "Use the array's strides, its offset and its byte order, or copy it into rows first.",
)
_OPTION: Final = Symptom(
    "option-without-bias",
    "an option leaves out the bias of the product",
    "Add the bias to hidden · weightᵀ first: smoothing, weights and steps of logits are of the sum.",
)
# What is wrong where nothing but these checks fails, which call a loss otherwise with ordinary numbers.
OF_CALLS: Final = {
    "memory-layouts": _LAYOUT,
    "layouts-of-many-classes": _LAYOUT,
    "layouts-of-factors": _LAYOUT,
    "upstream-layouts": _LAYOUT,
    "options-of-products": _OPTION,
    "knobs-of-products": _OPTION,
    "repeated-calls": _STALE,
    "reused-arrays": _STALE,
    "reused-factors": _STALE,
    "after-a-refusal": _STALE,
    "kept-results": Symptom(
        "overwritten", "a later call changes what it returned", "Return a new array from each call."
    ),
    "threads": Symptom(
        "threads",
        "calls from several threads disturb one another",
        "Give each call, or each thread, a workspace of its own.",
    ),
}
IGNORED_ROW: Final = Symptom(
    "ignored-row-counts",
    "an ignored example has a loss, or a gradient",
    "Set the loss and the gradient of ignored examples to 0.",
)

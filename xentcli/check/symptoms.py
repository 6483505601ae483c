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
    """What one sees: a name, a few words after "because", a sentence, a remedy."""

    name: str
    short: str
    cause: str
    remedy: str


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


_COUNT: Final = "Let class 0 be the first one, in the labels and in the indices."
_BASE: Final = "Take the natural logarithm."
_ALL: Final = (
    Symptom(
        "wrong-sign", "its sign is wrong", "It returns minus the cross-entropy.", "Negate what it returns."
    ),
    Symptom("next-class", "it takes the next class", "It returns the loss of label + 1.", _COUNT),
    Symptom("previous-class", "it takes the class before", "It returns the loss of label - 1.", _COUNT),
    Symptom(
        "label-left-out",
        "the label's logit is not subtracted",
        "It returns log Σ exp x, whatever the label.",
        "Subtract the label's logit.",
    ),
    Symptom(
        "likeliest-class",
        "it does not depend on the label",
        "It returns the loss of the class with the largest logit.",
        "Pick the logit of the label, not the largest.",
    ),
    Symptom(
        "softmax-twice",
        "it takes the softmax twice",
        "It returns the cross-entropy of softmax(x), as if probabilities were logits.",
        "Leave the softmax out: the loss has one already.",
    ),
    Symptom(
        "softmax-left-out",
        "it takes logits for log-probabilities",
        "It returns -x[label]: the logits are not normalised.",
        "Subtract log Σ exp x first (log_softmax).",
    ),
    Symptom(
        "log-left-out",
        "it takes no logarithm",
        "It returns minus the probability of the label.",
        "Take the log of the softmax, in one step (log_softmax).",
    ),
    Symptom("other-base-2", "its logarithm has base 2", "It returns the loss in bits.", _BASE),
    Symptom("other-base-10", "its logarithm has base 10", "It returns the loss in decimal digits.", _BASE),
    Symptom(
        "mean-of-classes",
        "it divides by C",
        "It returns the loss over the number of classes.",
        "Add the classes up.",
    ),
    Symptom(
        "mean-of-batch",
        "it divides by N",
        "It returns each loss over the size of the batch.",
        "Return the losses, or their mean as one number (--reduction mean).",
    ),
)
MISTAKES: Final = {symptom.name: symptom for symptom in _ALL}

_LOGITS: Final = (
    "Compute the loss from the logits: subtract the largest one, and take log1p of the others' sum."
)
_BY_KIND: Final = {
    "nan": Symptom("nan", "it is nan", "The loss is nan where the true one is defined.", _LOGITS),
    "overflow": Symptom(
        "infinite", "it is infinite", "The loss is infinite where the true one is not.", _LOGITS
    ),
    "collapsed": Symptom(
        "collapsed", "a small loss is 0", "The loss is 0 where the true one is not.", _LOGITS
    ),
    "negative": Symptom(
        "negative", "it is below 0", "The loss is negative, which no cross-entropy is.", _LOGITS
    ),
    "off": Symptom("wrong-value", "its value is wrong", "The loss is off by more than 1 %.", _LOGITS),
    "differs": Symptom(
        "not-invariant",
        "losses that should be equal differ",
        "The loss changes with an offset of the logits, the order of the classes or the rest of the batch.",
        "Subtract the largest logit of each row from the row, before anything else.",
    ),
    "inaccurate": Symptom(
        "digits-lost",
        "it loses digits",
        "The loss has fewer right digits than its dtype holds, and is less than 1 % off.",
        "Compute in a wider dtype, or allow more with --max-ulps.",
    ),
    "plausible": Symptom(
        "no-true-loss",
        "it invents a loss",
        "The loss is a number where there is none.",
        "Return nan, or raise.",
    ),
    "gradient sum": Symptom(
        "gradient-sum",
        "the gradient does not sum to 0",
        "The entries of the gradient do not add up to 0.",
        "Return softmax - y, the gradient with respect to the logits.",
    ),
    "mean": Symptom(
        "mean",
        "its mean is wrong",
        "The losses are right and their mean is not.",
        "Divide by the weights of the labels that count.",
    ),
    "sum": Symptom(
        "sum", "its sum is wrong", "The losses are right and their sum is not.", "Add the losses up."
    ),
    "raised": Symptom(
        "raises",
        "it raises",
        "It raises where there is a loss.",
        "Return the loss, or --skip the check and say why.",
    ),
    "ended": Symptom(
        "ends", "it does not return", "It ends its process, or takes too long.", "Find the call with --only."
    ),
    "returned": Symptom(
        "returned", "it returns no array", "It returns no array of losses.", "Return losses (N,)."
    ),
    "shape": Symptom(
        "shape", "its shape is wrong", "It returns another shape than (N,).", "Return losses (N,)."
    ),
    "dtype": Symptom(
        "dtype",
        "its dtype is another",
        "It returns another dtype than the logits'.",
        "Round what is returned.",
    ),
    "untouched": Symptom(
        "untouched", "it writes into its inputs", "It changes its arguments.", "Work on a copy of them."
    ),
    "quiet": Symptom("quiet", "it prints", "It writes to standard output or error.", "Take the print out."),
    "differentiable": Symptom(
        "differentiable",
        "it has no gradient",
        "Autodiff finds no gradient, or it cannot be computed.",
        "Stay with the library's own operations, from the logits to the loss.",
    ),
    "one class": Symptom(
        "one-class", "one class is not +0.0", "The loss of one class is not +0.0.", "Add 0.0 to the result."
    ),
}

LABEL_ENTRY: Final = Symptom(
    "label-entry-lost",
    "the label's entry of the gradient is lost",
    "Of the gradient the label's entry alone is wrong: p - 1 was rounded beside a p near 1.",
    "Compute that entry as minus the sum of the others.",
)


def symptom_of(kind: str, severity: str) -> Symptom:
    """Return the symptom of a kind of check finding."""
    return _BY_KIND["inaccurate" if severity == "inaccurate" and kind in {"off", "differs"} else kind]

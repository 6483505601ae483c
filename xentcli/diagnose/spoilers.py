"""What each method and constant would make of a row, told from a few numbers of it.

A row is known by its largest and smallest logit, log Σ exp x, and its label's logit; what each method's
formula does in the format of the dump follows from those. ``tests/test_diagnose.py`` holds every rule
against the method itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli import formats
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray

OFF: Final = 0.01  # of the loss: from here a method is off


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is known of rows, each (N,): ``low`` and ``top`` are the smallest and largest logit.

    ``loss`` is nan where it is not defined; ``as_float16`` and ``as_bfloat16`` are the losses of the logits
    rounded so. ``bad`` marks labels that are none, ``ignored`` those that do not count.
    """

    dtype: str
    low: "FloatArray"
    top: "FloatArray"
    lse: "FloatArray"
    label: "FloatArray"
    loss: "FloatArray"
    as_float16: "FloatArray"
    as_bfloat16: "FloatArray"
    bad: "BoolArray"
    ignored: "BoolArray"

    @property
    def sound(self) -> "BoolArray":
        """Rows of numbers with at least one class that is possible."""
        return np.isfinite(self.top) & np.isfinite(self.lse) & ~self.ignored

    @property
    def counts(self) -> "BoolArray":
        """Rows that have a loss."""
        return self.sound & ~self.bad & np.isfinite(self.loss)


@dataclass(frozen=True, slots=True)
class Spoiler:
    """Something that spoils rows: a word, what it does to them, the finding it is, which rows.

    ``broken`` marks what is wrong with the dump itself, whatever the method; ``labelled`` what needs labels.
    """

    name: str
    says: str
    finding: str | None
    spoils: Callable[[Facts], "BoolArray"]
    broken: bool = False
    labelled: bool = True


def _smallest(dtype: str) -> float:
    """Return ln of half the smallest number above 0: what is below rounds to 0."""
    form = FORMATS[dtype]
    return (form.emin - form.precision) * math.log(2)


def _underflows(f: Facts) -> "BoolArray":
    return f.sound & (f.low - f.lse < _smallest(f.dtype))


def _below(epsilon: float) -> Callable[[Facts], "BoolArray"]:
    return lambda f: f.counts & (f.loss > -math.log(epsilon))


def _below_epsilon_of_dtype(f: Facts) -> "BoolArray":
    return f.counts & (f.loss > (FORMATS[f.dtype].precision - 1) * math.log(2))


def _collapses(f: Facts) -> "BoolArray":
    """Find log(1 + t) = 0 for a t above 0, which is so up to t = 2^-p."""
    tail = np.expm1(np.minimum(f.loss, 1.0))
    return f.counts & (f.label == f.top) & (f.loss > 0) & (tail <= 2.0 ** -FORMATS[f.dtype].precision)


def _cancels(f: Facts) -> "BoolArray":
    def stored(values: "FloatArray") -> "FloatArray":
        return formats.stored(values, f.dtype).astype(np.float64)

    normaliser = stored(f.top + stored(np.log(stored(np.exp(f.lse - f.top)))))
    return f.counts & _is_off(normaliser - f.label, f.loss)


def _is_off(got: "FloatArray", loss: "FloatArray") -> "BoolArray":
    return ~(np.abs(got - loss) <= OFF * np.abs(loss)) & (got != loss)


def _overflows(f: Facts) -> "BoolArray":
    """Find exp(x) without a shift beyond the format, or some of it below, or a probability of 0."""
    beyond = (f.lse >= math.log(FORMATS[f.dtype].largest)) | (f.low < _smallest(f.dtype))
    return _underflows(f) | (f.sound & beyond)


def _saturates(dtype: str) -> Callable[[Facts], "BoolArray"]:
    """Find sums of exp(x - m) in order that stop growing: adding 1 to 2^p changes nothing."""
    return lambda f: f.sound & (f.lse - f.top >= FORMATS[dtype].precision * math.log(2))


SPOILERS: Final = (
    Spoiler(
        "nan-logit", "a logit is nan", "nan-logit", lambda f: np.isnan(f.top), broken=True, labelled=False
    ),
    Spoiler(
        "infinite-logit",
        "a logit is +inf",
        "infinite-logit",
        lambda f: f.top == np.inf,
        broken=True,
        labelled=False,
    ),
    Spoiler(
        "all-masked",
        "every logit is -inf",
        "undefined-softmax",
        lambda f: f.top == -np.inf,
        broken=True,
        labelled=False,
    ),
    Spoiler("bad-label", "the label is no class", "label-out-of-range", lambda f: f.bad, broken=True),
    Spoiler(
        "masked-label",
        "the label's logit is -inf, the loss inf",
        "label-on-mask",
        lambda f: f.sound & ~f.bad & (f.label == -np.inf),
    ),
    Spoiler(
        "naive",
        "a probability is 0: naive and by_hand make nan or inf",
        "zero-times-infinity",
        _underflows,
        labelled=False,
    ),
    Spoiler(
        "textbook",
        "exp without a shift overflows or is 0: textbook makes nan",
        "exp-overflow",
        _overflows,
        labelled=False,
    ),
    Spoiler(
        "dense",
        "a class other than the label is -inf: dense makes nan",
        "masked-infinity",
        lambda f: f.sound & (f.low == -np.inf) & (f.label != -np.inf),
        labelled=False,
    ),
    Spoiler(
        "sparse",
        "1 + tail is 1: dense, sparse and online make 0",
        "tail-collapse",
        _collapses,
    ),
    Spoiler(
        "guarded",
        "the label's probability is 0: guarded makes inf",
        "log-of-zero",
        lambda f: f.counts & (f.loss > -_smallest(f.dtype)),
    ),
    Spoiler("unshifted", "log Σ exp x - x_k is off by 1 %", "offset-cancellation", _cancels),
    Spoiler("clip 1e-7", "p is below Keras' clip", "clip-active", _below(1e-7)),
    Spoiler("clip 1e-8", "p is below a clip at 1e-8", "clip-active", _below(1e-8)),
    Spoiler("clip 1e-12", "p is below a clip at 1e-12", "clip-active", _below(1e-12)),
    Spoiler("clip 1e-15", "p is below scikit-learn's old clip", "clip-active", _below(1e-15)),
    Spoiler(
        "clip eps", "p is below the dtype's eps, scikit-learn's clip", "clip-active", _below_epsilon_of_dtype
    ),
    Spoiler("clip 1e-36", "p is below the blog's clip", "clip-active", _below(1e-36)),
    Spoiler("clip FLT_MIN", "p is below Caffe's floor", "clip-active", _below(2.0**-126)),
    Spoiler(
        "float16",
        "rounded to float16 the logits' loss is off by 1 %",
        None,
        lambda f: f.counts & _is_off(f.as_float16, f.loss),
    ),
    Spoiler(
        "bfloat16",
        "rounded to bfloat16 the logits' loss is off by 1 %",
        None,
        lambda f: f.counts & _is_off(f.as_bfloat16, f.loss),
    ),
    Spoiler(
        "sum in float16",
        "a sum in order in float16 stops growing",
        "low-precision-sum",
        _saturates("float16"),
        labelled=False,
    ),
    Spoiler(
        "sum in bfloat16",
        "a sum in order in bfloat16 stops growing",
        "low-precision-sum",
        _saturates("bfloat16"),
        labelled=False,
    ),
)


def clip(bound: float) -> Spoiler:
    """Return what a lower bound of probabilities spoils."""
    return Spoiler(
        f"clip {bound:g}", f"p is below the case's clip at {bound:g}", "clip-active", _below(bound)
    )

"""What a loss that does not move may mean: the constants that libraries leave in it.

Each constant is computed from its definition. A loss matches it where the digits are those of the constant,
of the constant in float32, or of a mean over a batch in which only some examples have it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Final

import numpy as np

from xentcli.errors import XentError
from xentcli.judge.expectations import is_reproduced
from xentcli.load.fields import is_number

_FEWEST_DIGITS = 3  # with fewer, some constant always matches
_DIGITS_OF_A_MEAN = 5  # the shares of all floors are many, so they need more digits
_LARGEST_BATCH = 8
_MOST_MEANS = 3
_MOST_CLASSES = 1000
_MOST_SHOWN = 12  # classes that fit on one line of a terminal
# Numbers of classes that are common enough to name where neighbours print alike.
_VOCABULARIES = (1024, 21841, 30522, 32000, 32128, 50257, 50304, 65537, 128256, 151936, 256000)
_WRONG, _RIGHT = [0, 1000], [1000, 0]  # logits whose class 0 has a probability of 0 and of 1 in float64
_GITHUB = "https://github.com/"
_BY_HAND = "clips written by hand"
_KERAS = "keras-team/keras/issues/15249"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value, what it is, what causes it, who leaves it in a loss, and where that is reported.

    ``bundled`` names a case that ships with xent. ``logits`` (N, C), labels of class 0 and the lower bound
    ``clip`` show the value; there are no logits where they would be long.
    """

    value: float
    definition: str
    cause: str
    owner: str
    source: str
    bundled: str | None = None
    title: str = ""
    logits: Sequence[Sequence[int]] = ()
    clip: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A constant that matches, whole or as a mean in which ``share`` of the examples have it."""

    constant: Constant
    share: Fraction = Fraction(1)

    @property
    def case(self) -> str | None:
        """A case that shows the value, on one line."""
        constant, number, batch = self.constant, self.share.numerator, self.share.denominator
        if not constant.logits:
            return None
        rows = constant.logits if batch == 1 else [_WRONG] * number + [_RIGHT] * (batch - number)
        clip = "" if constant.clip is None else f", clip: [{constant.clip!r}, 1.0]"
        return f"{{title: {constant.title}, logits: {rows}, labels: {[0] * len(rows)}{clip}}}"


# To what a probability is raised, who does that, where it is reported, a bundled case that shows it.
_EPSILONS: tuple[tuple[float, str, str, str | None], ...] = (
    (2**-149, "float32 itself: nothing smaller is left", "jax-ml/jax/issues/37670", "naive-ends-at-103"),
    (2**-126, "Caffe SoftmaxWithLoss", "BVLC/caffe/issues/5137", "caffe-floor"),
    (1e-36, "the blog's own clip", "https://blog.csdn.net/brooknew/article/details/82464367", "abnormal"),
    (1e-20, "OneFlow SafeLog", "Oneflow-Inc/oneflow/issues/3137", "oneflow-safelog"),
    (1e-16, "XGBoost logloss", "dmlc/xgboost/issues/6731", None),
    (2**-52, "scikit-learn from 1.2 on", "scikit-learn/scikit-learn/pull/24354", None),
    (1e-15, "scikit-learn up to 1.1, LightGBM", "scikit-learn/scikit-learn/issues/17399", "sklearn-floor"),
    (1e-12, "PyTorch 0.3 BCELoss", "pytorch/pytorch/pull/4867", None),
    (1e-10, _BY_HAND, "tensorflow/tensorflow/issues/44333", "clip-kills-gradient"),
    (1e-8, f"MXNet softmax_cross_entropy, {_BY_HAND}", "apache/mxnet", None),
    (1e-7, "Keras, where the right class has p = 0", "keras-team/keras/issues/7563", "keras-cap"),
    (2**-23, "Keras at a wrong p = 1, scikit-learn in float32", _KERAS, "two-ends-of-a-clip"),
    (2e-7, "Keras in TensorFlow 2.2 to 2.6, epsilon twice", "tensorflow/tensorflow/pull/41595", None),
    (1e-7 + 2**-23, "Keras in TensorFlow 2.2 to 2.6, epsilon twice", _KERAS, None),
    (1e-6, _BY_HAND, "snipsco/ntm-lasagne/issues/20", None),
    (2**-10, "scikit-learn in float16", "scikit-learn/scikit-learn/issues/24315", "floor-of-the-dtype"),
)
# How an epsilon is written that is no power of ten.
_NAMES = {
    2**-149: "2^-149, the smallest subnormal float32",
    2**-126: "FLT_MIN, the smallest normal float32",
    2**-52: "2^-52, eps of float64",
    2**-23: "2^-23, eps of float32",
    1e-7 + 2**-23: "1e-7 + 2^-23",
    2**-10: "2^-10, eps of float16",
}


def _floor(epsilon: float, owner: str, thread: str, bundled: str | None) -> Constant:
    """Return the loss of a right class whose probability is raised to epsilon."""
    name = _NAMES.get(epsilon) or f"{epsilon:g}".replace("e-0", "e-")
    cause = "the right class is less likely than a floor, which decides the loss"
    cause = f"{cause} (a clip kills the gradient too)"
    source = thread if "://" in thread else _GITHUB + thread
    value = -math.log(epsilon)
    return Constant(value, f"-ln({name})", cause, owner, source, bundled, "a floor", [_WRONG], epsilon)


FLOORS: Final = (
    Constant(
        100.0,
        "the bound of a clamped log",
        "a probability is 0 and log is clamped at -100",
        "torch.nn.BCELoss, MLX",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html",
        "clamp-leaps",
    ),
    *(_floor(*row) for row in _EPSILONS),
)
_ZERO = Constant(
    0.0,
    "a loss rounded away",
    "the probabilities of all other classes were rounded away beside 1, and the gradient with them",
    "every loss that takes the log of a sum: float16 from a gap of 7.6 on, float32 16.6, float64 36.7",
    f"{_GITHUB}pytorch/pytorch/issues/113708",
    "tail-collapse",
    "nothing lost",
    [[17, 0]],
)


def identify(typed: str) -> tuple[Candidate, ...]:
    """Return what matches a loss as it was printed, the simplest first; nothing where nothing matches.

    Raises XentError where the text is no finite number from 0 on, or shows fewer than three digits.
    """
    if typed.lower().lstrip("+-") in {"nan", "inf"}:
        explain = "'xent explain CASE' finds the step that made it"
        search = f"'xent cases --search {typed}' lists who reported it"
        raise XentError(f"{typed} has no digits to compare; {explain}, {search}")
    if not is_number(typed) or not 0 <= float(typed) < math.inf:
        raise XentError(f"'{typed}' is not a loss; write the number as it was printed, such as 16.118")
    if float(typed) == 0:
        return (Candidate(_ZERO),)
    digits = len(typed.lower().split("e")[0].replace(".", "").lstrip("+-0"))
    if digits < _FEWEST_DIGITS:
        more = f"give at least {_FEWEST_DIGITS}, as 16.1 does"
        raise XentError(f"'{typed}' shows too few digits to tell; {more}")
    constants = (*FLOORS, *_class_constants(float(typed)))
    whole = tuple(Candidate(constant) for constant in constants if _matches(typed, [constant.value]))
    if whole or digits < _DIGITS_OF_A_MEAN:
        return whole
    return tuple(islice(_mean_candidates(typed), _MOST_MEANS))


def _mean_candidates(typed: str) -> Iterator[Candidate]:
    """Yield shares of a floor, smaller batches first."""
    batches = range(2, _LARGEST_BATCH + 1)
    for share in dict.fromkeys(Fraction(number, batch) for batch in batches for number in range(1, batch)):
        for constant in FLOORS:
            if _matches(typed, _mean_values(constant.value, float(share))):
                yield Candidate(constant, share)


def _mean_values(floor: float, share: float) -> list[float]:
    """List the means that print apart: epsilon as float64 or float32, the others at 0 or at 1 - epsilon."""
    values = []
    for epsilon in (math.exp(-floor), float(np.float32(math.exp(-floor)))):
        loss = -math.log(epsilon) if epsilon else floor
        values += [share * loss, share * loss - (1 - share) * math.log1p(-epsilon)]
    return values


def _matches(typed: str, values: list[float]) -> bool:
    """Whether a value, or that value in float32, shows the digits typed."""
    numbers = (number for value in values for number in (value, float(np.float32(value))))
    return any(is_reproduced(typed, number) for number in numbers)


def _class_constants(value: float) -> Iterator[Constant]:
    """Yield what a number of classes leads to: the uniform loss, and the floor of a softmax taken twice."""
    for classes in (*range(2, _MOST_CLASSES + 1), *_VOCABULARIES):
        uniform, twice = math.log(classes), math.log(math.e + classes - 1) - 1
        few = classes <= _MOST_SHOWN
        if abs(uniform - value) < 1:
            cause = f"all {classes} classes are equally likely: nothing learnt yet, or all logits the same"
            owner, source = "any classifier that prefers no class", f"by definition: -ln(1/{classes})"
            rows = [[0] * classes] if few else []
            yield Constant(uniform, f"ln({classes})", cause, owner, source, None, "one row", rows)
        if classes <= _MOST_CLASSES and abs(twice - value) < 1:
            cause = f"a softmax of a softmax: with {classes} classes no answer can lose less than this"
            owner = "softmax outputs passed to a loss that expects logits"
            source = f"{_GITHUB}keras-team/keras/issues/6143"
            rows = [[1] + [0] * (classes - 1)] if few else []
            name = f"ln(e + {classes - 1}) - 1"
            yield Constant(twice, name, cause, owner, source, "softmax-twice", "one row", rows)

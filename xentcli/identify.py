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


_GITHUB = "https://github.com/"


def _floor(
    epsilon: float, owner: str, thread: str, bundled: str | None = None, *, definition: str | None = None
) -> Constant:
    """Return the loss of a right class whose probability is raised to epsilon."""
    text = definition or f"{epsilon:g}".replace("e-0", "e-")
    cause = (
        "the right class is less likely than a floor, which decides the loss (a clip kills the gradient too)"
    )
    source = thread if "://" in thread else _GITHUB + thread
    return Constant(
        -math.log(epsilon), f"-ln({text})", cause, owner, source, bundled, "a floor", [_WRONG], epsilon
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
FLOORS: Final = (
    Constant(
        100.0,
        "the bound of a clamped log",
        "a probability is 0 and log is clamped at -100",
        "torch.nn.BCELoss, MLX",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html",
        "clamp-leaps",
    ),
    _floor(
        2.0**-149,
        "float32 itself: nothing smaller is left",
        "jax-ml/jax/issues/37670",
        "naive-ends-at-103",
        definition="2^-149, the smallest subnormal float32",
    ),
    _floor(
        2.0**-126,
        "Caffe SoftmaxWithLoss",
        "BVLC/caffe/issues/5137",
        "caffe-floor",
        definition="FLT_MIN, the smallest normal float32",
    ),
    _floor(
        1e-36, "the blog's own clip", "https://blog.csdn.net/brooknew/article/details/82464367", "abnormal"
    ),
    _floor(1e-20, "OneFlow SafeLog", "Oneflow-Inc/oneflow/issues/3137", "oneflow-safelog"),
    _floor(1e-16, "XGBoost logloss", "dmlc/xgboost/issues/6731"),
    _floor(
        2.0**-52,
        "scikit-learn from 1.2 on",
        "scikit-learn/scikit-learn/pull/24354",
        definition="2^-52, eps of float64",
    ),
    _floor(
        1e-15, "scikit-learn up to 1.1, LightGBM", "scikit-learn/scikit-learn/issues/17399", "sklearn-floor"
    ),
    _floor(1e-12, "PyTorch 0.3 BCELoss", "pytorch/pytorch/pull/4867"),
    _floor(1e-10, "clips written by hand", "tensorflow/tensorflow/issues/44333", "clip-kills-gradient"),
    _floor(1e-8, "MXNet softmax_cross_entropy, clips written by hand", "apache/mxnet"),
    _floor(1e-7, "Keras, where the right class has p = 0", "keras-team/keras/issues/7563", "keras-cap"),
    _floor(
        2.0**-23,
        "Keras at a wrong p = 1, scikit-learn in float32",
        "keras-team/keras/issues/15249",
        "two-ends-of-a-clip",
        definition="2^-23, eps of float32",
    ),
    _floor(2e-7, "Keras in TensorFlow 2.2 to 2.6, epsilon twice", "tensorflow/tensorflow/pull/41595"),
    _floor(
        1e-7 + 2.0**-23,
        "Keras in TensorFlow 2.2 to 2.6, epsilon twice",
        "keras-team/keras/issues/15249",
        definition="1e-7 + 2^-23",
    ),
    _floor(1e-6, "clips written by hand", "snipsco/ntm-lasagne/issues/20"),
    _floor(
        2.0**-10,
        "scikit-learn in float16",
        "scikit-learn/scikit-learn/issues/24315",
        "floor-of-the-dtype",
        definition="2^-10, eps of float16",
    ),
)


def identify(typed: str) -> tuple[Candidate, ...]:
    """Return what matches a loss as it was printed, the simplest first; nothing where nothing matches.

    Raises XentError where the text is no finite number from 0 on, or shows fewer than three digits.
    """
    if typed.lower().lstrip("+-") in {"nan", "inf"}:
        raise XentError(
            f"{typed} has no digits to compare; 'xent explain CASE' finds the step that made it, "
            f"'xent cases --search {typed}' lists who reported it"
        )
    if not is_number(typed) or not 0 <= float(typed) < math.inf:
        raise XentError(f"'{typed}' is not a loss; write the number as it was printed, such as 16.118")
    digits = len(typed.lower().split("e")[0].replace(".", "").lstrip("+-0"))
    value = float(typed)
    if value == 0:
        return (Candidate(_ZERO),)
    if digits < _FEWEST_DIGITS:
        raise XentError(
            f"'{typed}' shows too few digits to tell; give at least {_FEWEST_DIGITS}, as 16.1 does"
        )
    whole = [
        constant for constant in (*FLOORS, *_class_constants(value)) if _matches(typed, [constant.value])
    ]
    if whole or digits < _DIGITS_OF_A_MEAN:
        return tuple(map(Candidate, whole))
    return tuple(islice(_mean_candidates(typed), _MOST_MEANS))


def _mean_candidates(typed: str) -> Iterator[Candidate]:
    """Yield shares of a floor, smaller batches first."""
    for batch in range(2, _LARGEST_BATCH + 1):
        for share in (Fraction(number, batch) for number in range(1, batch) if math.gcd(number, batch) == 1):
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
    return any(
        is_reproduced(typed, number) for value in values for number in (value, float(np.float32(value)))
    )


def _class_constants(value: float) -> Iterator[Constant]:
    """Yield what a number of classes leads to: the uniform loss, and the floor of a softmax taken twice."""
    for classes in (*range(2, _MOST_CLASSES + 1), *_VOCABULARIES):
        uniform = math.log(classes)
        if abs(uniform - value) < 1:
            yield Constant(
                uniform,
                f"ln({classes})",
                f"all {classes} classes are equally likely: nothing learnt yet, or all logits the same",
                "any classifier that prefers no class",
                f"by definition: -ln(1/{classes})",
                None,
                "one row",
                [[0] * classes] if classes <= _MOST_SHOWN else [],
            )
        twice = math.log(math.e + classes - 1) - 1
        if classes <= _MOST_CLASSES and abs(twice - value) < 1:
            yield Constant(
                twice,
                f"ln(e + {classes - 1}) - 1",
                f"a softmax of a softmax: with {classes} classes no answer can lose less than this",
                "softmax outputs passed to a loss that expects logits",
                f"{_GITHUB}keras-team/keras/issues/6143",
                "softmax-twice",
                "one row",
                [[1] + [0] * (classes - 1)] if classes <= _MOST_SHOWN else [],
            )

"""What a loss that does not move may mean: the constants that libraries leave in it.

Every constant is computed from its definition, and compared at the digits typed: with itself, with its
float32 and, where it does not fit whole, with a mean over a batch where only some examples have it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Final

import numpy as np

from xentcli.errors import XentError
from xentcli.judge.expectations import is_reproduced
from xentcli.load.fields import is_number

_FEWEST_DIGITS = 3  # with fewer, anything fits
_DIGITS_OF_A_MEAN = 5  # a share of a constant needs more, for there are many
_LARGEST_BATCH = 8
_MOST_MEANS = 3
_MOST_CLASSES = 1000
# Numbers of classes that are common enough to name where neighbours print alike.
_VOCABULARIES = (1024, 21841, 30522, 32000, 32128, 50257, 50304, 65537, 128256, 151936, 256000)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value, what it is, whose, where it is reported, and what shows it.

    ``case`` is a case to type (None: too long), ``bundled`` the name of one that ships with xent.
    """

    value: float
    definition: str
    cause: str
    owner: str
    source: str
    case: str | None
    bundled: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A constant that fits, whole or as a mean in which ``share`` of the examples have it."""

    constant: Constant
    share: Fraction

    @property
    def case(self) -> str | None:
        """A case that shows the value, the examples of a mean included."""
        if self.constant.case is None or self.share == 1:
            return self.constant.case
        floored, batch = self.share.numerator, self.share.denominator
        rows = ["[0, 1000]"] * floored + ["[1000, 0]"] * (batch - floored)
        head, tail = self.constant.case.split("[[0, 1000]], labels: [0]")
        return f"{head}[{', '.join(rows)}], labels: {[0] * batch}{tail}"


def _floor(epsilon: float, definition: str, owner: str, source: str, bundled: str | None) -> Constant:
    """Make a loss that cannot exceed -ln of the smallest probability let through."""
    case = f"{{title: a floor, logits: [[0, 1000]], labels: [0], clip: [{epsilon!r}, 1.0]}}"
    cause = (
        "the right class is less likely than a floor, which decides the loss (a clip kills the gradient too)"
    )
    address = source if "://" in source else f"{_ISSUES}/{source}"
    return Constant(-math.log(epsilon), f"-ln({definition})", cause, owner, address, case, bundled)


_ISSUES = "https://github.com"
_CLAMP = Constant(
    100.0,
    "the bound of a clamped log",
    "a probability is 0 and log is clamped at -100",
    "torch.nn.BCELoss, MLX",
    "https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html",
    None,
    "clamp-leaps",
)
_ZERO = Constant(
    0.0,
    "a loss rounded away",
    "the probabilities of all other classes were rounded away beside 1, and the gradient with them",
    "every loss that takes the log of a sum: float16 from a gap of 7.6 on, float32 16.6, float64 36.7",
    f"{_ISSUES}/pytorch/pytorch/issues/113708",
    "{title: nothing lost, logits: [[17, 0]], labels: [0]}",
    "tail-collapse",
)
# Epsilon, how it is written, who leaves it in a loss, where that is reported, the bundled case of it.
_EPSILONS = (
    (
        2.0**-149,
        "2^-149, the smallest subnormal float32",
        "float32 itself: nothing smaller is left",
        "jax-ml/jax/issues/37670",
        "naive-ends-at-103",
    ),
    (
        2.0**-126,
        "FLT_MIN, the smallest normal float32",
        "Caffe SoftmaxWithLoss",
        "BVLC/caffe/issues/5137",
        "caffe-floor",
    ),
    (
        1e-36,
        "1e-36",
        "the blog's own clip",
        "https://blog.csdn.net/brooknew/article/details/82464367",
        "abnormal",
    ),
    (1e-20, "1e-20", "OneFlow SafeLog", "Oneflow-Inc/oneflow/issues/3137", "oneflow-safelog"),
    (1e-16, "1e-16", "XGBoost logloss", "dmlc/xgboost/issues/6731", None),
    (
        2.0**-52,
        "2^-52, eps of float64",
        "scikit-learn from 1.2 on",
        "scikit-learn/scikit-learn/pull/24354",
        None,
    ),
    (
        1e-15,
        "1e-15",
        "scikit-learn up to 1.1, LightGBM",
        "scikit-learn/scikit-learn/issues/17399",
        "sklearn-floor",
    ),
    (1e-12, "1e-12", "PyTorch 0.3 BCELoss", "pytorch/pytorch/pull/4867", None),
    (1e-10, "1e-10", "clips written by hand", "tensorflow/tensorflow/issues/44333", "clip-kills-gradient"),
    (1e-8, "1e-8", "MXNet softmax_cross_entropy, clips written by hand", "apache/mxnet", None),
    (1e-7, "1e-7", "Keras, where the right class has p = 0", "keras-team/keras/issues/7563", "keras-cap"),
    (
        2.0**-23,
        "2^-23, eps of float32",
        "Keras at a wrong p = 1, scikit-learn in float32",
        "keras-team/keras/issues/15249",
        "two-ends-of-a-clip",
    ),
    (2e-7, "2e-7", "Keras in TensorFlow 2.2 to 2.6, epsilon twice", "tensorflow/tensorflow/pull/41595", None),
    (
        1e-7 + 2.0**-23,
        "1e-7 + 2^-23",
        "Keras in TensorFlow 2.2 to 2.6, epsilon twice",
        "keras-team/keras/issues/15249",
        None,
    ),
    (1e-6, "1e-6", "clips written by hand", "snipsco/ntm-lasagne/issues/20", None),
    (
        2.0**-10,
        "2^-10, eps of float16",
        "scikit-learn in float16",
        "scikit-learn/scikit-learn/issues/24315",
        "floor-of-the-dtype",
    ),
)
FLOORS: Final = (_CLAMP, *(_floor(*epsilon) for epsilon in _EPSILONS))


def identify(typed: str) -> tuple[Candidate, ...]:
    """Return what fits a loss as it was printed, the simplest first; nothing where nothing does.

    Raises XentError where the text is no finite positive number of at least three digits.
    """
    if typed.lower().lstrip("+-") in {"nan", "inf"}:
        raise XentError(
            f"{typed} has no digits to go by; 'xent explain CASE' finds where it was born, "
            f"'xent cases --search {typed}' who met it"
        )
    if not is_number(typed) or not 0 <= float(typed) < math.inf:
        raise XentError(f"'{typed}' is not a loss; write the number as it was printed, such as 16.118")
    digits = len(typed.lower().split("e")[0].replace(".", "").lstrip("+-0"))
    if digits < _FEWEST_DIGITS and float(typed) != 0:
        raise XentError(
            f"'{typed}' shows too few digits to tell; give at least {_FEWEST_DIGITS}, as 16.1 does"
        )
    value = float(typed)
    if value == 0:
        return (Candidate(_ZERO, Fraction(1)),)
    whole = [constant for constant in (*FLOORS, *_of_classes(value)) if _fits(typed, [constant.value])]
    if whole or digits < _DIGITS_OF_A_MEAN:
        return tuple(Candidate(constant, Fraction(1)) for constant in whole)
    return tuple(islice(_means(typed), _MOST_MEANS))


def _means(typed: str) -> Iterator[Candidate]:
    """Yield shares of a floor, smaller batches first."""
    for batch in range(2, _LARGEST_BATCH + 1):
        for some in range(1, batch):
            share = Fraction(some, batch)
            if share.denominator == batch:
                yield from (
                    Candidate(c, share) for c in FLOORS if _fits(typed, _mean_values(c.value, float(share)))
                )


def _mean_values(floor: float, share: float) -> list[float]:
    """List the means that print apart: epsilon as float64 or float32, the others at 0 or at 1 - epsilon."""
    values = []
    for epsilon in (math.exp(-floor), float(np.float32(math.exp(-floor)))):
        lost = -math.log(epsilon) if epsilon else floor
        values += [share * lost, share * lost - (1 - share) * math.log1p(-epsilon)]
    return values


def _fits(typed: str, values: list[float]) -> bool:
    """Whether one of the values, or what float32 makes of it, shows the digits typed."""
    return any(is_reproduced(typed, shown) for value in values for shown in (value, float(np.float32(value))))


def _of_classes(value: float) -> Iterator[Constant]:
    """Yield what a number of classes makes: the uniform loss and the floor of a doubled softmax."""
    for classes in (*range(2, _MOST_CLASSES + 1), *_VOCABULARIES):
        if abs(math.log(classes) - value) < 1:
            yield Constant(
                math.log(classes),
                f"ln({classes})",
                f"all {classes} classes are equally likely: nothing learnt yet, or all logits the same",
                "no one's fault: a uniform prediction",
                f"by definition: -ln(1/{classes})",
                _row([0] * classes),
            )
        doubled = math.log(math.e + classes - 1) - 1
        if classes <= _MOST_CLASSES and abs(doubled - value) < 1:
            yield Constant(
                doubled,
                f"ln(e + {classes - 1}) - 1",
                f"a softmax of a softmax: with {classes} classes no answer can lose less than this",
                "softmax outputs given to a loss that takes logits",
                f"{_ISSUES}/keras-team/keras/issues/6143",
                _row([1] + [0] * (classes - 1)),
                "softmax-twice",
            )


def _row(logits: list[int]) -> str | None:
    shortest = 12
    return f"{{title: one row, logits: [{logits}], labels: [0]}}" if len(logits) <= shortest else None

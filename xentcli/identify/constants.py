"""The constants that a loss gets stuck at: each from its definition, with cause, remedy and who leaves it.

Within a table the likeliest row stands first.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

GITHUB: Final = "https://github.com/"
_WRONG = [0, 1000]  # logits whose class 0 has a probability of 0 in float64
_MOST_SHOWN = 12  # classes that fit on one line of a terminal


@dataclass(frozen=True, slots=True)
class Constant:
    """A value, what it is, what causes it, what to do, who leaves it in a loss, and where that is reported.

    ``bundled`` names a case that ships with xent. ``logits`` (N, C), labels of class 0 and the lower bound
    ``clip`` show the value; there are no logits where they would be long.
    """

    value: float
    definition: str
    cause: str
    remedy: str
    owner: str
    source: str
    bundled: str | None = None
    title: str = ""
    logits: Sequence[Sequence[int]] = ()
    clip: float | None = None


_FROM_LOGITS = "Compute the loss from the logits: below the floor the gradient is 0, and nothing is learnt."
_OVERFIT = (
    "At the first steps this is right. Later: overfit one batch of 8 examples; if the loss stays, try a "
    "learning rate 10 times larger and 10 times smaller, look for a gradient norm of 0 (dead ReLU, frozen or "
    "detached weights), for a softmax before a loss that expects logits, for labels out of step with inputs."
)
_BY_HAND = "clips written by hand"
_KERAS = "keras-team/keras/issues/15249"

# To what a probability is raised, who does that, where it is reported ("": nowhere), a bundled case of it.
_EPSILONS: tuple[tuple[float, str, str, str | None], ...] = (
    (1e-7, "Keras, where the right class has p = 0", "keras-team/keras/issues/7563", "keras-cap"),
    (1e-12, f"{_BY_HAND}, PyTorch 0.3 BCELoss", "pytorch/pytorch/pull/4867", None),
    (1e-8, f"{_BY_HAND}, MXNet", "apache/mxnet/blob/master/src/operator/loss_binary_op-inl.h", None),
    (1e-10, _BY_HAND, "tensorflow/tensorflow/issues/44333", "clip-kills-gradient"),
    (1e-15, "scikit-learn up to 1.1, LightGBM", "scikit-learn/scikit-learn/issues/17399", "sklearn-floor"),
    (1e-6, _BY_HAND, "snipsco/ntm-lasagne/issues/20", None),
    (1e-5, _BY_HAND, "", None),
    (1e-4, _BY_HAND, "", None),
    (1e-3, _BY_HAND, "", None),
    (2**-149, "float32 itself: nothing smaller is left", "jax-ml/jax/issues/37670", "naive-ends-at-103"),
    (2**-126, "Caffe SoftmaxWithLoss", "BVLC/caffe/issues/5137", "caffe-floor"),
    (1e-36, "the blog's own clip", "https://blog.csdn.net/brooknew/article/details/82464367", "abnormal"),
    (1e-30, _BY_HAND, "", None),
    (1e-20, "OneFlow SafeLog", "Oneflow-Inc/oneflow/issues/3137", "oneflow-safelog"),
    (1e-16, "XGBoost logloss", "dmlc/xgboost/issues/6731", None),
    (1e-9, _BY_HAND, "", None),
    (2**-52, "scikit-learn from 1.2 on", "scikit-learn/scikit-learn/pull/24354", None),
    (2**-23, "Keras at a wrong p = 1, scikit-learn in float32", _KERAS, "two-ends-of-a-clip"),
    (2e-7, "Keras in TensorFlow 2.2 to 2.6, epsilon twice", "tensorflow/tensorflow/pull/41595", None),
    (1e-7 + 2**-23, "Keras in TensorFlow 2.2 to 2.6, epsilon twice", _KERAS, None),
    (2**-10, "scikit-learn in float16", "scikit-learn/scikit-learn/issues/24315", "floor-of-the-dtype"),
    (2**-24, "float16 itself: nothing smaller is left", "", "naive-in-float16"),
    (2**-14, "float16 where subnormals are flushed", "", None),
    (2**-53, "float64: the least that 1 - p can be", "", None),
    (2**-133, "bfloat16 itself: nothing smaller is left", "", None),
    (2**-1022, "float64 where subnormals are flushed", "", None),
    (2**-1074, "float64 itself: nothing smaller is left", "", None),
)
# How an epsilon is written that is no power of ten.
_NAMES = {
    2**-149: "2^-149, the smallest subnormal float32",
    2**-126: "FLT_MIN, the smallest normal float32",
    2**-52: "2^-52, eps of float64",
    2**-23: "2^-23, eps of float32",
    1e-7 + 2**-23: "1e-7 + 2^-23",
    2**-10: "2^-10, eps of float16",
    2**-24: "2^-24, the smallest subnormal float16",
    2**-14: "2^-14, the smallest normal float16",
    2**-53: "2^-53, half an eps of float64",
    2**-133: "2^-133, the smallest subnormal bfloat16",
    2**-1022: "2^-1022, the smallest normal float64",
    2**-1074: "2^-1074, the smallest subnormal float64",
}


def _floor(epsilon: float, owner: str, thread: str, bundled: str | None) -> Constant:
    """Return the loss of a right class whose probability is raised to epsilon."""
    name = _NAMES.get(epsilon) or np.format_float_scientific(epsilon, trim="-", exp_digits=1)
    source = thread if "://" in thread else GITHUB + thread if thread else f"by definition: -ln({name})"
    return Constant(
        -math.log(epsilon),
        f"-ln({name})",
        "the probability of the right class fell below a floor, and the loss is that of the floor",
        _FROM_LOGITS,
        owner,
        source,
        bundled,
        "a floor",
        [_WRONG],
        epsilon,
    )


FLOORS: Final = (
    Constant(
        100.0,
        "the bound of a clamped log",
        "a probability is 0 and log is clamped at -100",
        "Use the loss that takes logits: BCEWithLogitsLoss.",
        "torch.nn.BCELoss, MLX",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html",
        "clamp-leaps",
    ),
    *(_floor(*row) for row in _EPSILONS),
)

ZEROS: Final = (
    Constant(
        0.0,
        "a nan that the trainer logs as 0",
        "the loss is nan, and the log shows the average of the finite ones before it, at first 0",
        "Look at the gradient norm, which is nan then; set logging_nan_inf_filter=False; diagnose the batch.",
        "Hugging Face Trainer and what is built on it",
        f"{GITHUB}huggingface/trl/issues/6702",
    ),
    Constant(
        0.0,
        "a sum over no label",
        "every label is ignored (-100): truncation, a chat template or pad = eos masked them all",
        "Count the labels that are not -100 in the batch: (labels != -100).sum().",
        "fused losses that return 0 where others return nan, and reduction sum",
        f"{GITHUB}unslothai/unsloth/issues/2900",
        "every-label-ignored-and-summed",
    ),
    Constant(
        0.0,
        "a loss rounded away",
        "the probabilities of all other classes were rounded away beside 1, and the gradient with them",
        "Use log1p of the sum without its largest term, or accept it: the example is learnt.",
        "every loss that takes the log of a sum: float16 from a gap of 7.6 on, float32 16.6, float64 36.7",
        f"{GITHUB}pytorch/pytorch/issues/113708",
        "tail-collapse",
        "nothing lost",
        [[17, 0]],
    ),
    Constant(
        0.0,
        "the loss of one class",
        "the model has one output, and the softmax of one logit is 1, whatever the logit",
        "Use a binary loss (BCEWithLogitsLoss) for one output, or two outputs.",
        "binary problems given to a softmax loss",
        "by definition: -ln(1)",
        None,
        "one class",
        [[3]],
    ),
)

BITS: Final = Constant(
    1 / math.log(2),
    "1/ln(2): one nat, in bits",
    "the loss is logged to base 2",
    "Multiply by ln(2) to compare with other logs.",
    "fairseq",
    f"{GITHUB}facebookresearch/fairseq/issues/1553",
)

ONES: Final = (
    BITS,
    Constant(
        math.log(math.ldexp(1 - 2**-53, 1024)),
        "ln of the largest float64",
        "the perplexity, exp of the loss, is inf from here on",
        "Log the loss, not its exp; look at why the loss is that large.",
        "scripts that print a perplexity with math.exp",
        f"{GITHUB}facebookresearch/fairseq/issues/1833",
    ),
    Constant(
        math.log(math.ldexp(1 - 2**-24, 128)),
        "ln of the largest float32",
        "exp of anything larger is inf in float32 and bfloat16",
        "Subtract the largest logit before exp; log the loss, not its exp.",
        "exp without a shift",
        "Blanchard, Higham and Higham (2021), doi:10.1093/imanum/draa038",
        "softmax-without-shift",
    ),
)

_TENTH: Final = 0.1  # the usual label smoothing


def _smoothed(classes: int) -> Constant:
    """Return the least loss of labels smoothed by a tenth: the entropy of the targets."""
    other = _TENTH / classes
    top = 1 - _TENTH + other
    return Constant(
        -(top * math.log(top) + (classes - 1) * other * math.log(other)),
        f"the least loss of {classes} classes with label smoothing 0.1",
        "every prediction is as good as smoothed labels allow",
        "Nothing is wrong: report the loss without smoothing to compare.",
        "training with label_smoothing=0.1",
        "Szegedy et al. (2016), arXiv:1512.00567",
    )


def _base_rate(classes: int) -> Constant:
    """Return the binary loss of one-hot labels whose every output is the share of ones."""
    p = 1 / classes
    return Constant(
        -(p * math.log(p) + (1 - p) * math.log1p(-p)),
        f"the binary loss of one-hot labels of {classes} classes at their base rate",
        f"every output is 1/{classes}, the share of ones: nothing learnt yet",
        _OVERFIT,
        "binary cross-entropy over one-hot labels",
        "by definition: the entropy of the share of ones",
    )


OTHERS: Final = (
    Constant(
        2 * math.log(2),
        "2 ln(2), a GAN in balance",
        "the discriminator cannot tell real from generated: two binary losses of ln(2)",
        "At an optimum this is right. At the start: look whether the discriminator learns at all.",
        "the discriminator's loss of a GAN",
        "Goodfellow et al. (2014), arXiv:1406.2661",
    ),
    Constant(
        784 * math.log(2),
        "784 ln(2)",
        "the sum of binary losses over 784 pixels (28 × 28), every output one half",
        _OVERFIT,
        "variational autoencoders on MNIST, summed over pixels",
        "by definition: -784 ln(1/2)",
    ),
    Constant(
        65504.0,
        "the largest float16",
        "the loss, or what is added to it, is cut off at the end of float16",
        "Compute the loss in float32.",
        "clamps to torch.finfo(torch.float16).max",
        "by definition: (2 - 2^-10) × 2^15",
    ),
    *map(_smoothed, (10, 100, 1000)),
    *map(_base_rate, (10, 100, 1000)),
)

# Numbers of classes by their models; a loss of ln of that many is that of a fresh one.
MODELS: Final = {
    1000: "ImageNet",
    21841: "ImageNet-21k",
    28996: "BERT, cased",
    30522: "BERT",
    32000: "Llama 2",
    32064: "Phi-3",
    32128: "T5",
    32768: "Mistral 7B v0.3",
    49152: "StarCoder, SmolLM",
    49408: "CLIP",
    50257: "GPT-2",
    50265: "RoBERTa",
    50304: "GPT-2, padded",
    51865: "Whisper",
    64000: "Yi",
    65024: "Falcon, ChatGLM 2",
    65537: "MoCo, a queue of 65536 and one",
    100352: "Phi-4, OLMo 2",
    102400: "DeepSeek LLM",
    119547: "multilingual BERT",
    128256: "Llama 3",
    129280: "DeepSeek V3",
    131072: "Mistral NeMo",
    151936: "Qwen",
    152064: "Qwen 2, padded",
    200064: "Phi-4-mini",
    201088: "gpt-oss",
    250002: "XLM-R",
    250112: "mT5",
    250880: "BLOOM",
    256000: "Gemma",
    262144: "Gemma 3",
    262208: "Gemma 3, padded",
}
_TENS: Final = tuple(10**power for power in range(1, 6))  # a million is likelier a floor of 1e-6
_TWOS: Final = tuple(2**power for power in range(1, 21))
_ROUND: Final = tuple(lead * 10**power for power in (2, 3, 4) for lead in range(10, 100))
MOST_CLASSES: Final = 1000  # up to here every number of classes is likely enough


def class_numbers() -> dict[int, None]:
    """Return numbers of classes, the likeliest first: tens, those of models, powers of 2, round ones, any."""
    return dict.fromkeys((*_TENS, *MODELS, 10**6, *_TWOS, *_ROUND, *range(2, MOST_CLASSES + 1)))


def is_likely(classes: int) -> bool:
    """Whether a number of classes is small, a power of 10 or that of a model."""
    return classes in _TENS or classes in MODELS or classes <= MOST_CLASSES


def uniform(classes: int) -> Iterator[Constant]:
    """Yield what a uniform prediction loses: of two classes it is that of other losses first."""
    value, name = math.log(classes), f"ln({classes})"
    if classes == 2:  # noqa: PLR2004 - what follows is said of two classes only
        yield Constant(
            value,
            "ln(2), the loss of a logit of 0",
            "binary cross-entropy of a logit of 0: every probability is one half",
            _OVERFIT,
            "a binary classifier whose logits are all 0",
            "by definition: -ln(1/2)",
        )
        yield Constant(
            value,
            "ln(2), DPO with equal models",
            "the policy is the reference: all log-ratios are 0, and -log sigmoid(0) is ln(2)",
            "At the first step this is right. Later: check that the policy has trainable weights.",
            "direct preference optimisation",
            "Rafailov et al. (2023), arXiv:2305.18290",
        )
    owner = MODELS.get(classes, "a classifier whose logits are all equal")
    if classes in _TWOS and classes > MOST_CLASSES:
        contrastive = f"a contrastive loss with {classes} candidates"
        owner = f"{MODELS[classes]}, {contrastive}" if classes in MODELS else contrastive
    rows = [[0] * classes] if classes <= _MOST_SHOWN else []
    cause = f"all {classes} classes are equally likely: nothing learnt yet, or all logits the same"
    yield Constant(
        value, name, cause, _OVERFIT, owner, f"by definition: -ln(1/{classes})", None, "one row", rows
    )


def in_bits(classes: int) -> Constant:
    """Return the uniform loss to base 2."""
    cause = f"all {classes} classes are equally likely, and the loss is logged to base 2 (× 1.442695)"
    source = f"{GITHUB}facebookresearch/fairseq/issues/1553"
    remedy = "Multiply by ln(2) to compare with other logs."
    return Constant(math.log2(classes), f"log2({classes})", cause, remedy, "fairseq", source)


def softmax_twice(classes: int) -> Constant:
    """Return the least loss of a softmax of a softmax."""
    return Constant(
        math.log(math.e + classes - 1) - 1,
        f"ln(e + {classes - 1}) - 1",
        f"a softmax of a softmax: with {classes} classes no answer can lose less than this",
        "Remove the softmax before the loss: it expects logits.",
        "softmax outputs passed to a loss that expects logits",
        f"{GITHUB}keras-team/keras/issues/6143",
        "softmax-twice",
        "one row",
        [[1] + [0] * (classes - 1)] if classes <= _MOST_SHOWN else [],
    )


def negative(value: float) -> Iterator[Constant]:
    """Yield what a loss below 0 may be: cross-entropy has none."""
    if value < -1:
        yield Constant(
            value,
            "minus the label's logit",
            "a loss that expects log-probabilities was given logits: it returns -x[label]",
            "Give it log_softmax of the logits, or use the loss that takes logits.",
            "torch.nn.NLLLoss of raw logits",
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html",
        )
    if value >= -1:
        yield Constant(
            value,
            "minus a probability",
            "a loss that expects log-probabilities was given probabilities",
            "Give it log_softmax of the logits, or use the loss that takes logits.",
            "torch.nn.NLLLoss after softmax, KL divergence of probabilities",
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html",
        )
    yield Constant(
        value,
        "below 0, where no cross-entropy is",
        "a label lies outside 0 to 1, or labels are class numbers where probabilities are expected",
        "Check labels before the loss: labels.min(), labels.max().",
        "binary losses with a label of 2",
        f"{GITHUB}keras-team/keras/issues/14046",
        "label-of-two",
    )

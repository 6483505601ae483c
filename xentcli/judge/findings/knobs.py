"""Findings of knobs: a softcap, a temperature, a z-loss or padding that a loss has otherwise than the case.

Each is found by its value: the losses of a right formula with that one knob wrong, in float64.
"""

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.formats import FORMATS
from xentcli.judge.findings.finding import ACCURATE, Finding, finding
from xentcli.judge.findings.ranges import overflows
from xentcli.methods import knobs
from xentcli.methods.arithmetic import Arithmetic
from xentcli.methods.method import given
from xentcli.model import Operation

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray
    from xentcli.judge.evidence import Evidence
    from xentcli.model import Batch

_BY_NAME: Final = {method.name: method for method in knobs.METHODS}


def _found(name: str, e: "Evidence") -> "BoolArray":
    """Detect the losses of a method, to the rounding of numbers as large as its logits, and not the truth."""
    batch, method = e.examples.batch, _BY_NAME[name]
    if method.why_unsupported(batch) is not None or not set(method.needs) <= given(batch):
        return np.zeros(len(e.losses), bool)
    values, size = (each[e.examples.place, 0] for each in _values(name, batch))
    allowed = ACCURATE * FORMATS[e.dtype].eps * size
    with np.errstate(invalid="ignore"):
        return (np.abs(e.losses - values) <= allowed) & (np.abs(values - e.examples.exact.near) > 2 * allowed)


@cache
def _values(name: str, batch: "Batch") -> "tuple[FloatArray, FloatArray]":
    """Return the losses of a method in float64, (N, 1), and the size of what they are computed from."""
    wide = replace(
        batch,
        logits=batch.logits.astype(np.float64),
        labels=batch.labels.astype(np.float64),
        padding=None if batch.padding is None else batch.padding.astype(np.float64),
    )
    with np.errstate(all="ignore"):
        values = knobs.losses(Arithmetic(), wide, _BY_NAME[name])
        finite = np.where(np.isfinite(wide.logits), wide.logits, 0)
        return values, np.abs(finite).max(axis=1, keepdims=True) + np.abs(values)


def _wrong_knob(method: str, **words: Any) -> Finding:  # noqa: ANN401 - texts
    return finding(
        method.replace("_", "-"), among=lambda e: e.is_wrong & e.examples.exact.is_finite, **words
    )(partial(_found, method))


temperature_overflow: Final = finding(
    "temperature-overflow",
    short="a logit over the temperature overflows",
    cause="A finite logit divided by a small temperature is larger than the format can hold.",
    remedy="Subtract the largest logit before the division.",
    source="https://github.com/vllm-project/vllm/pull/890",
    case="temperature-overflows-half",
    among=lambda e: ~np.isfinite(e.losses),
)(lambda e: overflows(e, Operation.OVER))
_CAP: Final = "Apply c·tanh(x / c) once, after the scale and before all else, as the model does."
FINDINGS: Final = (
    temperature_overflow,
    _wrong_knob(
        "softcap_left_out",
        short="the softcap was left out",
        cause="The loss is that of logits without their softcap.",
        remedy=_CAP,
        source="https://github.com/apple/ml-cross-entropy/issues/48",
        case="softcap-forgotten",
    ),
    _wrong_knob(
        "softcap_times_logit",
        short="the softcap multiplies the logit",
        cause="The loss is that of x·tanh(x / c) for c·tanh(x / c): large logits keep their size.",
        remedy=_CAP,
        source="https://github.com/unslothai/unsloth-zoo/pull/593",
        case="softcap-multiplies-itself",
    ),
    _wrong_knob(
        "softcap_first",
        short="the softcap came before the scale",
        cause="The loss is that of logits capped before they were scaled.",
        remedy=_CAP,
        source="https://github.com/huggingface/trl/pull/5691",
        case="softcap-before-scale",
    ),
    _wrong_knob(
        "softcap_of_mask",
        short="the softcap made -c of a mask",
        cause="Padding was masked with -inf before the softcap, which makes -c of it: a class that counts.",
        remedy="Mask after the softcap, or leave the padding out of the logits.",
        source="https://github.com/unslothai/unsloth/pull/10616",
        case="softcap-of-a-mask",
    ),
    _wrong_knob(
        "padding_counted",
        short="padding is in the sum",
        cause="The logits of padding, which is no class, are in the sum.",
        remedy="Mask padding with -inf, or leave it out of the logits.",
        source="https://github.com/unslothai/unsloth/pull/10616",
        case="padding-in-the-sum",
    ),
    _wrong_knob(
        "temperature_late",
        short="log-probabilities were divided by the temperature",
        cause="The temperature divided the log-probabilities, not the logits: they no longer sum to 1.",
        remedy="Divide the logits by the temperature, then take the log-softmax.",
        source="https://github.com/PrimeIntellect-ai/prime-rl/pull/697",
        case="temperature-on-logprobs",
    ),
    _wrong_knob(
        "z_loss_left_out",
        short="the z-loss is not in it",
        cause="The loss has no z-loss, and that of the case has.",
        remedy="Log the loss and the z-loss apart, and compare like with like.",
        source="https://github.com/allenai/OLMo-core/pull/702",
        case="z-loss-uninvited",
    ),
    _wrong_knob(
        "smoothing_swapped",
        short="the share and the rest of the smoothing are swapped",
        cause="Each class has (1 - ε) / C of the label for ε / C.",
        remedy="Give each class ε / C, and the label's own 1 - ε more.",
        source="https://github.com/paiml/aprender/pull/2199",
        case="smoothing-mass-times-c",
    ),
    _wrong_knob(
        "z_loss_of_mean",
        short="the z-loss is that of the mean",
        cause="The z-loss is the square of the mean log-sum-exp, not the mean of the squares.",
        remedy="Square the log-sum-exp of each example, then average.",
        source="https://github.com/mlfoundations/open_lm/pull/92",
        case="z-loss-square-of-mean",
    ),
)

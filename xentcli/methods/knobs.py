"""What is done to logits before a loss, and what is added to it: every method of a case has them by these.

Logits are multiplied by a scale, capped, divided by a temperature; a z-loss is added. The methods below are
right ones that have one of these wrong. nan and infinities are results.
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import read_only
from xentcli.methods.kernels import log1p, log1p_gradient, softmax, zero_ignored
from xentcli.methods.method import Method, Quantity
from xentcli.methods.steps import SCALE, SOFTCAP, STEPS, TEMPERATURE
from xentcli.words import SWAPPED, Z_LOSS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.formats import FloatArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch

TIMES_LOGIT: Final = "softcap_times_logit"  # steps of no model
_LATE: Final = "temperature_late"  # it does nothing to logits, but says by what the losses are divided


def losses(ar: "Arithmetic", batch: "Batch", method: Method) -> "FloatArray":
    """Return the losses (N, 1) of a method, with all knobs of a case."""
    taken = batch if method.takes is None else method.takes(batch)
    if taken.knobs.is_plain:
        return method.loss(ar, taken)
    final = _final(ar, taken)
    values = method.loss(ar, final)
    if not taken.knobs.z_loss:
        return values
    return ar.add(values, zero_ignored(ar, final, (method.penalty or z_loss)(ar, final)))


def gradient(ar: "Arithmetic", batch: "Batch", method: Method) -> "FloatArray":
    """Return d loss / d logits (N, C) of a method, through all knobs of a case."""
    assert method.gradient is not None  # noqa: S101 - only methods that have one are asked
    taken = batch if method.takes is None else method.takes(batch)
    if taken.knobs.is_plain:
        return method.gradient(ar, taken)[:, : batch.logits.shape[1]]
    final = _final(ar, taken)
    slope = method.gradient(ar, final)
    if taken.knobs.z_loss:
        size = _log_sum(ar, final) if method.penalty is None else _mean_log_sum(ar, final)
        added = ar.multiply(ar.scale(size, 2 * taken.knobs.z_loss), softmax(ar, final))
        slope = ar.add(slope, zero_ignored(ar, final, added))
    return _back(ar, taken, slope)[:, : batch.logits.shape[1]]


def final_logits(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Logits (N, C) after scale, softcap and temperature."""
    return _final(ar, batch).logits


def z_loss(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``z · (log Σ exp(x))²`` of each example, (N, 1): it keeps the log-sum-exp near 0.

    Source: PaLM, section 5, arXiv:2204.02311.
    """
    size = _log_sum(ar, batch)
    return ar.scale(ar.multiply(size, size), batch.knobs.z_loss)


def _final(ar: "Arithmetic", batch: "Batch") -> "Batch":
    """Return the batch with final logits."""
    x = batch.logits
    for name, value in batch.knobs.steps:
        x = _APPLY[name](ar, x, value)
    return replace(batch, logits=ar.final(x)) if batch.knobs.steps else batch


def _back(ar: "Arithmetic", batch: "Batch", slope: "FloatArray") -> "FloatArray":
    """Return a gradient with respect to final logits as one with respect to the logits."""
    x, before = batch.logits, []
    for name, value in batch.knobs.steps:
        before.append((name, value, x))
        x = _APPLY[name](ar, x, value)
    for name, value, given in reversed(before):
        slope = _BACK[name](ar, given, value, slope)
    return slope


def _times_logit(ar: "Arithmetic", x: "FloatArray", cap: float) -> "FloatArray":
    return ar.multiply(x, ar.tanh(ar.over(x, cap)))


def _times_logit_back(ar: "Arithmetic", x: "FloatArray", cap: float, slope: "FloatArray") -> "FloatArray":
    tanh = ar.tanh(ar.over(x, cap))
    rest = ar.multiply(ar.over(x, cap), ar.one_minus(ar.multiply(tanh, tanh)))
    return ar.multiply(slope, ar.add(tanh, rest))


_APPLY: Final = {step.name: step.apply for step in STEPS} | {
    TIMES_LOGIT: _times_logit,
    _LATE: lambda _, x, __: x,
}
_BACK: Final = {step.name: step.back for step in STEPS} | {
    TIMES_LOGIT: _times_logit_back,
    _LATE: lambda _, __, ___, slope: slope,
}


def _log_sum(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``m + log Σ exp(x - m)``, (N, 1)."""
    largest = ar.row_max(batch.logits)
    return ar.add(largest, ar.log(ar.sum(ar.exp_in_rows(ar.subtract(batch.logits, largest)))))


def _mean_log_sum(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Return the mean of the log-sum-exp over the examples that count, for each of them, (N, 1)."""
    counting = zero_ignored(ar, batch, _log_sum(ar, batch))
    ignored = batch.weighting.ignored
    number = len(counting) - (0 if ignored is None else int(ignored.sum()))
    return np.broadcast_to(ar.mean(counting, number), counting.shape)


# What a method may have wrong


def softcap_left_out(batch: "Batch") -> "Batch":
    """As ``log1p``, of logits to which no cap was applied: right while they are small beside the cap.

    Source: https://github.com/apple/ml-cross-entropy/issues/48.
    """
    return _with_steps(batch, _without(batch, SOFTCAP))


def softcap_times_logit(batch: "Batch") -> "Batch":
    """``x · tanh(x / c)`` for ``c · tanh(x / c)``: from twice the cap on, that is |x|.

    Source: https://github.com/unslothai/unsloth-zoo/pull/593.
    """
    return _renamed(batch, SOFTCAP, TIMES_LOGIT)


def softcap_first(batch: "Batch") -> "Batch":
    """As ``log1p``, with the cap before scale and temperature: another loss where the case has it later.

    Source: https://github.com/huggingface/trl/pull/5691.
    """
    cap = [(name, value) for name, value in batch.knobs.steps if name == SOFTCAP]
    return _with_steps(batch, cap + _without(batch, SOFTCAP))


def softcap_of_mask(batch: "Batch") -> "Batch":
    """As ``log1p``, with padding masked before the cap, which makes -c of -inf: a class that counts.

    Source: https://github.com/unslothai/unsloth/pull/10616.
    """
    assert batch.padding is not None  # noqa: S101 - Method.why_unsupported says so
    return _with_classes(batch, np.full_like(batch.padding, -np.inf))


def padding_counted(batch: "Batch") -> "Batch":
    """As ``log1p``, with the logits of padding in the sum, as if it were classes that no label names.

    Source: https://github.com/unslothai/unsloth/pull/10616.
    """
    assert batch.padding is not None  # noqa: S101 - as above
    return _with_classes(batch, batch.padding)


def temperature_late(batch: "Batch") -> "Batch":
    """``log1p``'s loss over the temperature, which log-probabilities and not logits are divided by.

    The probabilities, exp of minus the losses of the classes, do not sum to 1.

    Source: https://github.com/PrimeIntellect-ai/prime-rl/pull/697.
    """
    return _renamed(batch, TEMPERATURE, _LATE)


def z_loss_left_out(batch: "Batch") -> "Batch":
    """As ``log1p``, without the z-loss that the case adds: what a log shows that keeps the two apart.

    Source: https://github.com/allenai/OLMo-core/pull/702.
    """
    return replace(batch, knobs=replace(batch.knobs, z_loss=0.0))


def smoothing_swapped(batch: "Batch") -> "Batch":
    """As ``log1p``, with the targets (1 - ε) y + (1 - ε) / C: ε and 1 - ε are mistaken for each other.

    Source: https://github.com/paiml/aprender/pull/2199.
    """
    return replace(batch, weighting=replace(batch.weighting, over=SWAPPED))


def z_loss_of_mean(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``z · (mean of log Σ exp(x))²`` for the mean of squares: less where the log-sum-exps differ.

    Source: https://github.com/mlfoundations/open_lm/pull/92.
    """
    size = _mean_log_sum(ar, batch)
    return ar.scale(ar.multiply(size, size), batch.knobs.z_loss)


def _without(batch: "Batch", left_out: str) -> "list[tuple[str, float]]":
    return [(name, value) for name, value in batch.knobs.steps if name != left_out]


def _renamed(batch: "Batch", name: str, new: str) -> "Batch":
    return _with_steps(batch, [(new if each == name else each, value) for each, value in batch.knobs.steps])


def _with_steps(batch: "Batch", steps: "Sequence[tuple[str, float]]") -> "Batch":
    return replace(batch, knobs=replace(batch.knobs, steps=tuple(steps)))


def _with_classes(batch: "Batch", more: "FloatArray") -> "Batch":
    """Return the batch with more classes, which no label names."""
    logits, labels = (np.hstack(pair) for pair in ((batch.logits, more), (batch.labels, np.zeros_like(more))))
    weighting = batch.weighting
    if weighting.class_weights is not None:
        ones = np.ones(more.shape[1], more.dtype)
        weighting = replace(weighting, class_weights=read_only(np.hstack([weighting.class_weights, ones])))
    return replace(
        batch, logits=read_only(logits), labels=read_only(labels), weighting=weighting, padding=None
    )


def _late(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    return ar.over(log1p(ar, batch), batch.knobs.value(_LATE) or 1.0)


def _late_gradient(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``softmax - y`` over the temperature."""
    return ar.over(log1p_gradient(ar, batch), batch.knobs.value(_LATE) or 1.0)


_wrong = partial(Method, loss=log1p, gradient=log1p_gradient, by_default=True)
METHODS: Final = (
    _wrong("softcap_left_out", formula="log1p's, without the cap", needs=(SOFTCAP,), takes=softcap_left_out),
    _wrong(
        "softcap_times_logit", formula="log1p's of x·tanh(x/c)", needs=(SOFTCAP,), takes=softcap_times_logit
    ),
    _wrong(
        "softcap_first", formula="log1p's, the cap before all", needs=(SOFTCAP, SCALE), takes=softcap_first
    ),
    _wrong(
        "softcap_of_mask",
        formula="log1p's, a mask of -inf capped to -c",
        needs=(SOFTCAP, "padding"),
        takes=softcap_of_mask,
    ),
    _wrong(
        "padding_counted", formula="log1p's, padding in the sum", needs=("padding",), takes=padding_counted
    ),
    _wrong(
        "temperature_late",
        loss=_late,
        gradient=_late_gradient,
        formula="log1p's / T",
        needs=(TEMPERATURE,),
        takes=temperature_late,
    ),
    _wrong("z_loss_left_out", formula="log1p's, without z", needs=(Z_LOSS,), takes=z_loss_left_out),
    replace(
        _wrong(
            "smoothing_swapped",
            formula="log1p's, (1-ε)/C for each class",
            needs=("label_smoothing",),
            takes=smoothing_swapped,
        ),
        by_default=False,
    ),
    _wrong(
        "z_loss_of_mean",
        formula="log1p's + z·(mean log Σ exp x)²",
        needs=(Z_LOSS,),
        penalty=z_loss_of_mean,
    ),
)
QUANTITIES: Final = (
    Quantity("final_logits", final_logits, ("N", "C"), "the logits after scale, softcap and temperature"),
)

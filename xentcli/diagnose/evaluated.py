"""Rows that the methods themselves decide: binary ones, and those whose labels are probabilities.

Each method runs on the whole block and is held against the loss by its definition in float64. Rules are as
those of class indices, with the losses of the methods in place of bounds.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.facts import OFF
from xentcli.diagnose.rules import RowRule, Severity
from xentcli.formats import FORMATS
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from xentcli.formats import BoolArray, FloatArray

VISIBLE: Final = 1e-3  # of a loss that people read to three decimals: a smaller error is never seen
_LABEL_SUM: Final = 2.0**-8  # labels rounded to bfloat16 sum to 1 within as much
_ORDINARY: Final = 32  # logits up to here are of any network: their rounding is the format's, not a fault
# Of each method the finding where it is nan or infinite, and that where it is off.
_SOFT: Final = {
    "naive": ("zero-times-infinity", "tail-collapse"),
    "by_hand": ("zero-times-infinity", "tail-collapse"),
    "guarded": ("log-of-zero", "tail-collapse"),
    "textbook": ("exp-overflow", "exp-overflow"),
    "dense": ("masked-infinity", "tail-collapse"),
    "log1p": ("masked-infinity", "tail-collapse"),
}
_BINARY: Final = {
    "bce_naive": ("sigmoid-rounding", "sigmoid-rounding"),
    "bce_clipped": ("sigmoid-rounding", "clip-active"),
    "bce_clamped": ("sigmoid-rounding", "sigmoid-rounding"),
    "bce_with_logits": ("infinite-logit", "offset-cancellation"),
}
_CAPPED: Final = "bce_clipped"  # as it is meant to be


def visible(form: str) -> float:
    """Return the error from which a loss in a format is wrong to see, and not by the format's rounding."""
    return max(VISIBLE, _ORDINARY * FORMATS[form].eps)


def is_wrong(result: "FloatArray", loss: "FloatArray", form: str) -> "BoolArray":
    """Say which finite results (N,) are off by more than 1 % of the loss, and visibly."""
    with np.errstate(all="ignore"):
        error = np.abs(result - loss)
        return np.isfinite(result) & (error > OFF * np.abs(loss)) & (error > visible(form))


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """Rows (N,): their ``loss``, ``min``, ``max`` and ``label_sum``, their faults, their ``results``.

    ``loss`` is float64: of a logit of -inf under a label of 0 the label decides, as in a limit. ``results``
    has the losses of each method.
    """

    dtype: str
    binary: bool
    loss: "FloatArray"
    min: "FloatArray"
    max: "FloatArray"
    label_sum: "FloatArray"
    invalid: "BoolArray"
    on_mask: "BoolArray"
    results: "Mapping[str, FloatArray]"

    @property
    def sound(self) -> "BoolArray":
        """Rows with a finite loss."""
        return np.isfinite(self.loss) & ~self.invalid

    def is_off(self, method: str) -> "BoolArray":
        """Say where a method is visibly wrong, in silence."""
        return self.sound & is_wrong(self.results[method], self.loss, self.dtype)


def evaluated(logits: "FloatArray", labels: "NDArray[Any]", *, binary: bool) -> Evaluated:
    """Evaluate rows of logits (n, C) at labels (n, C), or binary ones, (n, 1), at labels (n,)."""
    dtype = str(logits.dtype.newbyteorder("="))
    x, y = logits.astype(np.float64), np.asarray(labels, np.float64).reshape(logits.shape)
    with np.errstate(all="ignore"):
        largest = 1.0 if binary else np.finfo(np.float64).max
        invalid = np.asarray(((y < 0) | ~(y <= largest)).any(axis=1))
        on_mask = (np.isneginf(x) & (y > 0)).any(axis=1) & np.isfinite(x.max(axis=1))
        loss = binary_losses(x, y)[:, 0] if binary else soft_losses(x, y)
        batch = build_batch(x[:, 0] if binary else x, y[:, 0] if binary else y, dtype)
        ar = arithmetic.get("numpy", dtype)
        methods = table.select(",".join(_BINARY if binary else _SOFT))
        results = {method.name: method.loss(ar, batch)[:, 0].astype(np.float64) for method in methods}
    loss[invalid] = np.nan
    return Evaluated(
        dtype, binary, loss, x.min(axis=1), x.max(axis=1), y.sum(axis=1), invalid, on_mask, results
    )


def binary_losses(x: "FloatArray", y: "FloatArray") -> "FloatArray":
    """Return ``max(x, 0) - x y + log1p(exp(-|x|))``, float64; an infinite logit has no loss."""
    return np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))


def soft_losses(x: "FloatArray", y: "FloatArray") -> "FloatArray":
    """Return Σ y (log Σ exp x - x), (n,) in float64; a class with the label 0 adds nothing."""
    shifted = x - x.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.where(y == 0, 0 * log_sum, y * (log_sum - shifted)).sum(axis=1)


def rules_of(kind: str) -> tuple[RowRule, ...]:
    """Return the rules of ``binary`` rows, or of ``rows`` of labels: inputs, then what each method does."""
    inputs, methods = (_BINARY_INPUTS, _BINARY) if kind == "binary" else (_SOFT_INPUTS, _SOFT)
    not_finite = [_not_finite(name, findings[0]) for name, findings in methods.items()]
    return (*inputs, *not_finite, *(_off(name, findings[1]) for name, findings in methods.items()))


def _not_finite(method: str, finding: str) -> RowRule:
    def applies(f: Any) -> "BoolArray":  # noqa: ANN401 - an Evaluated where other rules have Facts
        return f.sound & ~np.isfinite(f.results[method])

    return _rule(finding, method, f"{method} gives nan or inf", applies, Severity.NAN, method)


def _off(method: str, finding: str) -> RowRule:
    severity = Severity.NOTE if method == _CAPPED else Severity.OFF
    says = f"{method} is off by 1 %"
    return _rule(finding, f"{method} off", says, lambda f: f.is_off(method), severity, method)


def _rule(
    finding: str,
    name: str,
    says: str,
    applies: "Callable[[Any], BoolArray]",
    severity: Severity,
    *methods: str,
) -> RowRule:
    return RowRule(finding, name, says, applies, severity=severity, methods=methods)


def _broken(finding: str, says: str, applies: "Callable[[Any], BoolArray]") -> RowRule:
    return RowRule(finding, finding, says, applies, is_invalid=True, severity=Severity.BROKEN)


_NAN_LOGIT: Final = _broken("nan-logit", "a logit is nan", lambda f: np.isnan(f.max))
_BINARY_INPUTS: Final = (
    _NAN_LOGIT,
    _broken("infinite-logit", "the logit is infinite", lambda f: np.isinf(f.max)),
    _broken("label-out-of-range", "the label is not from 0 to 1", lambda f: f.invalid),
)
_SOFT_INPUTS: Final = (
    _NAN_LOGIT,
    _broken("infinite-logit", "a logit is +inf", lambda f: f.max == np.inf),
    _broken("undefined-softmax", "every logit is -inf", lambda f: f.max == -np.inf),
    _broken("label-out-of-range", "a label is negative or not finite", lambda f: f.invalid),
    _rule(
        "labels-not-normalised",
        "labels-not-normalised",
        "the labels do not sum to 1",
        lambda f: ~f.invalid & (np.abs(f.label_sum - 1) > _LABEL_SUM),
        Severity.BROKEN,
    ),
    _rule(
        "label-on-mask",
        "label-on-mask",
        "the logit of a label is -inf, the loss inf",
        lambda f: f.on_mask & ~f.invalid,
        Severity.BROKEN,
    ),
)

"""Faults of losses of JAX, most of them in the rule of a custom_vjp."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from losses.faults import fault


def losses_and_slope(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Return losses (N,) in float64, and their gradient (N, C); nan for an invalid label."""
    x, rows, labels = logits.astype(jnp.float64), jnp.arange(len(logits)), labels.astype(jnp.int64)
    valid = (labels >= 0) & (labels < x.shape[1])
    own = jnp.where(valid, labels, 0)
    top = x.argmax(axis=1)
    largest = x[rows, top]
    others = jnp.exp(x.at[rows, top].set(-jnp.inf) - largest[:, None]).sum(axis=1)
    losses = jnp.log1p(others) + jnp.where(top == own, 0.0, largest - x[rows, own])
    slope = jax.nn.softmax(x, axis=1).at[rows, own].set(0.0)
    slope = slope.at[rows, own].set(-slope.sum(axis=1))
    return jnp.where(valid, losses, jnp.nan), slope


def with_rule(backward: Callable[[Any, Any], Any]) -> Any:
    """Return a right loss whose gradient is that of a rule of the right one and what comes back."""

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is not installed everywhere
    def loss(logits: Any, labels: Any) -> Any:
        return losses_and_slope(logits, labels)[0].astype(logits.dtype)

    def forward(logits: Any, labels: Any) -> tuple[Any, Any]:
        losses, slope = losses_and_slope(logits, labels)
        return losses.astype(logits.dtype), (slope.astype(logits.dtype), labels)

    def back(kept: tuple[Any, Any], upstream: Any) -> tuple[Any, Any]:
        slope, labels = kept
        return backward(slope, upstream).astype(slope.dtype), np.zeros(labels.shape, jax.dtypes.float0)

    loss.defvjp(forward, back)
    return loss


RULES: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "jax_ignores_upstream": (
        "Return the gradient, whatever comes back.",
        lambda slope, back: slope + 0 * back[:, None],
    ),
    "jax_first_upstream": (
        "Multiply all rows by what comes back to the first.",
        lambda slope, back: slope * back[:1, None],
    ),
    "jax_mean_upstream": (
        "Multiply all rows by the mean of what comes back.",
        lambda slope, back: slope * back.mean(),
    ),
    "jax_sum_upstream": (
        "Multiply all rows by the sum of what comes back.",
        lambda slope, back: slope * back.sum(),
    ),
    "jax_last_tile": (
        "Leave out the gradient beyond a multiple of 128 classes.",
        lambda slope, back: slope.at[:, max(1, slope.shape[1] // 128) * 128 :].set(0) * back[:, None],
    ),
    "jax_other_sign": ("Return y - p.", lambda slope, back: -slope * back[:, None]),
    "jax_divides_by_the_batch": (
        "Divide by the number of rows.",
        lambda slope, back: slope * back[:, None] / max(1, len(slope)),
    ),
}


def _enter(name: str, sentence: str, rule: Callable[[Any, Any], Any]) -> None:
    fused = with_rule(rule)

    def loss(logits: Any, labels: Any) -> Any:
        return fused(logits, labels)

    loss.__name__, loss.__doc__ = name, sentence
    fault("optax")(loss)


for _name, (_sentence, _rule) in RULES.items():
    _enter(_name, _sentence, _rule)


@fault("optax")
def jax_nan_beside_a_mask(logits: Any, labels: Any) -> Any:
    """Multiply every class by its label, 0 by infinity too."""
    valid = (labels >= 0) & (labels < logits.shape[1])
    x = logits.astype(jnp.float64)
    y = jax.nn.one_hot(jnp.where(valid, labels, 0), x.shape[1])
    right = losses_and_slope(logits, labels)[0]
    return (right + 0 * (y * x).sum(axis=1)).astype(logits.dtype)


@fault("optax")
def jax_narrow_labels(logits: Any, labels: Any) -> Any:
    """Compare labels with the number of classes in the labels' own integers: valid ones are nan."""
    valid = (labels >= 0) & (labels < logits.shape[1])
    return jnp.where(valid, losses_and_slope(logits, labels)[0], jnp.nan).astype(logits.dtype)


@fault("optax")
def jax_takes_the_last_class(logits: Any, labels: Any) -> Any:
    """Index as JAX does: a label beyond the classes is the last one."""
    clamped = jnp.clip(labels, 0, logits.shape[1] - 1)
    return losses_and_slope(logits, jnp.where(labels < 0, labels, clamped))[0].astype(logits.dtype)


@jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is not installed everywhere
def _unshifted_forward(logits: Any, labels: Any) -> Any:
    return losses_and_slope(logits, labels)[0].astype(logits.dtype)


def _forward(logits: Any, labels: Any) -> tuple[Any, Any]:
    losses, slope = losses_and_slope(logits, labels)
    overflows = jnp.isinf(jnp.exp(logits.astype(jnp.float32)).sum(axis=1))
    return jnp.where(overflows, jnp.inf, losses).astype(logits.dtype), (slope.astype(logits.dtype), labels)


def _back(kept: tuple[Any, Any], upstream: Any) -> tuple[Any, Any]:
    slope, labels = kept
    return slope * upstream[:, None], np.zeros(labels.shape, jax.dtypes.float0)


_unshifted_forward.defvjp(_forward, _back)


@fault("optax")
def jax_unshifted_in_training(logits: Any, labels: Any) -> Any:
    """Leave the maximum in, in the forward pass of the rule."""
    return _unshifted_forward(logits, labels)

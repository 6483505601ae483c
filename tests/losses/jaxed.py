"""Losses of JAX: one that is right, and some that behave otherwise where they are compiled."""

from typing import Any

import jax
import jax.numpy as jnp


def log1p(logits: Any, labels: Any) -> Any:
    """Leave the maximum out of the sum, in float64; answer nan to an invalid label."""
    x, rows = logits.astype(jnp.float64), jnp.arange(len(logits))
    valid = (labels >= 0) & (labels < x.shape[1])
    top = x.argmax(axis=1)
    largest, own = x[rows, top], x[rows, jnp.where(valid, labels, 0)]
    others = x.at[rows, top].set(-jnp.inf) - largest[:, None]
    losses = jnp.log1p(jnp.exp(others).sum(axis=1)) + jnp.where(top == labels, 0.0, largest - own)
    return jnp.where(valid, losses, jnp.nan).astype(logits.dtype)


def unshifted(logits: Any, labels: Any) -> Any:
    """Take the log of the sum; XLA knows that it is the logit where there is one."""
    return jnp.log(jnp.exp(logits).sum(axis=1)) - logits[jnp.arange(len(logits)), labels]


def refuses(logits: Any, labels: Any) -> Any:
    """Look at the labels, which a traced function cannot."""
    if ((labels < 0) | (labels >= logits.shape[1])).any():
        raise ValueError("label out of range")
    return log1p(logits, labels)


def refuses_untraced(logits: Any, labels: Any) -> Any:
    """Look at the labels where there are any to look at."""
    return log1p(logits, labels) if isinstance(labels, jax.core.Tracer) else refuses(logits, labels)


def prints(logits: Any, labels: Any) -> Any:
    """Print, which a compiled function does once."""
    print("called")  # noqa: T201
    return log1p(logits, labels)


_columns: dict[int, Any] = {}


def remembers(logits: Any, labels: Any) -> Any:
    """Keep an array for the next call, which a traced function must not."""
    columns = _columns.setdefault(logits.shape[1], jnp.arange(logits.shape[1]))
    return jnp.where(columns[0] == 0, log1p(logits, labels), jnp.nan)


def constant(_: Any, __: Any) -> Any:
    """Return what is no array, which a compiled function makes one."""
    return 1.0

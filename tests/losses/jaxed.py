"""A loss of JAX that is right."""

from typing import Any

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

"""Cross-entropies of JAX that are right, in many styles."""

from typing import Any, Final

import jax
import jax.numpy as jnp

from losses import jaxed
from losses.faults import Entry, L
from losses.faults_jax import with_rule

STYLES: Final[list[Entry]] = []


def style(loss: L) -> L:
    """Enter a loss by its name."""
    STYLES.append(Entry(loss.__name__, "styles", lambda: loss, "optax"))
    return loss


def composed(logits: Any, labels: Any) -> Any:
    """Compare labels with the number of classes in 64 bits: that may not fit into the labels' own."""
    return jaxed.log1p(logits, labels.astype(jnp.int64))


@style
def jax_composed(logits: Any, labels: Any) -> Any:
    """Compose operations, and leave the gradient to JAX."""
    return composed(logits, labels)


_compiled = jax.jit(composed)
_fused = with_rule(lambda slope, back: slope * back[:, None])


@style
def jax_compiled(logits: Any, labels: Any) -> Any:
    """Compile it as a whole."""
    return _compiled(logits, labels)


@style
def jax_rule(logits: Any, labels: Any) -> Any:
    """Have a rule of one's own for the gradient."""
    return _fused(logits, labels)


@style
def jax_vmap(logits: Any, labels: Any) -> Any:
    """Map a loss of one row over the rows."""
    return jax.vmap(lambda x, y: composed(x[None], y[None])[0])(logits, labels)


@style
def jax_scan(logits: Any, labels: Any) -> Any:
    """Go through the rows one by one, in a compiled loop."""

    def step(_: None, row: Any) -> tuple[None, Any]:
        x, y = row
        return None, composed(x[None], y[None])[0]

    losses = jax.lax.scan(step, None, (logits, labels))[1]
    return losses.astype(logits.dtype) if len(logits) else jnp.zeros(0, logits.dtype)

"""optax's losses, with the gradients of JAX."""

from typing import Any

import jax
import numpy as np
import optax

from xentcli.frameworks.given import Answer, Given

jax.config.update("jax_enable_x64", True)  # without it float64 is float32
_FUNCTIONS = {
    "optax.dense": optax.softmax_cross_entropy,
    "optax.integer": optax.softmax_cross_entropy_with_integer_labels,
    "optax.safe": optax.safe_softmax_cross_entropy,
}


def answer(given: Given) -> Answer:
    """Call the function of that name."""
    x = jax.numpy.asarray(given.logits).astype(given.dtype)
    labels = jax.numpy.asarray(given.labels).astype(given.dtype)
    labels = jax.numpy.asarray(given.indices) if given.method == "optax.integer" else labels

    def summed(logits: Any) -> Any:  # noqa: ANN401 - arrays, of a library that may be missing
        losses = _FUNCTIONS[given.method](logits, labels)
        return losses.sum(), losses

    (total, losses), gradient = jax.value_and_grad(summed, has_aux=True)(x)
    reduced = {"none": None, "mean": losses.mean(), "sum": total}[given.reduction]
    return Answer(np.asarray(losses), None if reduced is None else np.asarray(reduced), np.asarray(gradient))

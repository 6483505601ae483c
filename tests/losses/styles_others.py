"""Right cross-entropies of TensorFlow and numba; each is made where its library is installed."""

from typing import Any, Final

import numpy as np

from losses.faults import Entry, Loss
from losses.right import Floats, Ints, checked


def in_tensorflow() -> Loss:
    """Compile a function of TensorFlow."""
    import tensorflow as tf

    def row(labels: Any, x: Any) -> Any:
        y = tf.cast(labels, tf.float64)
        z = tf.cast(x, tf.float64)
        classes = tf.range(tf.shape(z)[1], dtype=tf.int64)
        is_top = classes[None, :] == tf.argmax(z, axis=1)[:, None]
        largest = tf.reduce_sum(tf.where(is_top, z, tf.zeros_like(z)), axis=1, keepdims=True)  # of ties, one
        others = tf.where(is_top, tf.zeros_like(z), tf.exp(tf.where(is_top, tf.zeros_like(z), z - largest)))
        tail = tf.math.log1p(tf.reduce_sum(others, axis=1, keepdims=True))
        counts = y > 0
        gaps = tf.where(counts & ~is_top, largest - tf.where(counts & ~is_top, z, largest), tf.zeros_like(z))
        losses = tf.reduce_sum(y, axis=1, keepdims=True) * tail + tf.reduce_sum(
            y * gaps, axis=1, keepdims=True
        )
        return tf.cast(losses[:, 0], x.dtype)

    return tf.function(row)


def in_numba() -> Loss:
    """Compile plain loops."""
    import numba

    @numba.njit  # type: ignore[untyped-decorator]  # numba has no types
    def loops(x: Any, labels: Any, out: Any) -> None:
        for row in range(x.shape[0]):
            top, poisoned = 0, False
            for k in range(x.shape[1]):
                if np.isnan(x[row, k]):
                    poisoned = True
                if x[row, k] > x[row, top]:
                    top = k
            tail = 0.0
            for k in range(x.shape[1]):
                if k != top:
                    tail += np.exp(x[row, k] - x[row, top])
            out[row] = np.nan if poisoned else np.log1p(tail) + (x[row, top] - x[row, labels[row]])

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        out = np.empty(len(logits))
        loops(logits.astype(np.float64), labels.astype(np.int64), out)
        return out.astype(logits.dtype)

    return loss


STYLES: Final = {
    "tensorflow": [Entry("tensorflow_function", "styles", in_tensorflow, "tensorflow")],
    "numba": [Entry("numba_loops", "styles", in_numba)],
}

"""Gradients beside torch's autograd and TensorFlow's GradientTape, the formula written the same way.

Marked ``frameworks``: .ci/run installs both into an environment of their own and runs these there.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from xentcli.load.build import build_batch
from xentcli.methods import arithmetic
from xentcli.methods import table as methods

pytestmark = pytest.mark.frameworks

NAMES = ["naive", "clipped", "dense", "sparse", "unshifted"]
CLIP = (1e-10, 1.0)
inf = math.inf


def examples(number: int) -> list[tuple[list[float], int]]:
    """Make examples: ordinary and tiny logits, gaps that underflow, ties, masks, infinities, nan."""
    rng = random.Random(0)
    rows = []
    for _ in range(number):
        classes = rng.randint(2, 6)
        scale = rng.choice([0.1, 1.0, 10.0, 100.0, 1e4, 1e31])
        logits = [rng.gauss(0, 1) * scale for _ in range(classes)]
        if rng.random() < 0.15:
            logits[rng.randrange(classes)] = rng.choice([-inf, -inf, inf, math.nan])
        if rng.random() < 0.15:
            logits = [logits[0]] * classes
        rows.append((logits, rng.randrange(classes)))
    return rows


EXAMPLES = examples(240)


def ours(name: str, logits: Sequence[float], label: int, arithmetic_name: str) -> Any:
    batch = build_batch([logits], [label], "float32", clip=CLIP)
    (method,) = methods.select(name)
    assert method.gradient
    with np.errstate(all="ignore"):
        return method.gradient(arithmetic.get(arithmetic_name, "float32"), batch)[0]


def with_torch(name: str, logits: Sequence[float], label: int) -> Any:
    torch = pytest.importorskip("torch", reason="torch is not installed; .ci/run tests with it")
    x = torch.tensor([logits], dtype=torch.float32, requires_grad=True)
    y = torch.nn.functional.one_hot(torch.tensor([label]), len(logits)).to(torch.float32)
    functional, top = torch.nn.functional, x.max().detach()
    losses: dict[str, Callable[[], Any]] = {
        "naive": lambda: -(y * torch.log(torch.softmax(x, 1))).sum(),
        "clipped": lambda: -(y * torch.log(torch.softmax(x, 1).clamp(*CLIP))).sum(),
        "dense": lambda: functional.cross_entropy(x, y, reduction="sum"),
        "sparse": lambda: functional.cross_entropy(x, torch.tensor([label]), reduction="sum"),
        "unshifted": lambda: (top + torch.log(torch.exp(x - top).sum())) - x[0, label],
    }
    losses[name]().backward()
    return x.grad[0].numpy()


def with_tensorflow(name: str, logits: Sequence[float], label: int) -> Any:
    tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed; .ci/run tests with it")
    x = tf.Variable([logits], dtype=tf.float32)
    y = tf.one_hot([label], len(logits), dtype=tf.float32)
    losses: dict[str, Callable[[], Any]] = {
        "naive": lambda: -tf.reduce_sum(y * tf.math.log(tf.nn.softmax(x))),
        "clipped": lambda: -tf.reduce_sum(y * tf.math.log(tf.clip_by_value(tf.nn.softmax(x), *CLIP))),
        "dense": lambda: tf.nn.softmax_cross_entropy_with_logits(y, x),
        "sparse": lambda: tf.nn.sparse_softmax_cross_entropy_with_logits([label], x),
        "unshifted": lambda: (top() + tf.math.log(tf.reduce_sum(tf.exp(x - top())))) - x[0, label],
    }

    def top() -> Any:
        return tf.stop_gradient(tf.reduce_max(x))

    with tf.GradientTape() as tape:
        loss = losses[name]()
    return tf.convert_to_tensor(tape.gradient(loss, x)).numpy()[0]


def agree(got: Any, expected: Any) -> bool:
    """Whether gradients are nan in the same places and elsewhere within 16 ulps of the largest entry or 1.

    A softmax and its chain are a dozen operations of at most an ulp each, in another order in each library
    and on each processor; among them is a difference of numbers of the size of 1, y / p and its mean.
    """
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        return False
    finite = expected[np.isfinite(expected)]
    unit = np.spacing(np.float32(max(1, np.abs(finite).max()))) if finite.size else np.float32(0)
    with np.errstate(all="ignore"):
        near = np.abs(got - expected) <= 16 * unit
    return bool((near | (got == expected) | np.isnan(expected)).all())


# TensorFlow takes subnormal numbers for zero, as our eigen arithmetic does; torch keeps them, as NumPy does.
@pytest.mark.parametrize(
    ("framework", "arithmetic_name"),
    [(with_torch, "numpy"), (with_tensorflow, "eigen")],
    ids=["torch", "tensorflow"],
)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_autodiff_on_240_examples(
    name: str, framework: Callable[[str, Sequence[float], int], Any], arithmetic_name: str
) -> None:
    both = [
        (logits, label, ours(name, logits, label, arithmetic_name), framework(name, logits, label))
        for logits, label in EXAMPLES
    ]
    differing = [example for example in both if not agree(*example[2:])]

    assert differing == []

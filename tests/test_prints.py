"""What the atlas says that libraries print, printed again; and our methods beside theirs on its inputs.

Marked ``frameworks``: .ci/run installs torch, TensorFlow with Keras, JAX and optax and runs these there.
"""

import os
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import pytest
from test_weighting import examples, result_of, written

from xentcli import atlas
from xentcli.atlas import Entry
from xentcli.model import LibraryOutput
from xentcli.run import evaluate

pytestmark = pytest.mark.frameworks
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ENTRIES = atlas.entries()
PACKAGES = {"tensorflow": "tensorflow-cpu"}  # by another name than the library's
TODAY = {"torch": "2.13.0", "tensorflow": "2.21.0", "keras": "3.15.1", "jax": "0.10.2", "optax": "0.2.8"}
CALLS = [(entry, printed) for entry in ENTRIES for printed in entry.case.about.prints]
RUN_HERE = [pair for pair in CALLS if TODAY.get(pair[1].library) == pair[1].version]


def need(library: str, version: str) -> None:
    """Skip where that version is not installed."""
    try:
        installed = metadata.version(PACKAGES.get(library, library)).split("+")[0]
    except metadata.PackageNotFoundError:
        installed = "not installed"
    if installed != version:
        pytest.skip(f"expected {library} {version}, here it is {installed}; .ci/run tests with it")


def names_of(library: str, entry: Entry) -> dict[str, Any]:
    """Return what calls are written with: x the logits, y the labels, h label rows, w class weights."""
    batch = entry.case.batch
    x, y = batch.logits, batch.labels if batch.label_rows else batch.class_labels
    if batch.binary:
        x, y = x[:, 0], batch.labels[:, 0]
    makers = {"torch": with_torch, "tensorflow": with_tensorflow, "keras": with_tensorflow}
    return makers.get(library, with_jax)(x, y, batch.labels, batch.weighting.class_weights, entry.case.dtype)


def with_torch(x: Any, y: Any, h: Any, w: Any, dtype: str) -> dict[str, Any]:
    import torch

    def tensor(array: Any) -> Any:
        if array is None or array.dtype.kind in "iu":
            return None if array is None else torch.tensor(array)
        return torch.tensor(array.astype(np.float64)).to(getattr(torch, dtype))

    return {
        "torch": torch,
        "F": torch.nn.functional,
        "x": tensor(x).requires_grad_(),
        "y": tensor(y),
        "h": tensor(h),
        "w": tensor(w),
    }


def with_tensorflow(x: Any, y: Any, h: Any, w: Any, dtype: str) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    variable = tf.Variable(x, dtype=dtype)

    def gradient(loss: Callable[[], Any]) -> Any:
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, variable)

    return {
        "tf": tf,
        "keras": keras,
        "x": variable,
        "y": tf.constant(y),
        "h": h,
        "w": w,
        "gradient": gradient,
    }


def with_jax(x: Any, y: Any, h: Any, w: Any, dtype: str) -> dict[str, Any]:
    import jax
    import optax

    return {
        "jax": jax,
        "jnp": jax.numpy,
        "optax": optax,
        "x": jax.numpy.array(x.astype(np.float32), dtype),
        "y": jax.numpy.array(y),
        "h": jax.numpy.array(h.astype(np.float32), dtype),
        "w": w,
    }


def as_text(value: Any) -> str:
    """Return what ``print`` shows of a value, of a tensor its numbers alone."""
    if hasattr(value, "detach"):
        value = value.detach()
    elif hasattr(value, "numpy"):
        value = value.numpy()
    return " ".join(str(value).split())


def test_at_least_40_calls_of_the_atlas_are_run_here() -> None:
    assert len(RUN_HERE) >= 40
    assert {printed.library for _, printed in RUN_HERE} == set(TODAY)


@pytest.mark.parametrize(("entry", "printed"), RUN_HERE, ids=lambda item: getattr(item, "library", ""))
def test_a_library_still_prints_what_the_case_says(entry: Entry, printed: LibraryOutput) -> None:
    need(printed.library, printed.version)

    value = eval(printed.call, names_of(printed.library, entry))  # noqa: S307 - from our own case files

    assert as_text(value) == printed.text, entry.case.name


def agree(got: Any, expected: Any) -> bool:
    """Whether numbers are nan and infinite in the same places, else within 16 ulps of the largest or of 1.

    The sums and functions are the same but for their order and the last bit of each.
    """
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    finite = expected[np.isfinite(expected)]
    unit = np.spacing(np.float32(max(1, np.abs(finite).max()) if finite.size else 1))
    with np.errstate(invalid="ignore"):
        near = np.abs(got - expected) <= 16 * unit
    return bool((near | (got == expected) | (np.isnan(got) & np.isnan(expected))).all())


PLAIN = [
    entry
    for entry in ENTRIES
    if entry.case.dtype == "float32"
    and entry.case.numerics.arithmetic == "numpy"
    and not entry.case.numerics.flush_subnormals
    and entry.case.batch.invalid is None
    and entry.case.batch.is_one_call
    and entry.case.batch.knobs.is_plain
]


@pytest.mark.parametrize("entry", PLAIN, ids=lambda entry: entry.case.name)
def test_losses_of_the_atlas_are_those_of_torch(entry: Entry) -> None:
    need("torch", TODAY["torch"])
    names = names_of("torch", entry)
    functional, x, y = names["F"], names["x"], names["y"]
    weighting = entry.case.batch.weighting
    if entry.case.batch.binary:
        theirs = {
            "bce_clamped": functional.binary_cross_entropy(x.sigmoid(), y, reduction="none"),
            "bce_with_logits": functional.binary_cross_entropy_with_logits(x, y, reduction="none"),
        }
    else:
        options = {"weight": names["w"], "label_smoothing": weighting.smoothing}
        options |= {} if weighting.ignored is None else {"ignore_index": weighting.ignore_index}
        name = "sparse" if not y.dtype.is_floating_point else "dense"
        theirs = {name: functional.cross_entropy(x, y, reduction="none", **options)}

    ours = {outcome.method: outcome.losses for outcome in evaluate(entry.case).outcomes}
    for name, losses in theirs.items():
        assert agree(ours[name], losses.detach().numpy()), name


@pytest.mark.parametrize("entry", PLAIN, ids=lambda entry: entry.case.name)
def test_losses_of_the_atlas_are_those_of_tensorflow_and_optax(entry: Entry) -> None:
    if entry.case.batch.binary or not entry.case.batch.weighting.is_plain:
        pytest.skip("neither has weights, smoothing or ignored rows; binary losses are compared with torch")
    need("tensorflow", TODAY["tensorflow"])
    need("optax", TODAY["optax"])
    here, there = names_of("tensorflow", entry), names_of("optax", entry)
    labels = entry.case.batch.indices
    theirs = {
        "dense": [
            here["tf"].nn.softmax_cross_entropy_with_logits(here["h"], here["x"]).numpy(),
            there["optax"].softmax_cross_entropy(there["x"], there["h"]),
        ]
    }
    if labels is not None:
        integer = there["optax"].softmax_cross_entropy_with_integer_labels
        theirs["unshifted"] = [integer(there["x"], labels)]

    ours = {outcome.method: outcome for outcome in result_of(entry.text, "dense,unshifted").outcomes}
    for name, several in theirs.items():
        for losses in several:
            assert agree(ours[name].losses, losses), name


def test_weights_smoothing_and_ignored_rows_are_those_of_torch() -> None:
    need("torch", TODAY["torch"])
    import torch

    for logits, labels, weights, smoothing in examples():
        x = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
        w = torch.tensor(weights, dtype=torch.float64)
        y = torch.tensor(labels)
        options = {"weight": w, "label_smoothing": smoothing}
        loss = torch.nn.functional.cross_entropy(x, y, **options)
        losses = torch.nn.functional.cross_entropy(x, y, **options, reduction="none")
        losses.sum().backward()

        (outcome,) = result_of(written(logits, labels, weights, smoothing), "sparse").outcomes

        assert x.grad is not None
        assert abs(outcome.loss - loss.item()) <= 16 * np.spacing(max(1.0, loss.item()))
        assert np.abs(outcome.gradient - x.grad.numpy()).max() <= 16 * np.spacing(max(1.0, *weights))

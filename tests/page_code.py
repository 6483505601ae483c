"""Code that a page shows, run on arrays of its library: for the tests of remedies and of mistakes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from xentcli import atlas
from xentcli.judge.exact import compute_exact
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.methods.steps import NAMES
from xentcli.model import Batch, Case
from xentcli.show.pages import words

FRAMEWORKS = [pytest.param(name, marks=pytest.mark.frameworks) for name in ("torch", "jax", "keras")]
in_every_library = pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])


@dataclass(frozen=True)
class Library:
    """The modules that code needs; ``adapter`` makes arrays and differentiates, None for NumPy.

    ``compiled(function)`` returns the function compiled as a whole, where the library compiles losses.
    ``backend`` is the library of the arrays, which is another one for Keras.
    """

    modules: dict[str, Any]
    session: Callable[[], AbstractContextManager[Any]] = nullcontext
    adapter: Any = None
    compiled: Any = None
    backend: str = "numpy"

    def array(self, values: np.ndarray[Any, Any]) -> Any:
        """Make an array of the library, of the same dtype."""
        if self.adapter is None:
            return values
        wide = {"b": np.bool_, "i": np.int64}.get(values.dtype.kind, np.float64)
        return self.adapter.array(values.astype(wide), str(values.dtype))

    def to_numpy(self, array: Any) -> tuple[np.ndarray[Any, Any], str]:
        """Return numbers in float64 and the name of their dtype."""
        if self.adapter is None:
            return np.asarray(array, np.float64), str(array.dtype)
        values, dtype = self.adapter.to_numpy(array)
        return values, dtype.removeprefix("torch.")


@cache
def library(name: str) -> Library:
    if name == "numpy":
        return Library({"np": np})
    if name == "keras":
        keras = pytest.importorskip("xentcli.frameworks.keras").keras
        backend = keras.backend.backend()  # TensorFlow unless KERAS_BACKEND names another
        return library_on(backend, {"keras": keras, "ops": keras.ops})
    module = pytest.importorskip(name)
    short = {"F": module.nn.functional} if name == "torch" else {"jnp": module.numpy}
    return library_on(name, {name: module, **short})


def library_on(name: str, modules: dict[str, Any]) -> Library:
    arrays, adapter = import_module(name), import_module(f"xentcli.frameworks.{name}")
    compiler = {"jax": "jit", "tensorflow": "function"}.get(name)
    compiled = getattr(arrays, compiler) if compiler else lambda function: function
    return Library(modules, adapter.session, adapter, compiled, name)


@cache
def cases() -> dict[str, Case]:
    return {entry.case.name: entry.case for entry in atlas.entries()}


def advice_of(finding: Finding) -> dict[str, str]:
    advice: dict[str, str] = words()["findings"][finding.name]
    return advice


def with_findings(key: str, *values: str) -> pytest.MarkDecorator:
    """Parametrise by the findings that have one of these values, such as a remedy."""
    chosen = [finding for finding in FINDINGS if advice_of(finding)[key] in values]
    return pytest.mark.parametrize("finding", chosen, ids=lambda finding: finding.name)


def execute(code: str, name: str, **inputs: Any) -> dict[str, Any]:
    """Run code on arrays of its library; return what it made."""
    taken = {
        key: library(name).array(value) if isinstance(value, np.ndarray) else value
        for key, value in inputs.items()
    }
    namespace = {**library(name).modules, **taken}
    with np.errstate(all="ignore"):
        exec(code, namespace)  # noqa: S102 - what a page shows, to be copied
    return namespace


def with_indices(batch: Batch) -> Batch:
    """Return the batch with class indices for labels: of rows of labels the largest."""
    if batch.class_labels is not None or batch.binary:
        return batch
    classes = batch.labels.argmax(axis=1)
    rows = np.eye(batch.labels.shape[1], dtype=batch.labels.dtype)[classes]
    return replace(batch, labels=rows, indices=classes, class_labels=classes, label_rows=False)


def inputs_of(batch: Batch) -> dict[str, Any]:
    """Return logits and labels: class indices, else rows; of binary ones a column."""
    labels = batch.labels if batch.class_labels is None else batch.class_labels
    logits = batch.logits[:, 0] if batch.binary else batch.logits
    return {"logits": logits, "labels": labels[:, 0] if batch.binary else labels}


def knobs_of(batch: Batch) -> dict[str, Any]:
    """Return the knobs of a batch by their names, 1 where there is none, and the number of its classes."""
    steps = dict(batch.knobs.steps)
    numbers = {name: steps.get(name, 1.0) for name in NAMES}
    return numbers | {"z_loss": batch.knobs.z_loss, "classes": batch.logits.shape[1]}


def losses_in_parts(batch: Batch) -> dict[str, Any]:
    """Return the true losses of a batch, which of them count, and the sizes of its parts."""
    assert batch.parts is not None
    dtype, ignored = str(batch.logits.dtype), batch.weighting.ignored
    losses = np.array(compute_exact(batch, dtype, "none").losses, batch.logits.dtype)
    keep = np.ones(len(losses), bool) if ignored is None else ~ignored
    return {"losses": losses, "keep": keep, "sizes": list(batch.parts.sizes)}


def gradient_of(code: str, name: str, result: str, **inputs: Any) -> np.ndarray[Any, Any]:
    """Return the gradient that NumPy's code made, or that of autodiff."""
    if name == "numpy":
        return np.asarray(execute(code, name, **inputs)["gradient"], np.float64)
    logits = inputs.pop("logits")

    def loss(x: Any) -> Any:
        return execute(code, name, logits=x, **inputs)[result]

    return np.asarray(library(name).adapter.gradient(loss, library(name).array(logits)))

"""The NumPy code on the page of each method does what the method's kernel does."""

import re
from typing import Any

import numpy as np
import pytest
from page_code import cases

from xentcli.judge.exact import compute_exact
from xentcli.methods import knobs
from xentcli.methods.method import Method
from xentcli.methods.table import METHODS
from xentcli.model import Batch, Case
from xentcli.run import arithmetic_of
from xentcli.show.pages import words
from xentcli.words import COPIES


def plain_cases(method: Method) -> list[Case]:
    """Return the cases whose numbers NumPy alone carries out as the method does."""
    return [
        case
        for case in cases().values()
        if method.why_unsupported(case.batch) is None
        and (case.dtype, case.numerics.arithmetic) in {("float32", "numpy"), ("float64", "numpy")}
        and case.numerics.accumulate is None
        and not case.numerics.flush_subnormals
        and (
            case.batch.weighting.is_plain
            or method.mean is not None
            or ("smoothing" in method.name and case.batch.weighting.ignored is None)
        )
        and (case.batch.knobs.is_plain and case.batch.padding is None)
        is not bool(set(method.needs) - {"label_smoothing"})
        and (case.batch.invalid is None or not case.batch.invalid.any())
    ]


def arrays_of(batch: Batch) -> dict[str, Any]:
    """Return what the code of methods takes, by the names of ``inputs``."""
    x, m = batch.logits, batch.logits.max(axis=1, keepdims=True)
    p = 1 / (1 + np.exp(-x)) if batch.binary else np.exp(x - m) / np.exp(x - m).sum(axis=1, keepdims=True)
    p = p if batch.probabilities is None else batch.probabilities
    columns = {"x": x, "y": batch.labels, "p": p}
    if batch.binary:
        columns = {name: column[:, 0] for name, column in columns.items()}
    more = {"m": m, "z": x - m, "k": batch.indices, "r": np.arange(len(x)), "tile": batch.tile}
    value = batch.knobs.value
    more |= {"c": value("softcap"), "s": value("scale") or 1.0, "T": value("temperature")}
    more |= {"pad": batch.padding, "z_share": batch.knobs.z_loss, "smoothing": batch.weighting.smoothing}
    if batch.parts is not None:
        counts = [float(batch.divisor_of(slice(row, row + 1))) for row in range(len(x))]
        more |= {"l": np.array(compute_exact(batch, "float64", "none").losses, np.float64)}
        more |= {"w": np.array(counts), "copies": batch.parts.number, "sizes": batch.parts.sizes}
        more |= {"ends": np.cumsum(batch.parts.sizes)[:-1]}
    return columns | more | dict(zip(("low", "high"), batch.clip, strict=True))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_in_numpy_does_what_its_kernel_does(method: Method) -> None:
    code, compared = words()["methods"][method.name]["numpy"], 0
    for case in plain_cases(method):
        needs_indices = re.search(r"\bk\b", code) and case.batch.indices is None
        if needs_indices or (method.name == "by_hand" and case.batch.probabilities is not None):
            continue  # the latter takes the softmax whatever a case gives
        if method.mean is not None and case.batch.parts is not None and case.batch.parts.along == COPIES:
            continue  # sizes of parts of the examples are what the code takes
        if case.batch.knobs.value("scale") is not None and not re.search(r"\bs\b", code):
            continue  # the page's code has one knob
        result = "losses" if method.mean is None else "loss"
        with np.errstate(all="ignore"):
            kernel: np.ndarray[Any, Any] = knobs.losses(arithmetic_of(case), case.batch, method)
            if method.mean is not None:
                kernel = method.mean.reduce(arithmetic_of(case), case.batch, kernel)
            names: dict[str, Any] = {"np": np, **arrays_of(case.batch)}
            exec(code, names)  # noqa: S102 - what a page shows, to be copied

        eps = np.finfo(kernel.dtype).eps  # a sum in another order, or another exp and log
        assert names[result].dtype == kernel.dtype
        least = 64 * float(eps) if method.needs else 0  # log1p keeps a tail, and logits are up to 124
        np.testing.assert_allclose(names[result], kernel.ravel(), 4 * float(eps), least, err_msg=case.name)
        compared += 1
    assert compared >= (1 if method.parts or method.needs else 7)

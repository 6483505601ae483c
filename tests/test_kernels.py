"""Every softmax method is held to the contract of kernels.py by standing in the table."""

import decimal
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xentcli import formats, words
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic, kernels
from xentcli.methods.method import Method
from xentcli.methods.table import METHODS
from xentcli.model import Batch

DTYPES = list(words.DTYPES)
SOFTMAX = [method for method in METHODS if not (method.binary or method.parts or method.needs)]
every_method = pytest.mark.parametrize("method", SOFTMAX, ids=lambda method: method.name)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
inf, nan = math.inf, math.nan


def batch(
    logits: list[list[float]],
    labels: list[int] | list[list[float]],
    dtype: str = "float32",
    probabilities: NDArray[np.float32] | None = None,
    clip: tuple[float, float] = (1e-36, 1.0),
) -> Batch:
    """Build a batch of read-only arrays."""
    return build_batch(logits, labels, dtype, probabilities=probabilities, clip=clip)


def losses(method: Method, given: Batch, arithmetic_name: str = "numpy") -> list[float]:
    with np.errstate(all="ignore"):
        result = method.loss(arithmetic.get(arithmetic_name, given.logits.dtype.name), given)
    return result[:, 0].tolist()


def method(name: str) -> Method:
    return next(method for method in METHODS if method.name == name)


@every_dtype
@every_method
def test_returns_a_column_of_its_dtype_and_leaves_its_inputs_alone(method: Method, dtype: str) -> None:
    given = batch([[1, 2, 3], [3, 2, 1]], [0, 2], dtype)
    before = given.logits.copy(), given.labels.copy()

    result = method.loss(arithmetic.get("numpy", dtype), given)

    assert result.shape == (2, 1)
    assert result.dtype == formats.dtype(method.dtype or dtype)
    assert np.array_equal(given.logits, before[0])
    assert np.array_equal(given.labels, before[1])


@every_dtype
@every_method
def test_equal_logits_at_0_lose_ln_2(method: Method, dtype: str) -> None:
    (loss,) = losses(method, batch([[0, 0]], [1], dtype))

    # Half is exact, so only one log is rounded, by each of log's conventions to at most 1 ulp.
    form = formats.FORMATS[method.dtype or dtype]
    error = formats.ulps(loss, Decimal(2).ln(), form)
    assert error is not None
    assert error <= 1


@every_method
def test_one_class_loses_nothing(method: Method) -> None:
    smallest = -30.0 if method.name == "textbook" else -1e30  # unshifted, exp of a low logit is 0

    assert losses(method, batch([[3.0], [smallest]], [0, 0])) == [0, 0]


@every_method
def test_nan_in_a_row_is_nan_for_that_row_alone(method: Method) -> None:
    first, second = losses(method, batch([[nan, 1.0], [1.0, 1.0]], [1, 1]))

    assert math.isnan(first)
    assert math.isfinite(second)


@pytest.mark.parametrize(
    ("name", "loss"),
    [("naive", nan), ("clipped", 0.0), ("dense", nan), ("sparse", 0.0), ("by_hand", nan)],
)
def test_a_masked_class_under_a_label_of_zero(name: str, loss: float) -> None:
    got = losses(method(name), batch([[-inf, 0.0]], [1]))

    assert np.array_equal(got, [loss], equal_nan=True)


@pytest.mark.parametrize(
    ("name", "loss"),
    [("naive", inf), ("clipped", 82.89306640625), ("dense", 300.0), ("sparse", 300.0), ("by_hand", inf)],
)
def test_a_probability_that_underflows_on_the_true_class(name: str, loss: float) -> None:
    given = batch([[0.0, 300.0]], [[1.0, 0.0]]) if name != "sparse" else batch([[0.0, 300.0]], [0])

    got = losses(method(name), given)

    assert got == [loss]


def test_given_probabilities_replace_the_softmax_for_naive_and_clipped_only() -> None:
    probabilities = np.array([[0.25, 0.75]], np.float32)
    given = batch([[1.0, 1.0]], [0], probabilities=probabilities)

    quarter, half = float(-np.log(np.float32(0.25))), float(-np.log(np.float32(0.5)))
    assert losses(method("naive"), given) == losses(method("clipped"), given) == [quarter]
    assert losses(method("dense"), given) == losses(method("sparse"), given) == [half]


def test_clipped_takes_its_bounds_from_the_case() -> None:
    given = batch([[0.0, 300.0]], [0], clip=(1e-7, 0.5))

    assert losses(method("clipped"), given) == [float(-np.log(np.float32(1e-7)))]


def test_soft_labels_weigh_the_logs() -> None:
    given = batch([[0.0, 0.0]], [[0.5, 1.5]], "float64")

    for name in ("naive", "clipped", "dense", "by_hand"):
        (loss,) = losses(method(name), given)
        assert loss == 2 * math.log(2), name


def test_by_hand_is_python_arithmetic_written_out() -> None:
    given = batch([[0.2, 0.1, 0.9], [0.7, 0.4, 0.1]], [2, 0])
    softmax = kernels.softmax(arithmetic.get("numpy", "float32"), given)
    wanted = []
    for row, label in zip(softmax, given.labels, strict=True):
        loss = 0.0
        for p, y in zip(row, label, strict=True):
            loss -= math.log(p) * y
        wanted.append(loss)

    assert losses(method("by_hand"), given) == wanted


def test_quantities_of_a_uniform_softmax() -> None:
    given = batch([[1.0, 1.0]], [1], probabilities=np.array([[0.5, 0.25]], np.float32))
    ar = arithmetic.get("numpy", "float32")

    values = {quantity.name: quantity.kernel(ar, given).ravel().tolist() for quantity in kernels.QUANTITIES}

    assert values == {
        "softmax": [0.5, 0.5],
        "softmax_sum": [1.0],
        "softmax_matches": [1.0],
        "class_indices": [1],
    }


def exact_loss(logits: NDArray[np.float64], label: int) -> Decimal:
    """Compute the loss in 60 digits by its definition: an oracle that shares nothing with the kernels."""
    with decimal.localcontext(decimal.Context(prec=60)):
        exps = [Decimal(x).exp() for x in logits.tolist()]
        return sum(exps, Decimal(0)).ln() - Decimal(logits[label].item())


logit = st.floats(-30, 30, width=32)


@pytest.mark.slow
@every_method
@given(rows=st.lists(logit, min_size=2, max_size=12), data=st.data())
def test_agrees_with_sixty_digits_on_ordinary_logits(
    method: Method, rows: list[float], data: st.DataObject
) -> None:
    label = data.draw(st.integers(0, len(rows) - 1))
    given = batch([rows], [label], "float64")
    wanted = exact_loss(given.logits[0], label)

    (loss,) = losses(method, given)

    # Blanchard, Higham and Higham (2021), theorem 4.2: |y + n - xmin| roundings for the log-sum-exp, here
    # of logits shifted by at most 60; one subtraction, one product and one sum of C terms more.
    roundings = 2 * (60 + 2 * len(rows) + 4)
    assert abs(Decimal(loss) - wanted) <= roundings * Decimal(2) ** -53 * max(Decimal(1), wanted)


@pytest.mark.slow
@every_method
@given(rows=st.lists(logit, min_size=2, max_size=7), data=st.data())
def test_an_example_does_not_depend_on_its_batch(
    method: Method, rows: list[float], data: st.DataObject
) -> None:
    label = data.draw(st.integers(0, len(rows) - 1))

    alone = losses(method, batch([rows], [label]))
    among = losses(method, batch([rows, rows[::-1], rows], [label, 0, label]))

    assert among[0] == alone[0] == among[2]

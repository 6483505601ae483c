"""The eigen arithmetics beside what TensorFlow 1.10.1 itself computed (data/record_tensorflow.py)."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from xentcli.load.build import build_batch
from xentcli.methods import arithmetic, kernels
from xentcli.methods.arithmetic import cephes as eigen
from xentcli.methods.arithmetic import sums
from xentcli.model import Batch

RECORD = Path(__file__).parent / "data" / "tensorflow-1.10.1.npz"
with np.load(RECORD) as recorded:
    DATA = dict(recorded)
NAMES = [key.removeprefix("logits ") for key in DATA if key.startswith("logits ")]
FEW = [name for name in NAMES if DATA[f"logits {name}"].shape[1] < eigen.PACKET]
KERNELS = {name: getattr(kernels, name) for name in ("softmax", "naive", "clipped", "dense", "sparse")}
inf, nan = np.inf, np.nan


def batch(name: str) -> Batch:
    logits, indices = DATA[f"logits {name}"], DATA[f"indices {name}"]
    return build_batch(logits, indices, "float32")


def differing(arithmetic_name: str, name: str) -> list[str]:
    """Name the quantities that are not TensorFlow's bits."""
    ar, given = arithmetic.get(arithmetic_name, "float32"), batch(name)
    with np.errstate(all="ignore"):
        got = {quantity: kernel(ar, given) for quantity, kernel in KERNELS.items()}
        got |= {"mean": ar.mean(got["dense"]), "sum": ar.sum_losses(got["dense"])}
    wanted = {quantity: DATA[f"{quantity} {name}"] for quantity in got}
    return [q for q in got if not np.array_equal(got[q].reshape(wanted[q].shape), wanted[q], equal_nan=True)]


@pytest.mark.parametrize("name", NAMES)
def test_eigen_avx_is_tensorflow_1_10_1_bit_for_bit(name: str) -> None:
    assert differing("eigen-avx", name) == []


@pytest.mark.parametrize("name", FEW)
def test_eigen_is_tensorflow_1_10_1_bit_for_bit_below_eight_classes(name: str) -> None:
    assert differing("eigen", name) == []


@pytest.mark.parametrize("length", [1, 7, 8, 2003])
@pytest.mark.parametrize("function", ["exp", "log"])
def test_exp_and_log_are_tensorflow_1_10_1_bit_for_bit(function: str, length: int) -> None:
    given, wanted = (DATA[f"{axis} {function} {length}"] for axis in "xy")

    with np.errstate(all="ignore"):
        got = getattr(arithmetic.get("eigen", "float32"), function)(given)

    assert np.array_equal(got, wanted)


def test_eigen_adds_in_order_where_the_wheel_adds_in_packets() -> None:
    many = [name for name in NAMES if name not in FEW]

    assert any("softmax" in differing("eigen", name) for name in many)


def test_the_record_covers_what_it_should() -> None:
    assert len(FEW) == 7 * 10
    assert len(NAMES) > len(FEW)


def column(*values: float) -> NDArray[np.float32]:
    return np.array([values], np.float32)


@pytest.mark.parametrize("function", [eigen.log, eigen.logf])
def test_log_of_unusual_numbers(function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    with np.errstate(all="ignore"):
        got = function(column(0.0, -0.0, -1.0, inf, -inf, nan, 1e-40, 1.0))

    assert np.array_equal(got, column(-inf, -inf, nan, inf, nan, nan, -inf, 0.0), equal_nan=True)


@pytest.mark.parametrize(
    ("function", "at_88_4"), [(eigen.exp, inf), (eigen.expf, math.exp(np.float32(88.4)))]
)
def test_exp_of_unusual_numbers(
    function: Callable[[NDArray[np.float32]], NDArray[np.float32]], at_88_4: float
) -> None:
    with np.errstate(all="ignore"):
        got = function(column(0.0, -0.0, inf, -inf, nan, 1e-40, 89.0, -87.34, -104.0, 88.4))

    assert np.array_equal(got, column(1, 1, inf, 0, nan, 1, inf, 0, 0, at_88_4), equal_nan=True)


def test_subnormals_are_zero_everywhere() -> None:
    ar = arithmetic.get("eigen", "float32")
    tiny, one = column(1e-40, 2.0), column(1.0, 1.0)

    assert ar.row_max(column(1e-40)).item() == 0
    assert ar.subtract(tiny, one).tolist() == [[-1.0, 1.0]]
    assert ar.multiply(column(1e-30), column(1e-10)).item() == 0
    assert ar.sum(column(1e-40, 1e-40)).item() == 0
    assert ar.clip(column(1e-40), 1e-36, 1.0).item() == np.float32(1e-36)


def test_empty_arrays_pass_through() -> None:
    ar = arithmetic.get("eigen", "float32")
    nothing = np.zeros((0, 3), np.float32)

    assert ar.exp(nothing).shape == ar.log(nothing).shape == (0, 3)
    assert ar.sum(nothing).shape == ar.sum(ar.exp_in_rows(nothing)).shape == (0, 1)
    with np.errstate(all="ignore"):
        assert np.isnan(ar.mean(nothing[:, :1])).all()


def test_shapes_of_one_value_at_a_time_functions_are_kept() -> None:
    values = np.arange(1, 13, dtype=np.float32).reshape(3, 4)

    assert np.array_equal(eigen.logf(values), eigen.logf(values.reshape(1, -1)).reshape(3, 4))
    assert np.array_equal(eigen.expf(values), eigen.expf(values.reshape(1, -1)).reshape(3, 4))


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("scale", [0, -37, -38, 36])
def test_a_sum_is_flushed_after_every_addition(lanes: int, scale: int) -> None:
    numbers = np.random.default_rng(0).normal(size=(3, 200, lanes)) * 10.0**scale
    x = eigen.flush(numbers.astype(np.float32)).reshape(3, -1)
    total = np.zeros((3, lanes), np.float32)
    for start in range(0, x.shape[1], lanes):
        total = eigen.flush(total + x[:, start : start + lanes])

    with np.errstate(over="ignore"):
        got = sums.flushed_in_order(x) if lanes == 1 else sums.in_packets(x)
        for half in () if lanes == 1 else (4, 2, 1):
            total = eigen.flush(total[:, :half] + total[:, half : 2 * half])

    assert np.array_equal(got, total)

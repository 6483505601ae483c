"""Arrays that the functions of import xentcli take: of NumPy and other libraries, in any layout and dtype."""

import sys
from typing import Any

import numpy as np
import pytest
from test_api import LABELS, LOGITS

import xentcli
from xentcli import XentError, formats
from xentcli.arrays import to_numpy


def test_layouts_are_told_by_shapes() -> None:
    flat = str(xentcli.diagnose_logits(LOGITS, LABELS))
    images = LOGITS.T[None]  # (1, C, 3)
    soft = np.eye(3, dtype=np.float32)[LABELS]

    assert str(xentcli.diagnose_logits(LOGITS[None], LABELS[None])) == flat
    assert str(xentcli.diagnose_logits(LOGITS, LABELS.astype(float))) == flat
    assert str(xentcli.diagnose_logits(LOGITS.T, LABELS, class_axis=0)) == flat
    assert str(xentcli.diagnose_logits(np.repeat(images, 2, 2), np.repeat(LABELS, 2)[None]))[:20]
    assert xentcli.diagnose_logits(LOGITS, soft).survey.kind == "rows"
    assert xentcli.diagnose_logits(LOGITS[:, 0], [0.0, 0.5, 1.0], binary=True).survey.kind == "binary"


def test_numbers_of_arrays_keep_their_bits_and_the_other_keys_their_digits() -> None:
    random = np.random.default_rng(0)
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        logits = formats.stored(random.standard_normal((4, 3)) * 10, dtype)
        keys: dict[str, Any] = {"class_weights": np.array([0.1, 1, 2]), "expect": {"sparse": np.float32(0.1)}}
        case = xentcli.evaluate(logits=logits, labels=np.zeros(4, np.uint8), **keys, title="t").case
        assert case.dtype == dtype
        assert np.array_equal(case.batch.logits, logits)
        assert case.expectations[0].texts == ("0.1",)


class ByDLPack:
    """An array that only DLPack reads."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class ByProtocol:
    """An array that __array__ reads, of a library nobody knows."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.array


@pytest.mark.parametrize("kind", [ByDLPack, ByProtocol, np.asfortranarray, lambda x: x.tolist()])
def test_arrays_of_any_kind_are_read(kind: Any) -> None:
    expected, slope = xentcli.losses_and_gradient(LOGITS.astype(np.float64), LABELS)

    for found in xentcli.losses_and_gradient(kind(LOGITS.astype(np.float64)), kind(LABELS)):
        assert np.array_equal(found, expected if found.ndim == 1 else slope)
    logits = kind(LOGITS.astype(np.float64))
    assert (
        xentcli.diagnose_logits(logits, kind(LABELS)).losses
        == xentcli.diagnose_logits(LOGITS.astype(np.float64), LABELS).losses
    )
    assert xentcli.evaluate(logits=logits, labels=kind(LABELS))["sparse"].losses[0] == 200


def test_a_numpy_array_is_not_copied() -> None:
    assert to_numpy(LOGITS) is LOGITS


def of_library(name: str, values: Any) -> Any:
    library = pytest.importorskip(name, reason=f"{name} is not installed; .ci/run tests with it")
    if name == "jax":
        return library.numpy.asarray(values)
    return library.as_tensor(values) if name == "torch" else library.convert_to_tensor(values)


@pytest.mark.frameworks
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_arrays_of_a_library_give_what_numpys_give(name: str, dtype: str) -> None:
    x, values = of_library(name, LOGITS), formats.stored(LOGITS.astype(np.float64), dtype)
    library = sys.modules[name]
    if name == "torch":
        x = x.clone().requires_grad_().to(getattr(library, dtype)).T.contiguous().T
    else:
        x = x.astype(dtype) if name == "jax" else library.cast(x, dtype)
    y = of_library(name, LABELS)

    assert np.array_equal(to_numpy(x), values)
    assert str(to_numpy(x).dtype) == dtype
    for found, expected in zip(
        xentcli.losses_and_gradient(x, y), xentcli.losses_and_gradient(values, LABELS), strict=True
    ):
        assert np.array_equal(found, expected)
    assert str(xentcli.diagnose_logits(x, y)) == str(xentcli.diagnose_logits(values, LABELS))
    assert str(xentcli.evaluate(logits=x, labels=y)) == str(xentcli.evaluate(logits=values, labels=LABELS))
    assert str(xentcli.identify_value(of_library(name, np.float32(2.302585)))).startswith(
        "2.302585 is ln(10)"
    )


@pytest.mark.frameworks
def test_a_loss_of_torch_is_called_with_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; .ci/run tests with it")

    def loss(x: Any, y: Any) -> Any:
        return -torch.log(torch.softmax(x, 1))[torch.arange(len(y)), y]

    for logits, labels in ((LOGITS, LABELS), (torch.tensor(LOGITS), torch.tensor(LABELS))):
        diagnosis = xentcli.diagnose_logits(logits, labels, loss=loss)
        assert diagnosis.response is not None
        assert diagnosis.response.infinite == 1
    assert xentcli.diagnose_logits(LOGITS, LABELS, loss=torch.nn.functional.cross_entropy).is_wrong is False


@pytest.mark.frameworks
def test_what_no_numpy_array_can_hold_is_refused() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed; .ci/run tests with it")

    with pytest.raises(XentError, match="logits: Tensor cannot be read as an array"):
        xentcli.losses(torch.zeros(2, 2, dtype=torch.float8_e4m3fn), LABELS[:2])

# ruff: noqa: SLF001 - PyTorch has no public names for most of this
"""A device for PyTorch that is no hardware: its tensors are kept aside and computed on the CPU.

As an accelerator's they do not mix with the CPU's, have no ``numpy()``, and after an assert in a kernel
nothing works any more in the process. There is no float64. Beside it are losses that are called on it.
"""

from typing import Any

import torch
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from torched import log1p as checked_log1p  # type: ignore[import-not-found]  # a file of this folder, where a loss is loaded by its path

NAME = "npu"
_STATE = {"asserted": False}


class StubTensor(torch.Tensor):  # type: ignore[misc]  # torch is not installed everywhere
    """A tensor of the device; ``on_cpu`` holds its numbers."""

    on_cpu: torch.Tensor

    @staticmethod
    def __new__(cls: Any, on_cpu: torch.Tensor) -> Any:
        """Wrap numbers."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            on_cpu.shape,
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            device=torch.device(NAME, 0),
        )
        made.on_cpu = on_cpu
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if _STATE["asserted"]:
            raise RuntimeError("npu error: device-side assert triggered")
        aten = torch.ops.aten
        copies = function in {aten.copy_.default, aten._to_copy.default}
        mixed = [each for each in args if type(each) is torch.Tensor and each.ndim]
        if mixed and not copies:
            raise RuntimeError("Expected all tensors to be on the same device, but found npu:0 and cpu!")
        where = torch.device(kwargs.pop("device", None) or NAME)
        result = kwargs.get("dtype")
        if result == torch.float64 and where.type == NAME:
            raise TypeError("Cannot convert a npu tensor to float64: the device has no float64")
        try:
            with torch._C._DisableTorchDispatch():
                done = function(*tree_map(_taken, args), **tree_map(_taken, kwargs))
        except (IndexError, RuntimeError) as error:
            if "index" in str(error) or "out of bounds" in str(error):
                _STATE["asserted"] = True
                raise RuntimeError("npu error: device-side assert triggered") from error
            raise
        if function is aten.copy_.default:
            return args[0]
        return tree_map(_given, done) if where.type == NAME else done


def _taken(value: Any) -> Any:
    return value.on_cpu if isinstance(value, StubTensor) else value


def _given(value: Any) -> Any:
    return StubTensor(value) if isinstance(value, torch.Tensor) else value


def _without_device(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("dtype") == torch.float64:
        raise TypeError("Cannot convert a npu tensor to float64: the device has no float64")
    return {name: value for name, value in options.items() if name in {"dtype", "memory_format"}}


_setup_privateuseone_for_python_backend(NAME)
_LIBRARY = torch.library.Library("aten", "IMPL")


def _empty(size: Any, **options: Any) -> Any:
    return StubTensor(torch.empty(size, **_without_device(options)))


def _empty_strided(size: Any, stride: Any, **options: Any) -> Any:
    return StubTensor(torch.empty_strided(size, stride, **_without_device(options)))


def _eye(size: int, **options: Any) -> Any:
    return StubTensor(torch.eye(size, **_without_device(options)))


_LIBRARY.impl("eye", _eye, "PrivateUse1")
_LIBRARY.impl("empty.memory_format", _empty, "PrivateUse1")
_LIBRARY.impl("empty_strided", _empty_strided, "PrivateUse1")


def log1p(logits: Any, target: Any) -> Any:
    """Leave the maximum out of the sum, in float32."""
    x, target = logits.float(), target[:, None]
    top = x.argmax(1, keepdim=True)
    largest = x.gather(1, top)
    others = x.scatter(1, top, -torch.inf) - largest
    gap = torch.where(top == target, 0.0, largest - x.gather(1, target))
    return (torch.log1p(others.exp().sum(1)) + gap[:, 0]).to(logits.dtype)


def with_a_row_of_the_cpu(logits: Any, target: Any) -> Any:
    """Forget where the arrays are."""
    return log1p(logits, target) + torch.zeros(len(target), dtype=logits.dtype)


def answers_on_the_cpu(logits: Any, target: Any) -> Any:
    return log1p(logits, target).cpu()


def linear(hidden: Any, weight: Any, labels: Any) -> Any:
    return log1p(hidden @ weight.T, labels)


def checked(logits: Any, target: Any) -> Any:
    """Look for bad labels on the CPU, and raise before a kernel asserts."""
    return checked_log1p(logits.cpu(), target.cpu()).to(logits.device)

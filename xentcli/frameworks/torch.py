"""PyTorch's tensors and its autograd."""

from contextlib import nullcontext
from typing import Any

import torch

from xentcli.frameworks.adapter import Loss

ARRAY, ARRAY_NAME = torch.Tensor, "a torch.Tensor"
session = nullcontext
_ACCELERATORS = ("cuda", "xpu", "mps", "npu")  # a module of torch each, where it was built or extended so
compile_both = None
REDUCE = {"mean": torch.mean, "sum": torch.sum}


def array(values: Any, dtype: str) -> Any:
    """Make a tensor of the dtype."""
    return torch.tensor(values).to(getattr(torch, dtype))


def to_numpy(array: Any) -> tuple[Any, str]:
    """Copy the numbers; they are exact in float64."""
    return array.detach().cpu().to(torch.float64).numpy().copy(), str(array.dtype).removeprefix("torch.")


def _in_training(loss: Loss, x: Any) -> Any:
    """Return the losses of logits that require a gradient."""
    return loss(x.detach().requires_grad_())


def _in_evaluation(loss: Loss, x: Any) -> Any:
    """Return the losses where nothing is recorded."""
    with torch.no_grad():
        return loss(x)


def _in_inference(loss: Loss, x: Any) -> Any:
    """Return the losses in inference mode."""
    with torch.inference_mode():
        return loss(x)


MODES = {"training": _in_training, "evaluation": _in_evaluation, "inference": _in_inference}


def gradient(loss: Loss, x: Any, *, between: Any = None, twice: bool = False, upstream: Any = None) -> Any:
    """Differentiate backwards."""
    x = x.detach().requires_grad_()
    losses = loss(x)
    if between is not None:
        between()
    if not losses.requires_grad:
        return None
    if twice:
        losses.sum().backward(retain_graph=True)
        x.grad = None
    if upstream is None:
        losses.sum().backward()
    else:
        losses.backward(upstream)
    return x.grad


frozen = torch.Tensor.detach


def identity(array: Any, size: int) -> Any:
    """Make the identity (size, size) in a tensor's dtype, where that is."""
    return torch.eye(size, dtype=array.dtype, device=array.device)


contiguous = torch.Tensor.contiguous


def devices() -> dict[str, str]:
    """Name the CPU and every accelerator, the first of a kind by the kind alone too."""
    found = {"cpu": "cpu"}
    for kind in _ACCELERATORS:
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            names = [f"{kind}:{number}" for number in range(module.device_count())]
            found |= {kind: names[0], **dict(zip(names, names, strict=True))}
    return found


def place(array: Any, device: str) -> Any:
    """Copy the tensor there."""
    return array.to(device)


def computing(device: str) -> Any:
    """Return no context: torch computes where its tensors are, and a loss has to do so too."""
    del device
    return nullcontext()


def overwrite(array: Any, values: Any) -> None:
    """Copy."""
    array.copy_(values)


def anew(array: Any) -> Any:
    """Return a tensor there whose version is 0."""
    return array.data


def _strided(array: Any) -> Any:
    """Leave gaps, which hold the numbers in another order."""
    padded = array.flip(0)
    for axis in range(array.ndim):
        padded = padded.repeat_interleave(2, axis)
    places = (slice(1, None, 2),) * array.ndim
    padded[places] = array
    return padded[places]


def _padded(array: Any) -> Any:
    """Have each row be the middle of a longer one."""
    width = array.shape[-1]
    return torch.cat((array.flip(-1), array, array.flip(-1)), -1)[..., width : 2 * width]


def _offset(array: Any) -> Any:
    """Begin inside another tensor."""
    return torch.cat((array.flatten()[:1].expand(3), array.flatten()))[3:].view(array.shape)


def _expanded(array: Any) -> Any:
    """Have the first row stand for all."""
    return array[:1].expand(array.shape)


UPSTREAM_LAYOUTS = {"strided": _strided, "expanded": _expanded}
LAYOUTS = {
    "strided": _strided,
    "padded": _padded,
    "Fortran": lambda array: array.T.contiguous().T if array.ndim > 1 else array,
    "offset": _offset,
    "expanded": _expanded,
}

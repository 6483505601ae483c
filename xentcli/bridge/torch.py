"""``watch`` for torch's tensors: eager and compiled, on one process or several.

On the device one flag is made, and read once: nothing else is copied while the loss is good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from xentcli.bridge.capture import Step, judge
from xentcli.bridge.numpy import act, class_axis, is_suspicious
from xentcli.bridge.options import MEMORY, BadLoss, Options
from xentcli.errors import XentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEYS: Final[dict[tuple[Any, ...], int]] = {}  # the settings of compiled calls, each with its number
_NO_STEP: Final = -1
_PREVIOUS: Final = 64  # rows of the last good step that previous=True keeps
_OTHER: Final = "the loss is bad on another rank; its message says why"


def watch(  # noqa: PLR0913, PLR0917 - what watch() was called with
    loss: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    step: int | None,
    context: Sequence[Any],
    settings: tuple[Any, ...],
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss as ``xentcli.watch`` does; ``settings`` are the fields of ``Options``.

    With a ``weight`` (C, D), ``logits`` are hidden states (…, D), of which it makes logits.
    """
    if not torch.compiler.is_compiling():
        call = _Call(loss, logits, labels, weight, step, tuple(context), Options(*settings).check())
        return call.watched()
    number, key = _NO_STEP if step is None else step, _key(*settings)
    given = (logits.detach(), labels, weight, list(context), number, key)
    if settings[_GRADIENT] and logits.requires_grad:
        logits.register_hook(lambda gradient: _gradient_compiled(gradient, loss.detach(), *given))
    watched: torch.Tensor = _loss_compiled(loss, *given)
    return watched


_GRADIENT: Final = [field.name for field in fields(Options)].index("gradient")


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _key(*settings: Any) -> int:  # noqa: ANN401
    """Return the number of settings, which a compiled graph holds in their place."""
    return _KEYS.setdefault(settings, len(_KEYS))


def _call(loss: torch.Tensor, given: tuple[Any, ...]) -> "_Call":
    """Return the call of which a compiled graph passes tensors and numbers."""
    logits, labels, weight, context, step, key = given
    options = Options(*list(_KEYS)[key]).check()
    return _Call(loss, logits, labels, weight, None if step == _NO_STEP else step, tuple(context), options)


@torch.library.custom_op("xent::watch", mutates_args=())  # type: ignore[untyped-decorator]
def _loss_compiled(  # noqa: PLR0913, PLR0917
    loss: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None,
    context: list[torch.Tensor],
    step: int,
    key: int,
) -> torch.Tensor:
    watched = _call(loss, (logits, labels, weight, context, step, key)).watched()
    if watched is not loss:
        raise XentError("watch: on='skip' needs eager code; a compiled gradient is still that of the loss")
    return watched.clone()


@torch.library.custom_op("xent::watch_gradient", mutates_args=())  # type: ignore[untyped-decorator]
def _gradient_compiled(  # noqa: PLR0913, PLR0917
    gradient: torch.Tensor,
    loss: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None,
    context: list[torch.Tensor],
    step: int,
    key: int,
) -> torch.Tensor:
    found = _call(loss, (logits, labels, weight, context, step, key)).look_at_gradient(gradient)
    return gradient.clone() if found is None else found


_loss_compiled.register_fake(lambda loss, *_: torch.empty_like(loss))
_gradient_compiled.register_fake(lambda gradient, *_: torch.empty_like(gradient))
_loss_compiled.register_autograd(
    lambda ctx, gradient: (gradient, None, None, None, [None] * ctx.number, None, None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "number", len(inputs[4])),  # noqa: ARG005 - torch's names
)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One call of ``watch``."""

    loss: torch.Tensor
    logits: torch.Tensor
    labels: torch.Tensor
    weight: torch.Tensor | None
    step: int | None
    context: tuple[Any, ...]
    options: Options

    def watched(self) -> torch.Tensor:
        """Look at a step that is due, with the other ranks of a group if there is one."""
        options, loss = self.options, self.loss
        if not MEMORY.is_due(options, self.step):
            return loss
        if options.gradient and self.logits.requires_grad:
            self.logits.register_hook(self.look_at_gradient)
        with torch.no_grad():
            flag = is_suspicious(loss, self.labels, self._rows().shape[1], options.ignore_index)
            is_bad, mean = _read(flag, loss, options)
            if not is_bad:
                self._remember(mean)
                return loss
            bad = judge(self._seen(None), options)
            if options.group is not None:
                bad = _decide_together(bad, self)
        found: torch.Tensor = act(bad, options, loss, torch.zeros_like(loss).requires_grad_())
        return found

    def look_at_gradient(self, gradient: torch.Tensor) -> torch.Tensor | None:
        """Raise, warn or return a gradient of 0 where one of a good loss is not finite."""
        is_finite = torch.isfinite(gradient).all(dim=_axis(self.logits, self.labels, self.weight)).reshape(-1)
        if bool(is_finite.all()):
            return None
        bad = judge(self._seen(_numpy(~is_finite)), self.options)
        found: torch.Tensor = act(bad, self.options, gradient, torch.zeros_like(gradient))
        return found

    def _rows(self) -> "_Rows":
        return _Rows(self.logits, self.labels, self.weight)

    def _seen(self, gradient: "NDArray[np.bool_] | None") -> Step:
        """Return the step, whose logits are copied to memory part by part, as they are read."""
        rows, labels = self._rows(), self.labels
        if labels.shape == self.logits.shape and self.weight is None:
            labels = _Rows(labels, labels, None).tensor
        else:
            labels = labels.reshape(-1)
        context = dict(zip(self.options.names, map(_numpy, self.context), strict=True))
        losses = _numpy(self.loss).astype(np.float64)
        shape = tuple(self.logits.shape)
        return Step(losses, rows, _numpy(labels), rows.form, shape, self.step, _rank(), context, gradient)

    def _remember(self, mean: float) -> None:
        """Keep the loss of a good step, and if asked for its first rows."""
        MEMORY.good[self.options] = self.step, mean
        if self.options.previous:
            labels = _numpy(self.labels.reshape(-1)[:_PREVIOUS])
            MEMORY.rows[self.options] = self.step, self._rows()[:_PREVIOUS], labels


def _read(flag: torch.Tensor, loss: torch.Tensor, options: Options) -> tuple[bool, float]:
    """Return the flag, that of all ranks of a group, and the mean loss: the one time that the host waits."""
    both = torch.stack([flag.to(torch.float32), loss.detach().mean().to(torch.float32)])
    if options.group is not None:
        any_flag = both[:1].clone()
        torch.distributed.all_reduce(any_flag, torch.distributed.ReduceOp.MAX, group=options.group)
        both[0] = any_flag[0]
    is_bad, mean = both.tolist()
    return bool(is_bad), mean


def _decide_together(bad: BadLoss | None, call: _Call) -> BadLoss | None:
    """Return an error on every rank of a group if there is one on any."""
    flag = torch.tensor([float(bad is not None)], device=call.loss.device)
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=call.options.group)
    if bad is not None or not flag.item():
        return bad
    where = "" if call.step is None else f"step {call.step}, "
    return BadLoss(f"{where}rank {_rank()}: {_OTHER}", call.step, _rank())


def _rank() -> int | None:
    """Return the rank of this process, None where it is the only one."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return None
    rank: int = distributed.get_rank()
    return rank


class _Rows:
    """Rows (N, C) of logits, of which those asked for are copied to memory; bfloat16 as float32.

    With a weight (C, D) they are made of hidden states (…, D), where those are.
    """

    def __init__(self, logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None) -> None:
        moved = logits.detach().movedim(_axis(logits, labels, weight), -1)
        self.tensor = moved.reshape(-1, moved.shape[-1])
        self.weight = None if weight is None else weight.detach().to(logits.dtype)
        self.form = str(logits.dtype).removeprefix("torch.")
        self.shape = len(self.tensor), (self.tensor.shape[1] if weight is None else weight.shape[0])
        self.dtype = np.dtype("float32" if logits.dtype == torch.bfloat16 else self.form)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "NDArray[Any]":
        found = self.tensor[rows]
        return _numpy(found if self.weight is None else found @ self.weight.T)


def _axis(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None) -> int:
    """Return the axis of the classes, or of the hidden states."""
    return -1 if weight is not None else class_axis(tuple(logits.shape), tuple(labels.shape))


def _numpy(array: Any) -> "NDArray[Any]":  # noqa: ANN401
    """Return a tensor in memory, or what context is no tensor; bfloat16, which NumPy has not, as float32."""
    if not isinstance(array, torch.Tensor):
        return np.asarray(array)
    wide = array.detach().float() if array.dtype == torch.bfloat16 else array.detach()
    found: NDArray[Any] = wide.cpu().numpy()
    return found

"""``watch`` for torch's tensors: eager and compiled, on one process or several.

On the device one flag is made, and read once: nothing else is copied while the loss is good.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from xentcli.bridge.capture import Step, judge
from xentcli.bridge.numpy import (
    act,
    as_rows,
    can_be_to_blame,
    class_axis,
    classes_of,
    is_suspicious,
    named,
    number_of,
)
from xentcli.bridge.options import MEMORY, BadLoss, Options, options_of
from xentcli.errors import XentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEYS: Final[dict[tuple[Any, ...], int]] = {}  # the settings of compiled calls, each with its number
_NO_STEP: Final = -1
_OFF_ONE: Final = 2.0**-6  # what probabilities in bfloat16 sum to beside 1 at most
_PREVIOUS: Final = 64  # rows of the last good step that previous=True keeps


def watch(  # noqa: PLR0913, PLR0917 - what watch() was called with
    loss: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None,
    step: int | None,
    context: Sequence[Any],
    settings: tuple[Any, ...],
) -> torch.Tensor:
    """Return the loss as ``xentcli.watch`` does; ``settings`` are the fields of ``Options``.

    With a ``weight`` (C, D), ``logits`` are hidden states (…, D), of which it makes logits.
    """
    if not torch.compiler.is_compiling():
        options = options_of(settings)
        for name, each in {"loss": loss, "labels": labels}.items():
            if not isinstance(each, torch.Tensor):
                raise XentError(f"watch: {name} of type {type(each).__name__}: expected a tensor")
        return _Call(loss, logits, labels, weight, number_of(step), tuple(context), options).watched()
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
    call = _call(loss, (logits, labels, weight, context, step, key))
    if call.options.on == "skip":
        raise XentError("watch: on='skip' needs eager code; a compiled gradient is still that of the loss")
    return call.watched().clone()


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
    call = _call(loss, (logits, labels, weight, context, step, key))
    is_due = call.step is None or call.step % call.options.every == 0
    found = call.look_at_gradient(gradient) if is_due else None
    return gradient.clone() if found is None else found


_loss_compiled.register_fake(lambda loss, *_: torch.empty_like(loss))
_gradient_compiled.register_fake(lambda gradient, *_: torch.empty_like(gradient))
_loss_compiled.register_autograd(
    lambda ctx, gradient: (gradient, None, None, None, [None] * ctx.number, None, None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "number", len(inputs[4])),  # noqa: ARG005 - torch's names
)


# A call whose result nobody uses looks at the loss all the same.
torch.fx.node.has_side_effect(torch.ops.xent.watch.default)


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
        classes = classes_of(self.logits, self.labels, self.weight, is_torch=True)
        if options.gradient and self.logits.requires_grad:
            # Detached: a hook that held the logits themselves would keep them alive, and they it.
            without = replace(self, loss=loss.detach(), logits=self.logits.detach())
            self.logits.register_hook(without.look_at_gradient)
        with torch.no_grad():
            flag = is_suspicious(loss, self.labels, classes, options.ignore_index)
            is_bad, is_bad_here, mean = _read(flag, loss, options)
            if not is_bad:
                self._remember(mean)
                return loss
            bad = self._judged(is_bad_here, None)
        found: torch.Tensor = act(bad, options, loss, torch.zeros_like(loss).requires_grad_())
        return found

    def look_at_gradient(self, gradient: torch.Tensor) -> torch.Tensor | None:
        """Raise, warn or return a gradient of 0 where one of a good loss is not finite."""
        axis = self._axis()
        flag = ~torch.isfinite(gradient.sum(axis)).all()  # as no sum with nan or infinity is: one pass
        if not bool(_of_group(flag.to(torch.float32), self.options)):
            return None
        is_bad = ~torch.isfinite(gradient).all(axis).reshape(-1)
        is_bad_here = bool(is_bad.any())
        bad = self._judged(is_bad_here, _numpy(is_bad))
        found: torch.Tensor = act(bad, self.options, gradient, torch.zeros_like(gradient))
        return found

    def _judged(self, is_bad_here: bool, gradient: "NDArray[np.bool_] | None") -> BadLoss | None:
        """Say why the loss is bad here; where only another rank of a group says so, say that.

        Whatever happens here, the others are told: they wait for it.
        """
        bad, failed, worst = None, is_bad_here, None
        try:
            bad = judge(self._seen(gradient), self.options) if is_bad_here else None
            failed = bad is not None
        finally:
            if self.options.group is not None:
                worst = _worst_rank(failed, self)
        if bad is not None or worst is None:
            return bad
        where = "" if self.step is None else f"step {self.step}, "
        what = "loss" if gradient is None else "gradient"
        said = f"{where}rank {_rank()}: the {what} is bad on rank {worst}, whose message says why"
        return BadLoss(said, self.step, _rank())

    def _axis(self) -> int:
        """Return the axis of the classes: of probabilities the second where they sum to 1 there."""
        weight = None if self.weight is None else tuple(self.weight.shape)
        if weight is None and self.logits.ndim > 2 and self.labels.shape == self.logits.shape:  # noqa: PLR2004 - (N, C, …)
            sums = self.labels.detach().float().sum(1)
            return 1 if bool((sums - 1).abs().max() < _OFF_ONE) else -1
        return class_axis(tuple(self.logits.shape), tuple(self.labels.shape), weight, is_torch=True)

    def _seen(self, gradient: "NDArray[np.bool_] | None") -> Step:
        """Return the step, whose logits are copied to memory part by part, as they are read."""
        axis = self._axis()
        labels, binary = as_rows(_numpy(self.labels), self.logits.ndim, axis)
        rows = _Rows(self.logits.movedim(axis, -1), self.weight, binary=binary)
        context = named(self.options, self.context, _numpy)
        losses, shape = _numpy(self.loss).astype(np.float64), tuple(self.logits.shape)
        place = self.step, _rank(), context, gradient, self._suspect(gradient)
        return Step(losses, rows, labels, rows.form, shape, *place, binary)

    def _suspect(self, gradient: "NDArray[np.bool_] | None") -> "NDArray[np.bool_] | None":
        """Say of each row of hidden states whether it can be to blame; None where any can."""
        if self.weight is None or not bool(torch.isfinite(self.weight).all()):
            return None
        hidden, classes = self.logits.reshape(-1, self.logits.shape[-1]), len(self.weight)
        labels = self.labels.reshape(-1) if self.labels.ndim < self.logits.ndim else self.labels
        indices = classes if labels.ndim == 1 else None
        found = can_be_to_blame(self.loss.reshape(-1), hidden, labels, indices, self.options.ignore_index)
        suspect: NDArray[np.bool_] = _numpy(found)
        return suspect if gradient is None else suspect | gradient

    def _remember(self, mean: float) -> None:
        """Keep the loss of a good step, and if asked for its first rows."""
        MEMORY.good[self.options] = self.step, mean
        if self.options.previous:
            axis = self._axis()
            rows = _Rows(self.logits.movedim(axis, -1), self.weight)
            is_soft = self.labels.ndim == self.logits.ndim
            labels = _Rows(self.labels.movedim(axis, -1), None) if is_soft else self.labels.reshape(-1)
            kept = labels[:_PREVIOUS]
            MEMORY.rows[self.options] = self.step, rows[:_PREVIOUS], _numpy(kept)


def _read(flag: torch.Tensor, loss: torch.Tensor, options: Options) -> tuple[bool, bool, float]:
    """Return the flag of all ranks of a group, that of this one, the mean loss: the one time to wait."""
    here = flag.to(torch.float32)
    mean = loss.detach().to(torch.float32).mean()
    is_bad, is_bad_here, known = torch.stack([_of_group(here, options), here, mean]).tolist()
    return bool(is_bad), bool(is_bad_here), known


def _of_group(flag: torch.Tensor, options: Options) -> torch.Tensor:
    """Return the largest flag of all ranks of a group, that of this process without one."""
    if options.group is None:
        return flag
    largest = flag.clone()
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX, group=options.group)
    return largest


def _worst_rank(failed: bool, call: _Call) -> int | None:
    """Say on every rank of a group which one failed, the last of them; None where none did."""
    flag = torch.tensor((_rank() or 0) + 1 if failed else 0, device=call.loss.device)
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=call.options.group)
    return int(flag.item()) - 1 if flag.item() else None


def _rank() -> int | None:
    """Return the rank of this process, None where it is the only one."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return None
    rank: int = distributed.get_rank()
    return rank


class _Rows:
    """Rows (N, C) of logits (…, C), of which those asked for are copied to memory; bfloat16 as float32.

    With a weight (C, D) they are made of hidden states (…, D), where those are; ``binary`` ones are (N, 1).
    """

    def __init__(self, logits: torch.Tensor, weight: torch.Tensor | None, *, binary: bool = False) -> None:
        logits = logits if logits.ndim > 1 or binary else logits[None]  # one example
        self._logits = (logits[..., None] if binary else logits).detach()
        self._weight = None if weight is None else weight.detach().to(logits.dtype)
        self.form = str(logits.dtype).removeprefix("torch.")
        classes = self._logits.shape[-1] if weight is None else weight.shape[0]
        self.shape = math.prod(self._logits.shape[:-1]), classes
        self.dtype = np.dtype("float32" if logits.dtype == torch.bfloat16 else self.form)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "NDArray[Any]":
        # By their places: rows of logits that do not follow each other, as labels[:, 1:] leaves them, would
        # all be copied by a reshape.
        places = np.unravel_index(np.arange(*rows.indices(len(self))), tuple(self._logits.shape[:-1]))
        found = self._logits[tuple(torch.from_numpy(place).to(self._logits.device) for place in places)]
        return _numpy(found if self._weight is None else found @ self._weight.T)


def _numpy(array: Any) -> "NDArray[Any]":  # noqa: ANN401
    """Return a tensor in memory, or what context is no tensor; bfloat16, which NumPy has not, as float32."""
    if not isinstance(array, torch.Tensor):
        return np.asarray(array)
    wide = array.detach().float() if array.dtype == torch.bfloat16 else array.detach()
    found: NDArray[Any] = wide.cpu().numpy()
    return found

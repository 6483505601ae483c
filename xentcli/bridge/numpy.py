"""``watch`` for NumPy's arrays, and what the other libraries share once their arrays are NumPy's."""

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.bridge.capture import Step, judge
from xentcli.bridge.options import MEMORY, BadLoss, BadLossWarning, Options
from xentcli.errors import XentError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def watch(  # noqa: PLR0913, PLR0917 - what watch() was called with
    loss: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    step: int | None,
    context: Sequence[Any],
    settings: tuple[Any, ...],
) -> Any:  # noqa: ANN401
    """Return the loss as ``xentcli.watch`` does; ``settings`` are the fields of ``Options``."""
    options = Options(*settings).check()
    if not MEMORY.is_due(options, step):
        return loss
    x, y, losses = np.asarray(logits), np.asarray(labels), np.asarray(loss, np.float64)
    axis = class_axis(x.shape, y.shape)
    if not is_suspicious(losses, y, x.shape[axis], options.ignore_index):
        MEMORY.good[options] = step, float(losses.mean()) if losses.size else 0.0
        return loss
    seen = seen_step(
        losses, x, y, step, None, dict(zip(options.names, map(np.asarray, context), strict=True))
    )
    return act(
        judge(seen, options), options, loss, loss * 0 if np.isfinite(losses).all() else np.zeros_like(loss)
    )


def act(bad: BadLoss | None, options: Options, loss: Any, zero: Any) -> Any:  # noqa: ANN401
    """Raise, warn or return what takes the place of a bad loss."""
    if bad is None:
        return loss
    if options.on == "raise":
        raise bad
    warnings.warn(str(bad), BadLossWarning, stacklevel=_depth())
    return zero if options.on == "skip" else loss


def _depth() -> int:
    """Return how many calls above ``act`` the caller of ``watch`` is: whose line a warning should name."""
    frame, depth = sys._getframe(1), 1  # noqa: SLF001 - the only way
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("xentcli."):
        frame, depth = frame.f_back, depth + 1
    return depth


def class_axis(logits: tuple[int, ...], labels: tuple[int, ...]) -> int:
    """Return the axis of the classes; raises XentError where labels go with no axis.

    Labels have the shape of the logits, or lack one axis of theirs: the last, or the second as in torch.
    """
    if len(logits) > 1 and (labels == logits or labels == logits[:-1]):
        return len(logits) - 1
    if len(logits) > 2 and labels == logits[:1] + logits[2:]:  # noqa: PLR2004 - (N, C, …)
        return 1
    raise XentError(
        f"watch: labels of shape {labels} do not go with logits of shape {logits}; give (…, C) and (…)"
    )


def is_suspicious(loss: Any, labels: Any, classes: int, ignore_index: int) -> Any:  # noqa: ANN401
    """Whether a loss has to be looked at: with the arrays of NumPy, JAX or torch alike, on their device."""
    bad = ~((loss >= 0) & (loss < float("inf"))).all() | (loss == 0).all()
    if "float" in str(labels.dtype):
        return bad
    ignored = labels == ignore_index
    return bad | ignored.all() | (~ignored & ((labels < 0) | (labels >= classes))).any()


def seen_step(  # noqa: PLR0913, PLR0917 - what there is to see
    loss: "NDArray[np.float64]",
    logits: "NDArray[Any]",
    labels: "NDArray[Any]",
    step: int | None,
    rank: int | None,
    context: "dict[str, NDArray[Any]]",
    dtype: str | None = None,
) -> Step:
    """Return a step of arrays in memory; ``dtype`` is the logits' own where they were widened."""
    axis = class_axis(logits.shape, labels.shape)
    x = np.moveaxis(logits, axis, -1)
    is_soft = labels.shape == logits.shape
    y = np.moveaxis(labels, axis, -1).reshape(-1, x.shape[-1]) if is_soft else labels.reshape(-1)
    if not is_soft and y.dtype.kind == "f":  # as Keras makes them
        y = y.astype(np.int64)
    form = dtype or str(logits.dtype.newbyteorder("="))
    return Step(loss, x.reshape(-1, x.shape[-1]), y, form, logits.shape, step, rank, context)

"""What xent's own methods make of one row, and why: run and judged as ``xent run`` would."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.evaluated import is_wrong
from xentcli.judge.findings import main_cause
from xentcli.judge.verdicts import judge_outcomes
from xentcli.load.build import build_batch
from xentcli.methods.table import METHODS
from xentcli.model import About, Case, Exact, Numerics
from xentcli.run import run

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.model import Batch

_MOST_TILES: Final = 1024  # of online, each a dozen steps that are recorded


@dataclass(frozen=True, slots=True)
class Tried:
    """A method's loss of a row: its ``state`` (right, off, infinite or nan) and the finding that is why.

    ``finding`` is the name of the main cause, None where there is none.
    """

    method: str
    loss: float
    state: str
    finding: str | None


def try_methods(  # noqa: PLR0913 - a row, its truth, and two options of a case
    logits: "FloatArray",
    label: Any,  # noqa: ANN401 - a class, a probability, or probabilities (C,)
    loss: float,
    ignore_index: int | None,
    clip: tuple[float, float] | None,
    *,
    binary: bool,
) -> tuple[Tried, ...]:
    """Run every method that supports a row of logits (C,), whose true loss in float64 is ``loss``."""
    dtype = str(logits.dtype.newbyteorder("="))
    x, labels = (logits if binary else logits[None]), np.asarray(label)[None]
    batch = build_batch(x, labels, dtype, ignore_index=ignore_index, clip=clip)
    case = Case("", "", About(""), Numerics(dtype, "numpy"), "none", batch, (), ())
    true = _true_loss(batch, loss)
    exact = Exact((0,), (true,), (_gradient(batch),), None)
    methods = [
        method
        for method in METHODS
        if method.binary == binary
        if method.most_tiles is None or batch.logits.shape[1] <= _MOST_TILES * batch.tile
    ]
    tried = []
    outcomes = run(case, methods)
    for outcome, judgement in zip(outcomes, judge_outcomes(case, outcomes, exact), strict=True):
        if judgement is not None:
            cause, value = main_cause(judgement), outcome.losses[0]
            state = _state(value, float(true), dtype)
            tried.append(Tried(outcome.method, value, state, None if cause is None else cause.name))
    return tuple(tried)


def _true_loss(batch: "Batch", loss: float) -> Decimal:
    """Return the true loss; one beyond float64, of finite logits, from the difference of two of them."""
    if loss == math.inf and batch.indices is not None and not batch.is_invalid(0):
        largest, own = float(batch.logits.max()), float(batch.logits[0, batch.indices[0]])
        if math.isfinite(largest) and math.isfinite(own):
            return Decimal(largest) - Decimal(own)
    return Decimal(loss)


def _gradient(batch: "Batch") -> "FloatArray":
    """Return Σ y softmax - y, (C,) in float64, of a binary row sigmoid - y."""
    x, y = batch.logits[0].astype(np.float64), batch.targets[0].astype(np.float64)
    with np.errstate(all="ignore"):
        if batch.binary:
            return np.asarray(1 / (1 + np.exp(-x)) - y)
        e = np.exp(x - x.max())
        return np.asarray(y.sum() * e / e.sum() - y)


def _state(value: float, true: float, dtype: str) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "infinite"
    return "off" if is_wrong(np.array([value]), np.array([true]), dtype)[0] else "right"

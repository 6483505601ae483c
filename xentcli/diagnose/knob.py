"""Which knob lies between the true losses of logits and those that a run had: temperature, softcap, z-loss.

Losses of single rows tell its number: it is sought where a row tells most, and has to explain every row that
is read. A mean tells less, so that of it only the numbers that are in use are tried.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.columns import columns_of
from xentcli.diagnose.dumps import rows_at
from xentcli.formats import FORMATS
from xentcli.methods.arithmetic import Arithmetic
from xentcli.methods.steps import STEPS, Step
from xentcli.words import Z_LOSS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.diagnose.dumps import Shard
    from xentcli.formats import FloatArray

_MOST: Final = 2**20  # logits that are read of single rows, in half a second for each number that is tried
_MOST_OF_MEAN: Final = 2**22  # logits of which a mean is computed for each number in use, in five seconds
_ROWS: Final = 256  # of the dump, spread over it: all have to agree
_FEWEST: Final = 4  # rows: of fewer a common number says little
_TELLING: Final = 2  # rows that the number is sought in
_ROUNDINGS: Final = 32  # of the largest number of a row: what a careful loss in its format may be off
_HALVINGS: Final = 60  # of an interval between two numbers of a grid: to float64's last digits
_DIGITS: Final = 9  # of a number that somebody chose

_AR: Final = Arithmetic()
_Losses = Callable[["FloatArray", "NDArray[Any]", float], "FloatArray"]


@dataclass(frozen=True, slots=True)
class Knob:
    """A knob: the losses (n,) of logits (n, C) with it, where its number is sought, the numbers in use."""

    name: str
    losses: _Losses
    grid: "FloatArray"
    used: tuple[float, ...]
    definition: str
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Found:
    """A knob with its number, and in how many rows it explains the losses."""

    knob: Knob
    value: float
    rows: int

    @property
    def definition(self) -> str:
        """What the loss is: completes "the loss is …"."""
        return self.knob.definition.format(f"{self.value:.6g}")


def _plain(x: "FloatArray", y: "NDArray[Any]") -> "FloatArray":
    """Return the losses (n,) of logits (n, C) at class indices (n,) or rows of labels (n, C)."""
    size = _log_sum(x)
    if y.ndim == 1:
        return np.asarray(size - x[np.arange(len(x)), y])
    return np.asarray(size * y.sum(axis=1) - np.where(y != 0, y * x, 0.0).sum(axis=1))


def _log_sum(x: "FloatArray") -> "FloatArray":
    top = x.max(axis=1, keepdims=True)
    return np.asarray((top + np.log(np.exp(x - top).sum(axis=1, keepdims=True)))[:, 0])


def _smoothed(x: "FloatArray", y: "NDArray[Any]", share: float) -> "FloatArray":
    """Return (1 - ε) times the losses, and ε times the mean loss of all classes."""
    return np.asarray((1 - share) * _plain(x, y) + share * (_log_sum(x) - x.mean(axis=1)))


def _stepped(step: Step) -> Knob:
    return Knob(
        step.name,
        lambda x, y, value: _plain(step.apply(_AR, x, value), y),
        np.geomspace(0.01, 10_000, 241),
        step.used,
        f"that of the logits {step.phrase}",
        f"{step.cause}, and the dump has them as they were before",
        "Save the logits that the loss is given, or put its number into the case.",
    )


_KNOBS: Final = (
    *(_stepped(step) for step in reversed(STEPS)),  # 1 / T for a scale is more usual than T
    Knob(
        Z_LOSS,
        lambda x, y, value: _plain(x, y) + value * _log_sum(x) ** 2,
        np.geomspace(1e-7, 1, 29),
        (1e-6, 1e-5, 2e-5, 1e-4, 2e-4, 1e-3, 1e-2),
        "the true one plus a z-loss of {} (log Σ exp x)²",
        "the run adds a z-loss to what it logs",
        "Log the loss and the z-loss apart.",
    ),
)
_SMOOTHING: Final = Knob(  # of single rows its number is known without a search
    "label_smoothing",
    _smoothed,
    np.zeros(0),
    (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    "that of labels smoothed by {}",
    "the loss smooths labels, and the dump has them as they were before",
    "Compare it with a loss that smooths them alike.",
)


@np.errstate(all="ignore")  # what overflows explains nothing
def knob_of_rows(shards: "Sequence[Shard]", ignore_index: int) -> Found | None:
    """Return the knob that explains the losses that a dump holds, in all rows that are read; None if none."""
    sample = _sample(shards, ignore_index)
    if sample is None:
        return None
    x, y, given, room = sample
    telling = np.argsort(-np.abs(given - _plain(x, y)) / room, kind="stable")[:_TELLING]

    def holds(knob: Knob, value: float, rows: "NDArray[Any] | slice" = slice(None)) -> bool:
        apart = np.abs(knob.losses(x[rows], y[rows], value) - given[rows])
        return bool((apart <= room[rows]).all())

    for knob in _KNOBS:
        for row in telling:
            for value in _roots(knob, x[[row]], y[[row]], given[row]):
                shortest = (float(f"{value:.{digits}g}") for digits in range(1, _DIGITS + 1))
                for number in dict.fromkeys(shortest):
                    if holds(knob, number, telling) and holds(knob, number):
                        return Found(knob, number, len(x))
    return None


def _sample(
    shards: "Sequence[Shard]", ignore_index: int
) -> "tuple[FloatArray, NDArray[Any], FloatArray, FloatArray] | None":
    """Read rows spread over a dump: logits, labels, recorded losses, what these may be off; None if few."""
    rows, classes = sum(len(each.logits) for each in shards), shards[0].logits.shape[1]
    places = np.unique(np.linspace(0, rows - 1, min(rows, _ROWS, max(1, _MOST // classes))).astype(np.int64))
    x, y, given = (rows_at(shards, places, name) for name in ("logits", "labels", "losses"))
    found = columns_of(x, y, (), ignore_index, shards[0].kind)
    dtypes = (shards[0].format, str(shards[0].losses.dtype.newbyteorder("=")))
    wide, given = x.astype(np.float64), given.astype(np.float64)
    size = np.where(np.isfinite(wide), np.abs(wide), 0.0).max(axis=1)
    room = (
        max(FORMATS[name].eps for name in dtypes)
        * _ROUNDINGS
        * (np.maximum(size, found.loss) + np.abs(given))
    )
    says = np.isfinite(found.loss) & np.isfinite(given) & ~found.ignored
    if says.sum() < _FEWEST:
        return None
    return wide[says], y[says], given[says], np.asarray(room[says], np.float64)


def _roots(knob: Knob, x: "FloatArray", y: "NDArray[Any]", given: float) -> Iterator[float]:
    """Yield the numbers of a knob with which a row (1, C) has the loss that is given, between grid points."""

    def apart(value: float) -> float:
        return float(knob.losses(x, y, value)[0]) - given

    signs = [apart(value) > 0 for value in knob.grid.tolist()]
    for at in (at for at in range(len(signs) - 1) if signs[at] != signs[at + 1]):
        low, high = knob.grid[at : at + 2].tolist()
        for _ in range(_HALVINGS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if (apart(middle) > 0) == signs[at] else (low, middle)
        yield high


@np.errstate(all="ignore")
def knobs_of_mean(
    shards: "Sequence[Shard]", ignore_index: int, is_it: Callable[[float], bool]
) -> Iterable[Found]:
    """Yield knobs with a number in use that give the mean in question, of up to 4 million logits."""
    rows, classes = sum(len(each.logits) for each in shards), shards[0].logits.shape[1]
    if shards[0].labels is None or classes == 1 or rows * classes > _MOST_OF_MEAN:
        return
    x, y = (rows_at(shards, np.arange(rows), name) for name in ("logits", "labels"))
    found = columns_of(x, y, (), ignore_index, shards[0].kind)
    counts = ~found.ignored & np.isfinite(found.loss)
    wide, y = x[counts].astype(np.float64), y[counts]
    for knob in (*_KNOBS, _SMOOTHING) if len(wide) else ():
        for value in knob.used:
            if is_it(float(knob.losses(wide, y, value).mean())):
                yield Found(knob, value, len(wide))

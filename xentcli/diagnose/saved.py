"""What a file of ``xentcli.watch`` says beside its rows: of which step they are, and what was wrong there."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError, count, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xentcli.formats import IntArray

SCHEMA: Final = "xent.batch/1"
_LONGEST: Final = 2**20  # bytes of the text; its longest list has 64 numbers
_LONGEST_SAID: Final = 100  # characters of what was wrong


@dataclass(frozen=True, slots=True, eq=False)
class SavedStep:
    """A step of which a file holds some rows.

    ``numbers`` (n,) are those of the rows in the step, which had ``total``; ``what`` says what was wrong.
    ``observed`` is the loss where that was nan or infinite. ``ignore_index`` is the label of rows that did
    not count, and ``binary`` whether each row is a logit of its own. What is not known is None.
    """

    numbers: "IntArray"
    total: int
    what: str
    observed: str | None
    step: int | None
    rank: int | None
    ignore_index: int | None
    binary: bool

    def __str__(self) -> str:
        """Name it: ``5 of 256 rows of step 812, rank 3, where the loss is nan``."""
        step = "a step" if self.step is None else f"step {self.step}"
        rank = "" if self.rank is None else f", rank {self.rank}"
        where = f", where the {self.what}" if self.what else ""
        return f"{len(self.numbers)} of {count(self.total, 'row')} of {step}{rank}{where}"

    @property
    def gradient(self) -> str:
        """Say where to look for a gradient that is not finite."""
        return "look for what is masked or guarded after the logits, whose gradient is 0 times inf"

    @property
    def is_part(self) -> bool:
        """Whether the step had other rows too."""
        return len(self.numbers) < self.total


def saved_step(path: str, found: "Mapping[str, Any]") -> SavedStep | None:
    """Return the step of which a file of arrays holds some ``logits``, None for any other file.

    Arrays are read by slices. Raises XentError where a file says that it is one, and its rows cannot be.
    """
    meta = _meta(found.get("meta"))
    if meta is None or "logits" not in found:
        return None
    stored: Any = found.get("rows")
    shape, binary = found["logits"].shape, meta.get("binary") is True
    if not (shape[1:] in {(), (1,)} and shape if binary else len(shape) == 2):  # noqa: PLR2004 - (n, C)
        expected = "(n, 1)" if binary else "(n, C)"
        raise XentError(
            f"{printable(path)}: its 'meta' is that of a step ({SCHEMA}), but its logits are of shape "
            f"{shape}, not {expected}; pass the file that xentcli.watch wrote"
        )
    rows = shape[0]
    total = _natural(meta.get("rows"))
    is_list = stored is not None and stored.dtype.kind in "iu" and stored.shape == (rows,)
    numbers = stored[0:rows] if is_list else None
    if (
        numbers is None
        or total is None
        or (rows and not 0 <= numbers.min() <= numbers.max() < total)
        or len(np.unique(numbers)) < rows
    ):
        raise XentError(
            f"{printable(path)}: its 'meta' is that of a step ({SCHEMA}), but its 'rows' do not number "
            f"{count(rows, 'row')} of one; pass the file that xentcli.watch wrote"
        )
    observed = {'["nan"]': "nan", '["inf"]': "inf"}.get(json.dumps(meta.get("loss")))
    ignored, what = meta.get("ignore_index"), meta.get("what")
    return SavedStep(
        numbers.astype(np.int64),
        total,
        printable(what)[:_LONGEST_SAID] if isinstance(what, str) else "",
        observed,
        _natural(meta.get("step")),
        _natural(meta.get("rank")),
        ignored if type(ignored) is int and -(2**63) <= ignored < 2**63 else None,  # True is no label
        binary,
    )


def ignored_by(steps: "Sequence[SavedStep | None]") -> int | None:
    """Return the label that the steps of all files ignored, None where they differ or some say none."""
    ignored = {None if step is None else step.ignore_index for step in steps}
    return ignored.pop() if len(ignored) == 1 else None


def observed_in(steps: "Sequence[SavedStep | None]") -> str | None:
    """Return the loss that the step of the only file had, where that was nan or infinite."""
    return steps[0].observed if len(steps) == 1 and steps[0] is not None else None


def _meta(stored: Any) -> "dict[str, Any] | None":  # noqa: ANN401 - an array, or None
    """Return what the text of a file says, None where it is no such text."""
    is_text = stored is not None and stored.dtype.kind == "U" and stored.shape in {(), (1,)}
    if not is_text or stored.dtype.itemsize > _LONGEST:
        return None
    try:
        meta = json.loads(str(stored[0:1].item()))
    except (ValueError, RecursionError):
        return None
    return meta if isinstance(meta, dict) and meta.get("schema") == SCHEMA else None


def _natural(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None

"""The logits and labels of one call, and the blocks of rows that threads take."""

from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli import formats
from xentcli.arrays import to_numpy
from xentcli.bulk.halves import stored, to_float16, widen
from xentcli.bulk.terms import Terms, evaluate
from xentcli.errors import XentError
from xentcli.threads import for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from xentcli.bulk.terms import Positions
    from xentcli.formats import BoolArray, FloatArray, IntArray

    Workspace = tuple[FloatArray, ...]

# Numbers of a block: its exponentials are 8 MiB at most, and 2 MiB of float64, which has temporaries. A call
# of NumPy takes a microsecond in which no other thread runs, and some forty are made for each block.
_BLOCK: Final = {"float32": 2**20, "float64": 2**18}


class Rows:
    """Logits (N, C) and labels (N,) of one call. Nothing in it changes.

    ``dtype`` is native; logits are evaluated as ``format``, and their exponentials as ``room_format``: with
    digits to spare, but for those of float64. ``is_plain`` is False where logits have to be copied for it.
    """

    def __init__(self, logits: "ArrayLike", labels: "ArrayLike", ignore_index: int | None) -> None:
        logits, labels = to_numpy(logits, "logits"), to_numpy(labels, "labels")
        self.logits, self.dtype = logits, logits.dtype.newbyteorder("=")
        if str(self.dtype) not in formats.FORMATS or logits.ndim != 2 or not logits.shape[1]:  # noqa: PLR2004 - (N, C)
            expected = f"{', '.join(formats.FORMATS)} of shape (N, C), C at least 1"
            raise XentError(f"logits are {logits.dtype} of shape {logits.shape}; expected {expected}")
        if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
            expected = f"class indices of shape {logits.shape[:1]}"
            raise XentError(f"labels are {labels.dtype} of shape {labels.shape}; expected {expected}")
        self.is_half = self.dtype.itemsize == 2  # noqa: PLR2004 - bytes
        self.format = np.dtype(np.float64 if self.dtype == np.float64 else np.float32)
        self.room_format = np.dtype(np.float32 if self.is_half else np.float64)
        self.is_plain = logits.dtype == self.format and logits.dtype.isnative and logits.flags.c_contiguous
        self._labels, self._ignore_index = labels, ignore_index

    @cached_property
    def label(self) -> "IntArray":
        """The class of each row (N,), 0 where a label is none."""
        label = self._labels.astype(np.int64)  # a copy: whatever becomes of the caller's, each is a class
        if label.size and (label.min() < 0 or label.max() >= self.logits.shape[1]):
            label[(label < 0) | (label >= self.logits.shape[1])] = 0
        return label

    @cached_property
    def ignored(self) -> "BoolArray":
        """Marks labels that are ignored (N,)."""
        if self._ignore_index is None:
            return np.zeros(len(self.logits), bool)
        return np.asarray(self._labels == self._ignore_index)

    @cached_property
    def counts(self) -> "BoolArray":
        """Marks labels with a loss (N,)."""
        return (self.label == self._labels) & ~self.ignored

    def block(self, part: slice) -> "Rows":
        """Return consecutive rows, whose labels are looked at by the thread that takes them."""
        return Rows(self.logits[part], self._labels[part], self._ignore_index)

    def take(self, rows: "Positions") -> "Rows":
        """Return some of the rows, all of whose labels are taken for classes."""
        return Rows(self.logits[rows], self.label[rows], None)

    def some(self, rows: "Positions") -> "Rows":
        """Return some of the rows, their labels marked as they are here."""
        found = self.take(rows)
        found.ignored, found.counts = self.ignored[rows], self.counts[rows]
        return found

    def evaluate(self, part: slice, workspace: "Workspace") -> Terms:
        """Evaluate the rows of a block; the result lies in the workspace, until it is used again."""
        x = self.logits[part]
        if not self.is_plain:
            widen(x, workspace[1][: len(x)])
            x = workspace[1][: len(x)]
        return evaluate(x, self.label[part], workspace[0])

    def losses(self, part: slice, terms: Terms) -> "FloatArray":
        """Return the losses of a block, in the wider format: nan at an invalid label, 0 at an ignored one."""
        losses = terms.losses()
        self.mark(part, losses)
        return losses

    def mark(self, part: slice, numbers: "FloatArray") -> None:
        """Write nan to losses or gradients of a block at an invalid label, 0 at an ignored one."""
        if not self.counts[part].all():
            numbers[~self.counts[part]] = np.nan
            numbers[self.ignored[part]] = 0

    def write_gradient(self, part: slice, terms: Terms, gradient: "FloatArray") -> None:
        """Write the gradients (n, C) of a block, which are made in the place of the exponentials."""
        total, e = terms.other_terms + terms.label_term, terms.e
        factor = (1 / total).astype(e.dtype)[:, None]
        out = e if self.is_half else gradient
        np.multiply(e, factor, out=out, casting="same_kind")
        out[np.arange(len(total)), terms.label] = -terms.other_terms / total
        if self.is_half:
            gradient[...] = to_float16(e) if self.dtype == np.float16 else e
        self.mark(part, gradient)


def losses_of(rows: Rows, gradient: "FloatArray | None", threads: int | None) -> "FloatArray":
    """Return the losses (N,), and write the gradient if there is an array for it."""
    result = np.empty(len(rows.logits), rows.dtype)

    def evaluate(part: slice, workspace: "Workspace") -> None:
        terms = rows.evaluate(part, workspace)
        result[part] = stored(rows.losses(part, terms), rows.dtype)
        if gradient is not None:
            rows.write_gradient(part, terms, gradient[part])

    in_blocks(rows, evaluate, threads)
    return result


def in_blocks(
    rows: Rows,
    evaluate: "Callable[[slice, Workspace], object]",
    threads: int | None = None,
) -> None:
    """Call ``evaluate`` with every block of rows, in threads, with a workspace that no other uses meanwhile.

    A workspace, 1 or 2 arrays (n, C), has room for exp of n rows, and for their logits where they are copied.
    """
    examples, classes = rows.logits.shape
    kinds = (rows.room_format,) if rows.is_plain else (rows.room_format, rows.format)
    spare: list[Workspace] = []
    number = max(1, _BLOCK[str(rows.format)] // classes)

    def work(start: int) -> None:
        try:
            workspace = spare.pop()
        except IndexError:
            # Apart: where input and output touch, NumPy 1.23 takes another exp, with other bits.
            workspace = tuple(np.empty((number, classes), kind) for kind in kinds)
        with np.errstate(all="ignore"):
            evaluate(slice(start, min(start + number, examples)), workspace)
        spare.append(workspace)

    for_each(range(0, examples, number), work, threads)

"""Which array of a file is which, by its name and shape."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from xentcli import formats
from xentcli.diagnose.files.stored import StoredArray, loaded
from xentcli.errors import XentError, count, printable

LOGITS: Final = (
    "logits",
    "preds",
    "outputs",
    "output",
    "scores",
    "y_pred",
)  # what training loops call them, ours first
LABELS: Final = ("labels", "label", "targets", "target", "y", "y_true")
LOSSES: Final = ("losses", "loss")
LOG_PROBABILITIES: Final = ("logprobs", "log_probs")
_VALUES: Final = (*LOGITS, "values", *LOG_PROBABILITIES)  # of a top-k dump, whose classes are indices
_INDICES: Final = "indices"
_LOGSUMEXPS: Final = ("logsumexp", "lse", "log_z")
_NAMED, _LONGEST_NAME = 8, 40  # arrays of a file that a message names, and characters of a name


def only_integers(found: Mapping[str, StoredArray]) -> tuple[str, StoredArray | None]:
    """Return the only array of integers, None where there are none or several."""
    names = [name for name, array in found.items() if array.dtype.kind in "iu"]
    return (names[0], found[names[0]]) if len(names) == 1 else ("", None)


def array_named(
    path: str, found: Mapping[str, StoredArray], chosen: str | None, known: Sequence[str]
) -> tuple[str, StoredArray]:
    """Return an array and its name: the one chosen, the first of the known names, or the only one."""
    only = list(found)[:1] if len(found) == 1 and chosen in {None, *found} else []
    only = [] if known is LOGITS and chosen is None and only and only[0] in LABELS else only
    names = [name for name in ((chosen,) if chosen is not None else known) if name in found] or only
    if not names and chosen is None and known is LOGITS:  # of two arrays the logits are the one of numbers
        names = [name for name, array in found.items() if array.ndim > 1 and array.dtype.kind in "fV"]
        names = names if len(names) == 1 else []
    if not names and found:
        wanted = f"'{short(chosen or known[0])}', but {listed(found)}"
        option = f"; pass --{known[0]}-name, such as --{known[0]}-name {short(next(iter(found)))}"
        option = option if chosen is None else ""
        raise XentError(f"{printable(path)}: has no array {wanted}{option}")
    if not names:
        raise XentError(f"{printable(path)}: holds no array")
    return names[0], found[names[0]]


def listed(found: Mapping[str, StoredArray]) -> str:
    """Name the first arrays of a file with their shapes."""
    shown = [
        f"{short(name)} {'(not read)' if array.unread else array.shape}"
        for name, array in islice(found.items(), _NAMED)
    ]
    return ", ".join([*shown, *(["…"] if len(found) > _NAMED else [])])


def short(name: str) -> str:
    """Return the name of an array, inert, and cut where it is long."""
    return printable(name[:_LONGEST_NAME]) + ("…" if len(name) > _LONGEST_NAME else "")


class TopK(NamedTuple):
    """Of a top-k dump the name of its values (…, k), and the array (…, k) of the indices of their classes."""

    values: str
    indices: StoredArray


def top_k(
    path: str,
    found: Mapping[str, StoredArray],
    beside: Mapping[str, StoredArray],
    values_name: str | None,
    *,
    is_asked: bool,
) -> TopK | None:
    """Return the arrays of a top-k dump: values in ``found``, indices there or in a file ``beside``.

    By itself a file is one that calls integers ``indices`` which have the shape of its logits; where it
    ``is_asked`` to be one, any integers of that shape will do. Else return None, or raise XentError.
    """
    known = _VALUES if values_name is None else (values_name,)
    others = {*LABELS, *LOSSES, *_LOGSUMEXPS}  # of sequences they have two axes too
    arrays, beside = ({name: each[name] for name in each if name not in others} for each in (found, beside))
    values = [name for name in arrays if arrays[name].dtype.kind in "fV" and arrays[name].ndim > 1]
    integers = {name: array for name, array in (beside or arrays).items() if array.dtype.kind in "iu"}
    pairs = [
        TopK(name, array)
        for name in sorted(values, key=lambda name: known.index(name) if name in known else len(known))
        for array in integers.values()
        if found[name].shape == array.shape and values_name in {None, name}
    ]
    usual = [pair for pair in pairs if pair.values in known and pair.indices is integers.get(_INDICES)]
    first = next((name for name in known if name in found), None)
    if usual and (is_asked or usual[0].values == first):
        return usual[0]
    other = found.get(_INDICES)
    if other is not None and first in values and (is_asked or first not in LOGITS):
        what = f"{short(str(other.dtype))} of shape {other.shape}"
        expected = f"integers of the shape of {short(first)}, {found[first].shape}"
        raise XentError(f"{printable(path)}: indices are {what}; expected {expected}")
    if not is_asked:
        return None
    if len(pairs) == 1:
        return pairs[0]
    held = " and ".join(listed(each).strip() for each in (found, beside) if each)
    raise XentError(
        f"{printable(path)}: a top-k dump has values (N, k) and integers (N, k), the indices of their "
        f"classes; it holds {held}; give --indices FILE, and --logits-name NAME for the values"
    )


def logsumexp(
    path: str, held: Mapping[str, StoredArray], rows: int, *, is_only: bool = False
) -> StoredArray | None:
    """Return the log-normalisers of rows, None where there are none.

    In a file that ``is_only`` for them they may have any name.
    """
    names = [each for each in _LOGSUMEXPS if each in held] or list(held) * (is_only and len(held) == 1)
    if not names and is_only:
        raise XentError(f"{printable(path)}: has no array '{_LOGSUMEXPS[0]}', but {listed(held)}")
    if not names:
        return None
    stored = held[names[0]].with_bfloat16(path)
    if str(stored.dtype.newbyteorder("=")) not in formats.FORMATS or stored.size != rows:
        what = f"{short(str(stored.dtype))} of shape {stored.shape}"
        expected = f"floats, one for each of {count(rows, 'row')}"
        raise XentError(f"{printable(path)}: logsumexp is {what}; expected {expected}")
    return stored.flat()


def zeros(rows: int) -> StoredArray:
    """Return the log-normalisers of log-probabilities; they take no memory."""
    return loaded(np.broadcast_to(np.float64(0), (rows,)))

"""A case to start from: a commented template, or the arrays that a program dumped."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import load
from xentcli.diagnose.files import arrays
from xentcli.diagnose.saved import SavedStep, saved_step
from xentcli.errors import Refused, XentError, printable
from xentcli.load.checks import MOST_EXAMPLES
from xentcli.load.keys import GROUPS, Key
from xentcli.load.sources import MAX_BYTES, Source
from xentcli.load.write import case_yaml
from xentcli.words import DTYPES, IGNORE_INDEX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from xentcli.diagnose.files.stored import StoredArray
    from xentcli.formats import FloatArray

_NAMES: Final = ("logits", "labels", "probabilities")
_MOST_BYTES = 2 * MAX_BYTES  # of arrays: a number of a float16 dump, 2 bytes, is written with 1 at least
_EXPECTS = "save one with numpy.savez(file, logits=…, labels=…)"
_LARGEST = 2**28  # bytes of a file that is opened at all: it may hold other arrays too
_TOO_LARGE = (
    "the arrays are more than a case holds; 'xent diagnose' reads them, and extracts the rows that matter"
)
_HEAD = """\
# A case: one experiment, a batch of examples and the numbers that somebody printed for it.
# 'xent run' on this file says which of them are reproduced, and what is true."""
_COLUMN = 46  # of the comments


def _line(key: Key) -> str:
    """Write an example of a key with its summary beside it, or above a long one."""
    mark = "" if key.required or key.name in {"title", "expect"} else "# "
    line, comment = f"{mark}{key.name}: {key.example}", f"# {key.summary.replace('`', '')}"
    return f"{line:<{_COLUMN}}{comment}" if len(line) < _COLUMN else f"{comment}\n{line}"


# A case that runs, with a line per key; a key that may be left out is commented out.
TEMPLATE: Final = "\n\n".join([_HEAD, *("\n".join(map(_line, group)) for group in GROUPS)]) + "\n"


def from_dump(path: str) -> str:
    """Return the case of the arrays ``logits``, ``labels`` and perhaps ``probabilities`` of a file.

    Raises XentError where the file has no such arrays, or more than a case can hold.
    """
    try:
        found = _read(path)
        saved = saved_step(path, found)
        names = _NAMES if saved is None else _NAMES[:2]  # what else a step had is context, and no case
        stored = {name: found[name].with_bfloat16(path).whole() for name in names if name in found}
        text = _case(path, stored, saved)
        load.load(Source(path, Path(path).stem, text.encode()))
    except Refused as refused:
        raise XentError(f"{printable(path)}: {refused.problems[0].problem}") from refused
    return text


def _read(path: str) -> "Mapping[str, StoredArray]":
    """Open the arrays of a case."""
    if Path(path).is_file() and Path(path).stat().st_size > _LARGEST:
        raise XentError(f"{printable(path)}: {_TOO_LARGE}")
    found = arrays(path)
    for name in ("logits", "labels"):
        if name not in found:
            names = ", ".join(f"{printable(name):.40}" for name in list(found)[:8]) or "nothing"
            one = (
                "is one array, not an .npz of arrays"
                if list(found) == [""]
                else f"has no array {name}, but {names}"
            )
            raise XentError(f"{printable(path)}: {one}; {_EXPECTS}, or make a case by {_extract(path)}")
    if sum(found[name].size * found[name].dtype.itemsize for name in _NAMES if name in found) > _MOST_BYTES:
        raise XentError(f"{printable(path)}: {_TOO_LARGE}")
    return found


def _extract(path: str) -> str:
    return f"'xent diagnose {printable(path)} --extract case.yaml'"


def _case(path: str, arrays: "dict[str, NDArray[Any]]", saved: SavedStep | None) -> str:
    logits, labels = _floats(path, arrays, "logits"), arrays["labels"]
    if len(logits) > MOST_EXAMPLES:
        raise XentError(f"{printable(path)}: {_TOO_LARGE}")
    title = f"Logits of {printable(Path(path).name)}"
    if saved is not None:
        title = f"{title}: {saved}"
        logits = logits.reshape(-1) if saved.binary else logits
        labels = _with_ignored(labels, saved.ignore_index)
    if labels.dtype.kind not in "biu":
        labels = _floats(path, arrays, "labels", logits)
    elif labels.ndim != 1:
        shape = f"{labels.dtype} of shape {labels.shape}"
        raise XentError(f"{printable(path)}: labels is {shape}; class indices and binary labels are (N,)")
    probabilities = _floats(path, arrays, "probabilities", logits) if "probabilities" in arrays else None
    text = case_yaml(title, logits, labels, probabilities=probabilities)
    if len(text) > MAX_BYTES:
        raise XentError(f"{printable(path)}: {_TOO_LARGE}")
    return text


def _with_ignored(labels: "NDArray[Any]", ignored: int | None) -> "NDArray[Any]":
    """Return labels in which those that were ignored in the step are -100, and no others are."""
    if ignored is None or ignored == IGNORE_INDEX or labels.dtype.kind not in "iu" or labels.ndim != 1:
        return labels
    is_ignored, wide = labels == ignored, labels.astype(np.int64)
    return np.where(is_ignored, IGNORE_INDEX, np.where(wide == IGNORE_INDEX, -1, wide))


def _floats(
    path: str, arrays: "dict[str, NDArray[Any]]", name: str, logits: "FloatArray | None" = None
) -> "FloatArray":
    """Return an array in native byte order, whose numbers are numbers of the logits' format too."""
    array = arrays[name]
    native: FloatArray = array.astype(array.dtype.newbyteorder("="))
    if str(native.dtype) not in DTYPES or native.ndim not in {1, 2} or not native.size:
        expects = f"{', '.join(DTYPES[:-1])} or {DTYPES[-1]}, (N, C) or of a binary loss (N,)"
        raise XentError(
            f"{printable(path)}: {name} is {array.dtype} of shape {array.shape}; a case holds {expects}"
            + (f"; make one of its worst rows by {_extract(path)}" if native.ndim > 2 else "")  # noqa: PLR2004 - (…, C)
        )
    if logits is not None and not np.can_cast(native.dtype, logits.dtype):
        rounding = f"{name} is {native.dtype} and would be rounded to the {logits.dtype} of the logits"
        raise XentError(f"{printable(path)}: {rounding}; dump them in one format")
    return native

"""A case to start from: a commented template, or the arrays that a program dumped."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats, load
from xentcli.diagnose.files import refuse_other_packing
from xentcli.errors import Refused, XentError, printable
from xentcli.load.checks import MOST_EXAMPLES
from xentcli.load.keys import GROUPS, Key
from xentcli.load.sources import MAX_BYTES, Source
from xentcli.load.write import case_yaml
from xentcli.words import DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import FloatArray

_MOST_BYTES = 2 * MAX_BYTES  # of arrays: a number of a float16 dump, 2 bytes, is written with 1 at least
_EXPECTS = "save one with numpy.savez(file, logits=…, labels=…)"
_TOO_LARGE = "the arrays are more than a case holds; dump the rows that matter"
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
    """Return the case of the arrays ``logits``, ``labels`` and perhaps ``probabilities`` of an .npz file.

    Raises XentError where the file has no such arrays, or more than a case can hold.
    """
    try:
        text = _case(f"Logits of {printable(Path(path).name)}", _read(path))
        load.load(Source(path, Path(path).stem, text.encode()))
    except OSError as error:
        raise XentError(f"{path}: cannot be read: {error.strerror or error}") from error
    except XentError as error:
        problem = error.problems[0].problem if isinstance(error, Refused) else error
        raise XentError(f"{path}: {problem}") from error
    return text


def _read(path: str) -> "dict[str, NDArray[Any]]":
    """Read the arrays of a case; nothing is ever unpickled."""
    if Path(path).is_fifo():  # it would be waited for
        raise XentError("is no regular file")
    try:
        with Path(path).open("rb") as file:
            return _arrays(np.load(file, allow_pickle=False))
    except (OSError, XentError):
        raise
    except Exception as error:
        raise XentError(f"is no .npz of plain arrays; {_EXPECTS}") from error


def _arrays(archive: Any) -> "dict[str, NDArray[Any]]":  # noqa: ANN401 - what numpy.load returns
    if isinstance(archive, np.ndarray):
        raise XentError(f"is one array, not an .npz of arrays; {_EXPECTS}")
    for name in ("logits", "labels"):
        if name not in archive:
            names = ", ".join(f"{name:.40}" for name in list(archive)[:8]) or "nothing"
            raise XentError(f"has no array {name}, but {names}; {_EXPECTS}")
    refuse_other_packing(archive.zip)
    if sum(member.file_size for member in archive.zip.infolist()) > _MOST_BYTES:
        raise XentError(_TOO_LARGE)
    arrays = {name: archive[name] for name in ("logits", "labels", "probabilities") if name in archive}
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise TypeError
    return arrays


def _case(title: str, arrays: "dict[str, NDArray[Any]]") -> str:
    logits, labels = _floats(arrays, "logits"), arrays["labels"]
    if len(logits) > MOST_EXAMPLES:
        raise XentError(_TOO_LARGE)
    if labels.dtype.kind not in "biu":
        labels = _floats(arrays, "labels", logits)
    elif labels.ndim != 1:
        shape = f"{labels.dtype} of shape {labels.shape}"
        raise XentError(f"labels is {shape}; class indices and binary labels are (N,)")
    probabilities = _floats(arrays, "probabilities", logits) if "probabilities" in arrays else None
    text = case_yaml(title, logits, labels, probabilities=probabilities)
    if len(text) > MAX_BYTES:
        raise XentError(_TOO_LARGE)
    return text


def _floats(arrays: "dict[str, NDArray[Any]]", name: str, logits: "FloatArray | None" = None) -> "FloatArray":
    """Return an array in native byte order, whose numbers are numbers of the logits' format too."""
    array = arrays[name]
    if array.dtype == np.dtype("V2"):  # how a file holds bfloat16
        array = array.view(formats.dtype("bfloat16"))
    native: FloatArray = array.astype(array.dtype.newbyteorder("="))
    if str(native.dtype) not in DTYPES or native.ndim not in {1, 2} or not native.size:
        expects = f"{', '.join(DTYPES[:-1])} or {DTYPES[-1]}, (N, C) or of a binary loss (N,)"
        raise XentError(f"{name} is {array.dtype} of shape {array.shape}; a case holds {expects}")
    if logits is not None and not np.can_cast(native.dtype, logits.dtype):
        rounding = f"{name} is {native.dtype} and would be rounded to the {logits.dtype} of the logits"
        raise XentError(f"{rounding}; dump them in one format")
    return native

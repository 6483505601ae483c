"""A case to start from: a commented one, or one of arrays that a program has dumped."""

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli import formats, load
from xentcli.errors import Refused, XentError, printable
from xentcli.load.sources import MAX_BYTES, Source
from xentcli.words import DTYPES, IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import FloatArray

TEMPLATE = """\
# A case: one experiment, a batch of examples and the numbers that somebody printed for it.
# 'xent run' on this file says which of them come out, and what is true.

title: A wrong and confident answer loses 30       # a statement: what the case shows
# source: https://…                                # where the inputs and numbers come from
# dtype: float32                                   # float16, bfloat16, float32 or float64
# arithmetic: numpy                                # eigen: TensorFlow 1.x, bit for bit
# accumulate: float32                              # what sums are carried in; or sequential

logits: [[0, 30], [2, 1]]                          # a row an example, a number a class
labels: [0, 0]                                     # the class of each example; or rows of probabilities
# probabilities: [[1, 0], [0.7, 0.3]]              # what naive and clipped take instead of the softmax

# class_weights: [1, 1]                            # these three as in torch.nn.functional.cross_entropy
# label_smoothing: 0.1
# ignore_index: -100

# clip: [1e-7, 1.0]                                # the bounds of clipped
reduction: mean                                    # none, mean or sum

expect:                                            # what the source printed, with its digits
  dense: [30.0, 0.3133]
# derived:                                         # what follows from the definition instead
#   log1p: 15.15663
"""
_WORTH = 8  # equal numbers in a row that are written as one
_MOST_BYTES = 2 * MAX_BYTES  # of arrays
_WANTED = "save one with numpy.savez(file, logits=…, labels=…)"
_TOO_LARGE = "the arrays are more than a case holds; dump the rows that matter"


def from_dump(path: str) -> str:
    """Return the case of the arrays ``logits``, ``labels`` and perhaps ``probabilities`` of an .npz file.

    The digits are the fewest that read back as the same bits; nan loses its sign and payload. Raises
    XentError where the file holds no such arrays, or more than a case can.
    """
    arrays = _read(path)
    logits = _floats(path, "logits", arrays["logits"])
    labels = arrays["labels"]
    if labels.dtype.kind not in "biu":
        labels = _as_wide(path, "labels", labels, logits)
    elif labels.ndim != 1:
        shape = f"{labels.dtype} of shape {labels.shape}"
        raise XentError(f"{path}: labels is {shape}; class indices and binary labels are (N,)")
    written = text(f"Logits of {printable(Path(path).name)}", logits, labels)
    if "probabilities" in arrays:
        wide = _as_wide(path, "probabilities", arrays["probabilities"], logits)
        written += _written("probabilities", wide) + "\n"
    if len(written) > MAX_BYTES:
        raise XentError(f"{path}: {_TOO_LARGE}")
    try:
        load.load(Source(path, Path(path).stem, written.encode()))
    except Refused as refused:
        raise XentError(f"{path}: {refused.problems[0].problem}") from refused
    return written


def text(title: str, logits: "FloatArray", labels: "NDArray[Any]", source: str | None = None) -> str:
    """Return the case of arrays: logits (N, C), or (N,) of a binary loss, and labels of either kind.

    The digits are the fewest that read back as the same bits; nan loses its sign and payload.
    """
    quoted = json.dumps(title, ensure_ascii=False)
    parts = [f"title: {quoted}"]
    parts += [] if source is None else [f"source: {json.dumps(source, ensure_ascii=False)}"]
    parts += [f"dtype: {logits.dtype}", _written("logits", logits), _labels(labels, logits)]
    return "\n".join(parts) + "\n"


def _read(path: str) -> "Mapping[str, Any]":
    """Read the arrays; nothing is ever unpickled."""
    try:
        with Path(path).open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = _arrays(path, loaded)
    except OSError as error:
        raise XentError(f"{path}: cannot be read: {error.strerror or error}") from error
    except XentError:
        raise
    except Exception as error:
        raise XentError(f"{path}: is no .npz of plain arrays; {_WANTED}") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise XentError(f"{path}: is no .npz of plain arrays; {_WANTED}")
    return arrays


def _arrays(path: str, loaded: Any) -> "Mapping[str, Any]":  # noqa: ANN401 - an array or an archive
    """Read the arrays that make a case."""
    if isinstance(loaded, np.ndarray):
        raise XentError(f"{path}: is one array, not an .npz of arrays; {_WANTED}")
    for name in ("logits", "labels"):
        if name not in loaded:
            held = ", ".join(loaded) or "nothing"
            raise XentError(f"{path}: has no array {name}, but {held}; {_WANTED}")
    if sum(member.file_size for member in loaded.zip.infolist()) > _MOST_BYTES:
        raise XentError(f"{path}: {_TOO_LARGE}")
    return {name: loaded[name] for name in ("logits", "labels", "probabilities") if name in loaded}


def _floats(path: str, name: str, array: Any) -> "FloatArray":  # noqa: ANN401 - whatever a file holds
    """Return the array in native byte order; bfloat16 comes out of a file as two bytes without a type."""
    if array.dtype == np.dtype("V2"):
        array = array.view(formats.dtype("bfloat16"))
    native: FloatArray = array.astype(array.dtype.newbyteorder("="))
    if str(native.dtype) not in DTYPES or native.ndim not in {1, 2} or not native.size:
        known = f"{', '.join(DTYPES[:-1])} or {DTYPES[-1]}, (N, C) or of a binary loss (N,)"
        raise XentError(f"{path}: {name} is {array.dtype} of shape {array.shape}; a case holds {known}")
    return native


def _as_wide(path: str, name: str, array: Any, logits: "FloatArray") -> "FloatArray":  # noqa: ANN401 - as above
    """Return an array that the format of the logits holds."""
    floats = _floats(path, name, array)
    if np.promote_types(floats.dtype, logits.dtype) != logits.dtype:
        shown = f"{name} is {floats.dtype} and would be rounded to the {logits.dtype} of the logits"
        raise XentError(f"{path}: {shown}; dump them in one format")
    return floats


def _labels(labels: "NDArray[Any]", logits: "FloatArray") -> str:
    if labels.dtype.kind not in "biu":
        return _written("labels", labels)
    indices = [int(label) for label in labels.tolist()]
    classes = logits.shape[1] if logits.ndim > 1 else 2
    bad = {label for label in indices if not 0 <= label < classes}
    parts = [f"labels: [{_joined(map(str, indices))}]"]
    if IGNORE_INDEX in bad and logits.ndim > 1:
        parts.append(f"ignore_index: {IGNORE_INDEX}")
        bad.remove(IGNORE_INDEX)
    if bad:
        word = "nan" if logits.ndim > 1 else "as_is"
        parts.append(f"bad_labels: {word} # out of range: {', '.join(map(str, sorted(bad)))}")
    return "\n".join(parts)


def _written(key: str, array: "FloatArray") -> str:
    if array.ndim == 1:
        return f"{key}: [{_joined(_digits(array))}]"
    return "\n".join([f"{key}:", *(f"  - [{_joined(_digits(row))}]" for row in array)])


def _digits(row: "FloatArray") -> list[str]:
    """Write numbers with the fewest digits that read back, the sign of zero too."""
    if str(row.dtype) == "bfloat16":
        return [repr(float(value)) for value in row]
    return [str(value) for value in row]


def _joined(texts: Iterable[str]) -> str:
    """Join numbers; many equal ones are written as one and their number."""
    runs = ((text, len(list(same))) for text, same in groupby(texts))
    return ", ".join(f"{text} x {n}" if n >= _WORTH else ", ".join([text] * n) for text, n in runs)

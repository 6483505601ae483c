"""Arrays → the text of a case: the opposite of ``build``.

Numbers have the fewest digits that read back as the same bits; a nan loses its sign and payload.
"""

import json
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import FloatArray

_SHORTEST_RUN = 8  # equal numbers in a row that are written as one and their count


def case_yaml(  # noqa: PLR0913, PLR0917 - each is a key of a case file
    title: str,
    logits: "FloatArray",
    labels: "NDArray[Any]",
    source: str | None = None,
    clip: tuple[float, float] | None = None,
    probabilities: "FloatArray | None" = None,
) -> str:
    """Return the case of arrays in the dtype of the logits.

    ``logits`` (N, C) with ``labels`` as N integers or (N, C) probabilities; or logits (N,) with N labels, a
    binary case. A label of -100 is ignored; another that is no class is invalid and counts as nan.
    """
    parts = [f"title: {_quoted(title)}"]
    parts += [] if source is None else [f"source: {_quoted(source)}"]
    parts += [f"dtype: {logits.dtype}", _array("logits", logits)]
    parts += _indices(labels, logits) if labels.dtype.kind in "biu" else [_array("labels", labels)]
    parts += [] if probabilities is None else [_array("probabilities", probabilities)]
    parts += [] if clip is None else [f"clip: {list(clip)}"]
    return "\n".join(parts) + "\n"


def _indices(labels: "NDArray[Any]", logits: "FloatArray") -> list[str]:
    """Write labels that are integers, and what makes a case of those that are no class."""
    indices = [int(label) for label in labels.tolist()]
    parts = [f"labels: [{_join(map(str, indices))}]"]
    classes = logits.shape[1] if logits.ndim > 1 else 2
    invalid = {label for label in indices if not 0 <= label < classes}
    if IGNORE_INDEX in invalid and logits.ndim > 1:
        parts.append(f"ignore_index: {IGNORE_INDEX}")
        invalid.remove(IGNORE_INDEX)
    if invalid:
        word = "nan" if logits.ndim > 1 else "as_is"
        parts.append(f"bad_labels: {word} # invalid: {', '.join(map(str, sorted(invalid)))}")
    return parts


def _array(key: str, array: "FloatArray") -> str:
    if array.ndim == 1:
        return f"{key}: [{_join(_digits(array))}]"
    return "\n".join([f"{key}:", *(f"  - [{_join(_digits(row))}]" for row in array)])


def _digits(row: "FloatArray") -> list[str]:
    """Write each number with the fewest digits that read back as it; a zero keeps its sign."""
    if str(row.dtype) == "bfloat16":
        return [repr(float(value)) for value in row]
    return [str(value) for value in row]


def _join(texts: Iterable[str]) -> str:
    """Join numbers; a long run of equal ones becomes ``0.5 x 100``."""
    runs = ((text, len(list(same))) for text, same in groupby(texts))
    return ", ".join(f"{text} x {n}" if n >= _SHORTEST_RUN else ", ".join([text] * n) for text, n in runs)


def _quoted(line: str) -> str:
    return json.dumps(line, ensure_ascii=False)

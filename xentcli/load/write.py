"""Arrays → the text of a case: the opposite of ``build``.

Numbers have the fewest digits that read back as the same bits; a nan loses its sign and payload.
"""

import json
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
    parts = [f"title: {json.dumps(title, ensure_ascii=False)}"]
    parts += [] if source is None else [f"source: {json.dumps(source, ensure_ascii=False)}"]
    parts += [f"dtype: {logits.dtype}", _array("logits", logits), _array("labels", labels)]
    parts += _label_keys(labels, logits) if labels.ndim == 1 else []
    parts += [] if probabilities is None else [_array("probabilities", probabilities)]
    parts += [] if clip is None else [f"clip: {list(clip)}"]
    return "\n".join(parts) + "\n"


def _label_keys(labels: "NDArray[Any]", logits: "FloatArray") -> list[str]:
    """Write the keys that say what integers count for that are no class."""
    rows = logits.ndim > 1
    most, word = (logits.shape[1] - 1, "nan") if rows else (1, "as_is")
    invalid = {label for label in labels.tolist() if not 0 <= label <= most}
    keys = [f"ignore_index: {IGNORE_INDEX}"] if rows and IGNORE_INDEX in invalid else []
    invalid -= {IGNORE_INDEX} if rows else set()
    numbers = ", ".join(map(str, sorted(invalid)))
    return [*keys, f"bad_labels: {word} # invalid: {numbers}"] if invalid else keys


def _array(key: str, array: "NDArray[Any]") -> str:
    if array.ndim == 1:
        return f"{key}: [{_row(array)}]"
    return "\n".join([f"{key}:", *(f"  - [{_row(row)}]" for row in array)])


def _row(numbers: "NDArray[Any]") -> str:
    """Join numbers, each with the fewest digits that read back as it; a long run becomes ``0.5 x 100``."""
    kind = {"bfloat16": float, "bool": int}.get(str(numbers.dtype))  # what these print as
    texts = map(str, map(kind, numbers) if kind else numbers)
    runs = [(text, len(list(same))) for text, same in groupby(texts)]
    return ", ".join(f"{text} x {n}" if n >= _SHORTEST_RUN else ", ".join([text] * n) for text, n in runs)

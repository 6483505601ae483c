"""Hugging Face's .safetensors: a JSON header, and tensors side by side."""

import json
import math
from typing import Any, Final

import numpy as np

from xentcli.diagnose.files.storage import File
from xentcli.diagnose.files.stored import StoredArray

_DTYPES: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "V2"} | {
    f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)
}
_LONGEST_HEADER: Final = 100 * 2**20  # bytes, as the format limits it


def read(source: File) -> dict[str, StoredArray]:
    """Open tensors: eight bytes of length, a JSON header, the numbers without a hole or overlap.

    Source: https://github.com/huggingface/safetensors, README ("Format") and ``Metadata::validate`` in
    ``safetensors/src/tensor.rs``.
    """
    size = source.size
    with source.open() as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_LONGEST_HEADER, size - 8):
            raise ValueError("the header is longer than the file")
        tensors = _tensors(file.read(length))
    found, end = dict[str, StoredArray](), 0
    for name, (form, shape, (begin, until)) in sorted(tensors.items(), key=lambda item: item[1][2]):
        if begin != end or until < begin:
            raise ValueError(f"tensor {name} does not begin where the one before it ends")
        end = until
        if form not in _DTYPES:
            continue
        dtype = np.dtype(_DTYPES[form])
        if end - begin != dtype.itemsize * math.prod(shape):
            raise ValueError(f"tensor {name} has another size than its shape")
        found[name] = source.array(8 + length + begin, dtype, shape)
    if end != size - 8 - length:
        raise ValueError("the tensors end elsewhere than the file")
    return {name: found[name] for name in tensors if name in found}


_Tensor = tuple[str, tuple[int, ...], tuple[int, ...]]  # dtype, shape, offsets


def _tensors(header: bytes) -> "dict[str, _Tensor]":
    """Return the dtype, shape and offsets of each tensor of a header; raises ValueError for another one."""
    try:
        document = json.loads(header.decode("utf-8"), object_pairs_hook=_without_repeats)
    except RecursionError:
        document = None
    except ValueError as error:
        raise ValueError(f"the header is no JSON: {str(error).partition(';')[0]}") from error
    if not isinstance(document, dict):
        raise TypeError("the header is no JSON object")
    about = document.get("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise ValueError("__metadata__ is no object of texts")
    found = dict[str, _Tensor]()
    for name, entry in document.items():
        if name != "__metadata__":
            keys = ("dtype", "shape", "data_offsets")
            form, *lists = (entry.get(key) if isinstance(entry, dict) else None for key in keys)
            shape, offsets = map(_naturals, lists)
            name.encode()  # a lone surrogate is no text
            if not isinstance(form, str) or shape is None or offsets is None or len(offsets) != 2:  # noqa: PLR2004
                raise ValueError(f"tensor {name} has no dtype, shape and data_offsets")
            found[name] = form, shape, offsets
    return found


def _naturals(numbers: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - anything of JSON
    """Return a list of the format's integers, which have 64 bits and no sign; None for anything else."""
    if not isinstance(numbers, list) or not all(type(each) is int and 0 <= each < 2**64 for each in numbers):
        return None
    return tuple(numbers)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary; a key that is repeated may stand for either value, and is refused."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key of the header is repeated")
    return dict(pairs)

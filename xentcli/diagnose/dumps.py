"""Files of arrays → shards: .npy and .safetensors mapped, .npz read into memory; nothing is unpickled."""

import glob
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from xentcli import formats
from xentcli.errors import XentError, count, printable

_LOGITS: Final = "logits"
_LABELS: Final = "labels"
_SUFFIXES: Final = (".npy", ".npz", ".safetensors")
_OF_SAFETENSORS: Final = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "V2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
}
_LONGEST_HEADER: Final = 100 * 2**20  # bytes, the format's own bound


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One file: logits (N, C), labels (N,) or None; what the file looked like when it was opened."""

    path: str
    logits: Any
    labels: Any
    stamps: tuple[tuple[str, tuple[int, int, int]], ...]

    def check(self) -> None:
        """Raise XentError where a file has changed since."""
        for path, stamp in self.stamps:
            if _stamp(path) != stamp:
                raise XentError(f"{printable(path)}: changed while it was read")


def shards(paths: Sequence[str], labels: Sequence[str]) -> list[Shard]:
    """Open files, with a file of labels each or none at all; XentError says what is wrong with which."""
    files, of_labels = _expanded(paths), _expanded(labels)
    if of_labels and len(of_labels) != len(files):
        raise XentError(
            f"{count(len(files), 'file')} of logits, {len(of_labels)} of labels; give one of labels for each"
        )
    found = [_shard(path, of_labels[at] if of_labels else None) for at, path in enumerate(files)]
    first = found[0]
    for shard in found:
        same = (str(shard.logits.dtype), shard.logits.shape[1])
        if same != (str(first.logits.dtype), first.logits.shape[1]):
            raise XentError(
                f"{printable(shard.path)}: logits are {same[0]} of {same[1]} classes, those of "
                f"{printable(first.path)} {first.logits.dtype} of {first.logits.shape[1]}"
            )
    return found


def _expanded(paths: Sequence[str]) -> list[str]:
    """Return the files that names and patterns stand for."""
    files: list[str] = []
    for path in paths:
        if Path(path).exists() or not glob.has_magic(path):
            files.append(path)
        elif found := sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 - a pattern may be absolute
            files += found
        else:
            raise XentError(f"{printable(path)}: no file fits")
    return files


def _shard(path: str, of_labels: str | None) -> Shard:
    arrays = _arrays(path)
    logits = _chosen(path, arrays, _LOGITS)
    if logits.dtype == np.dtype("V2"):  # bfloat16 comes out of a file as two bytes without a type
        logits = logits.view(formats.dtype("bfloat16"))
    if str(logits.dtype.newbyteorder("=")) not in formats.FORMATS:
        known = ", ".join(formats.FORMATS)
        raise XentError(f"{printable(path)}: logits are {logits.dtype}; wanted are {known}")
    if logits.ndim < 2 or not logits.shape[-1]:  # noqa: PLR2004 - (N, C)
        raise XentError(f"{printable(path)}: logits are of shape {logits.shape}; wanted is (N, C), or (…, C)")
    labels, stamps = None, [(path, _stamp(path))]
    if of_labels is not None:
        labels = _chosen(of_labels, _arrays(of_labels), _LABELS)
        stamps.append((of_labels, _stamp(of_labels)))
    elif _LABELS in arrays:
        labels = arrays[_LABELS]
    rows = logits.reshape(-1, logits.shape[-1])
    if labels is not None:
        labels = _checked(of_labels or path, labels, len(rows))
    return Shard(path, rows, labels, tuple(stamps))


def _checked(path: str, labels: Any, rows: int) -> Any:  # noqa: ANN401 - an array
    if labels.dtype.kind not in "iu":
        raise XentError(f"{printable(path)}: labels are {labels.dtype}; wanted are class indices, integers")
    if labels.size != rows:
        wanted = f"{count(labels.size, 'label')} for {count(rows, 'row')} of logits; give one a row"
        raise XentError(f"{printable(path)}: {wanted}")
    return labels.reshape(-1)


def _chosen(path: str, arrays: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - an array
    """Return the array of a name, or the only one."""
    if name not in arrays and len(arrays) > 1:
        raise XentError(f"{printable(path)}: has no array '{name}', but {', '.join(map(printable, arrays))}")
    array = arrays[name] if name in arrays else next(iter(arrays.values()), None)
    if not isinstance(array, np.ndarray):
        raise XentError(f"{printable(path)}: holds no array")
    return array


def _arrays(path: str) -> Mapping[str, Any]:
    """Open a file of arrays; every way to be no such file is one message."""
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        raise XentError(f"{printable(path)}: is none of {', '.join(_SUFFIXES)}")
    try:
        if suffix == ".safetensors":
            return _of_safetensors(path)
        loaded = np.load(path, mmap_mode="r" if suffix == ".npy" else None, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded}
    except OSError as error:
        raise XentError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise XentError(
            f"{printable(path)}: is no {suffix} of plain arrays, or not all of it: {why}"
        ) from error


def _of_safetensors(path: str) -> dict[str, Any]:
    """Map the tensors of a file: eight bytes of length, a JSON header, the numbers.

    Source: the format's description, https://github.com/huggingface/safetensors (README, "Format").
    """
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_LONGEST_HEADER, Path(path).stat().st_size):
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length))
    arrays: dict[str, Any] = {}
    for name, about in header.items():
        if name == "__metadata__" or about["dtype"] not in _OF_SAFETENSORS:
            continue
        begin, end = about["data_offsets"]
        dtype, shape = np.dtype(_OF_SAFETENSORS[about["dtype"]]), tuple(about["shape"])
        if end - begin != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"tensor {name} has another size than its shape")
        if end == begin:
            arrays[name] = np.zeros(shape, dtype)
        else:
            arrays[name] = np.memmap(path, dtype, "r", 8 + length + begin, shape)
    return arrays


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - once a block, and Path's takes thrice as long
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino

"""Open files of arrays as shards: .npy and .safetensors mapped, .npz in memory; nothing is unpickled."""

import glob
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np

from xentcli import formats
from xentcli.errors import XentError, count, printable

_SUFFIXES: Final = (".npy", ".npz", ".safetensors")
_SAFETENSORS_DTYPES: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "V2"} | {
    f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)
}
_LONGEST_HEADER: Final = 100 * 2**20  # bytes, as the format limits it


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One file: logits (N, C), labels (N,) or None, and the stamp of each file when it was opened."""

    path: str
    logits: Any
    labels: Any
    stamps: tuple[tuple[str, tuple[int, int, int]], ...]

    def check(self) -> None:
        """Raise XentError if a file has changed since."""
        for path, stamp in self.stamps:
            if _stamp(path) != stamp:
                raise XentError(f"{printable(path)}: changed while it was read")


def shards(paths: Sequence[str], labels: Sequence[str]) -> list[Shard]:
    """Open files, with a file of labels each or none at all; XentError says what is wrong with which."""
    files, label_files = _expanded(paths), _expanded(labels)
    if label_files and len(label_files) != len(files):
        number = count(len(files), "file")
        raise XentError(f"{number} of logits, {len(label_files)} of labels; give one of labels for each")
    opened = [_shard(*pair) for pair in zip_longest(files, label_files)]
    kinds = [f"{shard.logits.dtype} of {shard.logits.shape[1]}" for shard in opened]
    for shard, kind in zip(opened, kinds, strict=True):
        if kind != kinds[0]:
            others = f"those of {printable(opened[0].path)} {kinds[0]}"
            raise XentError(f"{printable(shard.path)}: logits are {kind} classes, {others}")
    return opened


def _expanded(paths: Sequence[str]) -> list[str]:
    """Return the files that paths and patterns name."""
    files: list[str] = []
    for path in paths:
        if Path(path).exists() or not glob.has_magic(path):
            files.append(path)
        elif matches := sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 - a pattern may be absolute
            files += matches
        else:
            raise XentError(f"{printable(path)}: no file matches")
    return files


def _shard(path: str, label_path: str | None) -> Shard:
    arrays = _arrays(path)
    logits = _array(path, arrays, "logits")
    if logits.dtype == np.dtype("V2"):  # a file has bfloat16 as two bytes without a type
        logits = logits.view(formats.dtype("bfloat16"))
    if str(logits.dtype.newbyteorder("=")) not in formats.FORMATS:
        expected = ", ".join(formats.FORMATS)
        raise XentError(f"{printable(path)}: logits are {logits.dtype}; expected {expected}")
    if logits.ndim < 2 or not logits.shape[-1]:  # noqa: PLR2004 - (N, C)
        raise XentError(f"{printable(path)}: logits are of shape {logits.shape}; expected (N, C) or (…, C)")
    labels = arrays.get("labels") if label_path is None else _array(label_path, _arrays(label_path), "labels")
    rows = logits.reshape(-1, logits.shape[-1])
    if labels is not None:
        place = printable(label_path or path)
        if labels.dtype.kind not in "iu":
            raise XentError(f"{place}: labels are {labels.dtype}; expected class indices, integers")
        if labels.size != len(rows):
            numbers = f"{count(labels.size, 'label')} for {count(len(rows), 'row')} of logits"
            raise XentError(f"{place}: {numbers}; give one per row")
        labels = labels.reshape(-1)
    stamps = [(file, _stamp(file)) for file in (path, label_path) if file is not None]
    return Shard(path, rows, labels, tuple(stamps))


def _array(path: str, arrays: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - an array
    """Return the array of a name, or the only one."""
    if name not in arrays and len(arrays) > 1:
        raise XentError(f"{printable(path)}: has no array '{name}', but {', '.join(map(printable, arrays))}")
    array = arrays[name] if name in arrays else next(iter(arrays.values()), None)
    if not isinstance(array, np.ndarray):
        raise XentError(f"{printable(path)}: holds no array")
    return array


def _arrays(path: str) -> Mapping[str, Any]:
    """Open the arrays of a file by name; raises XentError for what is no file of arrays."""
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        raise XentError(f"{printable(path)}: unsupported file type; supported are {', '.join(_SUFFIXES)}")
    try:
        if suffix == ".safetensors":
            return _safetensors(path)
        loaded = np.load(path, mmap_mode="r" if suffix == ".npy" else None, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded}
    except OSError as error:
        raise XentError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        why = printable(" ".join(str(error).split())[:200])
        raise XentError(f"{printable(path)}: is no {suffix} of plain arrays, or incomplete: {why}") from error


def _safetensors(path: str) -> dict[str, Any]:
    """Map the tensors of a file: eight bytes of length, a JSON header, the numbers.

    Source: the format's description, https://github.com/huggingface/safetensors (README, "Format").
    """
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_LONGEST_HEADER, Path(path).stat().st_size):
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length))
    arrays: dict[str, Any] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _SAFETENSORS_DTYPES:
            continue
        begin, end = entry["data_offsets"]
        dtype, shape = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]]), tuple(entry["shape"])
        if end - begin != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"tensor {name} has another size than its shape")
        offset = 8 + length + begin
        arrays[name] = np.memmap(path, dtype, "r", offset, shape) if end > begin else np.zeros(shape, dtype)
    return arrays


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - once per block, and Path's takes thrice as long
    except OSError:
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ino

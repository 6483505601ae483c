"""Open files of arrays as shards: .npy and .safetensors mapped, .npz in memory; nothing is unpickled."""

import glob
import json
import math
import os
import zipfile
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
_LOGITS: Final = (
    "logits",
    "preds",
    "outputs",
    "output",
    "scores",
    "y_pred",
)  # what training loops call them, ours first
_LABELS: Final = ("labels", "label", "targets", "target", "y", "y_true")
_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle")  # reading one runs what is in it
_SAVE: Final = (
    'np.savez("batch.npz", logits=logits.detach().float().cpu().numpy(), labels=labels.cpu().numpy())'
)
_LARGE, _MOST_PACKED = 2**27, 50  # bytes; logits pack to a half at best
_NAMED: Final = 8  # arrays of a file that a message names
_BINARY: Final = "binary? pass --binary"


@dataclass(frozen=True, slots=True)
class Layout:
    """What arrays are called, and which axis of the logits has the classes; ``binary`` ones have none."""

    logits_name: str | None = None
    labels_name: str | None = None
    class_axis: int = -1
    binary: bool = False


class ClassesLast:
    """Rows (N, C) of an array whose classes are on another axis: only the rows asked for are copied."""

    def __init__(self, array: "np.ndarray[Any, Any]", axis: int) -> None:
        self._moved = np.moveaxis(array, axis, -1)
        self.dtype, self.nbytes = array.dtype, array.nbytes
        self._inner = int(np.prod(self._moved.shape[1:-1], dtype=np.int64))
        self.shape = len(self._moved) * self._inner, self._moved.shape[-1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice) -> "np.ndarray[Any, Any]":
        """Return rows start to stop (n, C), or one (C,)."""
        start, stop, _ = (rows if isinstance(rows, slice) else slice(rows, rows + 1)).indices(len(self))
        first = start // self._inner if self._inner else 0
        outer = self._moved[first : -(-stop // self._inner) if self._inner else 0]
        left = start - first * self._inner
        found = outer.reshape(-1, self.shape[1])[left : left + max(stop - start, 0)]
        return found if isinstance(rows, slice) else found[0]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One file: logits (N, C), labels, and the stamp of each file when it was opened.

    ``labels`` are class indices (N,), probabilities (N, C), or, ``binary``, N numbers from 0 to 1 beside
    logits (N, 1); or None. ``holds`` says what else lies in the file; ``shape`` is that of the rows, and
    ``names`` says what the arrays are called where that had to be guessed.
    """

    path: str
    logits: Any
    labels: Any
    stamps: tuple[tuple[str, tuple[int, int, int]], ...]
    binary: bool = False
    holds: str = ""
    shape: tuple[int, ...] = ()
    names: str = ""

    @property
    def kind(self) -> str:
        """What labels are: ``indices``, ``rows`` of probabilities or ``binary``."""
        soft = self.labels is not None and len(self.labels.shape) > 1
        return "binary" if self.binary else "rows" if soft else "indices"

    def check(self) -> None:
        """Raise XentError if a file has changed since."""
        for path, stamp in self.stamps:
            if _stamp(path) != stamp:
                raise XentError(f"{printable(path)}: changed while it was read")


def shards(paths: Sequence[str], labels: Sequence[str], layout: Layout = Layout()) -> list[Shard]:
    """Open files, with a file of labels each or none at all; XentError says what is wrong with which."""
    files, label_files = expanded(paths), expanded(labels)
    if label_files and len(label_files) != len(files):
        number = count(len(files), "file")
        raise XentError(f"{number} of logits, {len(label_files)} of labels; give one of labels for each")
    opened = [_shard(*pair, layout) for pair in zip_longest(files, label_files)]
    kinds = [f"{shard.logits.dtype} of {shard.logits.shape[1]}" for shard in opened]
    for shard, kind in zip(opened, kinds, strict=True):
        if kind != kinds[0]:
            others = f"those of {printable(opened[0].path)} {kinds[0]}"
            raise XentError(f"{printable(shard.path)}: logits are {kind} classes, {others}")
        if shard.kind != opened[0].kind:
            raise XentError(f"{printable(shard.path)}: its labels are of another kind than the first file's")
    return opened


def expanded(paths: Sequence[str]) -> list[str]:
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


def _shard(path: str, label_path: str | None, layout: Layout) -> Shard:
    arrays, binary = _arrays(path), layout.binary
    name, logits = _array(path, arrays, layout.logits_name, _LOGITS)
    logits = _with_bfloat16(logits)
    if str(logits.dtype.newbyteorder("=")) not in formats.FORMATS:
        expected = ", ".join(formats.FORMATS)
        raise XentError(f"{printable(path)}: logits are {logits.dtype}; expected {expected}")
    others = {other: array for other, array in arrays.items() if other != name}
    label_name, labels = _labels(path, arrays, label_path, layout)
    if labels is None and name not in _LOGITS and layout.logits_name is None:
        label_name, labels = _only_integers(others)
    is_guess = name not in {*_LOGITS, ""} and layout.logits_name is None
    names = f"logits from '{printable(name)}'" if is_guess else ""
    names += f", labels from '{printable(label_name)}'" if is_guess and labels is not None else ""
    holds = _listed(others)
    stamps = tuple((file, _stamp(file)) for file in (path, label_path) if file is not None)
    if labels is None and binary:
        raise XentError(
            f"{printable(path)}: binary logits need labels; give --labels FILE or --labels-name NAME"
        )
    rows = logits.reshape(-1, 1) if binary else _rows(path, logits, layout.class_axis)
    shape = logits.shape if binary else tuple(np.delete(logits.shape, layout.class_axis).tolist())
    if labels is not None:
        place, axis = printable(label_path or path), layout.class_axis
        if labels.shape == logits.shape and not binary and labels.dtype.kind in "biuf":
            return Shard(path, rows, _rows(path, labels, axis), stamps, holds=holds, shape=shape, names=names)
        if labels.dtype.kind == "f" and not binary and labels.size == len(rows):
            labels = _whole(labels)
        if labels.dtype.kind not in ("biuf" if binary else "iu"):
            expected = "numbers from 0 to 1" if binary else "class indices, integers, or probabilities (…, C)"
            raise XentError(
                f"{place}: labels are {labels.dtype} of shape {labels.shape}; expected {expected}"
            )
        hint = _axis_hint(logits.shape, labels.shape, axis)
        if labels.size != len(rows) or (hint and not binary):
            numbers = f"{count(labels.size, 'label')} for {count(len(rows), 'row')} of logits"
            raise XentError(f"{place}: {numbers}; {hint or 'give one per row'}")
        labels = labels.reshape(-1)
    return Shard(path, rows, labels, stamps, binary, holds, shape, names)


def _with_bfloat16(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return an array whose bfloat16 has its type: in a file it is two bytes without one."""
    return array.view(formats.dtype("bfloat16")) if array.dtype == np.dtype("V2") else array


def _rows(path: str, array: "np.ndarray[Any, Any]", axis: int) -> Any:  # noqa: ANN401 - or ClassesLast
    """Return logits, or labels of their shape, as rows (N, C)."""
    if array.ndim < 2 or not array.shape[-1] or not -array.ndim <= axis < array.ndim:  # noqa: PLR2004 - (N, C)
        expected = f"(N, C) or (…, C), with a class axis {axis}" if axis != -1 else "(N, C) or (…, C)"
        hint = f"; {_BINARY}" if array.ndim == 1 else ""
        raise XentError(f"{printable(path)}: logits are of shape {array.shape}; expected {expected}{hint}")
    if array.shape[axis] == 1:
        raise XentError(f"{printable(path)}: logits are of shape {array.shape}, one class; {_BINARY}")
    if axis in {-1, array.ndim - 1}:
        return array.reshape(-1, array.shape[-1])
    return ClassesLast(array, axis)


def _axis_hint(logits: tuple[int, ...], labels: tuple[int, ...], axis: int) -> str | None:
    """Say which axis has the classes, where labels have the shape of the other ones and this one has not."""
    fitting = [at for at in range(len(logits)) if logits[:at] + logits[at + 1 :] == labels]
    if len(labels) < 2 or not fitting or axis % len(logits) in fitting:  # noqa: PLR2004 - flat labels fit any
        return None
    return f"the labels have shape {labels}: pass --class-axis {fitting[0]}"


def _labels(
    path: str, arrays: Mapping[str, Any], label_path: str | None, layout: Layout
) -> tuple[str, "np.ndarray[Any, Any] | None"]:
    """Return the name and the array of labels, None where there is none."""
    if label_path is not None:
        name, found = _array(label_path, _arrays(label_path), layout.labels_name, _LABELS)
    elif layout.labels_name is not None:
        name, found = _array(path, arrays, layout.labels_name, _LABELS)
    else:
        known = [name for name in _LABELS if name in arrays]
        if not known:
            return "", None
        name, found = known[0], arrays[known[0]]
    return name, _with_bfloat16(found)


def _only_integers(arrays: Mapping[str, Any]) -> tuple[str, "np.ndarray[Any, Any] | None"]:
    """Return the only array of integers, None where there are none or several."""
    names = [name for name, array in arrays.items() if getattr(array, "dtype", np.dtype("V1")).kind in "iu"]
    return (names[0], arrays[names[0]]) if len(names) == 1 else ("", None)


def _array(
    path: str, arrays: Mapping[str, Any], chosen: str | None, known: Sequence[str]
) -> tuple[str, "np.ndarray[Any, Any]"]:
    """Return an array and its name: the one chosen, the first of the known names, or the only one."""
    only = list(arrays)[:1] if len(arrays) == 1 and chosen in {None, *arrays} else []
    names = [name for name in ((chosen,) if chosen is not None else known) if name in arrays] or only
    if not names and chosen is None and known is _LOGITS:  # of two arrays the logits are the one of numbers
        names = [name for name, array in arrays.items() if array.ndim > 1 and array.dtype.kind in "fV"]
        names = names if len(names) == 1 else []
    if not names and arrays:
        wanted = f"'{printable(chosen or known[0])}', but {_listed(arrays)}"
        option = f"; pass --{known[0]}-name, such as --{known[0]}-name {printable(next(iter(arrays)))}"
        option = option if chosen is None else ""
        raise XentError(f"{printable(path)}: has no array {wanted}{option}")
    if not names or not isinstance(arrays[names[0]], np.ndarray):
        raise XentError(f"{printable(path)}: holds no array")
    return names[0], arrays[names[0]]


def _whole(labels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return labels that are whole numbers in a floating dtype as integers; others as they are."""
    with np.errstate(all="ignore"):
        whole = np.asarray(labels).astype(np.int64)
    return whole if np.array_equal(whole, labels) else labels


def _listed(arrays: Mapping[str, Any]) -> str:
    """Name the first arrays of a file with their shapes."""
    shown = [f"{printable(name)} {getattr(array, 'shape', '')}" for name, array in arrays.items()]
    return ", ".join([*shown[:_NAMED], *(["…"] if len(shown) > _NAMED else [])])


def _arrays(path: str) -> Mapping[str, Any]:
    """Open the arrays of a file by name; raises XentError for what is no file of arrays."""
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        hint = f"; save {_SAVE}" if suffix in _PICKLES else ""
        supported = f"unsupported file type; supported are {', '.join(_SUFFIXES)}"
        raise XentError(f"{printable(path)}: {supported}{hint}")
    try:
        if suffix == ".safetensors":
            return _safetensors(path)
        if suffix == ".npz":
            _refuse_bomb(path)
        loaded = np.load(path, mmap_mode="r" if suffix == ".npy" else None, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded}
    except OSError as error:
        raise XentError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    except XentError:
        raise
    except Exception as error:
        why = printable(" ".join(str(error).split())[:200])
        raise XentError(f"{printable(path)}: is no {suffix} of plain arrays, or incomplete: {why}") from error


def _refuse_bomb(path: str) -> None:
    """Raise XentError where the arrays of an .npz, unpacked in memory, are far larger than the file."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _LARGE and size > _MOST_PACKED * Path(path).stat().st_size:
        packed = f"its arrays take {size // 2**20} MiB in memory, more than {_MOST_PACKED} times the file"
        raise XentError(f"{printable(path)}: {packed}; save them as .npy")


def _safetensors(path: str) -> dict[str, Any]:
    """Map the tensors of a file: eight bytes of length, a JSON header, the numbers without a hole or overlap.

    Source: https://github.com/huggingface/safetensors, README ("Format") and ``Metadata::validate`` in
    ``safetensors/src/tensor.rs``.
    """
    with Path(path).open("rb") as file:
        length, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
        if length > min(_LONGEST_HEADER, size - 8):
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    arrays, end = dict[str, Any](), 0
    for name, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        (begin, end), before = entry["data_offsets"], end
        if begin != before or end < begin:
            raise ValueError(f"tensor {name} does not begin where the one before it ends")
        if entry["dtype"] not in _SAFETENSORS_DTYPES:
            continue
        dtype, shape = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]]), tuple(entry["shape"])
        if min(shape, default=0) < 0 or end - begin != dtype.itemsize * math.prod(shape):
            raise ValueError(f"tensor {name} has another size than its shape")
        offset = 8 + length + begin
        arrays[name] = np.memmap(path, dtype, "r", offset, shape) if end > begin else np.zeros(shape, dtype)
    if end != size - 8 - length:
        raise ValueError("the tensors end elsewhere than the file")
    return {name: arrays[name] for name in tensors if name in arrays}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary; a key that is repeated may stand for either value, and is refused."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key of the header is repeated")
    return dict(pairs)


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - once per block, and Path's takes thrice as long
    except OSError:
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ino

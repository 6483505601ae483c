"""Tensors of a .pt or .pth file: read by torch, in a process of its own that can read nothing but tensors.

``tensors`` starts the process and takes what it wrote; ``handle`` is what runs there. Nothing of the file is
unpickled but by torch's ``weights_only`` unpickler, which knows tensors, numbers, texts and containers.
"""

import os
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.files.npz import LARGE, MOST_PACKED
from xentcli.diagnose.files.storage import File
from xentcli.diagnose.files.stored import StoredArray, loaded
from xentcli.errors import XentError, printable
from xentcli.process import Fields, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SAVE: Final = 'torch.save({"logits": logits, "labels": labels}, "batch.pt")'
SAVE_NPZ: Final = (
    'np.savez("batch.npz", logits=logits.detach().float().cpu().numpy(), labels=labels.cpu().numpy())'
)
# The first version whose weights_only unpickler runs nothing of a file, as far as is known: up to 2.5
# CVE-2025-32434 runs code, up to 2.9 CVE-2026-24747 writes beyond its memory.
OLDEST: Final = (2, 10)
_TO_IMPORT: Final = 120.0  # seconds; torch on a cold disk takes twenty
_SLOWEST: Final = 2**24  # bytes a second: a network drive reads more
_ROOM: Final = 2**30  # bytes that torch itself may take beside the numbers
_MOST_NAMES: Final = 2**16  # tensors of a file: a model of 10^12 parameters has a tenth
_MOST_VALUES: Final = 2**20  # of dicts and lists, looked at in seconds: a list may hold another many times
_MOST_UNREAD: Final = 64  # tensors that NumPy does not have, of which a message may name one
_NO_NUMBERS: Final = loaded(np.zeros(0, "V1"))
_SHOWN_NAME: Final = 40  # characters of a name in it
_LONGEST_NAME: Final = 1000  # characters: a list may hold itself


def read(source: File) -> dict[str, StoredArray]:
    """Have torch unpack a file, in a process of its own."""
    if not source.is_local:
        raise XentError(
            f"{printable(source.path)}: torch reads files of this machine alone: copy it, or save .npy"
        )
    found, unread = tensors(source.path, source.size, max(LARGE, MOST_PACKED * source.size))
    stored = {name: loaded(array) for name, array in found.items()}
    return stored | {name: replace(_NO_NUMBERS, unread=why) for name, why in unread.items()}


def tensors(path: str, size: int, most: int) -> "tuple[dict[str, NDArray[Any]], dict[str, str]]":
    """Return the tensors of a file of ``size`` bytes by name; bfloat16 as two bytes without a type.

    Beside them are those that NumPy does not have, and why: sparse ones, or of eight bits.

    Names of nested ones are joined by dots, those of a list are numbers, and that of a tensor alone is empty.
    Raises XentError where torch is missing, the file holds something else, or its tensors take more than
    ``most`` bytes.
    """
    _check_packed(path, most)
    worker = Process(__name__)
    with tempfile.TemporaryDirectory(prefix="xent-") as folder:  # for its owner alone
        try:
            request = {"path": os.path.abspath(path), "folder": folder, "most": most}  # noqa: PTH100 - as it is
            response = worker.request(request, _TO_IMPORT + size / _SLOWEST)
        finally:
            worker.stop()
        if (problem := response.get("refused") or _ended(response)) is not None:
            raise XentError(f"{printable(path)}: {problem}")
        stored = [
            np.load(Path(folder, f"{number}.npy"), allow_pickle=False)
            for number in range(len(response["names"]))
        ]
    return dict(zip(response["names"], stored, strict=True)), response["unread"]


def _check_packed(path: str, most: int) -> None:
    """Raise XentError where the archive, as torch writes it, unpacks to more than it may."""
    if not zipfile.is_zipfile(path):  # as torch wrote them up to 1.5: the numbers are not packed
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > most:
        raise XentError(f"{printable(path)}: {_too_large(size)}")


def _too_large(size: int) -> str:
    return f"its tensors take {size // 2**20} MiB in memory, many times the file; save them with np.save"


def _ended(response: Fields) -> str | None:
    """Say what ended the process that read the file, if anything did."""
    if "raised" not in response:
        return None
    return f"torch could not read it: {response['raised']}; save tensors with {SAVE}"


# What runs in the other process.


def handle(request: Fields) -> Fields:
    """Write each tensor of a file to a folder, as 0.npy, 1.npy and so on; return their names, or why not."""
    suffix = Path(request["path"]).suffix
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    try:
        import torch
    except ImportError as error:
        is_absent = error.name == "torch"
        return {"refused": _without_torch(suffix, "" if is_absent else f" ({_line(error)})")}
    try:
        version = tuple(map(int, torch.__version__.split("+")[0].split(".")[:2]))
    except ValueError:  # a build of somebody's own
        version = (0, 0)
    if version < OLDEST:
        safe = ".".join(map(str, OLDEST))
        return {
            "refused": f"torch {printable(torch.__version__)} may run code of a {suffix} file; install torch "
            f"{safe} or newer, or save with {SAVE_NPZ}"
        }
    _limit_memory(request["most"])
    try:
        return _written(torch, request)
    except MemoryError:
        return {"refused": _too_large(request["most"])}
    except OSError as error:
        return {"refused": f"cannot be unpacked: {error.strerror or error}"}


def _without_torch(suffix: str, why: str) -> str:
    return f"reading {suffix} needs torch{why}: pip install torch, or save with {SAVE_NPZ}"


def _line(error: BaseException) -> str:
    return printable(" ".join(str(error).split())[:200])


def _limit_memory(most: int) -> None:
    """Let the process take no more memory than the tensors may, twice, and some for torch.

    A pickle of a few bytes may ask for any amount, as bytearray does, before a tensor is seen.
    """
    if sys.platform != "linux":  # where data is counted without what is only reserved
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="utf-8")
    taken = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")), 0)
    limit = taken * 1024 + _ROOM + 2 * most
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _written(torch: Any, request: Fields) -> Fields:  # noqa: ANN401 - the module
    import pickle
    import warnings

    suffix = Path(request["path"]).suffix
    broken = {"refused": f"is no {suffix} of torch, or incomplete; save tensors with {SAVE}"}
    warnings.simplefilter("ignore")
    try:
        found = torch.load(request["path"], map_location="cpu", weights_only=True, mmap=False)
    except (MemoryError, OSError):
        raise
    except pickle.UnpicklingError as error:
        more = f"holds more than tensors, and only running its code would read it; save tensors with {SAVE}"
        return {"refused": more} if "unsupported" in str(error).lower() else broken
    except RuntimeError as error:
        if "allocate" in str(error) or "alloc_cpu" in str(error):
            raise MemoryError from error
        more = f"is a model, not tensors; save tensors with {SAVE}"
        return {"refused": more} if "TorchScript" in str(error) else broken
    except Exception:  # noqa: BLE001 - an odd pickle may raise anything
        return broken
    try:
        return _written_of(torch, found, request)
    except RecursionError:
        return {"refused": f"holds too many values, or too deep ones; save tensors with {SAVE}"}


def _written_of(torch: Any, found: Any, request: Fields) -> Fields:  # noqa: ANN401 - what torch returns
    """Write the tensors that were found; return their names."""
    names, unread, left = list[str](), dict[str, str](), request["most"]
    for name, tensor in _named(torch, found):
        size = tensor.numel() * tensor.element_size()
        if size > left:  # one number may stand for many, of a tensor that was expanded
            return {"refused": _too_large(request["most"] - left + size)}
        if (array := _array(torch, tensor)) is not None:
            if len(names) == _MOST_NAMES:
                return {"refused": f"holds more than {_MOST_NAMES} tensors; save tensors with {SAVE}"}
            np.save(Path(request["folder"], f"{len(names)}.npy"), array, allow_pickle=False)
            left -= size
            names.append(name)
        elif len(unread) < _MOST_UNREAD:
            unread[name] = _unread(torch, name, tensor)
    if not names:
        return {
            "refused": next(iter(unread.values()), f"holds no tensor of numbers; save tensors with {SAVE}")
        }
    return {"names": names, "unread": unread}


def _unread(torch: Any, name: str, tensor: Any) -> str:  # noqa: ANN401 - what torch returns
    """Say why NumPy has no such tensor, and what to save in its place."""
    shown = f"'{printable(name[:_SHOWN_NAME])}'" if name else "the tensor"
    if tensor.is_meta:
        return f"{shown} is on the device meta and has no numbers; save one that has"
    if tensor.is_nested:
        return f"{shown} is nested; save {_call(name, '.to_padded_tensor(0.0)')}"
    if tensor.is_quantized:
        return f"{shown} is quantised; save {_call(name, '.dequantize()')}"
    if tensor.layout != torch.strided:
        return f"{shown} is sparse; save {_call(name, '.to_dense()')}"
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"{shown} is {dtype}, which NumPy does not have; save {_call(name, '.float()')}"


def _call(name: str, method: str) -> str:
    return f"{name if name.isidentifier() and len(name) < _SHOWN_NAME else 'x'}{method}"


def _named(torch: Any, found: Any) -> "Iterator[tuple[str, Any]]":  # noqa: ANN401 - what torch returns
    """Yield the tensors of nested dicts and lists with their names; numbers and texts are left out.

    Raises RecursionError where there are more values than are looked at.
    """
    waiting, values = [("", found)], 0
    while waiting:
        name, found = waiting.pop()
        if isinstance(found, torch.Tensor):
            yield name, found
        if isinstance(found, dict | list | tuple):
            values += len(found)
            if values > _MOST_VALUES or len(name) > _LONGEST_NAME:
                raise RecursionError
            items = found.items() if isinstance(found, dict) else enumerate(found)
            waiting += [(f"{name}.{key}" if name else str(key), each) for key, each in items][::-1]


def _array(torch: Any, tensor: Any) -> "NDArray[Any] | None":  # noqa: ANN401 - what torch returns
    """Return a tensor as an array, bfloat16 as its bits; None where NumPy has no such format."""
    try:
        tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
        if tensor.dtype == torch.bfloat16:
            return np.asarray(tensor.view(torch.int16).numpy().view("V2"))
        return np.asarray(tensor.numpy())
    except (TypeError, RuntimeError, NotImplementedError):  # float8, sparse, quantized, meta
        return None

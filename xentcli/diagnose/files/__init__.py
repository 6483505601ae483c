"""Files of arrays, a format each; nothing is unpickled, but tensors of a .pt by torch.

A format is a function from a ``File`` to its arrays by name, and a row here.
"""

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from xentcli.diagnose.files import npy, npz, parquet, pt, safetensors
from xentcli.diagnose.files.storage import File, again, is_address, look, said
from xentcli.diagnose.files.stored import StoredArray
from xentcli.errors import XentError, printable

_READERS: Final[dict[str, Callable[[File], dict[str, StoredArray]]]] = {
    ".npy": npy.read,
    ".npz": npz.read,
    ".safetensors": safetensors.read,
    ".parquet": parquet.read,
    ".pt": pt.read,
    ".pth": pt.read,
}
_OF_FORMAT: Final = (
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    zipfile.BadZipFile,
)  # what bytes are wrong
_PICKLES: Final = (".pkl", ".pickle", ".bin", ".ckpt")  # reading one runs what is in it


def looked(path: str) -> File:
    """Look at a file of arrays; raises XentError where it cannot be one."""
    suffix = _suffix(path)
    if suffix not in _READERS:
        hint = f"; save with {pt.SAVE_NPZ}" if suffix in _PICKLES else ""
        supported = f"unsupported file type; supported are {', '.join(_READERS)}"
        raise XentError(f"{printable(path)}: {supported}{hint}")
    try:
        return look(path)
    except OSError as error:
        raise XentError(f"{printable(path)}: cannot be read: {said(error)}") from error


def _suffix(path: str) -> str:
    """Return what a name ends in; an address may be in another, ``zip://a.npy::s3://…``, or have a query."""
    if is_address(path):
        path = path.partition("::")[0].partition("?")[0]
    return Path(path).suffix


def arrays(file: str | File) -> Mapping[str, StoredArray]:
    """Open the arrays of a file by name; raises XentError for what is no file of arrays."""
    file = looked(file) if isinstance(file, str) else file
    suffix = _suffix(file.path)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # an odd header is read or refused, without a word of NumPy's
            read = partial(_READERS[suffix], file)
            return read() if file.is_local else again(read, _OF_FORMAT)
    except OSError as error:
        raise XentError(f"{printable(file.path)}: cannot be read: {said(error)}") from error
    except XentError:
        raise
    except Exception as error:
        why = printable(re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))[:200])
        raise XentError(
            f"{printable(file.path)}: is no {suffix} of plain arrays, or incomplete: {why}"
        ) from error

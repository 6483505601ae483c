"""NumPy's .npz: an archive of arrays, unpacked in memory."""

import zipfile
from typing import Final

import numpy as np

from xentcli.diagnose.files.storage import File
from xentcli.diagnose.files.stored import StoredArray, loaded
from xentcli.errors import XentError, printable

LARGE: Final = 2**27  # bytes that an archive may unpack to, however small it is
MOST_PACKED: Final = 50  # times its size; logits pack to a half at best


def read(source: File) -> dict[str, StoredArray]:
    """Unpack an archive; raises XentError where its arrays are far larger than the file."""
    with source.open() as file:
        with zipfile.ZipFile(file) as archive:
            refuse_other_packing(archive)
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGE and size > MOST_PACKED * source.size:
            packed = f"its arrays take {size // 2**20} MiB in memory, more than {MOST_PACKED} times the file"
            raise XentError(f"{printable(source.path)}: {packed}; save them as .npy")
        file.seek(0)
        found = np.load(file, allow_pickle=False)
        members = {name: found[name] for name in found}
    return {name: loaded(array) for name, array in members.items() if isinstance(array, np.ndarray)}


def refuse_other_packing(archive: zipfile.ZipFile) -> None:
    """Raise ValueError for a member that NumPy would not write so: only these are unpacked piece by piece."""
    if any(
        each.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for each in archive.infolist()
    ):
        raise ValueError("a member is packed by another method than those of numpy.savez")

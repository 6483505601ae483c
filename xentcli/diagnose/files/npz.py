"""NumPy's .npz: an archive of arrays; those that are only stored are read by rows, others unpacked."""

import zipfile
from typing import IO, Final

import numpy as np

from xentcli.diagnose.files import npy
from xentcli.diagnose.files.storage import File
from xentcli.diagnose.files.stored import StoredArray, loaded
from xentcli.errors import XentError, printable

LARGE: Final = 2**27  # bytes that an archive may unpack to, however small it is
MOST_PACKED: Final = 50  # times its size; logits pack to a half at best
_LOCAL_HEADER: Final = (
    30  # bytes before the name of a member; the lengths of its name and of more are the last
)


def read(source: File) -> dict[str, StoredArray]:
    """Open the arrays of an archive; raises XentError where they are far larger than the file.

    Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7.
    """
    with source.open() as file, _archive(file) as archive:
        refuse_other_packing(archive)
        size = sum(member.file_size for member in archive.infolist())
        if size > LARGE and size > MOST_PACKED * source.size:
            packed = f"its arrays take {size // 2**20} MiB in memory, more than {MOST_PACKED} times the file"
            raise XentError(f"{printable(source.path)}: {packed}; save them as .npy")
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        found = {name: _array(source, file, archive, member) for name, member in members.items()}
    return {name: array for name, array in found.items() if array is not None}


def _archive(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except ValueError as error:  # fsspec's of a file that is shorter than the end of an archive
        raise zipfile.BadZipFile("File is not a zip file") from error


def _array(
    source: File, file: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> StoredArray | None:
    """Open an array of the archive in ``file``; return None where a member is none."""
    with archive.open(member) as opened:
        if opened.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            return None
        if member.compress_type != zipfile.ZIP_STORED:
            opened.seek(0)
            return loaded(np.lib.format.read_array(opened, allow_pickle=False))
    if member.file_size != member.compress_size:
        raise ValueError(f"member {member.filename} is stored, and has two sizes")
    file.seek(member.header_offset)
    local = file.read(_LOCAL_HEADER)
    begin = file.tell() + int.from_bytes(local[-4:-2], "little") + int.from_bytes(local[-2:], "little")
    file.seek(begin)
    return npy.array(source, file, min(begin + member.file_size, source.size))


def refuse_other_packing(archive: zipfile.ZipFile) -> None:
    """Raise ValueError for a member that NumPy would not write so: only these are unpacked piece by piece."""
    if any(
        each.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for each in archive.infolist()
    ):
        raise ValueError("a member is packed by another method than those of numpy.savez")

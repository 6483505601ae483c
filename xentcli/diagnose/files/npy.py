"""NumPy's .npy: a header, and an array."""

import math
from typing import IO, Any

import numpy as np

from xentcli.diagnose.files.storage import File
from xentcli.diagnose.files.stored import StoredArray


def read(source: File) -> dict[str, StoredArray]:
    """Open an array. Versions 2 and 3 of the format differ in the names of fields, which plain arrays lack.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
    """
    with source.open() as file:
        return {"": array(source, file, source.size)}


def array(source: File, file: IO[bytes], end: int) -> StoredArray:
    """Open an array whose header is at the place of the opened file; there is nothing of it after ``end``.

    Raises ValueError where it does not fit.
    """
    shape, is_fortran, dtype = _header(file)
    begin = file.tell()
    size, rest = math.prod(shape) * dtype.itemsize, end - begin
    if size > rest:
        raise ValueError(f"the array has {size} bytes, the file {rest} after its header")
    return source.array(begin, dtype, shape, is_fortran=is_fortran and len(shape) > 1)


def _header(file: IO[bytes]) -> "tuple[tuple[int, ...], bool, np.dtype[Any]]":
    version = np.lib.format.read_magic(file)
    is_first = version == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds objects, which only unpickling would read")
    shape = tuple(map(int, shape))
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape} has a negative length")
    return shape, is_fortran, dtype

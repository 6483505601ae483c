"""Parquet: columns of numbers, or of lists of numbers of one length, read row group by row group."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.files.npz import LARGE, MOST_PACKED
from xentcli.diagnose.files.storage import File
from xentcli.diagnose.files.stored import ReadError, StoredArray, loaded
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FLOATS: Final = {"halffloat": "float16", "float": "float32", "double": "float64"}  # as arrow calls them


def read(source: File) -> dict[str, StoredArray]:
    """Open the columns of plain numbers; raises XentError where pyarrow is not installed.

    Of others, as texts, dates and lists of lists, no number can be read.
    """
    columns: dict[str, StoredArray] = {}
    with source.open() as file:
        parquet = _parquet(source, file)
        rows = parquet.metadata.num_rows
        size = sum(parquet.metadata.row_group(i).total_byte_size for i in range(parquet.num_row_groups))
        if size > LARGE and size > MOST_PACKED * source.size:
            unpacked = (
                f"its columns take {size // 2**20} MiB in memory, more than {MOST_PACKED} times the file"
            )
            raise XentError(f"{printable(source.path)}: {unpacked}; save them as .npy")
        starts = [0]
        for number in range(parquet.num_row_groups):
            starts.append(starts[-1] + parquet.metadata.row_group(number).num_rows)
        first = next((number for number in range(parquet.num_row_groups) if starts[number + 1]), None)
        for field in parquet.schema_arrow if first is not None else ():
            dtype = _dtype(field.type)
            if dtype is None:
                columns[field.name] = _unread(field, rows)
            else:
                inner = _of_rows(source, field.name, first).shape[1:]
                numbers = partial(_numbers, source, field.name, tuple(starts), inner)
                columns[field.name] = StoredArray(dtype, (rows, *inner), numbers)
    return columns


def _parquet(source: File, file: Any) -> Any:  # noqa: ANN401 - of a library without types
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise XentError(f"{printable(source.path)}: needs pyarrow: pip install 'xent[parquet]'") from error
    return ParquetFile(file, metadata=_metadata(source))


@lru_cache(maxsize=64)  # files that threads are at
def _metadata(source: File) -> Any:  # noqa: ANN401 - as above
    """Return what a file says of its row groups: with thousands of them, it takes long to parse."""
    from pyarrow.parquet import read_metadata

    with source.open() as file:
        return read_metadata(file)


def _unread(field: Any, rows: int) -> StoredArray:  # noqa: ANN401 - as above
    why = f"column {printable(field.name)} holds {printable(str(field.type))[:40]}; expected numbers"
    return replace(loaded(np.zeros(0, "V1")), shape=(rows,), unread=why)


def _dtype(kind: Any) -> "np.dtype[Any] | None":  # noqa: ANN401 - as above
    """Return the dtype of a column's numbers, None where it has none."""
    from pyarrow import types

    if types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
    if types.is_boolean(kind):
        return np.dtype(bool)
    if not (types.is_floating(kind) or types.is_integer(kind)):
        return None
    return np.dtype(_FLOATS.get(str(kind), str(kind)))


def _numbers(  # noqa: PLR0913, PLR0917 - a column of a file, and what is read of it
    source: File,
    name: str,
    groups: tuple[int, ...],
    inner: tuple[int, ...],
    starts: Sequence[int],
    count: int,
) -> "NDArray[Any]":
    """Return numbers as ``StoredArray.read`` does, of rows of a shape.

    ``groups`` are the rows at which row groups begin.
    """
    bounds = np.array(groups) * math.prod(inner)

    def part(number: int) -> "NDArray[Any]":
        rows = _of_rows(source, name, number)
        if len(rows) and rows.shape[1:] != inner:
            raise ReadError(f"{printable(source.path)}: {_lengths(name)}")
        return rows.reshape(-1)

    def read() -> "NDArray[Any]":
        found = []
        for start in starts:
            first = int(np.searchsorted(bounds, start, side="right")) - 1
            last = int(np.searchsorted(bounds, start + count, side="left"))
            parts = [
                part(number)[max(0, start - bounds[number]) : start + count - bounds[number]]
                for number in range(first, max(first + 1, last))
            ]
            found.append(parts[0] if len(parts) == 1 else np.concatenate(parts))
        source.check()
        return np.stack(found)

    return source.attempt(read)


def _lengths(name: str) -> str:
    return f"column {printable(name)} has lists of several lengths; give each row the same"


@lru_cache(maxsize=4)  # logits and labels, of the row group that threads are at and of the next
def _of_rows(source: File, name: str, number: int) -> "NDArray[Any]":
    """Return a column of a row group, (n,) or (n, C), read-only; raises ReadError for what has no shape."""
    from pyarrow import compute, types

    with source.open() as file:
        column = _parquet(source, file).read_row_group(number, columns=[name]).column(name).combine_chunks()
    place, rows = printable(source.path), len(column)
    is_list = hasattr(column.type, "value_type")
    if is_list and not types.is_fixed_size_list(column.type) and rows and not column.null_count:
        shortest, longest = compute.min_max(compute.list_value_length(column)).values()
        if shortest != longest:
            raise ReadError(f"{place}: {_lengths(name)}")
    numbers = column.flatten() if is_list and not column.null_count else column
    if numbers.null_count:
        raise ReadError(f"{place}: column {printable(name)} has nulls; give each row its numbers")
    found = np.asarray(numbers.to_numpy(zero_copy_only=False))
    found = found.reshape(rows, -1) if is_list and rows else found
    found.flags.writeable = False
    return found

"""Parquet: columns of numbers, or of lists of numbers of one length, read row group by row group."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.diagnose.files.npz import LARGE, MOST_PACKED
from xentcli.diagnose.files.storage import File
from xentcli.diagnose.files.stored import StoredArray
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FLOATS: Final = {"halffloat": "float16", "float": "float32", "double": "float64"}  # as arrow calls them


def read(source: File) -> dict[str, StoredArray]:
    """Open the columns of plain numbers; raises XentError where pyarrow is not installed.

    Others are left aside: texts, dates, lists of lists.
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
        for field in parquet.schema_arrow:
            dtype = _dtype(field.type)
            if dtype is None or not rows:
                continue
            inner = _of_rows(source, field.name, 0).shape[1:]
            columns[field.name] = StoredArray(
                dtype, (rows, *inner), partial(_numbers, source, field.name, tuple(starts), math.prod(inner))
            )
    return columns


def _parquet(source: File, file: Any) -> Any:  # noqa: ANN401 - of a library without types
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise XentError(f"{printable(source.path)}: needs pyarrow: pip install 'xent[parquet]'") from error
    return ParquetFile(file)


def _dtype(kind: Any) -> "np.dtype[Any] | None":  # noqa: ANN401 - as above
    """Return the dtype of a column's numbers, None where it has none."""
    from pyarrow import types

    if types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
    if not (types.is_floating(kind) or types.is_integer(kind)):
        return None
    return np.dtype(_FLOATS.get(str(kind), str(kind)))


def _numbers(  # noqa: PLR0913, PLR0917 - a column of a file, and what is read of it
    source: File, name: str, groups: tuple[int, ...], width: int, starts: Sequence[int], count: int
) -> "NDArray[Any]":
    """Return numbers as ``StoredArray.read`` does; ``groups`` are the rows at which row groups begin."""
    bounds = np.array(groups) * width
    found = []
    for start in starts:
        first = int(np.searchsorted(bounds, start, side="right")) - 1
        last = int(np.searchsorted(bounds, start + count, side="left"))
        parts = [
            _of_rows(source, name, number).reshape(-1)[
                max(0, start - bounds[number]) : start + count - bounds[number]
            ]
            for number in range(first, max(first + 1, last))
        ]
        found.append(parts[0] if len(parts) == 1 else np.concatenate(parts))
    source.check()
    return np.stack(found)


@lru_cache(maxsize=4)  # logits and labels, of the row group that threads are at and of the next
def _of_rows(source: File, name: str, number: int) -> "NDArray[Any]":
    """Return a column of a row group, (n,) or (n, C), read-only; raises ValueError for what has no shape."""
    with source.open() as file:
        column = _parquet(source, file).read_row_group(number, columns=[name]).column(name).combine_chunks()
    if column.null_count:
        raise ValueError(f"column {name} has nulls")
    rows = len(column)
    if hasattr(column, "flatten") and hasattr(column.type, "value_type"):
        column = column.flatten()
        if column.null_count or (rows and len(column) % rows):
            raise ValueError(f"the lists of column {name} have nulls or several lengths")
        found = column.to_numpy(zero_copy_only=False).reshape(rows, -1)
    else:
        found = column.to_numpy(zero_copy_only=False)
    found.flags.writeable = False
    return np.asarray(found)

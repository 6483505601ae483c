"""Test vectors as files: .json of schema ``xent.vectors/1``, .npz, .parquet, with the same names in each."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import __version__
from xentcli.errors import XentError
from xentcli.show.json import dump

if TYPE_CHECKING:
    from xentcli.check.vectors import Vector

_BITS: Final = {"bfloat16": np.uint16}  # a dtype that NumPy does not have, by its bits


def as_json(vectors: "Sequence[Vector]") -> bytes:
    """Render by the schema ``xent.vectors/1``; floats are hexadecimal, as in ``xent.loss/1``."""
    document = {
        "schema": "xent.vectors/1",
        "version": __version__,
        "vectors": [_fields(vector) for vector in vectors],
    }
    return dump(document).encode()


def _fields(vector: "Vector") -> dict[str, Any]:
    options = {
        name: value if isinstance(value, int) else _hex(value) for name, value in vector.options.items()
    }
    return {
        "name": vector.name,
        "title": vector.title,
        "kind": vector.kind,
        "dtype": vector.dtype,
        "shape": list(vector.logits.shape),
        "logits": _hex(vector.logits),
        "labels": vector.labels.tolist() if vector.kind == "indices" else _hex(vector.labels),
        **options,
        "losses": _hex(vector.losses),
        "exact": list(map(_decimal, vector.exact)),
        "mean": _hex(vector.mean),
        "sum": _hex(vector.sum),
        "gradient": _hex(vector.gradient),
        "allowance": vector.allowance.tolist(),
        "tolerance": _hex(vector.tolerance),
        "nan_allowed": vector.nan_allowed.tolist(),
        "may_be_refused": vector.may_be_refused,
    }


def _hex(values: Any) -> Any:  # noqa: ANN401 - a number, or an array of any shape
    """Write numbers as C's %a does, in one flat list."""
    if np.ndim(values) == 0:
        return float(values).hex()
    return [value.hex() for value in np.asarray(values, np.float64).ravel().tolist()]


def _decimal(value: Any) -> str:  # noqa: ANN401 - a Decimal
    return str(value).lower().replace("infinity", "inf")


def as_npz(vectors: "Sequence[Vector]") -> bytes:
    """Render as NumPy's .npz, which loads without pickle: arrays called ``NAME/logits`` and so on.

    Arrays are in the dtype of the vector; bfloat16 as its bits in uint16.
    """
    file = io.BytesIO()
    arrays = {f"{vector.name}/{key}": value for vector in vectors for key, value in _arrays(vector).items()}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _arrays(vector: "Vector") -> dict[str, Any]:
    dtype = vector.dtype
    stored = ("logits", "losses", "mean", "sum", "gradient")
    arrays = {name: _stored(getattr(vector, name), dtype) for name in stored}
    options = {
        name: np.array(value) if np.ndim(value) == 0 else _stored(value, dtype)
        for name, value in vector.options.items()
    }
    return {
        "kind": np.array(vector.kind),
        "dtype": np.array(dtype),
        "labels": vector.labels if vector.kind == "indices" else _stored(vector.labels, dtype),
        **arrays,
        **options,
        "exact": np.array([_decimal(loss) for loss in vector.exact], "U"),
        "allowance": vector.allowance,
        "tolerance": vector.tolerance,
        "nan_allowed": vector.nan_allowed,
        "may_be_refused": np.array(vector.may_be_refused),
    }


def _stored(values: Any, dtype: str) -> Any:  # noqa: ANN401 - a number or an array
    """Return numbers of a dtype in it, or its bits."""
    numbers = np.asarray(values, np.float64)
    if dtype in _BITS:  # the upper half of float32: the numbers are those of bfloat16
        return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(dtype)


def as_parquet(vectors: "Sequence[Vector]") -> bytes:
    """Render as Parquet, a row per example; numbers are in float64. Raises XentError without pyarrow."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise XentError("a .parquet file needs pyarrow: pip install 'xent[parquet]'") from error
    numbers = pa.list_(pa.float64())
    columns = {
        "name": pa.string(),
        "example": pa.int64(),
        "kind": pa.string(),
        "dtype": pa.string(),
        "logits": numbers,
        "label": pa.int64(),
        "labels": numbers,
        "class_weights": numbers,
        "label_smoothing": pa.float64(),
        "ignore_index": pa.int64(),
        "loss": pa.float64(),
        "exact": pa.string(),
        "gradient": numbers,
        "allowance": pa.float64(),
        "tolerance": pa.float64(),
        "nan_allowed": pa.bool_(),
        "may_be_refused": pa.bool_(),
        "mean": pa.float64(),
        "sum": pa.float64(),
    }
    rows = [row for vector in vectors for row in _rows(vector)]
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items()))), file)
    return file.getvalue()


def _rows(vector: "Vector") -> list[dict[str, Any]]:
    of_batch = {
        "name": vector.name,
        "kind": vector.kind,
        "dtype": vector.dtype,
        **vector.options,
        "may_be_refused": vector.may_be_refused,
        "mean": vector.mean,
        "sum": vector.sum,
    }
    return [
        {
            **of_batch,
            "example": row,
            "logits": np.atleast_1d(vector.logits[row]).tolist(),
            "label": vector.labels[row].item() if vector.kind == "indices" else None,
            "labels": None if vector.kind == "indices" else np.atleast_1d(vector.labels[row]).tolist(),
            "loss": vector.losses[row].item(),
            "exact": _decimal(vector.exact[row]),
            "gradient": np.atleast_1d(vector.gradient[row]).tolist(),
            "allowance": vector.allowance[row].item(),
            "tolerance": vector.tolerance[row].item(),
            "nan_allowed": bool(vector.nan_allowed[row]),
        }
        for row in range(len(vector.losses))
    ]


WRITERS: Final[dict[str, Callable[["Sequence[Vector]"], bytes]]] = {
    ".npz": as_npz,
    ".parquet": as_parquet,
    ".json": as_json,
}

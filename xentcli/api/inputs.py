"""Arrays in memory → what the pipeline reads: a case, or a dump of one shard."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.arrays import to_numpy
from xentcli.diagnose.dumps import Layout, Shard, shards, shifted
from xentcli.errors import Refused, XentError, count, printable
from xentcli.load import load
from xentcli.load.sources import MAX_BYTES, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from xentcli.diagnose.loss import Loss
    from xentcli.model import Case

    Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_MOST: Final = 5  # problems that a message lists
_SIZE: Final = (
    f"a case has at most {MAX_BYTES // 2**20} MiB as text; diagnose_logits takes any number of rows"
)


def case_of(keys: Mapping[str, Any]) -> "Case":
    """Return the case of arrays and of other values by the keys of a case file.

    Its dtype is that of the logits where they are an array of floating-point numbers. Raises XentError for
    what no case may have.
    """
    x = to_numpy(keys["logits"], "logits")
    if x.ndim not in {1, 2}:
        raise XentError(f"logits are of shape {x.shape}; expected (N, C), or (N,) of a binary case")
    if x.size > MAX_BYTES // 2:  # a number takes two bytes at least
        raise XentError(f"logits are {x.size} numbers: {_SIZE}")
    form = str(x.dtype.newbyteorder("="))
    own = {"dtype": form} if form in formats.FORMATS and hasattr(keys["logits"], "dtype") else {}
    text = "".join(f"{name}: {_text(value, name)}\n" for name, value in {**own, **keys}.items())
    if len(text) > MAX_BYTES:
        raise XentError(f"logits and labels are {len(text) // 2**20} MiB: {_SIZE}")
    try:
        return load(Source("logits and labels", "inline", text.encode()))
    except Refused as refused:
        said = (
            problem.problem.replace("add ignore_index: ", "pass ignore_index=")
            for problem in refused.problems
        )
        problems = list(dict.fromkeys(said))
        more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
        if any(problem.startswith("the label") and "out of range" in problem for problem in problems):
            more += "; bad_labels='nan' keeps such labels, which have no loss"
        raise XentError("; ".join(problems[:_MOST]) + more) from refused


def _text(value: Any, name: str) -> str:  # noqa: ANN401 - whatever a key may have
    """Write a value as in a case file; a number of an array with the fewest digits that read back as it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_text(each, str(key))}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return _listed(_text(each, name) for each in value)
    return _numbers(to_numpy(value, name))


def _numbers(array: "NDArray[Any]") -> str:
    if array.ndim:
        return _listed(map(_numbers, array))
    number = array.astype(np.int8) if array.dtype == bool else array
    return str(float(number) if array.dtype.kind == "V" else number)  # what bfloat16 prints as has too few


def _listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(texts)}]"


def digits_of(value: "str | ArrayLike", name: str) -> str:
    """Return the text of a number: as it was typed, or with the digits that tell it from its neighbours."""
    if isinstance(value, str):
        return value.strip()
    number = to_numpy(value, name)
    if number.size != 1:
        raise XentError(f"{name} is of shape {number.shape}; expected one number")
    return _numbers(number.reshape(()))


def shards_of(
    logits: "ArrayLike | Paths",
    labels: "ArrayLike | Paths | None",
    losses: "ArrayLike | Paths | None",
    class_axis: int | None,
    layout: Layout,
) -> list[Shard]:
    """Return arrays, or the files that are named, as shards of a dump; see ``shard_of``.

    ``losses`` are those recorded of the rows, or None; raises XentError where they are not one per row.
    """
    given = {"logits": logits, "labels": labels, "losses": losses}
    paths = {name: _paths(each) for name, each in given.items() if each is not None}
    if all(found is not None for found in paths.values()):
        layout = replace(layout, class_axis=-1 if class_axis is None else class_axis)
        files = [paths.get(name) or [] for name in given]
        found = shards(files[0], files[1], layout, files[2])
        if found[0].is_top_k:
            raise XentError(f"{printable(found[0].path)}: is a top-k dump; xent diagnose reads it")
        return found
    if any(found is not None for found in paths.values()):
        raise XentError(f"{' and '.join(paths)} are both arrays or both files")
    if layout.logits_name or layout.labels_name:
        raise XentError("logits_name and labels_name are of arrays in files; logits here are an array")
    shard = shard_of(logits, labels, class_axis, binary=layout.binary)  # type: ignore[arg-type] # no paths
    if losses is not None:
        recorded = to_numpy(losses, "losses")  # type: ignore[arg-type] # no paths
        if recorded.size != len(shard.logits) or str(recorded.dtype.newbyteorder("=")) not in formats.FORMATS:
            rows = count(len(shard.logits), "row")
            raise XentError(
                f"losses are {recorded.dtype} of shape {recorded.shape}; expected floats for {rows}"
            )
        shard = replace(shard, losses=recorded.reshape(-1))
    return [shifted(shard) if layout.shift else shard]


def _paths(given: object) -> list[str] | None:
    """Return the files that are named, None for an array."""
    each = [given] if isinstance(given, str | os.PathLike) else given
    if isinstance(each, list | tuple) and each and all(isinstance(path, str | os.PathLike) for path in each):
        return [os.fspath(path) for path in each]
    return None


def shard_of(
    logits: "ArrayLike", labels: "ArrayLike | None", class_axis: int | None, *, binary: bool
) -> Shard:
    """Return arrays as a dump of one shard.

    ``class_axis`` is the last one unless it is given, or labels (N, …) show that logits are (N, C, …).
    Raises XentError for shapes that do not go together, and for dtypes that have no loss.
    """
    x, y = to_numpy(logits, "logits"), None if labels is None else to_numpy(labels, "labels")
    if str(x.dtype.newbyteorder("=")) not in formats.FORMATS:
        raise XentError(f"logits are {x.dtype}; expected {', '.join(formats.FORMATS)}")
    if binary:
        return _binary_shard(x, y)
    is_second = y is not None and x.ndim > 2 and y.shape == x.shape[:1] + x.shape[2:] != x.shape[:-1]  # noqa: PLR2004 - (N, C, …)
    axis = 1 if class_axis is None and is_second else -1 if class_axis is None else class_axis
    if x.ndim < 2 or not -x.ndim <= axis < x.ndim or x.shape[axis] < 2:  # noqa: PLR2004 - (N, C), C at least 2
        expected = "(N, C) or (…, C), C at least 2" if axis == -1 else f"more than one class on axis {axis}"
        hint = "; one logit per row is binary=True" if x.ndim == 1 or x.shape[-1] == 1 else ""
        raise XentError(f"logits are of shape {x.shape}; expected {expected}{hint}")
    rows, shape = _rows(x, axis), x.shape[:axis] + x.shape[axis % x.ndim + 1 :]
    if y is None:
        return Shard("", rows, None, shape=shape)
    if y.shape == x.shape and (y.dtype.kind in "biuf" or str(y.dtype) in formats.FORMATS):
        return Shard("", rows, _rows(y, axis), shape=shape)
    return Shard("", rows, _indices(y, len(rows)), shape=shape)


def _binary_shard(x: "NDArray[Any]", y: "NDArray[Any] | None") -> Shard:
    """Return binary logits, one per row, with labels from 0 to 1."""
    if y is None or y.size != x.size or not (y.dtype.kind in "biuf" or str(y.dtype) in formats.FORMATS):
        labels = "missing" if y is None else f"{y.dtype} of shape {y.shape}"
        raise XentError(f"labels are {labels}; expected a number from 0 to 1 for each of {x.size} logits")
    return Shard("", x.reshape(-1, 1), y.reshape(-1), binary=True, shape=x.shape)


def _rows(array: "NDArray[Any]", axis: int) -> "NDArray[Any]":
    """Return an array as rows (N, C), its classes on an axis."""
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


def _indices(labels: "NDArray[Any]", rows: int) -> "NDArray[Any]":
    """Return class indices (N,); whole numbers of a floating dtype are indices too."""
    if labels.dtype.kind == "f":
        with np.errstate(all="ignore"):
            whole = labels.astype(np.int64)
        labels = whole if np.array_equal(whole, labels) else labels
    if labels.dtype.kind not in "iu" or labels.size != rows:
        expected = f"class indices for {count(rows, 'row')} of logits, or probabilities of their shape"
        raise XentError(f"labels are {labels.dtype} of shape {labels.shape}; expected {expected}")
    return labels.reshape(-1)


@contextmanager
def loss_of(  # noqa: PLR0913 - a dump, and each option about a loss
    dump: Sequence[Shard],
    loss: str | Callable[..., Any] | None,
    convention: str | None,
    *,
    clip: tuple[float, float] | None,
    ignore_index: int,
    library: str,
) -> "Iterator[Loss | None]":
    """Open the loss in question: the name of a method or function, or a function; None: there is none.

    A function is tried with the arrays of ``library``, of its own, of NumPy and of those imported. Raises
    XentError where it is no loss.
    """
    from xentcli import frameworks
    from xentcli.diagnose.loss import method_loss, recorded_loss, target_loss

    is_recorded = dump[0].losses is not None
    if is_recorded and loss is not None:
        raise XentError("losses and a loss: give what was recorded, or what to call")
    if loss is None:
        yield recorded_loss(dump[0].format, ignore_index) if is_recorded else None
        return
    from xentcli.frameworks.conventions import find_convention
    from xentcli.methods.table import select

    if any(shard.labels is None for shard in dump):
        raise XentError("a loss needs labels: give labels")
    if not isinstance(loss, str) and not callable(loss):
        raise XentError(
            f"loss is a {type(loss).__name__}; expected a function, or the name of one or of a method"
        )
    if isinstance(loss, str) and loss in frameworks.FUNCTIONS:
        known = frameworks.FUNCTIONS[loss]
        loss, convention = known.target, convention or known.convention.name
    if isinstance(loss, str) and ":" not in loss:
        methods = select(loss, tuple(frameworks.FUNCTIONS))
        if len(methods) > 1:
            raise XentError(f"loss '{loss}' is a group of methods; give one")
        yield method_loss(methods[0], dump[0].format, ignore_index, clip)
        return
    own = "" if isinstance(loss, str) else str(getattr(loss, "__module__", "")).partition(".")[0]
    imported = [name for name in ("torch", "jax", "tensorflow") if name in sys.modules]
    libraries = () if isinstance(loss, str) else (library, own, "numpy", *imported)
    called = find_convention(convention, loss if isinstance(loss, str) else "")
    is_chosen = convention is not None
    with target_loss(dump, ignore_index, loss, called, is_chosen=is_chosen, libraries=libraries) as opened:
        yield opened

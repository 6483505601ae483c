"""The arrays of files as shards: which are the logits, which the labels, and what are the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from xentcli import formats
from xentcli.diagnose.files import arrays, looked
from xentcli.diagnose.files.storage import File, absolute, expanded, is_address
from xentcli.diagnose.files.stored import Positions, StoredArray, StoredRows, loaded
from xentcli.diagnose.named import (
    LABELS,
    LOG_PROBABILITIES,
    LOGITS,
    LOSSES,
    array_named,
    listed,
    logsumexp,
    only_integers,
    short,
    top_k,
    zeros,
)
from xentcli.diagnose.saved import SavedStep, saved_step
from xentcli.errors import XentError, count, printable
from xentcli.threads import for_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.formats import IntArray

_CONNECTIONS: Final = 16  # files that are opened at once: each answer takes some hundredths of a second
_BINARY: Final = "binary? pass --binary"


@dataclass(frozen=True, slots=True)
class Layout:
    """What arrays are called, and which axis of the logits has the classes; ``binary`` ones have none.

    ``shift`` judges each position of a sequence with the label of the next. ``top_k`` ones have some classes
    alone, whose ``normalised`` values are log-probabilities.
    """

    logits_name: str | None = None
    labels_name: str | None = None
    class_axis: int = -1
    binary: bool = False
    shift: bool = False
    losses_name: str | None = None
    top_k: bool = False
    normalised: bool = False


class Source(NamedTuple):
    """The files of a shard, of logits, labels, losses and so on; None where it has none of its own."""

    path: str
    labels: str | None
    losses: str | None
    indices: str | None
    logsumexp: str | None
    layout: Layout

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(path for path in self[:5] if path is not None))


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One file, or arrays in memory, whose ``path`` is '': logits (N, C) and labels, read by slices of rows.

    ``labels`` are class indices (N,), probabilities (N, C), or, ``binary``, N numbers from 0 to 1 beside
    logits (N, 1); or None. ``holds`` says what else lies in the file; ``shape`` is that of the rows, and
    ``names`` says what the arrays are called where that had to be guessed. ``first`` is the number of its
    first row among those of the dump. ``losses`` (N,) are those recorded of the rows, or None; ``saved`` is
    the step of which they are some, if ``xentcli.watch`` saved them. ``source`` names its ``files``, as they
    were when they were opened. A shard of a top-k dump has the k largest logits of each row, their classes
    in ``indices`` (N, k), and in ``logsumexp`` (N,), if it is not None, the normalisers.
    """

    path: str
    logits: Any
    labels: Any
    binary: bool = False
    holds: str = ""
    shape: tuple[int, ...] = ()
    names: str = ""
    first: int = 0
    losses: Any = None
    saved: SavedStep | None = None
    source: Source | None = None
    files: tuple[File, ...] = ()
    indices: Any = None
    logsumexp: Any = None

    @property
    def format(self) -> str:
        """The format of the logits."""
        return str(self.logits.dtype.newbyteorder("="))

    @property
    def opened_by(self) -> "tuple[Source | None, tuple[File, ...], int]":
        """What another process opens it by, and its first row: see ``open_shard``."""
        if self.source is None:
            return None, (), self.first
        names = [None if path is None else absolute(path) for path in self.source[:5]]
        files = tuple(replace(file, path=absolute(file.path)) for file in self.files)
        return Source._make((*names, self.source.layout)), files, self.first

    def number_of(self, row: int) -> int:
        """Return the number of a row in the step of which it was saved, else in the file."""
        return row if self.saved is None else int(self.saved.numbers[row])

    @property
    def is_top_k(self) -> bool:
        """Whether it has some classes of each row alone."""
        return self.indices is not None

    @property
    def kind(self) -> str:
        """What labels are: ``indices``, ``rows`` of probabilities or ``binary``."""
        soft = self.labels is not None and len(self.labels.shape) > 1
        return "binary" if self.binary else "rows" if soft else "indices"


def rows_at(shards: Sequence[Shard], places: "IntArray", name: str = "logits") -> "NDArray[Any]":
    """Return rows of a dump by their numbers in it, ascending: of the logits, the labels or the losses."""
    parts = []
    for shard in shards:
        array = getattr(shard, name)
        mine = places[(places >= shard.first) & (places < shard.first + len(shard.logits))] - shard.first
        is_whole = len(mine) == len(shard.logits)
        parts += [array[slice(None)]] if is_whole else [array[at : at + 1] for at in mine.tolist()]
    return np.concatenate([np.asarray(part) for part in parts])


def shards(  # noqa: PLR0913 - files, and those that lie beside them
    paths: Sequence[str],
    labels: Sequence[str],
    layout: Layout = Layout(),
    losses: Sequence[str] = (),
    left_out: list[tuple[str, str]] | None = None,
    *,
    indices: Sequence[str] = (),
    logsumexps: Sequence[str] = (),
) -> list[Shard]:
    """Open files, each with one of labels or none at all, and so on; XentError says what is wrong.

    Shards are sorted by the name of their file. To ``left_out``, if it is given, go the names of those that
    cannot be opened, each with the message, as long as one can.
    """
    others = {"labels": labels, "losses": losses, "indices": indices, "logsumexp": logsumexps}
    sources = _sources(expanded(paths), {name: expanded(each) for name, each in others.items()}, layout)
    opened: dict[Source, Shard | Exception] = {}

    def open_one(source: Source) -> None:
        try:
            opened[source] = open_shard(source)
        except Exception as error:  # noqa: BLE001 - the first in order is raised, whichever thread has it
            opened[source] = error

    # At an address most of the time is spent waiting.
    for_each(sources, open_one, _CONNECTIONS if any(is_address(source.path) for source in sources) else 1)
    results = [(source, opened[source]) for source in sources]
    found = [shard for _, shard in results if isinstance(shard, Shard)]
    for source, error in results:
        if isinstance(error, Exception):
            if left_out is None or not found or not isinstance(error, XentError):
                raise error
            left_out.append((source.path, str(error)))
    _check_alike(found)
    return found


def _sources(files: list[str], others: Mapping[str, list[str]], layout: Layout) -> list[Source]:
    for name, paths in others.items():
        if paths and len(paths) != len(files):
            number = count(len(files), "file")
            raise XentError(f"{number} of logits, {len(paths)} of {name}; give one of {name} for each")
    if layout.shift and layout.binary:
        raise XentError("--shift and --binary: binary logits are of no causal model; give one of them")
    return sorted(
        (Source._make((*names, layout)) for names in zip_longest(files, *others.values())),
        key=lambda s: s.path,
    )


def open_shard(source: Source, files: tuple[File, ...] = ()) -> Shard:
    """Open a shard; XentError says what is wrong, ReadError that its ``files`` are not what they were."""
    for file in files:
        file.check()
    files = files or tuple(looked(path) for path in source.paths)
    held = {path: arrays(file) for path, file in zip(source.paths, files, strict=True)}
    shard = _top_k(source, held)
    if shard is not None:
        return replace(shard, source=source, files=files)
    shard = _shard(source, held)
    if source.layout.shift:
        shard = shifted(shard)
    if source.losses is not None or source.layout.losses_name is not None:
        shard = _with_losses(shard, source, held)
    return replace(shard, source=source, files=files)


def _check_alike(opened: Sequence[Shard]) -> None:
    """Raise XentError where a shard has other classes, or labels of another kind, than the first."""
    kinds = [_kind(shard) for shard in opened]
    for shard, kind in zip(opened, kinds, strict=True):
        if kind != kinds[0]:
            others = f"those of {printable(opened[0].path)} {kinds[0]}"
            raise XentError(f"{printable(shard.path)}: logits are {kind}, {others}")
        if shard.kind != opened[0].kind:
            raise XentError(f"{printable(shard.path)}: its labels are of another kind than the first file's")


def _kind(shard: Shard) -> str:
    """Say what logits are, for they have to be alike in all shards."""
    kind, number = str(shard.logits.dtype), shard.logits.shape[1]
    if not shard.is_top_k:
        return f"{kind} of {count(number, 'class', 'classes')}"
    return f"{kind} of the {number} largest with{'out' * (shard.logsumexp is None)} logsumexp"


def _top_k(source: Source, held: Mapping[str, Mapping[str, StoredArray]]) -> Shard | None:
    """Return a shard of a top-k dump, None of any other."""
    path, layout = source.path, source.layout
    found, beside = held[path], {} if source.indices is None else held[source.indices]
    is_asked = layout.top_k or layout.normalised or bool(source.indices or source.logsumexp)
    arrays = top_k(path, found, beside, layout.logits_name, is_asked=is_asked)
    if arrays is None:
        return None
    plain = Layout(arrays.values, layout.labels_name, top_k=True)
    shard = _shard(source._replace(layout=plain), held)
    if shard.kind != "indices":
        expected = "a top-k dump has class indices (N,)"
        raise XentError(f"{printable(path)}: labels are of shape {found[arrays.values].shape}; {expected}")
    rows, stored = len(shard.logits), StoredRows(arrays.indices, -1)
    if source.logsumexp is not None:
        normaliser = logsumexp(source.logsumexp, held[source.logsumexp], rows, is_only=True)
    else:
        normaliser = logsumexp(path, {**beside, **found}, rows)
    if layout.normalised or (normaliser is None and arrays.values in LOG_PROBABILITIES):
        return replace(shard, indices=stored, logsumexp=zeros(rows), names="log-probabilities")
    return replace(shard, indices=stored, logsumexp=normaliser)


def _shard(source: Source, held: Mapping[str, Mapping[str, StoredArray]]) -> Shard:
    """Return the logits and labels of a shard among the arrays of its files."""
    path, label_path, layout, found = source.path, source.labels, source.layout, held[source.path]
    name, logits = array_named(path, found, layout.logits_name, LOGITS)
    logits = logits.with_bfloat16(path)
    saved = saved_step(path, found) if name == "logits" else None
    if saved is not None:
        _check_rows(path, saved, layout)
        found = {other: array for other, array in found.items() if other not in {"rows", "meta"}}
        logits = replace(logits, shape=logits.shape[:1]) if saved.binary else logits
    binary = layout.binary or (saved is not None and saved.binary)
    if str(logits.dtype.newbyteorder("=")) not in formats.FORMATS:
        expected = ", ".join(formats.FORMATS)
        raise XentError(f"{printable(path)}: logits are {short(str(logits.dtype))}; expected {expected}")
    others = {other: array for other, array in found.items() if other != name}
    label_name, labels = _labels(source, held)
    if labels is None and name not in LOGITS and layout.logits_name is None:
        label_name, labels = only_integers(others)
    is_guess = name not in {*LOGITS, ""} and layout.logits_name is None
    names = f"logits from '{short(name)}'" if is_guess else ""
    names += f", labels from '{short(label_name)}'" if is_guess and labels is not None else ""
    holds = listed(others)
    if labels is None and binary:
        raise XentError(
            f"{printable(path)}: binary logits need labels; give --labels FILE or --labels-name NAME"
        )
    rows = (
        StoredRows(replace(logits, shape=(*logits.shape, 1)), -1)
        if binary
        else _rows(path, logits, layout.class_axis, fewest=1 if layout.top_k else 2)
    )
    shape = logits.shape if binary else tuple(np.delete(logits.shape, layout.class_axis).tolist())
    if labels is not None:
        place, axis = printable(label_path or path), layout.class_axis
        if labels.shape == logits.shape and not binary and labels.dtype.kind in "biuf":
            soft = _rows(path, labels, axis)
            return Shard(path, rows, soft, holds=holds, shape=shape, names=names, saved=saved)
        if labels.dtype.kind == "f" and not binary and labels.size == len(rows):
            labels = _as_integers(labels)
        if labels.dtype.kind not in ("biuf" if binary else "iu"):
            expected = "numbers from 0 to 1" if binary else "class indices, integers, or probabilities (…, C)"
            kind = short(str(labels.dtype))
            raise XentError(f"{place}: labels are {kind} of shape {labels.shape}; expected {expected}")
        hint = _axis_hint(logits.shape, labels.shape, axis)
        if labels.size != len(rows) or (hint and not binary):
            numbers = f"{count(labels.size, 'label')} for {count(len(rows), 'row')} of logits"
            raise XentError(f"{place}: {numbers}; {hint or 'give one per row'}")
        labels = labels.flat()
    return Shard(path, rows, labels, binary, holds, shape, names, saved=saved)


def _check_rows(path: str, saved: SavedStep, layout: Layout) -> None:
    """Raise XentError where options ask for other rows than those that were saved."""
    if layout.shift or layout.class_axis not in {-1, 1} or (layout.binary and not saved.binary):
        options = "leave out --shift, --class-axis and --binary"
        raise XentError(f"{printable(path)}: holds rows of a step (n, C), each with its label; {options}")


def _with_losses(shard: Shard, source: Source, held: Mapping[str, Mapping[str, StoredArray]]) -> Shard:
    """Return a shard with the losses recorded of its rows, in a file of their own or beside them."""
    path = source.losses or source.path
    place, rows = printable(path), len(shard.logits)
    _, array = array_named(path, held[path], source.layout.losses_name, LOSSES)
    array = array.with_bfloat16(path)
    if str(array.dtype.newbyteorder("=")) not in formats.FORMATS:
        raise XentError(f"{place}: losses are {array.dtype}; expected {', '.join(formats.FORMATS)}")
    if array.size != rows:
        numbers = f"{count(array.size, 'loss', 'losses')} for {count(rows, 'row')}"
        hint = "; a mean or sum is for --observed" if array.size == 1 else ""
        raise XentError(f"{place}: {numbers}; give one per row, as of reduction='none'{hint}")
    return replace(shard, losses=array.flat())


def shifted(shard: Shard) -> Shard:
    """Return (…, T) positions with the label of the next each, the last of a sequence left out."""
    (*outer, length), classes = shard.shape, shard.logits.shape[1]
    path, asked = (f"{printable(shard.path)}: ", "--shift") if shard.path else ("", "shift")
    if not outer or length < 2:  # noqa: PLR2004 - a position and the next
        shape = (*shard.shape, classes)
        example = f"(1, {length}, {classes})" if not outer else "T from 2 on"
        raise XentError(f"{path}logits are of shape {shape}; {asked} expects sequences, (B, T, C), {example}")
    if shard.labels is None:
        how = "give --labels FILE or --labels-name NAME" if shard.path else "give labels"
        raise XentError(f"{path}{asked} needs labels; {how}")
    return replace(
        shard,
        logits=Positions(shard.logits, length, first=False),
        labels=Positions(shard.labels, length, first=True),
        shape=(*outer, length - 1),
        names=", ".join(filter(None, [shard.names, "labels shifted by one position"])),
    )


def _rows(path: str, array: StoredArray, axis: int, fewest: int = 2) -> StoredRows:
    """Return logits, or labels of their shape, as rows (N, C)."""
    if array.ndim < 2 or not -array.ndim <= axis < array.ndim or not array.shape[axis]:  # noqa: PLR2004 - (N, C)
        expected = f"(N, C) or (…, C), with a class axis {axis}" if axis != -1 else "(N, C) or (…, C)"
        hint = f"; {_BINARY}" if array.ndim == 1 else ""
        raise XentError(f"{printable(path)}: logits are of shape {array.shape}; expected {expected}{hint}")
    if array.shape[axis] < fewest:
        raise XentError(f"{printable(path)}: logits are of shape {array.shape}, one class; {_BINARY}")
    return StoredRows(array, axis)


def _axis_hint(logits: tuple[int, ...], labels: tuple[int, ...], axis: int) -> str | None:
    """Say which axis has the classes, where labels have the shape of the other ones and this one has not.

    Or that labels of sequences were cut, as for a causal model, and the logits were not.
    """
    fitting = [at for at in range(len(logits)) if logits[:at] + logits[at + 1 :] == labels]
    if len(labels) < 2 or axis % len(logits) in fitting:  # noqa: PLR2004 - flat labels fit any
        return None
    if fitting:
        return f"the labels have shape {labels}: pass --class-axis {fitting[0]}"
    if axis % len(logits) == len(logits) - 1 and (*labels[:-1], labels[-1] + 1) == logits[:-1]:
        return "the labels lack a position of each sequence: save logits[:, :-1] beside labels[:, 1:]"
    return None


def _labels(source: Source, held: Mapping[str, Mapping[str, StoredArray]]) -> tuple[str, StoredArray | None]:
    """Return the name and the array of labels, None where there is none."""
    path, label_path, layout = source.path, source.labels, source.layout
    if label_path is not None or layout.labels_name is not None:
        path = label_path or path
        name, labels = array_named(path, held[path], layout.labels_name, LABELS)
    else:
        known = [name for name in LABELS if name in held[path]]
        if not known:
            return "", None
        name, labels = known[0], held[path][known[0]]
    return name, labels.with_bfloat16(path)


def _as_integers(labels: StoredArray) -> StoredArray:
    """Return labels that are whole numbers in a floating dtype as integers; others as they are."""
    numbers = labels.whole()
    with np.errstate(all="ignore"):
        whole = numbers.astype(np.int64)
    return loaded(whole) if np.array_equal(whole, numbers) else labels

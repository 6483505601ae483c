"""Dumps for ``fuzz``: .npy, .npz and .safetensors of every layout; some are broken in a place.

The layout is Hypothesis's choice, the numbers are drawn by NumPy from a seed that is one too.
"""

import io
import json
import random
import re
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from fuzz import Input
from hypothesis import strategies as st

from xentcli import formats
from xentcli.methods.table import METHODS
from xentcli.words import DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SUFFIXES = ("npy", "npz", "safetensors")
VALUES = ("ordinary", "ordinary", "edges", "bits", "constant", "masked", "poisoned")
LABELS = ("none", "indices", "indices", "invalid", "ignored", "uint64", "whole floats", "soft", "odd soft")
INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
TENSOR_NAMES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
CASE = b"logits: [[0, 1], [1, 0]]\nlabels: [0, 1]\nignore_index: 1\nclip: [1e-7, 1]\n"
ODD_LENGTHS = (b"0", b"-1", b"1", b"3", b"4294967296", b"18446744073709551616", b"1e9", b"NaN", b"9" * 30)
ODD_DTYPES = (
    b"<f8",
    b">f2",
    b"|V2",
    b"|O",
    b"<c8",
    b"<U3",
    b"|S5",
    b"<M8[s]",
    b"|b1",
    b"<u8",
    b"F64",
    b"U64",
    b"BOOL",
)
# What is edited in a header, and what is put there.
EDITS = (
    (re.compile(rb"\b\d+\b"), ODD_LENGTHS),
    (re.compile(rb"[<>|][a-zA-Z]\d*|\b[A-Z]+\d+\b"), ODD_DTYPES),
    (re.compile(rb"False|True|[\[\](){}:,]"), (b"True", b"0", b"None", b"", b"[", b"{", b",")),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a dump is like."""

    suffix: str
    dtype: str
    binary: bool
    labels: str
    values: str
    order: str  # C, F or big
    inner: int  # classes on axis 1 of (N, C, inner); 0: on the last axis
    shape: tuple[int, ...]  # with the classes last, which a binary one has not
    seed: int


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Choose what a dump is like."""
    binary = draw(st.integers(0, 4)) == 0
    rows = draw(st.integers(0, 12) | st.sampled_from([1, 100, 3000]))
    classes = (
        draw(st.integers(2, 9) | st.sampled_from([2, 100]))
        if rows > 1
        else draw(st.sampled_from([2, 9, 20_000]))
    )
    inner = draw(st.sampled_from([0, 0, 0, 1, 4]))
    between = draw(st.sampled_from([(), (), (3,)]))
    return Layout(
        suffix=draw(st.sampled_from(SUFFIXES)),
        dtype=draw(st.sampled_from(DTYPES)),
        binary=binary,
        labels=draw(st.sampled_from(["binary", "bits"] if binary else LABELS)),
        values=draw(st.sampled_from(VALUES)),
        order=draw(st.sampled_from(["C", "C", "F", "big"])),
        inner=0 if binary else inner,
        shape=(rows, *between, *(() if binary else (classes,))) if not inner else (rows, inner, classes),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def numbers(rng: np.random.Generator, layout: Layout, shape: tuple[int, ...], how: str) -> "Array":
    """Draw numbers of the dtype."""
    form, dtype = formats.FORMATS[layout.dtype], formats.dtype(layout.dtype)
    if how == "bits":  # any number there is, signalling nans too
        return rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8).view(dtype)[..., 0]
    edges = [form.largest, form.smallest, form.smallest_normal, form.largest / 2, 0.0, -0.0, 1 + form.eps]
    odd = [np.nan, np.inf, -np.inf, *edges]
    if how == "edges":
        found = rng.choice(edges, shape) * rng.choice([-1, 1], shape)
    elif how == "constant":
        found = np.full(shape, rng.choice([10.0, *odd]))
    else:
        found = rng.normal(scale=rng.choice([0.01, 1, 30, 90]), size=shape)
    share = {"masked": 0.3, "poisoned": 0.01}.get(how, 0.0)
    poison = rng.choice([-np.inf] if how == "masked" else odd, shape)
    found = np.where(rng.random(shape) < share, poison, found)
    with np.errstate(all="ignore"):
        return found.astype(dtype)


def labels_of(rng: np.random.Generator, layout: Layout, logits: "Array") -> "Array | None":
    """Draw labels of the kind of the layout."""
    if layout.labels == "none":
        return None
    if layout.binary:
        y = (
            numbers(rng, layout, logits.shape, "bits")
            if layout.labels == "bits"
            else rng.random(logits.shape)
        )
        return y if layout.labels == "bits" else rng.choice([0, 1, 0.5], logits.shape) * y.round().clip(0, 1)
    *shape, classes = layout.shape
    if layout.labels == "soft":
        return rng.dirichlet(np.ones(classes), tuple(shape)).astype(np.float32)
    if layout.labels == "odd soft":
        return numbers(rng, layout, layout.shape, str(rng.choice(["bits", "edges", "poisoned"])))
    return indices(rng, layout, tuple(shape), classes)


def indices(rng: np.random.Generator, layout: Layout, shape: tuple[int, ...], classes: int) -> "Array":
    """Draw class indices, some of them ignored, invalid or far too large."""
    dtype = np.dtype(
        {"uint64": "u8", "invalid": "i8", "ignored": "i4"}.get(layout.labels, str(rng.choice(INTEGERS)))
    )
    k = rng.integers(0, min(classes, np.iinfo(dtype).max), shape).astype(dtype)
    odd: dict[str, list[int]] = {
        "invalid": [-1, classes, -(2**63), 2**63 - 1],
        "ignored": [-100],
        "uint64": [2**64 - 1, 2**63, classes],
    }
    if layout.labels in odd:
        k = np.where(rng.random(shape) < 0.2, rng.choice(np.array(odd[layout.labels], dtype), shape), k)
    return k.astype(np.float32) if layout.labels == "whole floats" else k


def arrays_of(layout: Layout) -> dict[str, "Array"]:
    """Draw the arrays of a dump."""
    rng = np.random.default_rng(layout.seed)
    logits = numbers(rng, layout, layout.shape, layout.values)
    found = {"logits": logits, "labels": labels_of(rng, layout, logits)}
    if layout.inner:
        moved = {name: x.ndim == logits.ndim for name, x in found.items() if x is not None}
        found = {
            name: np.moveaxis(x, -1, 1) if x is not None and moved[name] else x for name, x in found.items()
        }
    return {name: ordered(x, layout) for name, x in found.items() if x is not None}


def ordered(array: "Array", layout: Layout) -> "Array":
    """Store an array in the order of the layout; bfloat16 has no byte order of its own."""
    if layout.order == "F":
        return np.asfortranarray(array)
    swaps = layout.order == "big" and array.dtype.kind != "V"
    return array.astype(array.dtype.newbyteorder(">")) if swaps else np.ascontiguousarray(array)


def npy(array: "Array", version: tuple[int, int] | None = None) -> bytes:
    """Return an array as a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def npz(members: dict[str, bytes], method: int) -> bytes:
    """Pack .npy files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data, method)
    return file.getvalue()


def tensors(arrays: dict[str, "Array"]) -> bytes:
    """Return arrays as a .safetensors file."""
    header: dict[str, Any] = {}
    data = b""
    for name, array in arrays.items():
        little = array if array.dtype.kind == "V" else array.astype(array.dtype.newbyteorder("<"))
        kind = TENSOR_NAMES.get(str(little.dtype)) or f"{little.dtype.kind.upper()}{8 * little.itemsize}"
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data)]}
        data += np.ascontiguousarray(little).tobytes()
        header[name]["data_offsets"].append(len(data))
    return with_header(json.dumps(header).encode(), data)


def with_header(text: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def files_of(draw: st.DrawFn, layout: Layout, number: int) -> tuple[dict[str, bytes], list[str]]:
    """Write a shard of a dump, labels of a .npy in a file of their own; return the words that name it too."""
    arrays = arrays_of(layout)
    edit = Edit(draw) if draw(st.integers(0, 3)) == 0 else None
    name = f"d{number}.{layout.suffix}"
    if layout.suffix == "npz":
        members = {key: npy(array) for key, array in arrays.items()}
        if edit and edit.inside:
            members["logits"] = edit.of_header(members["logits"])
        methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        data = npz(members, draw(st.sampled_from(methods)))
        return {name: edit.somewhere(data) if edit and not edit.inside else data}, [name]
    if layout.suffix == "safetensors":
        data = tensors(arrays)
    else:
        data = npy(arrays["logits"], draw(st.sampled_from([None, (2, 0), (3, 0)])))
    if edit:
        data = edit.of_header(data) if edit.inside else edit.somewhere(data)
    if layout.suffix == "safetensors" or "labels" not in arrays:
        return {name: data}, [name]
    return {name: data, f"k{number}.npy": npy(arrays["labels"])}, [name, "--labels", f"k{number}.npy"]


class Edit:
    """A change to a file: of its header, or of bytes anywhere."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.inside = draw(st.booleans())
        self._rng = random.Random(draw(st.integers(0, 2**32 - 1)))

    def somewhere(self, data: bytes) -> bytes:
        """Cut, extend, or replace a few bytes, mostly near an end, where the structure is."""
        found, rng = bytearray(data), self._rng
        how = rng.choice(["cut", "extend", "replace", "replace", "repeat"])
        near = rng.choice([min(len(data), 200), len(data)])
        at = rng.randrange(near) if rng.random() < 0.7 else len(data) - 1 - rng.randrange(near)
        if how == "cut":
            del found[at:]
        elif how == "extend":
            found += rng.randbytes(rng.choice([1, 8, 64]))
        elif how == "repeat":
            found[at:at] = found[at : at + 8]
        else:
            found[at] = rng.choice([0, 255, 127, 128, rng.randrange(256)])
        return bytes(found)

    def of_header(self, data: bytes) -> bytes:
        """Change a length, an offset, a dtype or the order in the header, whose own length is right."""
        wide = {b"\x93NUMPY\x01": 2, b"\x93NUMPY\x02": 4, b"\x93NUMPY\x03": 4}.get(data[:7])
        start = 8 if wide is None else 8 + wide
        size = int.from_bytes(data[start - (wide or 8) : start], "little")
        text, rest = self._changed(data[start : start + size]), data[start + size :]
        return (
            with_header(text, rest)
            if wide is None
            else data[:8] + len(text).to_bytes(wide, "little") + text + rest
        )

    def _changed(self, text: bytes) -> bytes:
        rng = self._rng
        pattern, others = rng.choice(EDITS)
        places = list(pattern.finditer(text))
        if not places:
            return text[:-1]
        place = rng.choice(places)
        return text[: place.start()] + rng.choice(others) + text[place.end() :]


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    """Make a dump and a command over it."""
    layout = draw(layouts())
    if layout.suffix == "npz" and len(layout.shape) < 3 and draw(st.integers(0, 5)) == 0:
        files, (name, *_) = files_of(draw, layout, 0)
        return Input(("new", "--from", name, "-"), files=files)
    shards = [files_of(draw, layout, number) for number in range(draw(st.sampled_from([1, 1, 1, 2])))]
    files = {name: data for shard, _ in shards for name, data in shard.items()}
    named = [word for _, words in shards for word in words]
    return Input(("diagnose", *named, *options(draw, layout)), files={**files, "c.yaml": CASE})


def options(draw: st.DrawFn, layout: Layout) -> list[str]:
    """Choose options that go with the layout."""
    found = ["--format", draw(st.sampled_from(["table", "plain", "json", "html"]))]
    found += ["--binary"] if layout.binary else []
    found += ["--class-axis", "1"] if layout.inner else []
    names = [method.name for method in METHODS if method.binary == layout.binary]
    has_labels = layout.labels != "none" or draw(st.integers(0, 9)) == 0
    others = [
        ["--observed", draw(st.sampled_from(["nan", "inf", "0.5", "2.302585", "82.89307", "1e308", "0"]))],
        ["--extract", draw(st.sampled_from(["w.yaml", "-"]))] if has_labels else [],
        ["--rows", draw(st.sampled_from(["1", "2", "30", "100"]))],
        ["--ignore-index", draw(st.sampled_from(["0", "-1", "1", str(2**63)]))],
        ["--case", "c.yaml"],
        ["--method", draw(st.sampled_from(names))] if not layout.labels.endswith(("none", "soft")) else [],
    ]
    for option in others:
        found += option if draw(st.integers(0, 3)) == 0 else []
    return found

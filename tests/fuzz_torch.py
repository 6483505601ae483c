"""Hostile .pt files for ``fuzz``: tensors of every kind, cut and edited, and pickles that would run code.

One process of ``pt`` reads many of them, as it reads one for ``diagnose``: to import torch takes
seconds.
"""

import io
import pickle
import random
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from xentcli.diagnose.files import pt
from xentcli.process import Process

MARK: Final = "ran"  # the file that code of a pickle would write, in the folder of the inputs
MOST: Final = 2**27  # bytes of tensors, as of a small file
_SECONDS: Final = 30.0
_EDITS: Final = (
    b"\x00",
    b"\xff",
    b"J\xff\xff\xff\x7f",
    b"J\xff\xff\xff\xff",
    b"K\x00",
    b"\x8a\x08",
    b"c",
    b"R",
    b"0",
    b".",
)


class _Runs:
    """A value whose unpickling writes the mark."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._made = function, arguments

    def __reduce__(self) -> Any:
        return self._made


def files(torch: Any, folder: Path, seed: int, number: int) -> list[tuple[str, bytes]]:
    """Return so many files and what each is: whole, cut, edited, or one that would run code."""
    rng = random.Random(seed)
    whole = [_saved(torch, _container(torch, rng), is_old=rng.random() < 0.3) for _ in range(8)]
    made = []
    for _ in range(number):
        how = rng.choice(["whole", "cut", "edited", "member", "member", "member", "runs"])
        data = rng.choice(whole)
        if how == "runs":
            data = _that_runs(torch, folder, rng)
        elif how == "cut":
            data = data[: rng.randrange(len(data))]
        elif how == "edited":
            data = _edited(data, rng)
        elif how == "member":
            data = _with_member_edited(data, rng)
        made.append((how, data))
    return made


def _saved(torch: Any, found: Any, *, is_old: bool) -> bytes:
    file = io.BytesIO()
    torch.save(found, file, _use_new_zipfile_serialization=not is_old)
    return file.getvalue()


def _container(torch: Any, rng: random.Random) -> Any:
    """Draw tensors in a dict, a tuple or deeper, of formats that NumPy has and others."""
    rows, classes = rng.randrange(0, 9), rng.randrange(1, 6)
    dtype = rng.choice([torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2])
    x = torch.linspace(-9, 9, rows * classes).reshape(rows, classes).to(dtype)
    x = rng.choice([x, x.t(), x[::2], x.float().to_sparse(), x.to("meta")])
    k = torch.arange(rows) % classes
    return rng.choice(
        [x, (x, k), {"logits": x, "labels": k}, {"a": {"b": [x, k]}, "note": "x", "n": 3.5}, {}]
    )


def _that_runs(torch: Any, folder: Path, rng: random.Random) -> bytes:
    """Return a file, of this format or the old one, or a bare pickle, that would write the mark."""
    mark = str(folder / MARK)
    runs = rng.choice(
        [
            _Runs(eval, f"open({mark!r}, 'w')"),
            _Runs(exec, f"open({mark!r}, 'w')"),
            _Runs(open, mark, "w"),
            _Runs(Path.touch, folder / MARK),
            _Runs(getattr(__import__("os"), "system"), f"touch {mark}"),  # noqa: B009 - no linter should take it for a call
            _Runs(torch.load, mark),
        ]
    )
    found = rng.choice([runs, {"logits": runs}, [torch.eye(2), runs]])
    if rng.random() < 0.3:
        return pickle.dumps(runs, rng.choice([0, 1, 2, 4]))
    return _saved(torch, found, is_old=rng.random() < 0.5)


def _edited(data: bytes, rng: random.Random) -> bytes:
    """Replace bytes by numbers of another size, by operations of a pickle, or by others."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 4])):
        at, put = rng.randrange(max(1, len(found))), rng.choice([*_EDITS, rng.randbytes(2)])
        found[at : at + rng.choice([0, len(put)])] = put
    return bytes(found)


def _with_member_edited(data: bytes, rng: random.Random) -> bytes:
    """Edit, cut, drop or repeat a member of an archive, mostly its pickle; an old file as a whole."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return _edited(data, rng)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        chosen = (
            next((n for n in names if n.endswith("data.pkl")), names[0])
            if rng.random() < 0.7
            else rng.choice(names)
        )
        how = rng.choice(["edit", "edit", "edit", "cut", "drop", "pack"])
        for name in names:
            text = old.read(name)
            if name == chosen:
                text = (
                    _edited(text, rng) if how == "edit" else text[: len(text) // 2] if how == "cut" else text
                )
            if name != chosen or how != "drop":
                new.writestr(name, text, zipfile.ZIP_DEFLATED if how == "pack" else zipfile.ZIP_STORED)
    return file.getvalue()


def read_all(made: list[tuple[str, bytes]], folder: Path) -> Counter[tuple[str, str]]:
    """Read each file as ``tensors`` does; return how many of each kind were read and refused.

    Raises AssertionError for one that runs code, ends the process, or gets no plain answer.
    """
    ends: Counter[tuple[str, str]] = Counter()
    worker = Process(pt.__name__)
    try:
        for number, (how, data) in enumerate(made):
            path = folder / "batch.pt"
            path.write_bytes(data)
            with tempfile.TemporaryDirectory() as out:
                response = worker.request({"path": str(path), "folder": out, "most": MOST}, _SECONDS)
                where = f"file {number}, {how}: {response}"
                assert not (folder / MARK).exists(), f"runs code: {where}"
                assert "raised" not in response, where
                refused = response.get("refused")
                if refused is None:
                    stored = [np.load(Path(out, f"{each}.npy")) for each in range(len(response["names"]))]
                    assert sum(array.nbytes for array in stored) <= MOST, where
                else:
                    assert "\n" not in refused, where
                    assert len(refused) < 300, where  # a few lines of a terminal
                ends[how, "read" if refused is None else "refused"] += 1
    finally:
        worker.stop()
    return ends


def fuzz(number: int, seed: int) -> str:
    """Read so many files, and say how they ended."""
    import torch

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has words on its layouts
        ends = read_all(files(torch, Path(folder), seed, number), Path(folder))
    said = ", ".join(f"{times} {how} {end}" for (how, end), times in sorted(ends.items()))
    return f"{number} pickles: {said}"

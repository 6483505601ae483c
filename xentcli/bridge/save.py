"""Rows of a step as an .npz that ``xent diagnose``, ``xent new --from`` and ``numpy.load`` read."""

import json
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIBRARIES: Final = ("numpy", "torch", "jax", "tensorflow", "keras")
_TRIES: Final = 1000  # names: other ranks and runs write into the same folder


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a file holds: ``rows`` (n,) are the numbers of its rows in the step."""

    rows: "NDArray[np.int64]"
    logits: "NDArray[Any]"
    labels: "NDArray[Any]"
    context: "Mapping[str, NDArray[Any]]"


class Files:
    """The files that this process has written, at most so many in each folder."""

    def __init__(self) -> None:
        self._written: dict[str, int] = {}
        self._lock = Lock()

    def reserve(self, folder: str, most: int) -> bool:
        """Count a file that is about to be written; False where there are enough."""
        with self._lock:
            number = self._written.get(folder, 0)
            if number >= most:
                return False
            self._written[folder] = number + 1
            return True

    def release(self, folder: str) -> None:
        """Count a file no more, which could not be written."""
        with self._lock:
            self._written[folder] -= 1


FILES: Final = Files()


def save(folder: str, name: str, batch: Batch, meta: Mapping[str, object]) -> str:
    """Write a new file, whole or not at all, and return its path; a file of that name is never replaced.

    Raises OSError where the folder cannot be written to.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    loaded = {library: sys.modules[library] for library in _LIBRARIES if library in sys.modules}
    versions = {"xent": __version__}
    versions |= {library: getattr(module, "__version__", "") for library, module in loaded.items()}
    about: dict[str, object] = {
        "schema": "xent.batch/1",
        **meta,
        "versions": versions,
    }
    own = {"logits": batch.logits, "labels": batch.labels, "rows": batch.rows}
    arrays: dict[str, Any] = {**batch.context, **own}
    arrays["meta"] = np.array(json.dumps(about))
    temporary = Path(folder, f".{name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            np.savez(file, **arrays)
        for attempt in range(1, _TRIES):
            path = Path(folder, f"{name}.npz" if attempt == 1 else f"{name}-{attempt}.npz")
            if _move(temporary, path):
                return str(path)
        raise FileExistsError(f"{name}.npz and its {_TRIES} successors exist")
    finally:
        temporary.unlink(missing_ok=True)


def _move(temporary: Path, path: Path) -> bool:
    """Give a file its name, which then shows no half of it; False where the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no links here
        if path.exists():
            return False
        temporary.rename(path)
    return True

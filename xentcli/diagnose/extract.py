"""Guilty rows as a case: as few classes as keep what spoils each row, all digits kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.summary import Diagnosis, numbers_of
from xentcli.diagnose.survey import Survey, survey
from xentcli.errors import XentError, count
from xentcli.load.sources import MAX_BYTES
from xentcli.load.write import case_yaml
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray


def extracted(diagnosis: Diagnosis) -> str:
    """Return the case of the rows that a diagnosis shows; XentError where there are none, or no labels."""
    of_all = diagnosis.survey
    if not diagnosis.rows:
        raise XentError("nothing spoils any row: there is nothing to extract")
    if not of_all.labelled:
        raise XentError("a case needs labels: give --labels")
    rows = [row.of_all for row in diagnosis.rows]
    while True:
        text = _text(diagnosis, of_all, rows)
        if len(text) <= MAX_BYTES or len(rows) == 1:
            return text
        rows = rows[: len(rows) // 2]


def _text(diagnosis: Diagnosis, of_all: Survey, rows: Sequence[int]) -> str:
    pairs = [numbers_of(of_all, row) for row in rows]
    x = np.stack([logits for logits, _ in pairs])
    x = x.astype(x.dtype.newbyteorder("="))
    k = np.array([label for _, label in pairs], np.int64)
    columns = shrunk(x, k, of_all)
    labels = np.searchsorted(columns, k)
    kept = (k >= 0) & (k < x.shape[1])
    labels = np.where(kept, labels, np.where(k == of_all.ignore_index, IGNORE_INDEX, k))
    shown = [(Path(row.path).name, row.row) for row in diagnosis.rows][: len(rows)]
    names = dict.fromkeys(name for row in diagnosis.rows[: len(rows)] for name in row.names)
    files = dict.fromkeys(name for name, _ in shown)
    where = "; ".join(
        f"{name} {', '.join(str(row) for file, row in shown if file == name)}" for name in files
    )
    title = f"{count(len(rows), 'row')} of a dump: {', '.join(names)}"
    source = f"rows {where}; {len(columns)} of {x.shape[1]} classes"
    clips = [float(name.removeprefix("clip ")) for name in names if name.startswith(("clip 0", "clip 1"))]
    clip = (max(clips), 1.0) if clips else None
    return case_yaml(title, x[:, columns], labels, source, clip)


def shrunk(x: "FloatArray", k: "IntArray", of_all: Survey) -> "IntArray":
    """Return the classes to keep, in order: as few as leave every row spoiled by the same.

    First those that a row is known by are tried alone; then classes are dropped by ever smaller parts.
    """
    wanted = _bits(x, k, of_all, np.arange(x.shape[1]))
    columns = np.arange(x.shape[1])
    known = np.unique(
        np.concatenate([_known_by(row, label) for row, label in zip(x, k.tolist(), strict=True)])
    )
    if np.array_equal(_bits(x, k, of_all, known), wanted):
        columns = known
    size = len(columns) // 2
    while size:
        start = 0
        while start < len(columns):
            fewer = np.delete(columns, slice(start, start + size))
            if len(fewer) and np.array_equal(_bits(x, k, of_all, fewer), wanted):
                columns = fewer
            else:
                start += size
        size //= 2
    return columns


def _known_by(row: "FloatArray", label: int) -> "IntArray":
    """Return the classes of a row's label, largest, second largest and smallest logit, and of its nan."""
    wide = row.astype(np.float64)
    order = np.argsort(wide)  # nan comes last
    known = {*order[-2:].tolist(), int(order[0]), *np.flatnonzero(np.isnan(wide))[:1].tolist()}
    return np.array(sorted(known | ({label} if 0 <= label < len(row) else set())), np.int64)


def _bits(x: "FloatArray", k: "IntArray", of_all: Survey, columns: "IntArray") -> Any:  # noqa: ANN401 - an array
    """Return what spoils each row when only some classes are left; a label that is dropped is none."""
    kept = (k >= 0) & (k < x.shape[1])
    labels = np.where(kept, np.searchsorted(columns, k), k)
    if not np.isin(k[kept], columns).all():
        return None
    labels = np.where(kept | (k == of_all.ignore_index), labels, -1)
    return survey([Shard("", x[:, columns], labels, ())], of_all.ignore_index, of_all.spoilers).bits

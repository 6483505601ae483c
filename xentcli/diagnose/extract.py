"""The worst rows as a case: as few classes as leave each row its rules, all digits kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from xentcli.diagnose.columns import columns_of
from xentcli.diagnose.diagnosis import Diagnosis, WorstRow, row_of
from xentcli.diagnose.rules import CASE_CLIP, RowRule
from xentcli.errors import XentError, count, printable
from xentcli.load.build import build_batch
from xentcli.load.sources import MAX_BYTES
from xentcli.load.write import case_yaml
from xentcli.methods import arithmetic, kernels
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.formats import BoolArray, FloatArray, IntArray


_OFTEN_NAN: Final = (kernels.naive, kernels.textbook, kernels.dense)  # where other classes decide nan or inf
_TRIES: Final = 300  # sets of classes; where nearly all are needed, ddmin tries as many as there are


@np.errstate(all="ignore")
def extracted(diagnosis: Diagnosis) -> str:
    """Return the case of the worst rows, or of the first of them where all are more than a case may hold.

    There is one at least, and rows have labels. Raises XentError where a row is more than a case may hold.
    """
    rows = diagnosis.rows
    while len((text := _case(diagnosis, rows)).encode()) > MAX_BYTES:
        if len(rows) == 1:
            place = f"row {rows[0].number} of {printable(rows[0].path)}"
            raise XentError(f"{place} cannot be extracted: a case has at most {MAX_BYTES // 2**20} MiB")
        rows = rows[: len(rows) // 2]
    return text


def _case(diagnosis: Diagnosis, rows: Sequence[WorstRow]) -> str:
    survey = diagnosis.survey
    logits, labels = zip(*(row_of(row.shard, row.row) for row in rows), strict=True)
    x = np.stack(logits)
    x = x.astype(x.dtype.newbyteorder("="))
    files: dict[str, list[str]] = {}
    for row in rows:
        files.setdefault(Path(row.path).name, []).append(str(row.number))
    where = "; ".join(f"{name} {', '.join(numbers)}".lstrip() for name, numbers in files.items())
    findings = dict.fromkeys(finding for row in rows for finding in row.findings)
    step = None if diagnosis.saved is None else diagnosis.saved.step
    origin = "a dump" if step is None else f"step {step}"
    title = f"{count(len(rows), 'row')} of {origin}: {', '.join(findings)}"
    if survey.kind != "indices":  # soft labels have to keep their sum
        return case_yaml(title, x if x.shape[1] > 1 else x[:, 0], np.array(labels), f"rows {where}")
    numbers = np.array([_label(diagnosis, cast("int", label)) for label in labels], np.int64)
    columns = shrunk(x, numbers, survey.rules)
    source = f"rows {where}; {len(columns)} of {diagnosis.classes} classes"
    # A probability below one lower bound is below all higher ones: the highest leaves every row its finding.
    clips = [rule for row in rows for rule in row.rules if rule.clip]
    own = [rule for rule in clips if rule.name == CASE_CLIP]
    clip = max((rule.clip for rule in own or clips if rule.clip), default=None)
    if not own and diagnosis.response is not None and diagnosis.response.is_method:
        clip = None  # the method was asked with its own
    left = _relabelled(numbers, columns, diagnosis.classes)
    return case_yaml(title, x[:, columns], left, source, clip)


def _label(diagnosis: Diagnosis, label: int) -> int:
    """Return a label as a case has it: a class, -100 if it is ignored, any other number if it is invalid."""
    if label == diagnosis.survey.ignore_index:
        return IGNORE_INDEX
    if label == IGNORE_INDEX:
        return -1
    return min(label, np.iinfo(np.int64).max)  # uint64 labels may be larger


def _relabelled(labels: "IntArray", columns: "IntArray", classes: int) -> "IntArray":
    """Return the labels among the columns kept; those that are no class stay as they are."""
    valid = (labels >= 0) & (labels < classes)
    return np.where(valid, np.searchsorted(columns, labels), labels)


def shrunk(logits: "FloatArray", labels: "IntArray", rules: tuple[RowRule, ...]) -> "IntArray":
    """Find the smallest set of classes (ddmin) for which each row keeps its rules, and a nan its nan.

    The classes that rules mostly depend on are tried first, alone: the label, the smallest logit, the two
    largest and a nan. Labels are as ``_label`` has them.
    """
    every = np.arange(logits.shape[1])
    valid = labels[(labels >= 0) & (labels < len(every))]

    def bits_of(columns: "IntArray") -> "IntArray":
        left = _relabelled(labels, columns, len(every))
        return columns_of(logits[:, columns], left, rules, IGNORE_INDEX).bits

    def nans_of(columns: "IntArray") -> "BoolArray":
        batch = build_batch(
            logits[:, columns], _relabelled(labels, columns, len(every)), dtype, ignore_index=IGNORE_INDEX
        )
        with np.errstate(all="ignore"):
            return np.stack([np.isnan(kernel(ar, batch)[:, 0]) for kernel in _OFTEN_NAN])

    def suffices(columns: "IntArray") -> bool:
        is_whole = np.isin(valid, columns).all() and np.array_equal(bits_of(columns), bits)
        return bool(is_whole and np.array_equal(nans_of(columns), nans))

    dtype = str(logits.dtype)
    ar, nans = arithmetic.get("numpy", dtype), np.zeros(0, bool)
    nans = nans_of(every)
    bits, wide = bits_of(every), logits.astype(np.float64)
    order, is_nan = np.argsort(wide, axis=1), np.isnan(wide)  # nan comes last
    first_nan = is_nan.argmax(axis=1)[is_nan.any(axis=1)]
    telling = np.unique(np.concatenate([valid, order[:, 0], order[:, -2:].ravel(), first_nan]))
    columns = telling if suffices(telling) else every
    size, tries = len(columns) // 2, 0
    while size:
        start = 0
        while start < len(columns) and tries < _TRIES:
            tries += 1
            fewer = np.delete(columns, slice(start, start + size))
            if len(fewer) and suffices(fewer):
                columns = fewer
            else:
                start += size
        size //= 2
    return columns

"""Why the loss of a step is bad, and which of its rows show it: in NumPy, when it is known to be bad."""

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.bridge.options import MEMORY, BadLoss, Options
from xentcli.bridge.save import FILES, Batch, save
from xentcli.diagnose.answer import failing_rows
from xentcli.diagnose.diagnosis import Diagnosis, WorstRow, diagnosis_of
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.rules import Severity
from xentcli.diagnose.survey import survey
from xentcli.errors import count
from xentcli.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

_WORTHLESS: Final = {"empty-mean", "label-out-of-range"}  # of which a library makes a plausible number
_BEFORE: Final = (
    "the fault lies before the loss, in the weights, the input, or the step before (gradient=True looks at "
    "its gradient)"
)
_OFFENDING: Final = 16  # rows that are kept of each finding
_NEIGHBOURS: Final = 4  # rows that are kept before and after the worst one
_PREVIOUS: Final = 64  # rows that are kept of the last good step


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A step as it is seen in memory: its loss, its logits as rows, its labels.

    ``loss`` () or (N,), float64, or (0,) where a gradient is looked at without it; ``logits`` (N, C) are read
    by slices of rows; ``labels`` (N,) or (N, C), or of ``binary`` logits (N, 1) numbers (N,).
    ``dtype`` and ``shape`` are those of the logits there; bfloat16 may come here as float32.
    ``step`` and ``rank`` are None where they are unknown. ``gradient`` (N,) says which rows of the logits'
    gradient are not finite, None where it was not looked at; ``suspect`` (N,) which rows can be to blame,
    None where any can. ``numbers`` (N,) are those of its rows in the step, None for all of them.
    """

    loss: "NDArray[np.float64]"
    logits: Any
    labels: "NDArray[Any]"
    dtype: str
    shape: tuple[int, ...]
    step: int | None = None
    rank: int | None = None
    context: "Mapping[str, NDArray[Any]]" = field(default_factory=dict)
    gradient: "NDArray[np.bool_] | None" = None
    suspect: "NDArray[np.bool_] | None" = None
    binary: bool = False
    numbers: "NDArray[np.int64] | None" = None

    @property
    def place(self) -> str:
        """Name the step, as ``step 812, rank 3: ``."""
        where = [] if self.step is None else [f"step {self.step}"]
        where += [] if self.rank is None else [f"rank {self.rank}"]
        return ", ".join(where) + ": " if where else ""

    def number_of(self, row: int) -> int:
        """Return the number that a row has in the step."""
        return row if self.numbers is None else int(self.numbers[row])

    def of(self, rows: int) -> str:
        """Say of how many rows something is said."""
        return f"of {count(rows, 'row')}" + ("" if self.numbers is None else " looked at")

    def narrowed(self, ignore_index: int) -> "Step":
        """Return the rows that can be to blame alone, and a few beside the first, one of which counts."""
        if self.suspect is None or self.suspect.all() or not self.suspect.any():
            return self
        suspect = np.flatnonzero(self.suspect)
        counts = self.labels != ignore_index if self.labels.ndim == 1 else self.suspect
        counted = suspect[:0] if counts[suspect].any() else np.flatnonzero(counts)[:1]
        rows = _with_neighbours([*suspect, *counted], int(suspect[0]), len(self.logits))
        gradient = None if self.gradient is None else self.gradient[rows]
        logits = Chosen(self.logits, rows)
        return replace(self, logits=logits, labels=self.labels[rows], gradient=gradient, numbers=rows)


class Chosen:
    """Some rows of logits, by their numbers, read by slices."""

    def __init__(self, logits: Any, numbers: "NDArray[np.int64]") -> None:  # noqa: ANN401 - read by slices
        self._logits, self._numbers = logits, numbers
        self.shape, self.dtype = (len(numbers), logits.shape[1]), logits.dtype

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, rows: slice) -> "NDArray[Any]":
        return _taken(self._logits, self._numbers[rows])


def judge(seen: Step, options: Options) -> BadLoss | None:
    """Return why a loss is bad, with its rows saved; None where it is right though it is 0.

    Raises XentError for logits, labels or a loss that do not go together.
    """
    seen = seen.narrowed(options.ignore_index)
    shard = Shard("", seen.logits, seen.labels, seen.binary)
    diagnosis = diagnosis_of(survey([shard], options.ignore_index, most=_OFFENDING))
    what = _what(seen, diagnosis)
    if what is None:
        return None
    cause = _cause(seen, diagnosis)
    before = "" if seen.gradient is not None else _before(options)  # there the last one is this one's
    said, path = f"{seen.place}{what}: {cause.sentence}{before}", None
    if not FILES.reserve(options.folder, options.most):
        said += f"; not saved, for {options.most} files are (most={options.most})"
    else:
        try:
            path = _save(seen, options, diagnosis, what)
            said += f"; saved {path}; look: xent diagnose {shlex.quote(path)}"
        except (OSError, ValueError) as error:  # a ValueError of a path that none can be
            FILES.release(options.folder)
            said += f"; cannot be saved in {options.folder}: {getattr(error, 'strerror', None) or error}"
    return BadLoss(said, seen.step, seen.rank, path, cause.findings)


def _what(seen: Step, diagnosis: Diagnosis) -> str | None:
    """Say what is wrong with the loss, None if nothing is."""
    if seen.gradient is not None and not seen.loss.size:
        return "gradient of the logits is not finite"
    loss, findings = seen.loss, {rule.finding for rule in diagnosis.rules}
    if not np.isfinite(loss).all():
        return f"loss is {'nan' if np.isnan(loss).any() else float(loss[np.isinf(loss)][0])}"
    if (loss < 0).any():
        return f"loss is negative, {float(loss.min()):.6g}"
    but, true = "", diagnosis.losses
    if findings & _WORTHLESS:
        but = "means nothing"
    elif seen.gradient is not None:
        but = "its gradient is not finite"
    elif (loss == 0).all() and true is not None and true.mean > _least(seen.dtype):
        but = f"the true mean is {true.mean:.3g}"
    return f"loss is {float(loss.max(initial=0)):.6g}, but {but}" if but else None


def _least(dtype: str) -> float:
    """Return the largest loss that is 0 by right rounding; of half logits it is summed in float32."""
    return FORMATS["float64" if dtype == "float64" else "float32"].smallest / 2


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a loss is bad: the findings, the first one first, and a sentence that names them."""

    findings: tuple[str, ...]
    sentence: str


def _cause(seen: Step, diagnosis: Diagnosis) -> Cause:
    """Name why a loss is bad: what is broken in its rows, else the formula that goes wrong on them."""
    rows, rules = diagnosis.survey.rows, diagnosis.rules
    counts = {rule.finding: number for rule, number in rules.items() if rule.severity is Severity.BROKEN}
    if not rows:
        return Cause(("empty-mean",), "empty-mean, there are no rows")
    if "empty-mean" in counts:
        every = f"empty-mean, all {count(rows, 'label')} are ignored ({diagnosis.survey.ignore_index})"
        return Cause(("empty-mean",), every)
    if counts.get("nan-logit") == rows and seen.numbers is None:
        return Cause(("nan-logit",), f"nan-logit in every row of {rows}: {_BEFORE}")
    if counts:
        named = [f"{name} in {number} {seen.of(rows)}" for name, number in counts.items()]
        first = next((row for row in diagnosis.leading if set(row.findings) & counts.keys()), None)
        place = "" if first is None else f" ({_place(seen, first, first.findings[0])})"
        return Cause(tuple(counts), f"{named[0]}{place}" + "".join(f", {other}" for other in named[1:]))
    if seen.gradient is not None:
        bad = np.flatnonzero(seen.gradient)
        where = f"{len(bad)} {seen.of(rows)} (row {seen.number_of(int(bad[0]))})"
        return Cause(("nan-gradient",), f"nan-gradient in {where}")
    return _formula(seen, diagnosis)


def _formula(seen: Step, diagnosis: Diagnosis) -> Cause:
    """Name the finding of the methods that go wrong as the loss does, where no row is broken."""
    rows = diagnosis.survey.rows
    if (seen.loss == 0).all() and (found := _of_rule(seen, diagnosis, "tail-collapse")):
        return Cause(("tail-collapse",), f"{found}: 1 plus the other classes rounds to 1; no row is broken")
    state = "nan" if np.isnan(seen.loss).any() else "infinite" if np.isinf(seen.loss).any() else "off"
    failing = failing_rows(diagnosis, state)
    tried = [each for each in failing[0].tried if each.state == state and each.finding] if failing else []
    if not tried and not (seen.loss < 0).any() and (found := _of_rule(seen, diagnosis, "masked-infinity")):
        why = "smoothing, or a soft label, weighs a class that is -inf"
        return Cause(("label-on-mask",), f"label-on-mask, for {why}: {found}; no row is broken")
    if (seen.loss < 0).any() or not tried or tried[0].finding is None:
        return Cause((), f"no row of {rows} is broken, so it is the formula: 'xent check' looks at it")
    finding, methods = tried[0].finding, [each.method for each in tried if each.finding == tried[0].finding]
    number = max((n for rule, n in diagnosis.rules.items() if rule.finding == finding), default=len(failing))
    where = f"{finding} in {number} {seen.of(rows)} ({_place(seen, failing[0], finding)})"
    return Cause((finding,), f"{where}, as in the formula {methods[0]}; no row is broken")


def _of_rule(seen: Step, diagnosis: Diagnosis, finding: str) -> str:
    """Say in how many rows a rule applies, and name one of them; nothing where there is none."""
    number = max((rows for rule, rows in diagnosis.rules.items() if rule.finding == finding), default=0)
    row = next((row for row in diagnosis.leading if finding in row.findings), None)
    place = "" if row is None else f" ({_place(seen, row, finding)})"
    return f"{finding} in {number} {seen.of(diagnosis.survey.rows)}{place}" if number else ""


def _place(seen: Step, row: WorstRow, finding: str) -> str:
    """Name a row, and the class or label that it is about."""
    number = seen.number_of(row.row)
    if seen.binary:  # of examples with several labels each is a row
        classes = seen.shape[-1] if len(seen.shape) > 1 else 1
        return f"row {number}" if classes == 1 else f"row {number // classes}, class {number % classes}"
    if finding.startswith("label-out"):
        return f"row {number}, label {row.label}"
    is_low = finding in {"undefined-softmax", "zero-times-infinity", "masked-infinity"}
    on_label = finding in {"label-on-mask", "log-of-zero", "tail-collapse"}
    return f"row {number}, class {row.label if on_label else row.lowest if is_low else row.highest}"


def _before(options: Options) -> str:
    """Say what the last good loss of this thread was."""
    if options not in MEMORY.good:
        return ""
    step, loss = MEMORY.good[options]
    return f"; the last good loss was {loss:.6g}" + ("" if step is None else f", at step {step}")


def _save(seen: Step, options: Options, diagnosis: Diagnosis, what: str) -> str:
    """Save the offending rows and a few neighbours, or all; return the path."""
    rows = np.arange(len(seen.logits)) if options.keep == "all" else _kept(seen, diagnosis)
    numbers = rows if seen.numbers is None else seen.numbers[rows]
    total = len(seen.logits) if seen.suspect is None else len(seen.suspect)
    context = {name: _of_rows(array, numbers, total) for name, array in seen.context.items()}
    meta: dict[str, object] = {
        "what": what,
        "step": seen.step,
        "rank": seen.rank,
        "loss": [repr(float(value)) for value in seen.loss.ravel()[:_PREVIOUS]],
        "dtype": seen.dtype,
        "shape": list(seen.shape),
        "rows": total,
        "ignore_index": options.ignore_index,
        "binary": seen.binary,
    }
    if options.previous and options in MEMORY.rows:
        meta["previous_step"], logits, labels = MEMORY.rows[options]
        context |= {"previous_logits": logits, "previous_labels": labels}
    name = (
        "xent"
        + ("" if seen.step is None else f"-{seen.step:06}")
        + ("" if seen.rank is None else f"-r{seen.rank}")
    )
    logits = _taken(seen.logits, rows)
    batch = Batch(numbers, as_stored(logits, seen.dtype), np.asarray(seen.labels)[rows], context)
    return save(options.folder, name, batch, meta)


def as_stored(logits: "NDArray[Any]", dtype: str) -> "NDArray[Any]":
    """Return logits as a file holds them: bfloat16, which comes widened to float32, as its 16 bits."""
    if dtype != "bfloat16":
        return logits
    if logits.dtype == np.float32:
        return (logits.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view("V2")
    return logits.view("V2")


def _kept(seen: Step, diagnosis: Diagnosis) -> "NDArray[np.int64]":
    """Return the numbers of the rows to keep, in order: the worst and neighbours of the first, else any."""
    worst = [row.row for row in (*diagnosis.leading, *diagnosis.rows)]
    if seen.gradient is not None:
        worst = [*np.flatnonzero(seen.gradient)[:_OFFENDING].tolist(), *worst]
    return _with_neighbours(worst or list(range(_OFFENDING)), (worst or [0])[0], len(seen.logits))


def _with_neighbours(rows: "Iterable[int]", first: int, number: int) -> "NDArray[np.int64]":
    """Return rows in order, with those near one of them, of so many that there are."""
    near = range(first - _NEIGHBOURS, first + _NEIGHBOURS + 1)
    return np.unique([row for row in (*rows, *near) if 0 <= row < number]).astype(np.int64)


def _taken(logits: Any, rows: "NDArray[np.int64]") -> "NDArray[Any]":  # noqa: ANN401 - read by slices
    """Read rows by their numbers, those that follow each other at once."""
    if not len(rows):
        return np.asarray(logits[0:0])
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return np.concatenate([logits[int(run[0]) : int(run[-1]) + 1] for run in runs])


def _of_rows(array: "NDArray[Any]", rows: "NDArray[np.int64]", number: int) -> "NDArray[Any]":
    """Return what context goes with rows: an entry per row, or per so many of them; else all of it."""
    length = len(array) if array.ndim else 0
    return array[rows // (number // length)] if length and number % length == 0 else array

"""Why checks fail: the findings of a loss, grouped by what behaves as it does.

A loss of somebody's has no steps to look at. But where a common mistake, or a method of xent's, returns the
same wrong number for the same example, that is the likely cause; else what the example alone says.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.check.plan import CONTRACT_CATEGORY, PROPERTY
from xentcli.check.report import SEARCH, SEVERITIES, Cause, CheckFinding, Place, worst_severity
from xentcli.check.symptoms import LABEL_ENTRY, MISTAKES, Symptom, mistakes, symptom_of
from xentcli.formats import FORMATS, nearest, stored
from xentcli.judge.evidence import Evidence, Reduction
from xentcli.judge.findings import FINDINGS, detect, detect_in_reduction, main_cause
from xentcli.judge.findings.finding import WRONG, Finding
from xentcli.judge.findings.inputs import ignored_row_leaks
from xentcli.judge.findings.ranges import clip_active
from xentcli.judge.verdicts import VERDICTS
from xentcli.methods.table import METHODS
from xentcli.model import About, Case, Judgement, Numerics
from xentcli.run import run

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.check.report import CheckResult
    from xentcli.formats import FloatArray
    from xentcli.model import Batch, Outcome

_PER_KIND: Final = 3  # findings of one kind, dtype and check that are looked into, the smallest
_SAME: Final = 1e-3  # by which a mistake's value, computed in float64, may differ from the loss
_LEAST: Final = (
    0.5  # of one error to another, for two losses to be wrong alike: exp differs between libraries
)
_NO_LOSS: Final = frozenset({"raised", "ended", "returned", "shape"})  # kinds of findings
_HALF: Final = 12  # bits of a significand: what has fewer is stored in two bytes, float16 or bfloat16
_IN_ORDER: Final = " in order"  # after the dtype of a method whose sums go from class to class
# In the order in which they are likely: a loss of logits first.
_LIKELY: Final = ("sparse", "dense", "unshifted", "textbook", "naive", "clipped", "guarded")
_METHODS: Final = tuple(method for name in _LIKELY for method in METHODS if method.name == name) + tuple(
    method for method in METHODS if method.binary
)
_FOLDERS_NOT: Final = {PROPERTY, SEARCH, CONTRACT_CATEGORY}  # categories of no case

Model = tuple[str, str]  # a mistake and "", or a method and how it computes: a dtype, perhaps in order


@dataclass(eq=False, slots=True)
class _Sample:
    """A finding in its check, with what behaves as the loss does there."""

    check: "CheckResult"
    finding: CheckFinding
    models: tuple[Model, ...] = ()
    model: Model | None = None

    @property
    def is_of_gradient(self) -> bool:
        """Whether it is the gradient that is wrong."""
        return self.finding.name.startswith("gradient")

    @property
    def size(self) -> tuple[int, int, int]:
        """What the smallest example is chosen by: classes, digits."""
        place = self.finding.place
        classes = 0 if place is None else place.probe.batch.logits.shape[1]
        return SEVERITIES.index(self.finding.severity), classes, len(self.finding.example)


def causes(checks: "Sequence[CheckResult]", right: "Sequence[Probe]" = ()) -> tuple[Cause, ...]:
    """Group the findings of all checks by cause: the worst first, then by how many checks fail by it.

    ``right`` are batches of which the loss is right: what is wrong there is not what it does.
    """
    samples = [sample for check in checks for sample in _samples(check)]
    for sample in samples:
        sample.models = tuple(_models(sample.finding))
    usual = _choose_models(samples, right)
    groups: dict[str, list[_Sample]] = defaultdict(list)
    words: dict[str, Finding | Symptom] = {}
    of_losses: dict[tuple[int, int], Finding | Symptom] = {}  # by the batch and the row
    for sample in sorted(samples, key=lambda sample: sample.is_of_gradient):
        place = sample.finding.place
        key = (0, 0) if place is None else (id(place.probe), place.row)
        # The loss of an example explains its gradient.
        word = (of_losses.get(key) if sample.is_of_gradient else None) or _words(sample, usual)
        if place is not None:
            of_losses.setdefault(key, word)
        words[word.name] = word
        groups[word.name].append(sample)
    found = [_cause(words[name], group) for name, group in groups.items()]
    _outcome.cache_clear()
    return tuple(sorted(found, key=lambda cause: (SEVERITIES.index(cause.severity), -len(cause.checks))))


def _samples(check: "CheckResult") -> Iterator[_Sample]:
    kinds: dict[tuple[str, str], list[_Sample]] = defaultdict(list)
    for finding in check.findings:
        dtype = "" if finding.place is None else finding.place.probe.dtype
        kinds[finding.name, dtype].append(_Sample(check, finding))
    for samples in kinds.values():
        yield from sorted(samples, key=lambda sample: sample.size)[:_PER_KIND]


def _choose_models(samples: Sequence[_Sample], right: "Sequence[Probe]") -> Model | None:
    """Give each sample the model that explains most of them; return the method that explains most.

    A mistake shows everywhere: it has to explain half of the losses that are wrong. A method has to explain
    more than speaks against it.
    """
    left = [sample for sample in samples if sample.models]
    values = sum(s.finding.place is not None and s.finding.place.value is not None for s in samples)
    names = [*MISTAKES, *(method.name for method in _METHODS)]
    against = {m: _contradictions(m, right) for m in {m for sample in left for m in sample.models if m[1]}}
    usual = None
    while left:
        counts = Counter(model for sample in left for model in sample.models)
        score = {m: 2 * n - values + 1 if not m[1] else n - against[m] for m, n in counts.items()}
        best = max(score, key=lambda model: (score[model], counts[model], -names.index(model[0])))
        if score[best] <= 0:
            break
        usual = usual or (best if best[1] else None)
        for sample in left:
            if best in sample.models:
                sample.model = best
        left = [sample for sample in left if sample.model is None]
    return usual


def _contradictions(model: Model, right: "Sequence[Probe]") -> int:
    """Return of how many batches a method is wrong that the loss is right of."""
    number = 0
    for probe in right:
        if model in _ways(probe):
            losses, truth = _losses(probe, *model), probe.truth
            true = np.array([nearest(loss, FORMATS[probe.dtype]) for loss in truth.losses])
            with np.errstate(all="ignore"):
                near = np.abs(losses[list(truth.rows)] - true) <= WRONG * np.abs(true)
            number += not (near | (losses[list(truth.rows)] == true) | np.isnan(true)).all()
    return number


def _models(finding: CheckFinding) -> Iterator[Model]:
    """Yield what returns the same as the loss for an example, and not the truth."""
    place = finding.place
    if (
        finding.name in {"mean", "sum"}
        or place is None
        or place.value is None
        or place.true is None
        or place.true.is_nan()
    ):
        return
    probe, row, value, true = place.probe, place.row, place.value, float(place.true)
    batch = probe.batch
    if batch.is_invalid(row) or batch.is_ignored(row) or probe.convention.probabilities:
        return
    with np.errstate(all="ignore"):
        plain = batch.indices is not None and batch.weighting.is_plain
        label = int(batch.indices[row]) if plain and batch.indices is not None else None
        made = mistakes(batch.logits[row].astype(np.float64), label, place.true, len(batch.logits))
        numbers = stored(np.array(list(made.values())), probe.dtype).astype(np.float64)
        allowed = max(_SAME, 16 * FORMATS[probe.dtype].eps) * abs(value) if np.isfinite(value) else 0.0
        for name, number in zip(made, numbers.tolist(), strict=True):
            is_same = number == value or abs(number - value) <= allowed
            if is_same and true != value and not abs(true - value) <= allowed:
                yield name, ""
        for method, dtype in _ways(probe):
            if _is_alike(_losses(probe, method, dtype)[row], value, true):
                yield method, dtype


def _is_alike(loss: float, value: float, true: float) -> bool:
    """Whether a method's loss is wrong as the value is: the same, or off by about as much and on one side."""
    if loss == value or (np.isnan(loss) and np.isnan(value)):
        return True
    error = value - true
    return bool(np.isfinite(error) and error != 0 and _LEAST <= (loss - true) / error <= 1 / _LEAST)


def _ways(probe: "Probe") -> Iterator[Model]:
    """Yield the methods that support a batch, in its dtype and in float64; a short one in class order too."""
    in_order = [probe.dtype + _IN_ORDER] if FORMATS[probe.dtype].precision < _HALF else []
    for method in _METHODS:
        if method.why_unsupported(probe.batch) is None:
            yield from ((method.name, way) for way in dict.fromkeys((probe.dtype, *in_order, "float64")))


def _losses(probe: "Probe", method: str, dtype: str) -> "FloatArray":
    """Return what a method that computes in a dtype returns for a batch, rounded to the batch's own."""
    outcome = _outcome(probe, method, dtype)[1]
    return stored(np.array(outcome.losses), probe.dtype).astype(np.float64)


@cache
def _outcome(probe: "Probe", name: str, way: str) -> "tuple[Case, Outcome]":
    dtype, _, order = way.partition(_IN_ORDER[0])
    batch = probe.batch if dtype == probe.dtype else _widened(probe.batch, dtype)
    how = Numerics(dtype, "numpy", sequential=bool(order))
    case = Case(name, "", About(""), how, "none", batch, (), ())
    (outcome,) = run(case, [method for method in METHODS if method.name == name])
    return case, outcome


def _widened(batch: "Batch", dtype: str) -> "Batch":
    """Return the same numbers in a wider dtype."""

    def widen(array: "FloatArray") -> "FloatArray":
        return array.astype(dtype)

    p, weights = batch.probabilities, batch.weighting.class_weights
    weighting = replace(batch.weighting, class_weights=None if weights is None else widen(weights))
    return replace(
        batch,
        logits=widen(batch.logits),
        labels=widen(batch.labels),
        probabilities=None if p is None else widen(p),
        weighting=weighting,
    )


def _words(sample: _Sample, usual: Model | None) -> Finding | Symptom:
    """Return the words of a sample's cause: its model's, else the example's, else those of its kind.

    ``usual`` is the method that behaves as the loss elsewhere.
    """
    finding, place, model = sample.finding, sample.finding.place, sample.model
    if model is not None and not model[1]:
        return MISTAKES[model[0]]
    if place is None or finding.name in _NO_LOSS or place.row not in place.probe.truth.rows:
        return symptom_of(finding.name, finding.severity)
    if _has_lost_label_entry(place):
        return LABEL_ENTRY
    found = _finding_in(finding, place, model)
    if found is None and model is None and usual is not None and usual in _ways(place.probe):
        found = _finding_in(finding, place, usual)
    return found or symptom_of(finding.name, finding.severity)


def _has_lost_label_entry(place: Place) -> bool:
    """Whether the gradient of an example is right in every entry but the label's."""
    indices, truth = place.probe.batch.indices, place.probe.truth
    if place.gradient is None or indices is None or not np.isfinite(place.gradient).all():
        return False
    true = truth.gradients[truth.rows.index(place.row)]
    wrong = np.abs(place.gradient - true) > WRONG * np.abs(true).max()
    return bool(np.flatnonzero(wrong).tolist() in ([], [indices[place.row]]))


def _finding_in(finding: CheckFinding, place: Place, model: Model | None) -> Finding | None:
    """Return what the catalogue detects in an example, by the steps of a method where there is one."""
    probe, name, row = place.probe, finding.name, place.row
    if name in {"mean", "sum"}:
        losses = tuple(map(float, probe.truth.losses))
        divisor = probe.batch.divisor if name == "mean" else Fraction(1)
        return _main(
            detect_in_reduction(Reduction(losses, place.value, divisor, probe.dtype, place.true)), name
        )
    if probe.batch.is_ignored(row):
        return ignored_row_leaks
    true = probe.truth.losses[probe.truth.rows.index(row)]
    state = name.removeprefix("gradient ") if name.startswith("gradient ") else None
    word = name if name in VERDICTS else "off" if state is None else "accurate"
    loss = float(true) if place.value is None else place.value
    case, outcome = (None, None) if model is None else _outcome(probe, *model)
    batch = probe.batch if case is None else case.batch
    steps = () if outcome is None else outcome.steps
    evidence = Evidence(batch, row, steps, probe.dtype, loss, true, word, state)
    return _main(detect(evidence), "capped" if clip_active.detect(evidence) else word)


def _main(names: tuple[str, ...], verdict: str) -> Finding | None:
    """Return the main one of findings."""
    cause = main_cause(Judgement(None, verdict, (), None, (names,), ()))
    return cause or next((finding for finding in FINDINGS if finding.name in names), None)


def _cause(words: Finding | Symptom, group: Sequence[_Sample]) -> Cause:
    checks = tuple(dict.fromkeys(sample.check.name for sample in group))
    severity = worst_severity([sample.finding for sample in group]) or SEVERITIES[0]
    smallest = min(group, key=lambda sample: sample.size).finding
    shown = [s for s in group if s.model is not None and s.check.category not in _FOLDERS_NOT]
    alike = next(
        (s for s in shown if s.model and s.finding.place and s.model[1] == s.finding.place.probe.dtype), None
    )
    return Cause(
        name=words.name,
        short=words.short,
        cause=words.cause,
        remedy=words.remedy,
        severity=severity,
        checks=checks,
        example=smallest,
        is_finding=isinstance(words, Finding),
        method=alike.model[0] if alike is not None and alike.model else None,
        case=None if alike is None else alike.check.name,
    )

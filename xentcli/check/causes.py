"""Why checks fail: the findings of a loss, grouped by what behaves as it does.

A loss of somebody's has no steps to look at. But where a common mistake, or a method of xent's, returns the
same wrong number for the same example, that is the likely cause; else what the example alone says.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.check.alike import OWN, Model, choose, models, outcome, supports
from xentcli.check.plan import CONTRACT
from xentcli.check.properties import PROPERTIES
from xentcli.check.report import (
    SEARCH,
    SEVERITIES,
    Cause,
    CheckFinding,
    CheckResult,
    Place,
    worst_severity,
)
from xentcli.check.symptoms import (
    IGNORED_ROW,
    INVALID_LABEL,
    LABEL_ENTRY,
    MISTAKES,
    OF_CALLS,
    PRODUCT,
    Symptom,
    symptom_of,
)
from xentcli.formats import FORMATS, Decimals
from xentcli.judge.evidence import Evidence, Examples, Reduction
from xentcli.judge.findings import FINDINGS, denominators, detect, detect_in_reduction, main_cause
from xentcli.judge.findings.finding import ACCURATE, WRONG, Finding
from xentcli.judge.findings.inputs import ignored_row_leaks
from xentcli.judge.findings.ranges import clip_active
from xentcli.judge.findings.rounding import low_precision_sum, tail_collapse
from xentcli.judge.verdicts import VERDICTS
from xentcli.methods.table import METHOD_NAMES
from xentcli.model import Judgement, Step

if TYPE_CHECKING:
    from xentcli.check.probes import Probe

_PER_KIND: Final = 3  # findings of one kind, dtype and check that are looked into, the smallest
_CAPPED: Final = 3  # examples of other losses which are given the same, to three digits, are no chance
_NEAR: Final = 1e-3  # relative: the first digits tell a mean from a sum
_SMALL: Final = 0.5  # a loss below comes from the other classes, and ln 2 of a tie does not
_NO_LOSS: Final = frozenset({"raised", "ended", "returned", "shape"})  # kinds of findings
_TRIAL: Final = "ordinary logits"  # the call before all checks
_NO_CASES: Final = frozenset({each.name for each in PROPERTIES} | {SEARCH, *CONTRACT})

Words = Finding | Symptom


@dataclass(eq=False, slots=True)
class _Sample:
    """A finding in its check, and what behaves as the loss does there."""

    check: "CheckResult"
    finding: CheckFinding
    options: tuple[Model, ...] = ()
    model: Model | None = None

    @property
    def example(self) -> tuple[int, int]:
        """The batch and the row."""
        place = self.finding.place
        return (0, 0) if place is None else (id(place.probe), place.row)

    @property
    def is_of_gradient(self) -> bool:
        """Whether it is the gradient that is wrong."""
        return self.finding.name.startswith("gradient")

    @property
    def size(self) -> tuple[int, int, int]:
        """What the smallest example is chosen by: severity, classes, digits."""
        place = self.finding.place
        classes = 0 if place is None else place.probe.batch.logits.shape[1]
        return SEVERITIES.index(self.finding.severity), classes, len(self.finding.example)


def causes(
    checks: "Sequence[CheckResult]", right: "Sequence[Probe]", ordinary: Sequence[CheckFinding] | None
) -> tuple[Cause, ...]:
    """Group the findings of all checks by cause.

    First comes what is wrong with ``ordinary`` logits, then the worst, then what most checks fail by.
    ``right`` are batches of which the loss is right: what is wrong of them is not what it does. A loss that
    is wrong of ordinary logits has a mistake; another one may be a method of xent's.
    """
    trial = CheckResult(_TRIAL, _TRIAL, "", findings=tuple(ordinary or ()))
    is_known = worst_severity(trial.findings) != "wrong"
    samples = [sample for check in (*checks, trial) for sample in _samples(check)]
    for sample in samples:
        sample.options = tuple(model for model in models(sample.finding) if is_known == bool(model[1]))
    values = sum(s.finding.place is not None and s.finding.place.value is not None for s in samples)
    gradients = sum(s.finding.place is not None and s.finding.place.gradient is not None for s in samples)
    chosen = choose([sample.options for sample in samples], values, gradients, right)
    for sample in samples:
        sample.model = next((model for model in chosen if model in sample.options), None)
    usual = next((model for model in chosen if model[1]), None)
    words: dict[_Sample, Words] = dict.fromkeys(_capped(samples), clip_active)
    of_losses: dict[tuple[int, int], Words] = {}
    # The loss of an example explains its gradient.
    for sample in sorted(samples, key=lambda sample: sample.is_of_gradient):
        word = words.get(sample) or (of_losses.get(sample.example) if sample.is_of_gradient else None)
        words[sample] = of_losses[sample.example] = word or _words(sample, usual)
    # How it is called explains what is wrong of nothing else.
    words = {
        sample: _of_call(group) or words[sample] for group in _grouped(words).values() for sample in group
    }
    found = [
        (all(sample.check is not trial for sample in group), _cause(words[group[0]], others))
        for group in _grouped(words).values()
        if (others := [sample for sample in group if sample.check is not trial])
    ]
    outcome.cache_clear()
    return tuple(cause for _, cause in sorted(found, key=_badness))


def _grouped(words: dict[_Sample, Words]) -> dict[str, list[_Sample]]:
    """Return the samples of each word, by its name."""
    groups: dict[str, list[_Sample]] = defaultdict(list)
    for sample, word in words.items():
        groups[word.name].append(sample)
    return groups


def _of_call(group: Sequence[_Sample]) -> Symptom | None:
    """Return the symptom of a way to call a loss, where all findings of a group come from that way alone."""
    if any(sample.finding.name in _NO_LOSS for sample in group):
        return None
    symptoms = {OF_CALLS.get(sample.check.name) for sample in group}
    return symptoms.pop() if len(symptoms) == 1 else None


def _badness(pair: tuple[bool, Cause]) -> tuple[bool, int, bool, int]:
    """Order causes: of ordinary logits, by severity, losses before gradients, by how many checks fail."""
    is_other, cause = pair
    is_of_gradient = cause.example.name.startswith("gradient")
    is_worst = cause.severity == SEVERITIES[0]
    return is_other, SEVERITIES.index(cause.severity), is_worst and is_of_gradient, -len(cause.checks)


def _samples(check: "CheckResult") -> Iterator[_Sample]:
    kinds: dict[tuple[str, str], list[_Sample]] = defaultdict(list)
    for finding in check.findings:
        dtype = "" if finding.place is None else finding.place.probe.dtype
        kinds[finding.name, dtype].append(_Sample(check, finding))
    for samples in kinds.values():
        yield from sorted(samples, key=lambda sample: sample.size)[:_PER_KIND]


def _capped(samples: Sequence[_Sample]) -> Iterator[_Sample]:
    """Yield samples whose losses are the same number, and too small, whatever the example: a clip's bound."""
    numbers: dict[str, list[_Sample]] = defaultdict(list)
    for sample in samples:
        place = sample.finding.place
        if (
            place is None
            or place.value is None
            or place.true is None
            or place.probe.how.product is not None
            or (sample.model and not sample.model[1])
        ):
            continue
        if 0 < place.value < float(place.true):
            numbers[f"{place.value:.3g}"].append(sample)
    for same in numbers.values():
        if len({f"{sample.finding.place.true:.2g}" for sample in same if sample.finding.place}) >= _CAPPED:
            yield from same


def _words(sample: _Sample, usual: Model | None) -> Words:
    """Return the words of a sample's cause: its model's, else the example's, else those of its kind.

    ``usual`` is the method that behaves as the loss elsewhere.
    """
    finding, place, model = sample.finding, sample.finding.place, sample.model
    if model is not None and not model[1]:
        return MISTAKES[model[0]]
    if place is None or finding.name in _NO_LOSS or place.row not in place.probe.truth.rows:
        return symptom_of(finding.name, finding.severity)
    if place.probe.how.product is not None:
        return symptom_of(finding.name, finding.severity) if sample.is_of_gradient else PRODUCT
    if (other := _other_reduction(finding.name, place)) is not None:
        return symptom_of(other, finding.severity)
    if _has_lost_label_entry(place):
        return LABEL_ENTRY
    found = _finding_in(finding, place, model)
    if found is None and model is None and usual is not None and supports(usual, place.probe):
        found = _finding_in(finding, place, usual)
    if found is None and _has_lost_tail(place):
        found = tail_collapse
    return found or symptom_of(finding.name, finding.severity)


def _other_reduction(name: str, place: Place) -> str | None:
    """Name the kind of a mean that is the sum, the other way round, or of another count; None of others."""
    if place.probe.count is not None:
        return "not by the count"
    if name not in {"mean", "sum"} or not place.value or place.true is None or not place.true.is_finite():
        return None
    divisor = float(place.probe.divisor)
    if divisor in {0, 1}:
        return None
    wanted = float(place.true) * divisor ** (1 if name == "mean" else -1)
    if not abs(place.value - wanted) <= _NEAR * abs(wanted):  # nan is neither
        return None
    return "sum for mean" if name == "mean" else "mean for sum"


def _has_lost_tail(place: Place) -> bool:
    """Whether a small loss is off as after rounding 1 plus the other classes' exponentials, or is 0."""
    eps = FORMATS[place.probe.dtype].eps
    if place.value is None or place.true is None or place.true.is_nan() or not 0 < place.true < _SMALL:
        return False
    on_grid = place.value == 0 or abs(place.value) >= eps / 4
    return on_grid and abs(place.value - float(place.true)) <= ACCURATE * eps


def _has_lost_label_entry(place: Place) -> bool:
    """Whether the gradient of an example is off in the label's entry alone, p - 1, by a rounding of 1."""
    indices, truth = place.probe.batch.indices, place.probe.truth
    if place.gradient is None or indices is None or not np.isfinite(place.gradient).all():
        return False
    true = truth.gradients[truth.rows.index(place.row)]
    errors = np.abs(place.gradient - true)
    is_rounding = errors.max() <= ACCURATE * FORMATS[place.probe.dtype].eps
    wrong = errors > WRONG * np.abs(true).max()
    return bool(is_rounding and np.flatnonzero(wrong).tolist() in ([], [indices[place.row]]))


@np.errstate(all="ignore")  # as where a case is judged
def _finding_in(finding: CheckFinding, place: Place, model: Model | None) -> Finding | Symptom | None:
    """Return what the catalogue detects in an example, by the steps of a method where there is one."""
    probe, name, row = place.probe, finding.name, place.row
    if name in {"mean", "sum"}:
        losses = tuple(map(float, probe.truth.losses))
        divisor = probe.divisor if name == "mean" else Fraction(1)
        reduction = Reduction(losses, place.value, divisor, probe.dtype, place.true, probe.batch)
        found = detect_in_reduction(reduction)
        if finding.severity == "wrong" and math.isfinite(place.value or 0.0):  # rounding does less
            found = tuple(each.name for each in denominators.FINDINGS if each.name in found)
        return _main(found, name)
    if name == "plausible" and probe.batch.is_invalid(row):
        return INVALID_LABEL
    if probe.batch.is_ignored(row):
        return ignored_row_leaks if _has_nan(place) else IGNORED_ROW
    true = probe.truth.losses[probe.truth.rows.index(row)]
    state = name.removeprefix("gradient ") if name.startswith("gradient ") else None
    word = name if name in VERDICTS else "off" if state is None else "accurate"
    loss = float(true) if place.value is None else place.value
    batch, steps = probe.batch, tuple[Step, ...]()
    if model is not None:
        case, ran = outcome(probe, model)
        batch, steps = case.batch, ran.steps
    example = Examples(batch, np.array([row % len(batch.logits)]), Decimals.of((true,)))
    judged = np.array([loss]), np.array([word]), np.array([state or ""])
    evidence = Evidence(example, steps, probe.dtype, *judged)
    if word == "off" and batch.logits.shape[1] >= 2 ** FORMATS[probe.dtype].precision and loss < float(true):
        return low_precision_sum  # where 1 is added to as much, a sum in order stays where it is
    return _main(detect(evidence)[0], "capped" if clip_active.detect(evidence).any() else word)


def _has_nan(place: Place) -> bool:
    """Whether the loss of an example, or its gradient, is nan: 0 times an infinity is."""
    has_nan_gradient = place.gradient is not None and bool(np.isnan(place.gradient).any())
    return has_nan_gradient or (place.value is not None and math.isnan(place.value))


def _main(names: tuple[str, ...], verdict: str) -> Finding | None:
    """Return the main one of findings."""
    cause = main_cause(Judgement(None, verdict, (), None, (names,), ()))
    return cause or next((finding for finding in FINDINGS if finding.name in names), None)


def _cause(words: Words, group: Sequence[_Sample]) -> Cause:
    """Return the cause of a group, with a bundled case in which a method fails alike for the same reason."""
    alike = (
        (sample.check.name, model[0])
        for sample in group
        if sample.check.name not in _NO_CASES and sample.finding.place is not None
        for model in sorted(sample.options, key=lambda model: model != sample.model)
        if model[1] == OWN and model[0] in METHOD_NAMES
        if _finding_in(sample.finding, sample.finding.place, model) == words
    )
    case, method = next(alike, (None, None))
    return Cause(
        name=words.name,
        short=words.short,
        cause=words.cause,
        remedy=words.remedy,
        severity=worst_severity([sample.finding for sample in group]) or SEVERITIES[0],
        checks=tuple(dict.fromkeys(sample.check.name for sample in group)),
        example=min(group, key=lambda sample: sample.size).finding,
        is_finding=words.name in {finding.name for finding in FINDINGS},
        method=method,
        case=case,
    )

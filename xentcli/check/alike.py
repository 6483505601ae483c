"""What behaves as a loss does: common mistakes, and methods of xent that return the same wrong number."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.check.symptoms import GRADIENT_MISTAKES, MISTAKES, gradient_mistakes, mistakes
from xentcli.formats import FORMATS, stored
from xentcli.frameworks.call import upstream_of
from xentcli.judge.findings.finding import WRONG
from xentcli.methods import knobs
from xentcli.methods.kernels import pick_losses
from xentcli.methods.method import Method
from xentcli.methods.table import METHODS
from xentcli.model import About, Case, Numerics
from xentcli.run import run

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.check.report import CheckFinding, Place
    from xentcli.formats import FloatArray
    from xentcli.model import Outcome

_SAME: Final = 1e-3  # by which a mistake's value, computed in float64, may differ from the loss
_ALIKE: Final = 0.5  # of one error to another of two losses wrong alike: exp differs between libraries
_NO_SHIFT: Final = Method(  # a common one that is no method of the table
    "no shift",
    lambda ar, batch: pick_losses(ar, batch, ar.log(ar.sum(ar.exp(batch.logits))), batch.logits),
    None,
    "log Σ exp x - x[label]",
    soft_labels=False,
)
OWN: Final = "own"  # the dtype of the batch
_WIDE: Final = "float64"
# In the order in which they are likely: a loss of logits first.
_LIKELY: Final = ("sparse", "dense", "unshifted", "textbook", "naive", "clipped", "guarded")
_METHODS: Final = {
    method.name: method
    for method in (
        _NO_SHIFT,
        *sorted((m for m in METHODS if m.name in _LIKELY), key=lambda m: _LIKELY.index(m.name)),
        *(method for method in METHODS if method.binary),
        *knobs.METHODS,
    )
}

Model = tuple[str, str]  # a mistake and "", or a method and where it computes: OWN or _WIDE


def models(finding: "CheckFinding") -> Iterator[Model]:
    """Yield what returns the same as the loss for the example of a finding, and not the truth."""
    place = finding.place
    if place is not None and place.gradient is not None:
        yield from _gradient_models(finding, place)
    if place is None or place.value is None or place.true is None or place.true.is_nan():
        return
    probe, row, value, true = place.probe, place.row, place.value, float(place.true)
    batch = probe.batch
    is_reduced = finding.name in {"mean", "sum"}
    if is_reduced or batch.is_invalid(row) or batch.is_ignored(row) or probe.convention.probabilities:
        return
    label = int(batch.indices[row]) if batch.indices is not None and batch.weighting.is_plain else None
    with np.errstate(all="ignore"):
        x = batch.logits[row].astype(np.float64)
        made = mistakes(x, label, place.true, len(batch.logits)) if batch.knobs.is_plain else {}
        numbers = stored(np.array(list(made.values())), probe.dtype).astype(np.float64)
        allowed = max(_SAME, 16 * FORMATS[probe.dtype].eps) * abs(value) if np.isfinite(value) else 0.0
        if true != value and not abs(true - value) <= allowed:
            for name, number in zip(made, numbers.tolist(), strict=True):
                if number == value or abs(number - value) <= allowed:
                    yield name, ""
        for method in _METHODS:
            for model in ((method, OWN), (method, _WIDE)):
                if supports(model, probe) and _fails_alike(_loss(probe, model, row), value, true):
                    yield model


def _gradient_models(finding: "CheckFinding", place: "Place") -> Iterator[Model]:
    """Yield the mistakes that make the gradient of a finding from the true one."""
    probe, row, values = place.probe, place.row, place.gradient
    batch, truth = probe.batch, probe.truth
    is_reduced = finding.name == "gradient reduced"
    if values is None or row not in truth.rows or batch.is_invalid(row) or batch.is_ignored(row):
        return
    label = int(batch.indices[row]) if batch.indices is not None and batch.weighting.is_plain else None
    examples = len(batch.logits)
    true = truth.gradients[truth.rows.index(row)] / (examples if is_reduced else 1)
    alone = is_reduced or probe.convention.reduction != "none"
    upstream = upstream_of(examples)[0 if alone else row]
    allowed = _SAME * np.abs(values).max()
    for name, made in gradient_mistakes(true, label, examples if is_reduced else 1, upstream).items():
        if (np.abs(made - values) <= allowed).all() and not (np.abs(made - true) <= allowed).all():
            yield name, ""


def choose(
    options: Sequence[Sequence[Model]], values: int, gradients: int, right: "Sequence[Probe]"
) -> list[Model]:
    """Return models in the order in which they explain most of what is left; an option per sample.

    A mistake shows everywhere: it has to explain half of the ``values``, or ``gradients``, that are wrong. A
    method has to explain more samples than there are batches in ``right``, where the loss is right, that it
    is wrong of.
    """
    names = [*MISTAKES, *_METHODS]
    against = {m: _contradictions(m, right) for m in {m for each in options for m in each if m[1]}}
    chosen: list[Model] = []
    while left := [each for each in options if not set(each) & set(chosen)]:
        counts = Counter(model for each in left for model in each)
        wrong = {name: gradients if name in GRADIENT_MISTAKES else values for name in MISTAKES}
        score = {m: n - against[m] if m[1] else 2 * n - wrong[m[0]] + 1 for m, n in counts.items()}
        best = max(score, key=lambda m: (score[m], counts[m], -names.index(m[0])), default=None)
        if best is None or score[best] <= 0:
            break
        chosen.append(best)
    return chosen


def supports(model: Model, probe: "Probe") -> bool:
    """Whether a model is a method that supports a batch."""
    return bool(model[1]) and _METHODS[model[0]].why_unsupported(probe.batch) is None


@cache
def outcome(probe: "Probe", model: Model) -> "tuple[Case, Outcome]":
    """Run a method on a batch, in its dtype or in float64; of rows that are repeated on each once."""
    name, batch = model[0], probe.batch if probe.repeated is None else probe.repeated
    dtype = probe.dtype if model[1] == OWN else _WIDE
    if dtype != probe.dtype:
        batch = replace(batch, logits=batch.logits.astype(dtype), labels=batch.labels.astype(dtype))
    case = Case(name, "", About(""), Numerics(dtype, "numpy"), "none", batch, (), ())
    return case, run(case, [_METHODS[name]])[0]


def _loss(probe: "Probe", model: Model, row: int) -> float:
    losses = _losses(probe, model)
    return float(losses[row % len(losses)])


def _losses(probe: "Probe", model: Model) -> "FloatArray":
    """Return what a method returns for a batch, rounded to the batch's dtype, in float64."""
    return stored(np.array(outcome(probe, model)[1].losses), probe.dtype).astype(np.float64)


def _fails_alike(loss: float, value: float, true: float) -> bool:
    """Whether two losses are wrong alike: the same, or off by about as much on one side."""
    if loss == value or (np.isnan(loss) and np.isnan(value)):
        return True
    error = value - true
    return bool(np.isfinite(error) and error != 0 and _ALIKE <= (loss - true) / error <= 1 / _ALIKE)


def _contradictions(model: Model, right: "Sequence[Probe]") -> int:
    """Count the batches that a method is wrong of by more than 1 %."""
    number = 0
    for probe in (probe for probe in right if supports(model, probe)):
        losses = _losses(probe, model)[list(probe.truth.rows)]
        true = probe.true_losses.nearest(FORMATS[probe.dtype])
        with np.errstate(all="ignore"):
            near = np.abs(losses - true) <= WRONG * np.abs(true)
        number += not (near | (losses == true) | np.isnan(true)).all()
    return number

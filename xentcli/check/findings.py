"""An answer beside the truth: what is wrong with it.

A loss is right when it is within ``allowed`` ulps. What no formula in the dtype alone can avoid is allowed on
top of the bar: rounding each difference of two logits, and a log of that size, and adding C terms. Large
differences matter so: exp turns half an ulp of a difference of 80 into 40 ulps.
"""

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.check.probes import Probe, truth
from xentcli.check.report import Fault
from xentcli.digits import text, three
from xentcli.formats import FORMATS, nearest, ulps
from xentcli.judge.verdicts import judge_gradient, verdict

if TYPE_CHECKING:
    from xentcli.check.conventions import Convention
    from xentcli.formats import FloatArray
    from xentcli.model import Batch, Exact
    from xentcli.process import Fields

_FEW = 4  # classes of which all numbers are shown

Judged = tuple[list[Fault], Decimal | None]


def judged(probe: Probe, answer: "Fields", convention: "Convention", max_ulps: float) -> Judged:
    """Return the faults of an answer, and its largest error in ulps."""
    if "raised" in answer:
        if answer.get("ended"):
            return [Fault("ended", answer["raised"])], None
        return ([] if may_refuse(probe) else [Fault("raised", f"raised {answer['raised']}")]), None
    if "unusable" in answer:
        return [Fault("returned", answer["unusable"])], None
    examples = len(probe.batch.logits)
    if len(answer["losses"]) != examples:
        shape = tuple(answer["shape"])
        return [Fault("shape", f"returned shape {shape}, where ({examples},) is wanted")], None
    exact = truth(probe, convention)
    given = _Given(probe, convention)
    faults, errors = [], []
    for place, row in enumerate(exact.rows):
        fault, error = _of_loss(given, row, answer["losses"][row], exact.losses[place], max_ulps)
        faults += fault
        errors += [error] if error is not None else []
    faults += _of_gradient(given, answer.get("gradient"), exact)
    if probe.reduction != "none" and "loss" in answer and not faults:  # else it is known to be wrong
        fault, error = _of_reduced(given, answer, exact, max_ulps)
        faults += fault
        errors += [error] if error is not None else []
    return faults, max(errors, default=None)


def disagreement(
    said: str,
    one: tuple[Probe, "Fields", int],
    other: tuple[Probe, "Fields", int],
    convention: "Convention",
    max_ulps: float,
) -> list[Fault]:
    """Compare two losses, each a row of an answer, that should be the same number."""
    losses = [answer.get("losses", ())[row : row + 1] for _, answer, row in (one, other)]
    if not all(losses):
        return []  # reported as such
    (a,), (b,) = losses
    probe, _, row = other
    exact = truth(probe, convention)
    true = exact.losses[exact.rows.index(row)]
    unit = ulps(0.0, true, FORMATS[probe.dtype])
    apart = abs(a - b) / float(true) * float(unit) if unit and true else abs(a - b)
    if (
        a == b
        or (math.isnan(a) and math.isnan(b))
        or apart <= 2 * _Given(probe, convention).allowed(row, true, max_ulps)
    ):
        return []
    return [Fault("differs", f"{said}: {text(a, probe.dtype)} and {text(b, probe.dtype)} ({probe.dtype})")]


class _Given:
    """What was given, in float64, and what follows from it."""

    def __init__(self, probe: Probe, convention: "Convention") -> None:
        self.probe, self.dtype = probe, probe.dtype
        self.batch: Batch = probe.batch
        self.logits: FloatArray = probe.batch.logits.astype(np.float64)
        self.flushes = convention.flushes
        self._exact_input = convention.probabilities or probe.batch.binary

    def is_poisoned(self, row: int) -> bool:
        """Whether a logit is nan or +inf: something went wrong before the loss, and nan may say so."""
        x = self.logits[row]
        return bool((np.isnan(x) | (x == np.inf)).any()) and not self.batch.is_ignored(row)

    def shown(self, row: int) -> str:
        """Write what was asked: the dtype, and where they are few the numbers and the label."""
        x, y = self.logits[row], self.batch.labels[row].astype(np.float64)
        if len(x) > _FEW:
            return f"{self.dtype}, {len(x)} classes"
        indices = self.batch.class_labels
        label = f"labels {_list(y)}" if indices is None else f"label {indices[row]}"
        return f"{self.dtype}, logits {_list(x)}, {label}"

    def allowed(self, row: int, true: Decimal, max_ulps: float) -> float:
        """Return the ulps that an example's loss may be off.

        The bar, log2 C for a pairwise sum (Higham 1993, doi:10.1137/0914050), and the loss's condition:
        2 (Σ_i p_i |x_i - m| + m - x_y) / loss ulps are what rounding each difference and a log may cost.
        """
        x = self.logits[row]
        bar = max_ulps + math.log2(max(2, len(x)))
        if self._exact_input or not true.is_finite() or true == 0:
            return bar
        targets = self.batch.targets[row].astype(np.float64)
        with np.errstate(all="ignore"):
            below = x.max() - x
            p = np.exp(-below)
            spread = np.where(p > 0, p * below, 0).sum() / p.sum()
            chosen = targets > 0
            rounded = 2 * (targets[chosen] * (spread + below[chosen])).sum() / float(true)
        return bar + (float(rounded) if np.isfinite(rounded) else 0.0)


def may_refuse(probe: Probe) -> bool:
    """Whether a batch is one that a loss may raise at: labels that are none, logits that are no numbers."""
    rows = range(len(probe.batch.logits))
    x = probe.batch.logits.astype(np.float64)
    no_numbers = np.isnan(x).any() or (x == np.inf).any() or (len(x) > 0 and (x == -np.inf).all(axis=1).any())
    return bool(no_numbers) or any(probe.batch.is_invalid(row) for row in rows)


def _of_loss(
    given: _Given, row: int, got: float, true: Decimal, max_ulps: float
) -> tuple[list[Fault], Decimal | None]:
    form, shown = FORMATS[given.dtype], text(got, given.dtype)
    if true.is_nan():
        if not math.isfinite(got):
            return [], None
        why = "its label is none" if given.batch.is_invalid(row) else "there is no true loss"
        return [Fault("plausible", f"example {row} is {shown}, though {why} ({given.shown(row)})")], None
    if given.is_poisoned(row) and math.isnan(got):
        return [], None
    word, error = verdict(got, true, given.dtype, capped=False), ulps(got, true, form)
    right = error is not None and float(error) <= given.allowed(row, true, max_ulps)
    if right and (word != "collapsed" or _is_lost_anyway(given, error)) and word != "negative":
        return [], error
    if given.flushes and got == 0 and abs(nearest(true, form)) < math.ldexp(1, form.emin):
        return [], error
    off = f", {three(error)} ulps off" if word == "off" and error is not None else ""
    said = f"example {row} is {shown}, where the loss is {text(nearest(true, form), given.dtype)}{off}"
    return [Fault(word, f"{word}: {said} ({given.shown(row)})")], error


def _is_lost_anyway(given: _Given, error: Decimal | None) -> bool:
    """Whether every term of its sum may round to 0: a loss of up to C halves of the smallest number."""
    return error is not None and error <= given.logits.shape[1] / 2


def _of_gradient(given: _Given, gradient: Any, exact: "Exact") -> list[Fault]:
    if not isinstance(gradient, list) or not exact.gradients or not exact.rows:
        return []
    values = np.array(gradient, np.float64).reshape(given.batch.logits.shape)
    result = judge_gradient(values, exact, binary=given.batch.binary)
    faults = []
    for row, state, true in zip(exact.rows, result.states, exact.gradients, strict=True):
        if state not in {"nan", "wrong", "dead"} or (state == "nan" and given.is_poisoned(row)):
            continue
        said = f"the gradient of example {row} is {state}: {_few(values[row])}, where it is {_few(true)}"
        faults.append(Fault(f"gradient {state}", said))
    return faults


def _of_reduced(
    given: _Given, answer: "Fields", exact: "Exact", max_ulps: float
) -> tuple[list[Fault], Decimal | None]:
    """Judge the mean or sum; nan and 0 are both taken for the mean of nothing."""
    reduction = given.probe.reduction
    if len(answer["loss"]) != 1:
        said = f"returned shape {tuple(answer['loss_shape'])} for the {reduction}, where () is wanted"
        return [Fault("shape", said)], None
    (got,), true = answer["loss"], exact.loss
    if true is None:
        return [], None
    divided_by_nothing = reduction == "mean" and given.batch.divisor == 0
    if divided_by_nothing and (got == 0 or math.isnan(got)):
        return [], None
    poisoned = any(given.is_poisoned(row) for row in exact.rows)
    if (true.is_nan() and math.isnan(got)) or (poisoned and math.isnan(got)):
        return [], None
    error = ulps(got, true, FORMATS[given.dtype])
    pairs = zip(exact.rows, exact.losses, strict=True)
    bar = max((given.allowed(row, loss, max_ulps) for row, loss in pairs), default=max_ulps)
    if error is not None and float(error) <= bar + math.log2(max(2, len(exact.rows))):
        return [], error
    wanted = text(nearest(true, FORMATS[given.dtype]), given.dtype)
    return [Fault(reduction, f"the {reduction} is {text(got, given.dtype)}, where it is {wanted}")], error


def _few(values: "FloatArray") -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:_FEW].tolist())
    return f"[{shown}, …]" if len(values) > _FEW else f"[{shown}]"


def _list(values: "FloatArray") -> str:
    return f"[{', '.join(f'{value:.10g}' for value in values.tolist())}]"

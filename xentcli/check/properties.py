"""What every cross-entropy must satisfy: properties with their inputs, and the tolerance that each allows.

Each property is one that a released library broke. Its inputs are the same in every run.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.check.findings import compare_rows
from xentcli.check.probes import Probe
from xentcli.check.report import CheckFinding, Place
from xentcli.formats import FORMATS, exact_sum, nearest
from xentcli.frameworks.conventions import Convention
from xentcli.judge.findings.finding import WRONG
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray
    from xentcli.process import Fields

_inf, _nan = math.inf, math.nan
_DTYPES: Final = ("float32", "float64")

Called = Sequence[tuple[Probe, "Fields"]]  # the batches that a loss was called with, and its responses
Rule = Callable[[Called, float], Iterable[CheckFinding]]


@dataclass(frozen=True, slots=True)
class _Setting:
    """What the inputs of a property depend on: how a loss is called, its parameters, the dtype."""

    convention: Convention
    parameters: tuple[str, ...]
    dtype: str

    @property
    def reductions(self) -> tuple[str, ...]:
        return ("mean", "sum") if "reduction" in self.parameters else ("none",)

    def arguments(self, logits: "FloatArray", labels: "IntArray") -> tuple[Any, Any]:
        """Return these, or a column of them where the loss is binary."""
        return (logits[:, 0], (labels > 0) * 1.0) if self.convention.binary else (logits, labels)

    def probe(self, logits: Any, labels: Any, **options: Any) -> Probe:  # noqa: ANN401 - as Probe.build
        return Probe.build(self.convention, logits, labels, self.dtype, **options)


@dataclass(frozen=True, slots=True)
class Property:
    """A property, and its inputs in a setting.

    ``kinds`` are those of the findings against the truth that break it, None all; ``rule`` detects others,
    with the ulps allowed. ``logits_only``: it says nothing of probabilities.
    """

    name: str
    inputs: Callable[[_Setting], Iterable[Probe]]
    kinds: frozenset[str] | None = None
    rule: Rule | None = None
    logits_only: bool = False

    @property
    def asserts(self) -> str:
        """What it asserts, and to what tolerance."""
        return _ASSERTS[self.name]

    def probes(self, convention: Convention, parameters: tuple[str, ...]) -> tuple[Probe, ...]:
        """Return its probes, those that a loss with these parameters supports."""
        settings = [_Setting(convention, parameters, dtype) for dtype in _DTYPES]
        probes = (probe for setting in settings for probe in self.inputs(setting))
        skipped = self.logits_only and convention.probabilities
        return () if skipped else tuple(probe for probe in probes if probe.is_supported(parameters))


def _shifted(setting: _Setting) -> Iterable[Probe]:
    """Rows, and the same rows with every logit moved by as much; all sums are exact."""
    base = np.array([[0.25, -1.5, 3.0], [2.0, 2.0, 2.0], [-7.0, 0.0, 1.25]])
    largest = {"float32": 20, "float64": 50}[setting.dtype]  # x + c is exact below 2^22 and 2^51
    for sign in (1, -1):
        for offset in (0.0, 100.0, *(sign * 2.0**n for n in range(10, largest + 1, 5))):
            yield setting.probe(base + offset, [0, 1, 2])


def _translation_findings(called: Called, max_ulps: float) -> Iterator[CheckFinding]:
    """Compare every shifted batch with the first of its dtype, which is not."""
    for _, group in groupby(called, key=lambda call: call[0].dtype):
        first, *others = group
        for each in others:
            shift = each[0].batch.logits[0, 0] - first[0].batch.logits[0, 0]
            for row in range(len(each[0].batch.logits)):
                message = f"shifted by {shift:g}, the loss changes"
                yield from compare_rows(message, (*first, row), (*each, row), max_ulps)


def _gaps(setting: _Setting) -> Iterable[Probe]:
    """Put a label ahead of the others by more and more, and behind."""
    gaps = {"float32": (0, 1, 5, 10, 20, 40), "float64": (0, 1, 10, 20, 40, 100)}[setting.dtype]
    logits = [[gap, 0, 0.5] for gap in gaps]
    yield setting.probe(logits, [0] * len(gaps))
    yield setting.probe(logits, [1] * len(gaps))
    yield setting.probe(logits, [[0.5, 0.25, 0.25]] * len(gaps))


def _gradient_sum_findings(called: Called, _: float) -> Iterator[CheckFinding]:
    for probe, response in called:
        if (gradient := response.get("gradient")) is None:
            continue
        values = np.array(gradient).reshape(probe.batch.logits.shape)
        for number in np.flatnonzero(np.isfinite(values).all(axis=1)).tolist():
            row = values[number]
            largest, residual = np.abs(row).max(), abs(nearest(exact_sum(row.tolist()), FORMATS["float64"]))
            if residual > WRONG * largest:
                place = Place(probe, number, gradient=row)
                message = f"a gradient with the largest entry {largest:.3g} sums to {residual:.3g}"
                yield CheckFinding("gradient sum", message, probe.describe(number), place)
                return


def _tails(setting: _Setting) -> Iterable[Probe]:
    """Losses down to the smallest number of the dtype."""
    gaps = np.round(np.geomspace(1, {"float32": 100.0, "float64": 740.0}[setting.dtype], 24), 2)
    if setting.convention.binary:
        yield setting.probe([*gaps, *-gaps], [1.0] * len(gaps) + [0.0] * len(gaps))
    elif setting.convention.probabilities:
        rest = 2.0 ** -np.arange(1, FORMATS[setting.dtype].precision + 1)
        p = np.array([[1 - r, r] for r in rest])
        yield setting.probe(np.log(p), [0] * len(rest), probabilities=p)
    else:
        yield setting.probe([[gap, 0, 0] for gap in gaps], [0] * len(gaps))


def _masked(setting: _Setting) -> Iterable[Probe]:
    """Classes of no probability beside the label."""
    yield setting.probe([[1, -_inf, 3], [-_inf, -_inf, 5], [1, 2, -_inf], [0.5, 0.25, 0]], [0, 2, 1, 0])


def _unnormalised(setting: _Setting) -> Iterable[Probe]:
    """Label rows that sum to 2, 0.75, 1.5, 0 and 3."""
    labels = [[2, 0, 0], [0.25, 0.25, 0.25], [0.5, 1, 0], [0, 0, 0], [1, 1, 1]]
    yield setting.probe([[1, 2, 3]] * len(labels), labels)


def _soft(setting: _Setting) -> Iterable[Probe]:
    """Spread labels over classes, near an offset, a mask and a gap too."""
    if setting.convention.binary:
        x, y = np.meshgrid([-40.0, -6.0, -0.5, 0.25, 3.0, 30.0], [0.1, 0.3, 0.5, 0.9])
        yield setting.probe(x.ravel(), y.ravel())
        return
    labels = [[0.9, 0.1, 0], [0.25, 0.25, 0.5], [0.6, 0.3, 0.1], [0.5, 0.5, 0]]
    logits = np.array([[1, 0, 0], [0.5, -3, 2], [4, 4, 4], [-2, 6, 1]])
    for x in (logits, logits + 2.0**16, 8 * logits):
        yield setting.probe(x, labels)
    if not setting.convention.probabilities:
        yield setting.probe(np.where(np.array(labels) == 0, -_inf, logits), labels)


def _ignored(setting: _Setting) -> Iterable[Probe]:
    """Ignored rows of numbers, nan and infinities among others; the index is a class in one case."""
    if setting.convention.labels != "indices":
        return
    logits = [[1, 2, 3], [_nan] * 3, [0.5, 0, 0], [_inf, 0, -_inf], [-_inf] * 3, [2, 1, 0.5]]
    for index in (-100, 255, 1):
        for reduction in setting.reductions:
            labels = [0, index, 2, index, index, 0]
            yield setting.probe(logits, labels, ignore_index=index, reduction=reduction)


def _weighted(setting: _Setting) -> Iterable[Probe]:
    """Weigh classes, smooth labels, and both."""
    logits, labels = [[1, 2, 3], [0.5, -4, 0], [2, 1, 0.5], [0.5, 1.5, -1]], [0, 2, 1, 1]
    for reduction in setting.reductions:
        for weights, smoothing in (([0.5, 2, 3], 0.0), (None, 0.1), (None, 1.0), ([1, 0, 4], 0.25)):
            options = {"class_weights": weights, "label_smoothing": smoothing, "reduction": reduction}
            yield setting.probe(logits, labels, **options)


def _invalid_labels(setting: _Setting) -> Iterable[Probe]:
    """Invalid labels, alone and beside a valid one."""
    if setting.convention.binary:
        for value in (-1.0, 2.0):
            yield setting.probe([10.0], [value])
    if setting.convention.labels != "indices":
        return
    for label in (-1, 3):
        yield setting.probe([[3, 0.5, 1], [0, 1, 2]], [1, label])
    if setting.dtype == "float32":  # indices are cut to fewer bits whatever the dtype of the logits
        wide = [sign * 2**bits + more for bits in (8, 16, 31, 32) for sign in (1, -1) for more in (0, 1)]
        # PyTorch ignores the label -100 by default.
        is_valid = "ignore_index" in setting.parameters or setting.convention.library == "torch"
        ignored = () if is_valid else (IGNORE_INDEX,)
        for label in (-2, -3, 4, *wide, *ignored):
            yield setting.probe([[3, 0.5, 1]], [label])


def _permuted(setting: _Setting) -> Iterable[Probe]:
    """One row with its classes in six orders."""
    row, label = np.array([0.5, -3.0, 12.0, 7.25, -40.0]), 3
    orders = [np.roll(np.arange(5), shift) for shift in range(5)] + [np.array([4, 2, 0, 3, 1])]
    labels = [int(np.flatnonzero(order == label)[0]) for order in orders]
    yield setting.probe([row[order] for order in orders], labels)


def _permutation_findings(called: Called, max_ulps: float) -> Iterator[CheckFinding]:
    message = "with the classes in another order, the loss changes"
    for each in called:
        for row in range(1, len(each[0].batch.logits)):
            yield from compare_rows(message, (*each, 0), (*each, row), max_ulps)


def _batch_and_rows(setting: _Setting) -> Iterable[Probe]:
    """Give a batch, then its rows one by one."""
    logits, labels = _random_batch(setting, seed=0)
    yield setting.probe(logits, labels)
    for row in range(len(logits)):
        yield setting.probe(logits[[row]], labels[[row]])


def _batching_findings(called: Called, max_ulps: float) -> Iterator[CheckFinding]:
    """Compare the rows of the first batch of a dtype with the others, which are those rows."""
    for _, group in groupby(called, key=lambda call: call[0].dtype):
        batch, *rows = group
        for row, each in enumerate(rows):
            message = f"alone, the loss of example {row} changes"
            yield from compare_rows(message, (*batch, row), (*each, 0), max_ulps)


def _sizes(setting: _Setting) -> Iterable[Probe]:
    """Batches and rows of sizes that blocks leave a rest of; many logits are equal."""
    if setting.dtype != "float32":  # how a block ends does not depend on the dtype
        return
    random = np.random.default_rng(2)
    for examples, classes in ((257, 2), (65, 4), (33, 17), (17, 33), (5, 65), (3, 129), (2, 257)):
        logits = random.integers(-6, 7, size=(examples, classes)) / 2
        yield setting.probe(*setting.arguments(logits, random.integers(0, classes, examples)))


def _empty(setting: _Setting) -> Iterable[Probe]:
    """No rows; the mean of no losses is undefined."""
    if setting.convention.reduction == "none":
        yield setting.probe(np.zeros(0 if setting.convention.binary else (0, 3)), np.zeros(0, int))


def _one_class(setting: _Setting) -> Iterable[Probe]:
    """Rows of one class; of probabilities -log(1) is -0.0."""
    yield setting.probe([[0.0], [3.5], [-1e30]], [0, 0, 0])


def _one_class_findings(called: Called, _: float) -> list[CheckFinding]:
    losses = (loss for _, response in called for loss in response.get("losses", ()))
    wrong = next((loss for loss in losses if not (loss == 0 and math.copysign(1, loss) == 1)), None)
    if wrong is None:
        return []
    kind = "one class" if wrong == 0 else "of one class"
    return [CheckFinding(kind, f"the loss of one class is {wrong}, not +0.0")]


def _reduced(setting: _Setting) -> Iterable[Probe]:
    """Reduce the losses of a batch both ways."""
    logits, labels = _random_batch(setting, seed=1)
    for reduction in setting.reductions if "reduction" in setting.parameters else ():
        yield setting.probe(logits, labels, reduction=reduction)


def _random_batch(setting: _Setting, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return setting.arguments(random.normal(scale=5, size=(7, 3)), random.integers(0, 3, 7))


_WITHIN: Final = "each within its allowed ulps of the truth"
_TWICE: Final = "to twice the allowed ulps"
_PERCENT: Final = "to 1 % of its largest entry"
_ASSERTS: Final = {
    "translation": f"L(x + c) = L(x) where x + c is exact: {_TWICE}, for each may be off by as many",
    "gradient-sum": f"the gradient sums to 0 where the labels sum to 1: {_PERCENT}, since p - 1 is off by "
    "100 % where it lost the label's entry",
    "no-collapse": "a loss that rounds to something positive is not 0, down to the dtype's smallest number "
    f"(or C/2 of those, where every term rounds to 0): {_WITHIN}",
    "one-hot": f"a one-hot row says the same as an index, beside masked classes (-inf) too: {_WITHIN}",
    "unnormalised-labels": f"labels that sum to s have the loss Σ y_j (log Σ exp x - x_j), {_WITHIN}, and "
    f"the gradient s·p - y, {_PERCENT}, where it counts as wrong",
    "soft-labels": "labels may be spread over classes, at an offset, beside a mask, far from the maximum: "
    f"{_WITHIN}",
    "ignored-rows": "an ignored row has loss 0 and gradient 0, exactly, even where it holds nan; the others "
    f"are {_WITHIN}, and the mean counts only them",
    "weights-and-smoothing": "the targets are w_j ((1 - ε) y_j + ε / C), and a mean divides by the labels' "
    f"weights, or by N where labels are rows, as PyTorch has it: {_WITHIN}",
    "invalid-labels": "an invalid label raises, or its loss is nan or inf: never a plausible number",
    "permutation": f"the order of the classes changes no loss: {_TWICE}, as sums round otherwise",
    "batching": f"a row alone has the loss that it has in a batch: {_TWICE}, as other vector lengths round "
    "otherwise",
    "sizes": f"no number of rows or classes is special, nor are logits that are equal: {_WITHIN}",
    "empty-batch": "no rows have no losses, and none is made up: shape (0,)",
    "one-class": "the loss of one class is +0.0, exactly, whatever its logit",
    "reductions": "mean and sum are those of the losses: log2 N ulps more than a loss, for the sum",
}
# Findings that leave no loss to judge.
_NO_LOSSES: Final = frozenset({"raised", "ended", "returned", "shape"})
PROPERTIES: Final = (
    Property("translation", _shifted, _NO_LOSSES, _translation_findings, logits_only=True),
    Property("gradient-sum", _gaps, _NO_LOSSES, _gradient_sum_findings, logits_only=True),
    Property("no-collapse", _tails, _NO_LOSSES | {"collapsed", "negative", "nan", "off"}),
    Property("one-hot", _masked, logits_only=True),
    Property("unnormalised-labels", _unnormalised, logits_only=True),
    Property("soft-labels", _soft),
    Property("ignored-rows", _ignored),
    Property("weights-and-smoothing", _weighted, logits_only=True),
    Property("invalid-labels", _invalid_labels, _NO_LOSSES | {"plausible"}),
    Property("permutation", _permuted, _NO_LOSSES, _permutation_findings),
    Property("batching", _batch_and_rows, _NO_LOSSES, _batching_findings),
    Property("sizes", _sizes),
    Property("empty-batch", _empty),
    Property("one-class", _one_class, None, _one_class_findings, logits_only=True),
    Property("reductions", _reduced),
)

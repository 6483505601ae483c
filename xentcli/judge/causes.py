"""How each cause is told: from the recorded steps of one example, the outcome and the truth.

A cause never looks at the method's name.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.formats import FORMATS, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xentcli.judge.evidence import Evidence
    from xentcli.model import Step

_LOST = 64  # a difference this many times smaller than what it is of has lost six bits to rounding before it
_FOUR_ULPS = 4
_SMALL = 1  # a loss below which the tail, not the gap, makes its digits
_ROUNDED_TWICE = 16  # ulps that printed probabilities may be off, by their own method and by printing
_WRONG = frozenset({"nan", "overflow", "negative", "collapsed", "capped", "off"})


def zero_times_infinity(e: "Evidence") -> bool:
    """Tell a product of 0 and an infinity, not from a masked class, an overflow or an infinite logit."""
    products = [s for s in e.of("multiply") if not any(operand is e.batch.logits for operand in s.operands)]
    return (
        math.isnan(e.loss)
        and not e.is_ignored
        and not difference_overflow(e)
        and any(_zero_times_infinity(step, e.row)[~_at_mask(e, step)].any() for step in products)
    )


def masked_infinity(e: "Evidence") -> bool:
    """Tell a product of 0 and an infinity at a class that does not count and whose logit is -inf."""
    return (
        math.isnan(e.loss)
        and not e.is_ignored
        and any(_zero_times_infinity(step, e.row)[_at_mask(e, step)].any() for step in e.of("multiply"))
    )


def log_of_zero(e: "Evidence") -> bool:
    """Tell a log of 0 that the loss takes up although it is finite: of a class that counts, or of a sum."""
    if not e.exact.is_finite():
        return False
    for step in e.of("log", "log_one_by_one"):
        zero = step.operand(0, e.row) == 0
        if (zero & e.reaching(step)).any() or (zero.size == 1 < e.labels.size and zero.any()):
            return True
    return False


def difference_overflow(e: "Evidence") -> bool:
    """Tell a difference of finite numbers that is infinite."""
    for step in e.of("subtract"):
        finite = np.isfinite(step.operand(0, e.row)) & np.isfinite(step.operand(1, e.row))
        if (np.isinf(step.row(e.row)) & finite).any():
            return True
    return False


def exp_overflow(e: "Evidence") -> bool:
    """Tell an exponential of a finite number that is infinite, where the loss is nan or infinite of it."""
    steps = e.of("exp", "exp_by_row")
    return not math.isfinite(e.loss) and any(
        (np.isinf(step.row(e.row)) & np.isfinite(step.operand(0, e.row))).any() for step in steps
    )


def clip_active(e: "Evidence") -> bool:
    """Tell a clip that changed a probability that counts, or a clamp that changed its log."""
    counts = np.ones(1, bool) if e.batch.binary else e.targets > 0
    clips = ((step, counts) for step in e.of("clip"))
    clamps = ((step, e.reaching(step)) for step in e.of("clamp"))
    return any(
        ((step.operand(0, e.row) != step.row(e.row)) & of & np.isfinite(step.row(e.row))).any()
        for step, of in (*clips, *clamps)
    )


def tail_collapse(e: "Evidence") -> bool:
    """Tell a sum of 1 and a tail whose rounding is all the error of a small loss."""
    small = e.exact.is_finite() and float(e.exact) < _SMALL * e.weight
    return small and e.verdict in {"collapsed", "off"} and any(_swallows(step, e.row) for step in e.of("sum"))


def offset_cancellation(e: "Evidence") -> bool:
    """Tell a difference of numbers so large that their rounding is all that is left of it."""
    if e.verdict not in {"off", "collapsed", "negative"}:
        return False
    rounded = {id(step.result) for step in e.of("add")}
    for step in e.of("subtract"):
        if not any(id(operand) in rounded for operand in step.operands):
            continue
        first, second = (np.abs(step.operand(number, e.row)) for number in (0, 1))
        scale = np.minimum(first, second)
        left = max(float(np.abs(step.row(e.row)).min()), abs(float(e.exact)) / (e.weight or 1))
        if step.row(e.row).size == 1 and np.isfinite(scale).all() and (scale > _LOST * left).any():
            return True
    return False


def empty_tile(e: "Evidence") -> bool:
    """Tell a maximum of -inf over a part of a row that has finite logits elsewhere, and nan from it."""
    empty = any(np.isneginf(step.row(e.row)).all() for step in e.of("maximum", "larger"))
    return empty and math.isnan(e.loss) and bool(np.isfinite(e.logits).any()) and not np.isnan(e.logits).any()


def labels_not_normalised(e: "Evidence") -> bool:
    """Tell labels whose sum is not 1, beyond the rounding of their format."""
    if e.batch.binary or e.is_ignored or e.is_out_of_range:
        return False
    unit = 2.0 ** (1 - FORMATS[str(e.batch.labels.dtype)].precision)
    return abs(math.fsum(e.labels.tolist()) - 1) > len(e.labels) * unit


def ignored_row_leaks(e: "Evidence") -> bool:
    """Tell an ignored example that has a loss."""
    return e.is_ignored and e.loss != 0


def label_out_of_range(e: "Evidence") -> bool:
    """Tell a label that is no class, or no probability."""
    return e.is_out_of_range


def label_on_mask(e: "Evidence") -> bool:
    """Tell a class that counts and whose logit is -inf: the true loss is infinite."""
    masked = np.isneginf(e.logits) & (e.targets > 0) & (not e.batch.binary)
    return e.exact.is_infinite() and bool(masked.any())


def nan_logit(e: "Evidence") -> bool:
    """Tell a logit that is nan before anything is computed."""
    return bool(np.isnan(e.logits).any()) and not e.is_ignored


def infinite_logit(e: "Evidence") -> bool:
    """Tell a nan from an infinite logit where the limit is defined."""
    return math.isnan(e.loss) and not e.exact.is_nan() and bool(e.infinite.any())


def wrong_gradient(e: "Evidence") -> bool:
    """Tell a gradient that is off beside a loss that is right, for another reason than the labels."""
    return e.gradient == "wrong" and e.verdict == "accurate" and not labels_not_normalised(e)


def undefined_softmax(e: "Evidence") -> bool:
    """Tell a row that has no softmax."""
    return e.exact.is_nan() and not e.is_out_of_range and not np.isnan(e.logits).any()


def sigmoid_rounding(e: "Evidence") -> bool:
    """Tell a sigmoid, or 1 less a sigmoid, that is rounded so near to 1 that the rest of it is lost."""
    if not e.batch.binary or e.verdict not in _WRONG or not np.isfinite(e.logits).all():
        return False
    x = float(e.logits[0])
    return any(
        _loses_complement(step, e.row, x if step.operation == "reciprocal" else -x)
        for step in e.of("reciprocal", "one_minus")
        if step.operands[0] is not e.batch.labels
    )


def other_probabilities(e: "Evidence") -> bool:
    """Tell probabilities that were given and are not those of the logits."""
    given = e.batch.probabilities
    taken = any(operand is given for step in e.steps for operand in step.operands)
    if given is None or not taken or e.batch.binary or e.verdict not in _WRONG:
        return False
    exps = np.exp(e.logits - e.logits.max())
    own, shown = exps / exps.sum(), given[e.row].astype(np.float64)
    unit = 2.0 ** (1 - FORMATS[str(given.dtype)].precision)
    smallest = math.ldexp(unit, FORMATS[str(given.dtype)].emin)
    allowed = _ROUNDED_TWICE * unit * np.maximum(own, shown) + smallest
    return bool((np.abs(own - shown) > allowed).any())


def low_precision_sum(e: "Evidence") -> bool:
    """Tell a sum more than 4 ulps away from the exact sum of its terms, or infinite where that is finite."""
    for step in e.of("sum"):
        terms, total = step.operand(0, e.row), float(step.row(e.row)[0])
        if not np.isfinite(terms).all() or terms.size == 1:
            continue
        wanted = math.fsum(terms.tolist())
        form = FORMATS[str(step.result.dtype)]
        scale = float(np.abs(terms).sum())  # of terms of both signs the sum may be small by cancellation
        unit = 2.0 ** (max(math.frexp(scale)[1] - 1, form.emin) - (form.precision - 1))
        if math.isinf(total) or abs(total - wanted) > _FOUR_ULPS * unit:
            return True
    return False


def value_overflows_dtype(e: "Evidence") -> bool:
    """Tell a true loss that is finite and beyond the largest number of the format."""
    return e.exact.is_finite() and math.isinf(nearest(e.exact, FORMATS[e.dtype]))


def _zero_times_infinity(step: "Step", row: int) -> "NDArray[Any]":
    first, second = step.operand(0, row), step.operand(1, row)
    return ((first == 0) & np.isinf(second)) | (np.isinf(first) & (second == 0))


def _at_mask(e: "Evidence", step: "Step") -> "NDArray[Any]":
    """Where a step has a masked class: class by class, or of the own class where that is weighted."""
    size = step.row(e.row).size
    if size == e.masked.size:
        return e.masked
    weighting, indices = e.batch.weighting, e.batch.indices
    weighted = weighting is not None and any(operand is weighting.own for operand in step.operands)
    own = weighted and indices is not None and e.masked[indices[e.row]]
    return np.full(size, bool(own))


def _swallows(step: "Step", row: int) -> bool:
    """Whether rounding the sum took more than 4 ulps of what is added to its largest term, which is 1."""
    terms, total = step.operand(0, row), float(step.row(row)[0])
    if terms.size == 1 or terms.max() != 1 or not (terms >= 0).all():
        return False
    tail = math.fsum(terms.tolist()) - 1
    unit = 2.0 ** (1 - FORMATS[str(step.result.dtype)].precision)
    return abs(total - 1 - tail) > _FOUR_ULPS * unit * tail or tail == 0


def _loses_complement(step: "Step", row: int, x: float) -> bool:
    """Whether 1 less the step's result is more than 4 ulps off 1 less the sigmoid of x."""
    if not math.isfinite(x) or x < 0:
        return False
    complement = math.exp(-x) / (1 + math.exp(-x))
    unit = 2.0 ** (1 - FORMATS[str(step.result.dtype)].precision)
    return abs(1 - float(step.row(row)[0]) - complement) > _FOUR_ULPS * unit * complement

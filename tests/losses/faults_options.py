"""Faults of options: class weights, label smoothing, ignored rows, reductions, alone and in pairs."""

# ruff: noqa: D102, ARG002 - the class that a fault changes says what the step is

from dataclasses import replace
from typing import Any

import numpy as np

from losses.faults import fault, twin, wide
from losses.optioned import Given, Optioned
from losses.right import Floats, Ints, rows

RELATIVE = 3e-6  # 25 to 50 ulps of float32, where 10 are allowed


@fault()
class WeightsCountOnlyWithoutIgnored(Optioned):
    """Divide by the number of rows, not their weights, where some row is ignored."""

    def divisor(self, given: Given) -> Any:
        return (~given.ignored).sum() if given.ignored.any() else super().divisor(given)


@fault()
class IgnoredRowsWeighClassZero(Optioned):
    """Count ignored rows in the divisor, with the weight of class 0 that stands in for their label."""

    def divisor(self, given: Given) -> Any:
        return given.weights[given.k].sum() if given.has_weights else super().divisor(given)


@fault()
class SmoothedIgnoredRowsCount(Optioned):
    """Divide by all rows where labels are smoothed."""

    def divisor(self, given: Given) -> Any:
        return given.weights[given.k].sum() if given.smoothing else super().divisor(given)


@fault()
class SmoothingForgetsWeights(Optioned):
    """Weigh the label, and not the classes that smoothing adds."""

    def targets(self, given: Given) -> Floats:
        targets = np.full((len(given.k), given.classes), given.smoothing / given.classes)
        targets[np.arange(len(given.k)), given.k] += (1 - given.smoothing) * given.weights[given.k]
        return targets


@fault()
class SmoothingWeighsByTheLabel(Optioned):
    """Multiply the smoothed loss by the weight of the label."""

    def targets(self, given: Given) -> Floats:
        plain = replace(given, weights=np.ones(given.classes))
        return super().targets(plain) * given.weights[given.k][:, None]


@fault()
class SmoothedRowsAreNotIgnored(Optioned):
    """Leave an ignored row the loss of the uniform distribution."""

    def masked(self, losses: Floats, given: Given) -> Floats:
        uniform = given.smoothing * np.log(given.classes)
        return np.where(given.ignored, uniform, losses)


@fault()
class SmoothingOverTheOthers(Optioned):
    """Spread ε over the C - 1 other classes, as Megatron does."""

    def targets(self, given: Given) -> Floats:
        targets = np.full((len(given.k), given.classes), given.smoothing / max(1, given.classes - 1))
        targets[np.arange(len(given.k)), given.k] = 1 - given.smoothing
        return targets * given.weights


@fault()
class SmoothingOfOneIsNone(Optioned):
    """Smooth only for 0 < ε < 1."""

    def targets(self, given: Given) -> Floats:
        smoothing = given.smoothing if given.smoothing < 1 else 0.0
        return super().targets(replace(given, smoothing=smoothing))


@fault()
class SmoothingSquaresWeights(Optioned):
    """Weigh twice where both options are given."""

    def targets(self, given: Given) -> Floats:
        return super().targets(given) * (given.weights if given.smoothing else 1.0)


@fault()
class DivisorIsAtLeastOne(Optioned):
    """Guard the division by max(Σ w, 1): weights may sum to less."""

    def divisor(self, given: Given) -> Any:
        return max(super().divisor(given), 1.0)


@fault()
class DivisorHasAnEpsilon(Optioned):
    """Guard the division by adding 1e-8, beside weights that are small."""

    def divisor(self, given: Given) -> Any:
        return super().divisor(given) + 1e-8


@fault()
class DivisorIsNearlyRight(Optioned):
    """Divide by what is 3e-6 too large where rows are ignored: three times what is allowed."""

    def divisor(self, given: Given) -> Any:
        return super().divisor(given) * (1 + RELATIVE * given.ignored.any())


@twin()
class DivisorIsOffByAnUlp(Optioned):
    """Divide by what is an ulp of float64 too large where rows are ignored."""

    def divisor(self, given: Given) -> Any:
        return super().divisor(given) * (1 + 2.0**-52 * given.ignored.any())


@fault()
class SumForgetsWeights(Optioned):
    """Sum losses without their weights."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        own = given.weights[given.k]
        plain = losses / np.where(own > 0, own, 1)
        return plain.sum() if reduction == "sum" else super().reduced(losses, given, reduction)


@fault()
class SumIsTheMeanTimesTheBatch(Optioned):
    """Return the mean times N for a sum: ignored rows are counted."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        mean = super().reduced(losses, given, "mean")
        return mean * len(given.k) if reduction == "sum" else mean


@fault()
class DividesByOneLess(Optioned):
    """Divide by N - 1, as of a variance, from 1,000 rows on."""

    def divisor(self, given: Given) -> Any:
        return super().divisor(given) * (1 - (len(given.k) > 999) / max(1, len(given.k)))


@fault()
class AllIgnoredRaises(Optioned):
    """Divide Python's numbers: a batch of which nothing is left raises ZeroDivisionError."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        total = float(losses.sum())
        return total if reduction == "sum" else total / float(self.divisor(given))


@fault()
class AllIgnoredIsOne(Optioned):
    """Return the uniform loss for a batch of which nothing is left."""

    def reduced(self, losses: Floats, given: Given, reduction: str) -> Any:
        if given.ignored.all() and reduction == "mean":
            return np.log(given.classes + 1.0)
        return super().reduced(losses, given, reduction)


@fault()
class NegativeLabelsAreIgnored(Optioned):
    """Ignore every negative label, not only ignore_index."""

    def ignored(self, labels: Ints, ignore_index: int) -> Any:
        return (labels < 0) | (labels == ignore_index)


@fault()
class OnlyMinus100IsIgnored(Optioned):
    """Compare with -100 whatever ignore_index is."""

    def ignored(self, labels: Ints, ignore_index: int) -> Any:
        return labels == -100


@fault()
class IgnoreIndexZeroIsNone(Optioned):
    """Test ignore_index for truth: 0 is taken for none."""

    def ignored(self, labels: Ints, ignore_index: int) -> Any:
        return (labels == ignore_index) & bool(ignore_index)


@fault()
class WeightZeroIsOne(Optioned):
    """Test a weight for truth: 0 is taken for none."""

    def targets(self, given: Given) -> Floats:
        weights = np.where(given.weights == 0, 1.0, given.weights)
        return super().targets(replace(given, weights=weights))


@fault()
class SmallWeightsAreScaled(Optioned):
    """Scale weights that sum to less than 1 so that they sum to 1."""

    def targets(self, given: Given) -> Floats:
        return super().targets(given) / min(1.0, given.weights.sum())


@fault()
class WeightsInFloat16(Optioned):
    """Keep weights in float16."""

    def targets(self, given: Given) -> Floats:
        weights = given.weights.astype(np.float16).astype(np.float64)
        return super().targets(replace(given, weights=weights))


@fault()
class WeightsByRow(Optioned):
    """Take the weight of the row's number, not of its label, in a smoothed loss."""

    def targets(self, given: Given) -> Floats:
        if not given.smoothing:
            return super().targets(given)
        own = given.weights[np.arange(len(given.k)) % given.classes]
        return super().targets(given) * (own / given.weights[given.k])[:, None]


@fault("numpy.rows")
def mean_of_rows_by_their_mass(logits: Floats, labels: Floats, reduction: str = "mean") -> Any:
    """Divide by the sum of all labels, not by the number of rows."""
    losses = rows(logits.astype(np.float64), labels)
    if reduction == "none":
        return losses.astype(logits.dtype)
    divisor = labels.astype(np.float64).sum() if reduction == "mean" else 1.0
    return np.asarray(losses.sum() / divisor, logits.dtype)


@fault(reduction="mean")
def mean_of_what_is_not_zero(logits: Floats, labels: Ints) -> Any:
    """Divide by the number of losses that are not 0."""
    losses = wide(logits, labels)
    return np.asarray(losses.sum() / max(1, (losses != 0).sum()), logits.dtype)


@fault(reduction="mean")
def mean_of_chunk_means(logits: Floats, labels: Ints) -> Any:
    """Average the means of chunks of 256 rows, of which the last is shorter."""
    losses = wide(logits, labels)
    means = [losses[start : start + 256].mean() for start in range(0, max(1, len(losses)), 256)]
    return np.asarray(np.mean(means), logits.dtype)


@fault(reduction="sum")
def sum_of_chunk_means(logits: Floats, labels: Ints) -> Any:
    """Add up the means of chunks of 1,024 rows and multiply by the rows of one."""
    losses = wide(logits, labels)
    each = min(1024, len(losses))
    means = [losses[start : start + 1024].mean() for start in range(0, len(losses), 1024)]
    return np.asarray(np.sum(means) * each, logits.dtype)


@fault(reduction="sum")
def sum_of_1024(logits: Floats, labels: Ints) -> Any:
    """Sum the losses of the first 1,024 rows: one block reduces them."""
    return np.asarray(wide(logits, labels)[:1024].sum(), logits.dtype)

"""Findings of a batch in parts: sums divided by the wrong number, shards of classes put together wrongly.

A mean over parts is found by its value: the losses of the method itself, put together in each wrong way.
"""

import math
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import FORMATS, exact_sum, ulp
from xentcli.judge.findings.finding import ACCURATE, Finding, finding
from xentcli.methods import parts
from xentcli.methods.arithmetic import Arithmetic
from xentcli.methods.method import PartsMean
from xentcli.model import Parts
from xentcli.words import CLASSES, COPIES, EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.formats import BoolArray, FloatArray
    from xentcli.judge.evidence import Evidence, Reduction

    Way = Callable[..., parts.Divisors]

_WAYS: Final = (
    parts.sum_of_means,
    parts.divided_by_all,
    parts.divided_again,
    parts.mean_of_means,
    parts.means_by_size,
)
# What can be wrong with a batch in parts of a kind; without parts only the number of examples is known.
_WAYS_ALONG: Final = {
    EXAMPLES: _WAYS,
    COPIES: (parts.sum_of_means, parts.divided_again),
    CLASSES: (),
    None: (parts.divided_by_all,),
}


def is_explained(r: "Reduction", *ways: "Way") -> bool:
    """Whether a loss is, to 4 ulps, what one of some wrong ways makes of its losses; of any by default."""
    return bool(set(_explanations(r)) & set(ways or _WAYS))


def ratio_of(r: "Reduction") -> Fraction | None:
    """Return what a loss divided wrongly is to the true one, where that is the same for all losses."""
    for factors in _explanations(r).values():
        counting = {f * r.divisor for f, loss in zip(factors, r.losses, strict=True) if loss}
        return counting.pop() if len(counting) == 1 else None
    return None


@lru_cache(maxsize=8)  # of a reduction each finding is asked
def _explanations(r: "Reduction") -> "dict[Way, list[Fraction]]":
    """Return the wrong ways that make the loss, with what each multiplies the losses by."""
    if r.loss is None or not math.isfinite(r.loss) or not r.divisor or r.divisor != r.batch.divisor:
        return {}
    if not all(map(math.isfinite, r.losses)):
        return {}
    right = exact_sum(r.losses) / r.divisor
    if abs(Fraction(r.loss) - right) <= Fraction(FORMATS[r.dtype].eps) * abs(right):
        return {}
    batch = r.batch
    ways = _WAYS_ALONG[None if batch.parts is None else batch.parts.along]
    if batch.parts is None:
        batch = replace(batch, parts=Parts(EXAMPLES, (len(batch.logits),)))
    each = {way: PartsMean(way).factors(batch) for way in ways}
    whole = {way: [f for f in factors if f is not None] for way, factors in each.items()}
    return {way: factors for way, factors in whole.items() if _makes(factors, r, right)}


def _makes(factors: list[Fraction], r: "Reduction", right: Fraction) -> bool:
    """Whether the losses, each times its factor, add up to the loss, and the right factors do not."""
    if len(factors) < len(r.losses):
        return False
    losses = defaultdict(list)
    for factor, loss in zip(factors, r.losses, strict=True):
        losses[factor].append(loss)
    value = sum((factor * exact_sum(some) for factor, some in losses.items()), Fraction(0))
    allowed = ACCURATE * ulp(value, FORMATS[r.dtype]) if value else Fraction(0)
    return abs(Fraction(r.loss or 0) - value) <= allowed < abs(right - value)


mean_of_means: Final = Finding(
    "mean-of-means",
    short="the parts' means were averaged",
    cause="The means of the parts were averaged, although unlike numbers of examples count in them.",
    remedy="Add up the losses of all parts, and divide once by all that count.",
    source="https://github.com/huggingface/transformers/issues/24725",
    case="mean-of-means",
    detect_in_reduction=lambda r: is_explained(r, parts.mean_of_means, parts.means_by_size),
)
counted_times: Final = Finding(
    "counted-times",
    short="the parts' means were added, not averaged",
    cause="Means of parts were added where one mean was due: the loss and its gradient count several times.",
    remedy="Divide each part's sum by all that count in the whole batch, then add.",
    source="https://github.com/NVIDIA-NeMo/Automodel/issues/3803",
    case="chunk-means-are-summed",
    detect_in_reduction=lambda r: is_explained(r, parts.sum_of_means),
)
divided_again: Final = Finding(
    "divided-again",
    short="the mean was divided by the number of parts again",
    cause="A mean over all that count was divided by the number of parts once more.",
    remedy="Divide once, by all that count; where ranks are averaged later, multiply by their number.",
    source="https://github.com/ByteDance-Seed/VeOmni/pull/338",
    case="divided-by-sequence-parallel",
    detect_in_reduction=lambda r: is_explained(r, parts.divided_again),
)
ignored_in_denominator: Final = Finding(
    "ignored-in-denominator",
    short="the sum was divided by the number of all examples",
    cause="The sum was divided by the number of all examples, and not by what counts: ignored ones add "
    "nothing to it.",
    remedy="Divide by the number of examples that count, or by the sum of their weights.",
    source="https://github.com/NVIDIA/TransformerEngine/pull/2476",
    case="ignored-in-denominator",
    detect_in_reduction=lambda r: is_explained(r, parts.divided_by_all),
)


@finding(
    "smoothing-per-shard",
    short="labels were smoothed over one shard",
    cause="The label was smoothed over the classes of one shard: each rank has another loss.",
    remedy="Add up -log p over the classes of all shards, and divide by the number of all classes.",
    source="https://github.com/NVIDIA/Megatron-LM/issues/737",
    case="smoothing-over-a-shard",
    among=lambda e: e.is_wrong & (_along(e) == CLASSES) & (e.examples.batch.weighting.smoothing > 0),
)
def smoothing_per_shard(e: "Evidence") -> "BoolArray":
    """Detect the loss that a rank has which smooths over its own shard."""
    batch = e.examples.batch
    if batch.indices is None:
        return np.zeros(len(e.losses), bool)
    wide = replace(batch, logits=batch.logits.astype(np.float64))
    with np.errstate(all="ignore"):
        each = parts.shard_losses(Arithmetic(), wide)[e.examples.place]
    return np.asarray(_is_same(e, each).any(axis=1))


@finding(
    "gathered-again",
    short="each class is in the sum several times",
    cause="Ranks that hold all classes were gathered as if each held a shard: each class counts again.",
    remedy="Gather shards only, or subtract the log of the number of copies.",
    source="https://github.com/NVIDIA/Megatron-LM/issues/7452",
    case="gathered-logits-counted-again",
    among=lambda e: e.is_wrong & (_along(e) == COPIES) & e.examples.exact.is_finite,
)
def gathered_again(e: "Evidence") -> "BoolArray":
    """Detect the true loss and the log of the number of copies."""
    batch = e.examples.batch
    more = math.log(1 if batch.parts is None else batch.parts.number)
    return np.asarray(_is_same(e, (e.examples.exact.near + more * e.examples.weights)[:, None])[:, 0])


FINDINGS: Final = (
    counted_times,
    divided_again,
    ignored_in_denominator,
    mean_of_means,
    smoothing_per_shard,
    gathered_again,
)


def _along(e: "Evidence") -> str | None:
    return None if e.examples.batch.parts is None else e.examples.batch.parts.along


def _is_same(e: "Evidence", values: "FloatArray") -> "BoolArray":
    """Where a loss is a value (n, …), to the rounding of numbers as large as the logits."""
    form = FORMATS[e.dtype]
    size = np.abs(np.where(np.isfinite(e.examples.logits), e.examples.logits, 0)).max(axis=1) + np.abs(
        values[:, 0]
    )
    return np.abs(e.losses[:, None] - values) <= (ACCURATE * form.eps * size)[:, None]

"""Losses of a batch in parts: how their means are put together, and sums over the shards of the classes.

Along the examples parts are micro-batches, chunks or data-parallel ranks, and copies are ranks that hold the
same batch. The loss of each example is right there; what goes wrong is what the sums are divided by. Below
part k has n_k examples, and the weights of those that count add up to w_k; N and W are the totals, K the
number of parts. Along the classes parts are the shards of a vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial, reduce
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.formats import stored
from xentcli.methods.kernels import log1p, log1p_gradient, minus_targets, pick_losses
from xentcli.methods.method import Method, PartsMean, Quantity, Totals
from xentcli.words import CLASSES, COPIES, EXAMPLES

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.methods.arithmetic import Arithmetic
    from xentcli.model import Batch, Parts

Divisors = tuple[Sequence[Fraction], Fraction]
_ONE: Final = Fraction(1)

# What sums are divided by


def mean_over_all(t: Totals) -> Divisors:
    """``Σ ℓ / W``: the sums of all parts, divided once by all that counts in them; right.

    Source: https://github.com/huggingface/transformers/pull/34191.
    """
    return [_ONE] * t.K, sum(t.w, Fraction(0))


def mean_of_means(t: Totals) -> Divisors:
    """``Σ_k (Σ_k ℓ / w_k) / K``: the mean of each part, averaged as if every part counted alike.

    Right where all w_k are equal. Parts of 10 and 100 tokens with losses of 1 and 3 give 2.0 for 2.8181818. A
    part in which nothing counts makes it nan.

    Source: https://github.com/huggingface/transformers/issues/24725.
    """
    return t.w, Fraction(t.K)


def sum_of_means(t: Totals) -> Divisors:
    """``Σ_k (Σ_k ℓ / w_k)``: the means of the parts, added; K times the loss of equal parts and of copies.

    Source: https://github.com/NVIDIA-NeMo/Automodel/issues/3803 and
    https://github.com/huggingface/transformers/pull/45994, where four ranks make 47.88 of 11.97.
    """
    return t.w, _ONE


def means_by_size(t: Totals) -> Divisors:
    """``Σ_k n_k (Σ_k ℓ / w_k) / N``: means weighted by how many examples a part has, ignored ones too.

    Right where none is ignored and all weights are 1.

    Source: Keras 3, ``train_step`` in ``keras/src/backend/tensorflow/trainer.py``, which logs the loss so.
    """
    return [w / n for w, n in zip(t.w, t.n, strict=True)], t.N


def divided_by_all(t: Totals) -> Divisors:
    """``Σ ℓ / N``: divided by the number of examples, although ignored ones add nothing to the sum.

    Source: https://github.com/NVIDIA/TransformerEngine/pull/2476.
    """
    return [_ONE] * t.K, t.N


def divided_again(t: Totals) -> Divisors:
    """``Σ ℓ / W / K``: divided by all that counts, and by the number of parts once more.

    Each of 8 ranks adds a share to the sum, and the mean over the ranks divides by 8 again.

    Source: https://github.com/ByteDance-Seed/VeOmni/pull/338.
    """
    return [_ONE] * t.K, sum(t.w, Fraction(0)) * t.K


def described(function: "partial[FloatArray]", by: Callable[..., object]) -> "partial[FloatArray]":
    """Return a function with the docstring of another."""
    function.__doc__ = by.__doc__
    return function


def _scaled_gradient(mean: PartsMean, ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``softmax - y`` of each example, times what its loss counts for over what it should count for."""
    each = [np.nan if factor is None else float(factor * batch.divisor) for factor in mean.factors(batch)]
    return ar.multiply(log1p_gradient(ar, batch), stored(np.array(each)[:, None], str(batch.logits.dtype)))


def _reducing(divisors: Callable[[Totals], Divisors], formula: str, *along: str) -> Method:
    mean = PartsMean(divisors)
    gradient = described(partial(_scaled_gradient, mean), _scaled_gradient)
    return Method(divisors.__name__, log1p, gradient, formula, by_default=True, parts=along, mean=mean)


MEANS: Final = (
    _reducing(mean_over_all, "Σ ℓ / W", EXAMPLES, COPIES),
    _reducing(mean_of_means, "Σ_k (Σ ℓ / w_k) / K", EXAMPLES),
    _reducing(sum_of_means, "Σ_k (Σ ℓ / w_k)", EXAMPLES, COPIES),
    _reducing(means_by_size, "Σ_k n_k (Σ ℓ / w_k) / N", EXAMPLES),
    _reducing(divided_by_all, "Σ ℓ / N", EXAMPLES),
    _reducing(divided_again, "Σ ℓ / W / K", EXAMPLES, COPIES),
)

# Sums over the shards of the classes


def vocab_parallel(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(Σ_k Σ exp(x - m)) - (x[label] - m)``, m of all shards, their sums added; right.

    Small losses collapse as in ``sparse``.

    Source: Megatron-LM, ``VocabParallelCrossEntropy`` in ``megatron/core/tensor_parallel/cross_entropy.py``.
    """
    maximum, total = _in_two_passes(ar, batch)
    return pick_losses(ar, batch, ar.log(total), ar.subtract(batch.logits, maximum))


def online_shards(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(Σ_k d_k exp(m_k - m)) - (x[label] - m)``, m_k and d_k of each shard by itself.

    A shard of nothing but -inf has a maximum of -inf, and -inf - -inf is nan for the whole row.

    Source: Milakov and Gimelshein (2018), section 3.1, arXiv:1805.02867.
    """
    maximum, total = _merged(ar, batch)
    return pick_losses(ar, batch, ar.log(total), ar.subtract(batch.logits, maximum))


def gathered_again(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """``log(K Σ exp(x - m)) - (x[label] - m)``: ranks that hold all classes, gathered as if each had a shard.

    Every class is in the sum K times: the loss is ln K too large.

    Source: https://github.com/NVIDIA/Megatron-LM/issues/7452.
    """
    maximum, total = _of_copies(ar, batch)
    return pick_losses(ar, batch, ar.log(total), ar.subtract(batch.logits, maximum))


def smoothing_per_shard(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """As ``vocab_parallel``, but each rank smooths labels over the classes of its own shard.

    Each reports another loss; this is that of the first, and ``shard_losses`` has all.

    Source: https://github.com/NVIDIA/Megatron-LM/issues/737.
    """
    return next(_losses_of_shards(ar, batch))


def shard_losses(ar: "Arithmetic", batch: "Batch") -> "FloatArray":
    """Loss that each rank reports (N, K), smoothed over the classes of its own shard."""
    return np.hstack(list(_losses_of_shards(ar, batch)))


def _losses_of_shards(ar: "Arithmetic", batch: "Batch") -> "Iterator[FloatArray]":
    maximum, total = _in_two_passes(ar, batch)
    log_sum, shifted = ar.log(total), ar.subtract(batch.logits, maximum)
    if batch.indices is None:
        raise ValueError("soft labels have no class index; Method.why_unsupported says so")
    loss = ar.subtract(log_sum, ar.pick(shifted, batch.indices))
    for classes in _parts_of(batch).slices:
        shard = ar.subtract(log_sum, shifted[:, classes])
        own, each = map(float, batch.weighting.mix(shard.shape[1]))
        yield ar.add(ar.scale(loss, own), ar.scale(ar.sum(shard), each))


def _in_two_passes(ar: "Arithmetic", batch: "Batch") -> "tuple[FloatArray, FloatArray]":
    """Return the largest logit of all shards, then the sum of their exponentials, (N, 1) each."""
    shards = [batch.logits[:, classes] for classes in _parts_of(batch).slices]
    maximum = reduce(ar.maximum, map(ar.row_max, shards))
    return maximum, reduce(ar.add, [ar.sum(ar.exp_in_rows(ar.subtract(x, maximum))) for x in shards])


def _of_copies(ar: "Arithmetic", batch: "Batch") -> "tuple[FloatArray, FloatArray]":
    """Return the largest logit, and the sum of the exponentials of all copies, (N, 1) each."""
    maximum = ar.row_max(batch.logits)
    total = ar.sum(ar.exp_in_rows(ar.subtract(batch.logits, maximum)))
    return maximum, reduce(ar.add, [total] * _parts_of(batch).number)


def _merged(ar: "Arithmetic", batch: "Batch") -> "tuple[FloatArray, FloatArray]":
    """Return maximum and sum merged from those of each shard by itself, (N, 1) each."""
    shards = [batch.logits[:, classes] for classes in _parts_of(batch).slices]
    own = [(top := ar.row_max(x), ar.sum(ar.exp_in_rows(ar.subtract(x, top)))) for x in shards]
    maximum = reduce(ar.maximum, [top for top, _ in own])
    return maximum, reduce(ar.add, [ar.multiply(s, ar.exp(ar.subtract(top, maximum))) for top, s in own])


def _gradient_of(
    sums: "Callable[[Arithmetic, Batch], tuple[FloatArray, FloatArray]]", ar: "Arithmetic", batch: "Batch"
) -> "FloatArray":
    """``exp(x - m) / Σ - y``, with the maximum and sum of all shards."""
    maximum, total = sums(ar, batch)
    return minus_targets(ar, batch, ar.divide(ar.exp(ar.subtract(batch.logits, maximum)), total))


def _parts_of(batch: "Batch") -> "Parts":
    if batch.parts is None:
        raise ValueError("a batch that is not in parts; Method.why_unsupported says so")
    return batch.parts


_sharded = partial(Method, soft_labels=False, by_default=True, parts=(CLASSES,))
SHARDED: Final = (
    _sharded(
        "vocab_parallel",
        vocab_parallel,
        described(partial(_gradient_of, _in_two_passes), _gradient_of),
        "log Σ_k Σ exp(x-m) - (x[label]-m)",
    ),
    _sharded(
        "online_shards",
        online_shards,
        described(partial(_gradient_of, _merged), _gradient_of),
        "log Σ_k d_k·exp(m_k-m) - (x[label]-m)",
    ),
    Method(
        "gathered_again",
        gathered_again,
        described(partial(_gradient_of, _of_copies), _gradient_of),
        "log(K·Σ exp(x-m)) - (x[label]-m)",
        soft_labels=False,
        by_default=True,
        parts=(COPIES,),
    ),
    Method(
        "smoothing_per_shard",
        smoothing_per_shard,
        None,
        "vocab_parallel's, smoothed over the shard",
        soft_labels=False,
        parts=(CLASSES,),
    ),
)
METHODS: Final = (*MEANS, *SHARDED)
QUANTITIES: Final = (
    Quantity(
        "shard_losses",
        shard_losses,
        ("N", "K"),
        "the loss that each rank reports, smoothed over its own shard of the classes",
        needs_parts=CLASSES,
    ),
)

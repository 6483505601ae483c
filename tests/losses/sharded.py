"""Losses of shards of the classes in PyTorch, each rank with its own: right ones, and one fault each."""

from typing import Any

import torch
import torch.distributed as dist


class _Sharded(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    """Reduce the largest logit, the label's and the sum without the largest; of float64."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        x, y, rank, world, group = arguments
        dtype, x = x.dtype, x.double()
        top = x.max(1).values
        dist.all_reduce(top, dist.ReduceOp.MAX, group=group)
        shifted = x - top[:, None]
        owner = torch.where((shifted == 0).any(1), rank, world)
        dist.all_reduce(owner, dist.ReduceOp.MIN, group=group)
        rest = shifted.exp()
        rows = torch.nonzero(owner == rank)[:, 0]
        rest[rows, shifted.argmax(1)[rows]] = 0
        label = torch.where(mine(x, y, rank), shifted.gather(1, place(x, y, rank))[:, 0], 0.0)
        sums = torch.stack([rest.sum(1), label])
        dist.all_reduce(sums, group=group)
        ctx.save_for_backward(shifted.exp() / (1 + sums[0])[:, None], y)
        ctx.dtype, ctx.rank, ctx.group = dtype, rank, group
        return (torch.log1p(sums[0]) - sums[1]).to(dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        p, y = ctx.saved_tensors
        rows = torch.nonzero(mine(p, y, ctx.rank))[:, 0]
        columns = place(p, y, ctx.rank)[rows, 0]
        p[rows, columns] = 0  # the label's entry is minus the sum of the others
        others = p.sum(1)
        dist.all_reduce(others, group=ctx.group)
        p[rows, columns] = -others[rows]
        return (p * upstream[0][:, None]).to(ctx.dtype), None, None, None, None


class _Multiplied(torch.autograd.Function):  # type: ignore[misc]  # torch is not installed everywhere
    """Multiply the gradient, as an all-reduce of equal upstream gradients does."""

    @staticmethod
    def forward(ctx: Any, losses: Any, factor: int) -> Any:
        ctx.factor = factor
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        return upstream[0] * ctx.factor, None


def place(shard: Any, labels: Any, rank: int) -> Any:
    """Return the column of each label, of another shard's the nearest."""
    return (labels - rank * shard.shape[1]).clamp(0, shard.shape[1] - 1)[:, None]


def mine(shard: Any, labels: Any, rank: int) -> Any:
    """Return whether each label is of this shard."""
    return labels // shard.shape[1] == rank


def right(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:
    if ((labels < 0) | (labels >= world * shard.shape[1])).any():
        raise IndexError("label out of range")
    return _Sharded.apply(shard, labels, rank, world, group)


def one_rank_raises(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:
    """Raise where the label would be, while the others wait."""
    if (labels < 0).any() and rank == 0:
        raise IndexError("label below 0")
    if (labels >= world * shard.shape[1]).any() and rank == world - 1:
        raise IndexError("label beyond the last class")
    return _Sharded.apply(shard, labels, rank, world, group)


def world_times(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:
    return _Multiplied.apply(right(shard, labels, rank, world, group), world)


def labels_of_the_first_shard(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:
    """Take the labels for those of the shard, whichever it is."""
    return right(shard, labels % shard.shape[1], rank, world, group)


def one_rank_has_no_losses(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:
    losses = right(shard, labels, rank, world, group)
    return losses if rank == 0 else losses * 0


def largest_of_its_own(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:
    """Shift each shard by its own largest logit, and add the sums up as if it were the same."""
    x = shard.double()
    top = x.max(1, keepdim=True).values
    label = torch.where(mine(x, labels, rank), (x - top).gather(1, place(x, labels, rank))[:, 0], 0.0)
    sums = torch.stack([(x - top).exp().sum(1), label]).detach()
    dist.all_reduce(sums, group=group)
    return (right(shard, labels, rank, world, group) * 0 + sums[0].log() - sums[1]).to(shard.dtype)


def whole_world(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:  # noqa: ARG001 - that is the fault
    """Reduce over all processes, whatever the group."""
    return right(shard, labels, rank, world, None)


def rank_in_the_world(shard: Any, labels: Any, rank: int, world: int, group: Any) -> Any:  # noqa: ARG001 - that is the fault
    """Take the process's rank among all for that in the group."""
    return right(shard, labels, dist.get_rank(), world, group)

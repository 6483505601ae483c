"""A shard of the classes: what a process of a group has of the logits, and batches that can be shared out."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.model import Batch

_LOOPBACK: Final = Path("/sys/class/net/lo")  # Linux's name of the network that is always there


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a process in a group: its ``rank``, of ``world``; ``group`` is the library's."""

    rank: int
    world: int
    group: Any

    def loss(self, function: "Callable[..., Any]", arguments: tuple[str, ...]) -> "Callable[..., Any]":
        """Return the loss as a function of all logits (N, C), of which it is given this rank's shard.

        ``arguments`` are its own, in their order. Autodiff gives the other shards a gradient of 0.
        """

        def call(x: Any, y: Any, **keywords: Any) -> Any:
            first, last = self._ends(x)
            shard = x[:, first:last].contiguous() if x.is_contiguous() else x[:, first:last]
            given = {
                "logits": shard,
                "labels": y,
                "rank": self.rank,
                "world": self.world,
                "group": self.group,
            }
            return function(*(given[name] for name in arguments), **keywords)

        return call

    def gradient(self, function: "Callable[..., Any]", arguments: tuple[str, ...]) -> "Callable[..., Any]":
        """Return a function for the gradient of a shard as one for that of all logits, the others' 0."""
        of_shard = self.loss(function, arguments)

        def call(x: Any, y: Any, **keywords: Any) -> Any:
            first, last = self._ends(x)
            whole = x.new_zeros(x.shape)
            whole[:, first:last] = of_shard(x, y, **keywords)
            return whole

        return call

    def _ends(self, x: Any) -> tuple[int, int]:
        width = x.shape[1] // self.world
        return self.rank * width, (self.rank + 1) * width


def join(rank: int, world: int, meeting: str) -> Seat:
    """Join the processes that know the same file, and a group of them; gloo connects them on this machine.

    That of a ``rank`` from 0 has ``world`` of them. One more, of rank -1, is a group of its own and has all
    classes; it comes first in the world, and so no rank in the group is that in the world.
    """
    from torch import distributed

    if _LOOPBACK.exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # not the host's name, which may lead nowhere
    if not distributed.is_initialized():
        store = distributed.FileStore(meeting, world + 1)
        distributed.init_process_group("gloo", store=store, rank=rank + 1, world_size=world + 1)
    alone, group = distributed.new_group([0]), distributed.new_group(list(range(1, world + 1)))
    return Seat(0, 1, alone) if rank < 0 else Seat(rank, world, group)


def fill(batch: "Batch", ranks: int) -> "Batch":
    """Return a batch whose classes ``ranks`` shards can share equally: each row's least logit is repeated.

    What is added has weight 1 and no label; labels that were beyond the last class still are.
    """
    more = -batch.logits.shape[1] % ranks
    if not more:
        return batch
    least = np.fmin.reduce(batch.logits, axis=1, keepdims=True)
    labels, weights = batch.class_labels, batch.weighting.class_weights
    if labels is not None:
        beyond = labels >= batch.logits.shape[1]
        if batch.weighting.ignored is not None:
            beyond &= ~batch.weighting.ignored
        labels = np.where(beyond, labels + more, labels)
    if weights is not None:
        weights = np.concatenate([weights, np.ones(more, weights.dtype)])
    return replace(
        batch,
        logits=np.concatenate([batch.logits, np.repeat(least, more, axis=1)], axis=1),
        labels=np.pad(batch.labels, ((0, 0), (0, more))),
        class_labels=labels,
        weighting=replace(batch.weighting, class_weights=weights),
    )

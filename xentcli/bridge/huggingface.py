"""The loss of a Hugging Face ``Trainer``, watched: ``Trainer(…, compute_loss_func=watched_loss())``."""

from collections.abc import Callable
from typing import Any

import torch

from xentcli.bridge.watch import watch
from xentcli.words import IGNORE_INDEX


def watched_loss(*, shift: bool = True, **options: Any) -> Callable[..., torch.Tensor]:  # noqa: ANN401
    """Return a ``compute_loss_func``: the mean cross-entropy of a batch, watched.

    Labels that are ignored do not count. With ``shift``, as causal language models need it, position t is
    judged by label t + 1; without it, as in classification, by label t. ``options`` are those of ``watch``.
    Where the Trainer says how many labels the whole batch has, over all its parts, the sum is divided by it.

    Source: transformers, ``ForCausalLMLoss`` in ``loss/loss_utils.py``.
    """
    index = options.get("ignore_index", IGNORE_INDEX)

    def compute_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:  # noqa: ANN401
        logits = outputs["logits"]
        if shift:
            logits, labels = logits[:, :-1], labels[:, 1:]
        x, y = logits.reshape(-1, logits.shape[-1]).float(), labels.reshape(-1).to(logits.device)
        if num_items_in_batch is None:
            loss = torch.nn.functional.cross_entropy(x, y, ignore_index=index)
        else:
            total = torch.nn.functional.cross_entropy(x, y, ignore_index=index, reduction="sum")
            loss = total / num_items_in_batch
        return watch(loss, logits, labels.to(logits.device), **options)

    return compute_loss

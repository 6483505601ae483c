"""``Watched`` as a module of torch: its parameters, its device and its training mode are the criterion's."""

from collections.abc import Mapping
from typing import Any

import torch

from xentcli.bridge.watch import watch


class WatchedModule(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """A criterion of (logits, labels) that returns its loss, watched."""

    def __init__(self, criterion: torch.nn.Module, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.criterion, self.options = criterion, dict(options)
        index = getattr(criterion, "ignore_index", None)
        if index is not None:
            self.options.setdefault("ignore_index", index)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor, *args: Any, **keys: Any) -> torch.Tensor:  # noqa: ANN401
        """Call the criterion, and watch what it returns."""
        return watch(self.criterion(logits, labels, *args, **keys), logits, labels, **self.options)

"""``Watched``: a criterion whose every loss is watched."""

from collections.abc import Callable, Mapping
from typing import Any

from xentcli.bridge.watch import guard, watch


class Watched:
    """A criterion of (logits, labels) that returns its loss, watched; ``options`` are those of ``watch``.

    Of a ``torch.nn.Module`` it is one itself: ``self.loss = Watched(nn.CrossEntropyLoss())``.
    """

    def __new__(cls, criterion: Callable[..., Any], **options: Any) -> Any:  # noqa: ANN401, D102
        if any(kind.__module__.startswith("torch.nn.") for kind in type(criterion).__mro__):
            from xentcli.bridge.torch_module import WatchedModule

            return WatchedModule(criterion, options)
        return super().__new__(cls)

    def __init__(self, criterion: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401
        self.criterion, self.options = criterion, options

    def __getnewargs__(self) -> tuple[Callable[..., Any]]:
        return (self.criterion,)  # copies and pickles are made with it

    def __call__(self, logits: Any, labels: Any, *args: Any, **keys: Any) -> Any:  # noqa: ANN401
        """Call the criterion, and watch what it returns."""
        return watched(lambda x: self.criterion(x, labels, *args, **keys), logits, labels, self.options)


def watched(loss_of: Callable[[Any], Any], logits: Any, labels: Any, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the loss of logits, watched; with ``gradient``, their gradient too, in any library."""
    logits, rest = guard(logits, labels, options)
    return watch(loss_of(logits), logits, labels, **rest)

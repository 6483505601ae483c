"""The arrays that a loss is handed: laid out as asked for, kept for its next call, watched for writes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from xentcli.frameworks.request import LAYOUTS

if TYPE_CHECKING:
    from xentcli.frameworks.adapter import Adapter


class Handed:
    """Calls return an array as the loss gets it; ``written`` names those that it wrote into.

    ``layout`` is a key of the adapter's LAYOUTS, or empty, and the name of the one array that lies so, empty
    for all; ``frozen`` names an array that no gradient is asked for. With ``kept``, arrays by name, an array
    of an earlier call is used again, and holds the new numbers.
    """

    def __init__(
        self,
        adapter: "Adapter",
        library: str,
        layout: tuple[str, str],
        kept: dict[str, Any] | None,
        frozen: str = "",
    ) -> None:
        self._adapter, self._kept, self._frozen = adapter, kept, frozen
        self._layout, self._laid_out = layout
        self._can_be_written = library in LAYOUTS
        self._watched: list[tuple[str, Any, Any]] = []

    def __call__(self, name: str, array: Any) -> Any:
        """Lay out an array, or write its numbers into the one of that name that is kept; watch it."""
        if name == self._frozen:
            array = self._adapter.frozen(array)
        if self._layout and self._laid_out in {"", name}:
            array = self._adapter.LAYOUTS[self._layout](array)
        if self._kept is not None:
            kept = self._kept.setdefault(name, array)
            if kept is not array:
                self._adapter.overwrite(kept, array)
            array = kept
        if self._can_be_written:  # else it may be one that is only traced
            self.watch(name, array)
        return array

    def watch(self, name: str, array: Any) -> None:
        """Remember the numbers of an array."""
        self._watched.append((name, array, self._adapter.to_numpy(array)[0]))

    @property
    def written(self) -> list[str]:
        """The names of the arrays whose numbers have changed."""
        return [
            name
            for name, array, before in self._watched
            if not np.array_equal(before, self._adapter.to_numpy(array)[0], equal_nan=True)
        ]

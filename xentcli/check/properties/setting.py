"""What a property is: its inputs in a setting, what breaks it, and what it asserts."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.check.probes import Probe
from xentcli.check.report import CheckFinding
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError
from xentcli.frameworks.conventions import Convention

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, IntArray
    from xentcli.process import Fields

INF, NAN = math.inf, math.nan
WIDE: Final = ("float32", "float64")
NARROW: Final = ("float16", "bfloat16")
ONE: Final = ("float32",)  # what does not depend on the dtype

WITHIN: Final = "each within its allowed ulps of the truth"
TWICE: Final = "to twice the allowed ulps"
PERCENT: Final = "to 1 % of its largest entry"
# Findings that leave no loss to judge.
NO_LOSSES: Final = frozenset({"raised", "ended", "returned", "shape"})

Called = Sequence[tuple[Probe, "Fields"]]  # the batches that a loss was called with, and its responses
Rule = Callable[[Called, MaxUlps], Iterable[CheckFinding]]


@dataclass(frozen=True, slots=True)
class Setting:
    """What the inputs of a property depend on: how a loss is called, its parameters, the dtype."""

    convention: Convention
    parameters: tuple[str, ...]
    dtype: str

    @property
    def reductions(self) -> tuple[str, ...]:
        """Those that a loss is asked for: where there is no choice its own."""
        return ("mean", "sum") if "reduction" in self.parameters else (self.convention.reduction,)

    @property
    def takes_indices(self) -> bool:
        """Whether labels are class indices."""
        return self.convention.labels == "indices"

    def arguments(self, logits: "FloatArray", labels: "IntArray") -> tuple[Any, Any]:
        """Return these, or a column of them where the loss is binary."""
        return (logits[:, 0], labels % 2 * 1.0) if self.convention.binary else (logits, labels)

    def probe(self, logits: Any, labels: Any, **options: Any) -> Probe:  # noqa: ANN401 - as Probe.build
        """Build a probe in the dtype."""
        return Probe.build(self.convention, logits, labels, self.dtype, **options)

    def repeated(
        self, logits: "FloatArray", labels: "IntArray", examples: int, reduction: str = "none"
    ) -> Probe:
        """Build a probe of so many examples: those of a batch again and again, as quickly judged."""
        one, places = self.probe(*self.arguments(logits, labels)), np.arange(examples) % len(logits)
        many = self.arguments(logits[places], labels[places])
        return replace(self.probe(*many, reduction=reduction), repeated=one.batch)


@dataclass(frozen=True, slots=True)
class Property:
    """A property, and its inputs in a setting; ``asserts`` says what it demands, and to what tolerance.

    ``kinds`` are those of the findings against the truth that break it, None all; ``rule`` detects others,
    with the ulps allowed. ``of_autodiff``: it is of losses that are differentiated, not of those with a
    function for the gradient. ``logits_only``: it says nothing of probabilities. ``since`` is the first
    version of the suite that has it.
    """

    name: str
    asserts: str
    inputs: Callable[[Setting], Iterable[Probe]]
    kinds: frozenset[str] | None = None
    rule: Rule | None = None
    logits_only: bool = False
    of_autodiff: bool = False
    dtypes: tuple[str, ...] = WIDE
    category: str = "properties"
    since: int = 1

    def probes(
        self, convention: Convention, parameters: tuple[str, ...], *, autodiff: bool = True
    ) -> tuple[Probe, ...]:
        """Return its probes, those that a loss with these parameters supports."""
        if (self.logits_only and convention.probabilities) or (self.of_autodiff and not autodiff):
            return ()
        settings = [Setting(convention, parameters, dtype) for dtype in self.dtypes if _is_at_hand(dtype)]
        probes = (probe for setting in settings for probe in self.inputs(setting))
        return tuple(probe for probe in probes if probe.is_supported(parameters))


def _is_at_hand(dtype: str) -> bool:
    """Whether NumPy has the dtype: bfloat16 takes ml_dtypes."""
    try:
        formats.dtype(dtype)
    except XentError:
        return False
    return True


def draw(
    setting: Setting, seed: int, examples: int = 7, classes: int = 3, scale: float = 5.0
) -> tuple[Any, Any]:
    """Draw the arguments of a batch: logits of some scale, any labels. At a scale of 1 no loss is hard."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=scale, size=(examples, classes))
    return setting.arguments(logits, random.integers(0, classes, examples))

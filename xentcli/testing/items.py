"""What the pytest plug-in makes tests of: a check in a dtype, known without a loss."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from xentcli.check.plan import CONTRACT_CATEGORY, plan
from xentcli.check.run import BUDGET, Options, deadline
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError, did_you_mean
from xentcli.frameworks.conventions import CPU, NAMES, find_convention
from xentcli.judge.findings.finding import ACCURATE
from xentcli.testing import suite
from xentcli.words import DTYPES, REDUCTIONS

if TYPE_CHECKING:
    import pytest

    from xentcli.check.plan import CheckSpec


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``pytest.mark.xent`` says: the options of ``xent check``, and ``dtypes``, those of the logits.

    Raises XentError for what it cannot say.
    """

    convention: str = "numpy"
    reduction: str | None = None
    dtypes: Sequence[str] = ()
    only: Sequence[str] = ()
    skip: Mapping[str, str] = field(default_factory=dict)
    max_ulps: float | Mapping[str, float] = ACCURATE
    seed: int = 0
    repeat: int = 1
    budget: float = BUDGET
    device: str = CPU

    @classmethod
    def build(cls, marks: Sequence["pytest.Mark"]) -> "Settings":
        """Take the arguments of marks, the nearest first; one name is as good as a list of one."""
        if any(mark.args for mark in marks):
            raise XentError("pytest.mark.xent takes arguments by name; the loss is for xent_check")
        values = {name: value for mark in reversed(marks) for name, value in mark.kwargs.items()}
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise XentError(f"pytest.mark.xent has no argument '{name}'{did_you_mean(name, known)}")
        lists = {name: (values[name],) for name in ("dtypes", "only") if isinstance(values.get(name), str)}
        return cls(**{**values, **lists})

    def __post_init__(self) -> None:
        if not isinstance(self.skip, Mapping):
            raise XentError("skip is a dict of names and reasons, such as {'one-class': '-0.0 will do'}")
        for name, reason in self.skip.items():
            if not str(reason).strip():
                raise XentError(f"skip: give the reason for '{name}'")
        deadline(self.budget)  # raises
        find_convention(self.convention, "")
        Options(max_ulps=MaxUlps.from_value(self.max_ulps), seed=self.seed, repeat=self.repeat)
        for word, name, known in (
            *(("dtypes", dtype, DTYPES) for dtype in self.dtypes),
            *(("reduction", name, REDUCTIONS) for name in (self.reduction,) if name is not None),
        ):
            if name not in known:
                raise XentError(f"{word}: '{name}' is unknown{did_you_mean(str(name), known)}")


@dataclass(frozen=True, slots=True)
class Item:
    """One test: a check in a dtype, or in all where it is None; ``skipped`` is the reason for which it is."""

    name: str
    dtype: str | None
    settings: Settings
    skipped: str | None = None

    @property
    def id(self) -> str:
        """What it is called in brackets: ``tail-collapse[bfloat16]``, ``tail-collapse[bfloat16-cuda]``."""
        device = self.settings.device
        words = "-".join(filter(None, (self.dtype, None if device == CPU else device)))
        return f"{self.name}[{words}]" if words else self.name

    def check(self, loss: suite.Loss, gradient: suite.Loss | None) -> str | None:
        """Check a loss; return why it was skipped, None where it passed.

        Raises AssertionError, with the verdict, where it failed, and XentError where it cannot be called.
        """
        says = self.settings
        subject = suite.build(loss, says.convention, gradient, says.reduction, says.device)
        specs = suite.plan_of(subject)
        known = {name for spec in specs for name in (spec.name, spec.category)}
        if self.name not in known:
            return "needs a parameter or a label that the loss does not have"
        options = Options(
            max_ulps=MaxUlps.from_value(says.max_ulps),
            only=(self.name,),
            skip={name: reason for name, reason in says.skip.items() if name in known},
            seed=says.seed,
            repeat=says.repeat,
            dtypes=says.dtypes if self.dtype is None else (self.dtype,),
        )
        report = suite.judge(loss, subject, options, deadline(says.budget))
        if not report.passed:
            raise AssertionError(suite.described(report))
        reasons = [result.skipped for result in report.checks]
        return None if None in reasons else reasons[0]


def items(says: Settings) -> list[Item]:
    """Return the tests of a loss of a convention that has every parameter, in order.

    The contract is one: it is kept in the calls of all others. Raises XentError for unknown names, and where
    nothing is left to check.
    """
    convention = find_convention(says.convention, "", says.reduction)
    autodiff = convention.library != "numpy"
    specs = plan(convention, (*NAMES, "reduction"), gradient=True, autodiff=autodiff)
    known = list(dict.fromkeys(name for spec in specs for name in (spec.category, spec.name)))
    for name in (*says.only, *says.skip):
        if name not in known:
            near = did_you_mean(
                name, known, f"expected a check or a category of convention {convention.name}"
            )
            raise XentError(f"no check is called '{name}'{near}")
    chosen = [spec for spec in specs if not says.only or {spec.name, spec.category} & set(says.only)]
    found = {item.id: item for spec in chosen for item in _items_of(spec, says)}
    if not found:
        raise XentError(f"no check that is chosen has a batch in {' or '.join(says.dtypes)}")
    return list(found.values())


def _items_of(spec: "CheckSpec", says: Settings) -> list[Item]:
    """Return a test per dtype of a check's batches; of the search one, and of the contract one in all."""
    if spec.category == CONTRACT_CATEGORY:
        return [Item(CONTRACT_CATEGORY, None, says, says.skip.get(CONTRACT_CATEGORY))]
    skipped = says.skip.get(spec.name, says.skip.get(spec.category))
    dtypes: Iterable[str | None] = dict.fromkeys(probe.dtype for probe in spec.probes) or [None]
    chosen = [dtype for dtype in dtypes if dtype is None or not says.dtypes or dtype in says.dtypes]
    return [Item(spec.name, dtype, says, skipped) for dtype in chosen]

"""Which checks suit a loss: every case of the atlas that it supports, every property, its contract."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from xentcli import atlas
from xentcli.check.probes import Probe
from xentcli.check.properties import PROPERTIES, Rule
from xentcli.check.report import SEARCH
from xentcli.frameworks.conventions import Convention

if TYPE_CHECKING:
    from xentcli.model import Case

PROPERTY: Final = "properties"
CONTRACT_CATEGORY: Final = "contract"
CASES_CATEGORY: Final = "cases"  # those that are named

# What every call must keep to, by name; seen in all responses together.
CONTRACT: Final = {
    "shape": "as many losses as examples, in shape (N,)",
    "dtype": "losses and gradient have the dtype of the logits (a Python float will do for a mean)",
    "untouched": "logits and labels are the same after the call",
    "quiet": "nothing is written to sys.stdout or sys.stderr",
    "differentiable": "the losses have a gradient, and it can be computed",
}


@dataclass(frozen=True, slots=True, eq=False)
class CheckSpec:
    """One check: its batches, which kinds of findings against the truth count, a rule for others.

    ``unsupported`` says why the loss does not support it, where it is asked for all the same.
    """

    category: str
    name: str
    asserts: str
    probes: tuple[Probe, ...] = ()
    kinds: frozenset[str] | None = None
    rule: Rule | None = None
    unsupported: str | None = None


@lru_cache(maxsize=8)  # a test suite calls for one check at a time
def plan(convention: Convention, parameters: tuple[str, ...], *, gradient: bool) -> tuple[CheckSpec, ...]:
    """Return the checks that suit a loss of the convention with these parameters, in order.

    ``gradient``: it has one, by autodiff or by a function of its own.
    """
    specs = []
    for entry in atlas.entries():
        spec = case_spec(entry.case, convention, parameters, entry.folder or "blog")
        specs += [] if spec.unsupported else [spec]
    specs += [
        CheckSpec(PROPERTY, each.name, each.asserts, probes, each.kinds, each.rule)
        for each in PROPERTIES
        if (probes := each.probes(convention, parameters))
    ]
    names = [name for name in CONTRACT if name != "differentiable" or gradient]
    specs += [CheckSpec(CONTRACT_CATEGORY, name, CONTRACT[name]) for name in names]
    searched = "no failure among seeded rows of many scales, offsets, gaps and dtypes"
    return (*specs, CheckSpec(SEARCH, SEARCH, searched))


def case_spec(
    case: "Case", convention: Convention, parameters: tuple[str, ...], category: str = CASES_CATEGORY
) -> CheckSpec:
    """Return the check that a case is."""
    reduction = case.reduction if "reduction" in parameters else convention.reduction
    probe = Probe(convention, case.batch, case.dtype, reduction)
    reason = convention.why_unsupported(case.batch, parameters)
    if reason is None and not probe.is_supported(parameters):
        reason = f"convention {convention.name} has no such numbers"
    return CheckSpec(category, case.name, case.title, (probe,), unsupported=reason)

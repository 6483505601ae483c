"""Which checks a loss is given: every case of the atlas that it can take, every property, how it behaves."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from xentcli import atlas
from xentcli.check.conventions import Convention
from xentcli.check.probes import Probe
from xentcli.check.properties import PROPERTIES, Rule
from xentcli.check.report import SEARCH, UNANSWERED, Fault

BLOG: Final = "blog"
PROPERTY: Final = "properties"
CONDUCT: Final = "conduct"

# What is looked at in every answer; by name, what each asserts.
MANNERS: Final = {
    "shape": "as many losses as examples, in shape (N,)",
    "dtype": "losses and gradient have the dtype of the logits (a Python float will do for a mean)",
    "untouched": "logits and labels are the same after the call",
    "quiet": "nothing is written to sys.stdout or sys.stderr",
    "differentiable": "the losses have a gradient, and it can be computed",
}


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One check: the batches it asks about, which faults against the exact loss count, a rule for others."""

    category: str
    name: str
    asserts: str
    probes: tuple[Probe, ...] = ()
    words: frozenset[str] | None = None
    rule: Rule | None = None

    def counts(self, fault: Fault) -> bool:
        """Whether a fault against the exact loss is one that this check is about."""
        return self.words is None or fault.word in self.words | UNANSWERED


@lru_cache(maxsize=8)  # a test suite asks for one check at a time
def plan(convention: Convention, keywords: tuple[str, ...], *, gradient: bool) -> tuple[Check, ...]:
    """Return the checks that a loss of the convention with these parameters can be given, in order.

    ``gradient``: it has one, by autodiff or by a function of its own.
    """
    found = []
    for entry in atlas.entries():
        probe = Probe(entry.case.batch, entry.case.dtype, convention.held_to(entry.case.reduction))
        if probe.unfit(convention, keywords) is None:
            found.append(Check(entry.folder or BLOG, entry.case.name, entry.case.title, (probe,)))
    for each in PROPERTIES:
        probes = tuple(
            one for one in each.probes(convention, keywords) if one.unfit(convention, keywords) is None
        )
        if probes:
            found.append(Check(PROPERTY, each.name, each.asserts, probes, each.words, each.rule))
    names = [name for name in MANNERS if name != "differentiable" or gradient]
    found += [Check(CONDUCT, name, MANNERS[name]) for name in names]
    found.append(
        Check(SEARCH, SEARCH, "no failure among seeded rows of many scales, offsets, gaps and dtypes")
    )
    return tuple(found)

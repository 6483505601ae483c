"""FINDINGS: the catalogue of named causes. A predicate never looks at the method's name.

Each stands in the file of its theme with its words under its predicate: numbers outside the range of the
format, the gradient, rounding, denominators, knobs, masks, and what is wrong with the inputs.
"""

import copyreg
from typing import TYPE_CHECKING, Final

from xentcli.judge.findings import denominators, gradients, inputs, knobs, masks, ranges, rounding
from xentcli.judge.findings.finding import Finding

if TYPE_CHECKING:
    from xentcli.judge.evidence import Evidence, Reduction
    from xentcli.model import Judgement

_THEMES: Final = (ranges, gradients, rounding, denominators, knobs, masks, inputs)
FINDINGS: Final = tuple(finding for theme in _THEMES for finding in theme.FINDINGS)
# The causes of a wrong loss, what is nearest to the input first: it explains what follows from it.
_OVERFLOWS: Final = (ranges.difference_overflow, ranges.exp_overflow)
_CAUSES: Final = (
    *(f for theme in (denominators, knobs, inputs, masks) for f in theme.FINDINGS),
    *_OVERFLOWS,
    *(f for theme in (ranges, rounding) for f in theme.FINDINGS),
)


def named(name: str) -> Finding:
    """Return the finding of a name that is in the catalogue."""
    return next(finding for finding in FINDINGS if finding.name == name)


copyreg.pickle(Finding, lambda finding: (named, (finding.name,)))  # its predicates are functions


def main_cause(judgement: "Judgement") -> Finding | None:
    """Return the finding that explains a loss best; None where there is none but of the gradient."""
    found = judgement.all_findings
    if judgement.verdict == "capped" and ranges.clip_active.name in found:
        return ranges.clip_active
    return next((finding for finding in _CAUSES if finding.name in found), None)


def detect(evidence: "Evidence") -> list[tuple[str, ...]]:
    """Name what is found in each example, in the order of the catalogue."""
    names: list[tuple[str, ...]] = [()] * len(evidence.losses)
    for finding in FINDINGS:
        for place in finding.detect(evidence).nonzero()[0].tolist():
            names[place] += (finding.name,)
    return names


def detect_in_reduction(reduction: "Reduction") -> tuple[str, ...]:
    """Name what is found between the losses and the loss."""
    return tuple(finding.name for finding in FINDINGS if finding.detect_in_reduction(reduction))

"""What a finding is: a named cause of a wrong loss, with its words and the predicates that detect it."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.formats import BoolArray
    from xentcli.judge.evidence import Evidence, Question, Reduction

    Predicate = Callable[[Evidence], BoolArray]

# ulps up to which a loss or a sum is accurate: a careful formula needs that many on some input, a careless
# one soon exceeds them.
ACCURATE: Final = 4
WRONG: Final = 0.01  # of the largest true entry: a gradient this far off points elsewhere
FROM_LOGITS: Final = (
    "Compute the loss from the logits: F.cross_entropy or BCEWithLogitsLoss in PyTorch, from_logits=True in "
    "Keras; here sparse, log1p or bce_with_logits."
)
BLANCHARD: Final = "Blanchard, Higham and Higham (2021), doi:10.1093/imanum/draa038"


@dataclass(frozen=True, slots=True)
class Finding:
    """A name, one sentence of cause, one of remedy, a source, a bundled case that shows it.

    ``short`` is the cause in a few words, as they stand after "because". ``detect`` says which examples
    have it, (n,); ``detect_in_reduction`` finds it between the losses and the loss.
    """

    name: str
    short: str
    cause: str
    remedy: str
    source: str
    case: str
    detect: "Predicate" = lambda e: np.zeros(len(e.losses), bool)
    detect_in_reduction: "Callable[[Reduction], bool]" = lambda _: False


def finding(
    name: str,
    *,
    among: "Predicate | None" = None,
    **fields: Any,  # noqa: ANN401 - texts, a predicate
) -> "Callable[[Predicate], Finding]":
    """Make the finding that a predicate detects; ``fields`` are the others.

    With ``among`` the predicate is asked of the examples that this one holds for, and of no others.
    """
    return lambda detect: Finding(name, detect=partial(_detect, among, detect) if among else detect, **fields)


def _detect(among: "Predicate", detect: "Predicate", e: "Evidence") -> "BoolArray":
    found = among(e)
    places = found.nonzero()[0]
    if len(places):
        found = found.copy()
        found[places] = detect(e.at(places))
    return found


def where_wrong(detect: "Predicate") -> "Predicate":
    """Make the predicate that is asked of the examples whose loss is wrong, and of no others."""
    return partial(_detect, lambda e: e.is_wrong, detect)


def of_examples(question: "Question") -> "Predicate":
    """Make the predicate of what is the same under all methods: it is asked once for all."""
    return lambda e: e.examples.answer(question)

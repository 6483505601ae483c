"""What a finding is: a named cause of a wrong loss, with its words and the predicates that detect it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from xentcli.judge.evidence import Evidence, Reduction

# ulps up to which a loss or a sum is accurate: a careful formula needs that many on some input, a careless
# one soon exceeds them.
ACCURATE: Final = 4
WRONG: Final = 0.01  # of the largest true entry: a gradient this far off points elsewhere
WRONG_VERDICTS: Final = frozenset({"nan", "overflow", "negative", "collapsed", "capped", "off"})
FROM_LOGITS: Final = (
    "Compute the loss from the logits: F.cross_entropy or BCEWithLogitsLoss in PyTorch, from_logits=True in "
    "Keras; here sparse, log1p or bce_with_logits."
)
BLANCHARD: Final = "Blanchard, Higham and Higham (2021), doi:10.1093/imanum/draa038"


@dataclass(frozen=True, slots=True)
class Finding:
    """A name, one sentence of cause, one of remedy, a source, a bundled case that shows it.

    ``short`` is the cause in a few words, as they stand after "because". ``detect`` finds it in an example,
    ``detect_in_reduction`` between the losses and the loss.
    """

    name: str
    short: str
    cause: str
    remedy: str
    source: str
    case: str
    detect: "Callable[[Evidence], bool]" = lambda _: False
    detect_in_reduction: "Callable[[Reduction], bool]" = lambda _: False


def finding(name: str, **fields: Any) -> "Callable[[Callable[[Evidence], bool]], Finding]":  # noqa: ANN401 - texts, predicates
    """Make the finding that a predicate detects; ``fields`` are the others."""
    return lambda detect: Finding(name, detect=detect, **fields)

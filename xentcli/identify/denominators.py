"""The denominators that a run makes possible: what its loss may be divided by, or multiplied with."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from xentcli.errors import XentError
from xentcli.identify.constants import GITHUB, Constant

# Of ln(C): the logits of an untrained model are unequal, which costs a few percent, or a little luck.
_LEAST_ABOVE, _MOST_ABOVE = 0.999, 1.05


_MOST: Final = 10**9  # more labels than a step has, and more than all processes of the world's clusters
_GROUPS: Final = 4096  # the largest group of ranks that is tried: all divisors are looked for one by one


@dataclass(frozen=True, slots=True)
class Run:
    """What a run shows: the sizes of a batch, how many labels count, ranks, accumulated steps, classes."""

    batch: tuple[int, ...] | None = None
    valid: int | None = None
    ranks: int | None = None
    accumulation: int | None = None
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        """Raise XentError for a number below 1."""
        counts = (*(self.batch or ()), self.valid, self.ranks, self.accumulation, self.vocabulary)
        if any(count is not None and not 1 <= count <= _MOST for count in counts):
            raise XentError(f"what a run shows are whole numbers, each from 1 to {_MOST}")

    @property
    def labels(self) -> int | None:
        """How many labels a batch has, ignored ones among them."""
        return None if self.batch is None else math.prod(self.batch)


@dataclass(frozen=True, slots=True)
class Denominator:
    """A loss over the true one, how that is written, why it is so, what to do, where that is reported."""

    ratio: Fraction
    written: str
    cause: str
    remedy: str
    source: str

    def constant(self, true: str, value: float) -> Constant:
        """Return it as what a loss may be beside the true one, a number or a constant as text."""
        owner = f"training where {true} is the true loss"
        written = self.written.format(true=true)
        return Constant(value, written, self.cause, self.remedy, owner, self.source)


_TRAIN: Final = "At the first steps this is right, and no denominator is wrong."
_ONCE: Final = "Add up sums and counts separately, and divide once, by the number of labels that count."
_OVER_ALL: Final = (
    "Count the labels of all steps and ranks before the first division, and divide by that once."
)
_TRAINER: Final = f"{GITHUB}huggingface/transformers/pull/34191"
_RANKS: Final = f"{GITHUB}huggingface/transformers/pull/45994"
_AGAIN: Final = f"{GITHUB}ByteDance-Seed/VeOmni/pull/338"


def denominators(run: Run) -> Iterator[Denominator]:
    """Yield what the numbers of a run make of a true loss, the likeliest first.

    Each number as given has its own entry, also where two make the same ratio. Groups of ranks, and products,
    have one only where no number as given makes that ratio.
    """
    given = (*_of_steps(run), *_of_ranks(run), *_of_counts(run), *_of_classes(run))
    yield from (each for each in given if each.ratio != 1)
    seen = {Fraction(1), *(each.ratio for each in given)}
    for each in (*_of_groups(run), *_of_both(run)):
        if each.ratio not in seen:
            seen.add(each.ratio)
            yield each


def _of_steps(run: Run) -> Iterator[Denominator]:
    if (steps := run.accumulation) is not None:
        added = f"the means of {steps} accumulated steps were added, not averaged"
        yield Denominator(Fraction(steps), f"{steps} × {{true}}", added, _ONCE, _TRAINER)
        again = f"a mean over all {steps} accumulated steps was divided by {steps} once more"
        yield Denominator(Fraction(1, steps), f"{{true}} / {steps}", again, _ONCE, _TRAINER)


def _of_ranks(run: Run) -> Iterator[Denominator]:
    if run.ranks is not None:
        yield from _of_some(run.ranks, f"all {run.ranks} ranks")


def _of_groups(run: Run) -> Iterator[Denominator]:
    for some in _divisors(run.ranks)[1:]:
        yield from _of_some(some, f"groups of {some} of the {run.ranks} ranks")


def _of_some(ranks: int, whose: str) -> Iterator[Denominator]:
    added = f"the losses of {whose} were added, although each is that of the whole batch"
    yield Denominator(Fraction(ranks), f"{ranks} × {{true}}", added, _OVER_ALL, _RANKS)
    again = f"a mean over {whose} was divided by {ranks} once more"
    yield Denominator(Fraction(1, ranks), f"{{true}} / {ranks}", again, _OVER_ALL, _AGAIN)


def _of_both(run: Run) -> Iterator[Denominator]:
    for some in _divisors(run.ranks) if run.accumulation is not None else ():
        steps, product = run.accumulation or 1, some * (run.accumulation or 1)
        parts = f"{steps} accumulated steps on {some} ranks"
        added = f"the means of {parts} were added, not averaged"
        yield Denominator(Fraction(product), f"{product} × {{true}}", added, _OVER_ALL, _TRAINER)
        again = f"a mean over {parts} was divided by {product} once more"
        yield Denominator(Fraction(1, product), f"{{true}} / {product}", again, _OVER_ALL, _TRAINER)


def _of_counts(run: Run) -> Iterator[Denominator]:
    labels, valid = run.labels, run.valid
    if labels is not None and valid is not None and valid < labels:
        share = f"{{true}} × {valid} / {labels}"
        ignored = f"the sum was divided by all {labels} labels, of which {labels - valid} are ignored"
        yield Denominator(Fraction(valid, labels), share, ignored, _ONCE, _TRAINER)
    if labels is not None and valid is not None and valid > labels:
        one = f"the sum over the {labels} labels of one step was divided by the {valid} of all steps or ranks"
        source = f"{GITHUB}huggingface/transformers/issues/38448"
        yield Denominator(Fraction(labels, valid), f"{{true}} × {labels} / {valid}", one, _OVER_ALL, source)
        other = f"the sum over {valid} labels of all steps or ranks was divided by the {labels} of one"
        yield Denominator(Fraction(valid, labels), f"{{true}} × {valid} / {labels}", other, _OVER_ALL, source)
    for number in dict.fromkeys(filter(None, (valid, labels))):
        summed = f"the losses of {number} labels were added, and divided by nothing"
        yield Denominator(Fraction(number), f"{number} × {{true}}", summed, _ONCE, _TRAINER)
    if run.batch is not None and len(run.batch) > 1:
        yield from _of_texts(run.batch, valid or labels or 1)


def _of_texts(batch: tuple[int, ...], counting: int) -> Iterator[Denominator]:
    texts, length = batch[0], batch[-1]
    summed = f"the {counting} labels that count were added up, and divided by the {texts} texts"
    source = f"{GITHUB}huggingface/transformers/issues/34510"
    yield Denominator(Fraction(counting, texts), f"{{true}} × {counting} / {texts}", summed, _ONCE, source)
    if length > 1:
        shifted = f"each text of {length} has {length - 1} next labels, but was divided by {length}"
        source = f"{GITHUB}huggingface/transformers/issues/47394"
        yield Denominator(
            Fraction(length - 1, length), f"{{true}} × {length - 1} / {length}", shifted, _ONCE, source
        )


def _of_classes(run: Run) -> Iterator[Denominator]:
    if (classes := run.vocabulary) is not None:
        mean = f"the loss was averaged over the {classes} classes too"
        remedy = "Sum over the classes, and average over the examples alone (reduction='batchmean')."
        source = f"{GITHUB}pytorch/pytorch/issues/6622"
        yield Denominator(Fraction(1, classes), f"{{true}} / {classes}", mean, remedy, source)


def _divisors(ranks: int | None) -> list[int]:
    """Return the sizes of groups of ranks: all of them, and the numbers that divide them."""
    if ranks is None or ranks == 1:
        return []
    return [ranks, *(n for n in range(min(ranks - 1, _GROUPS), 1, -1) if ranks % n == 0)]


def untrained(run: Run, value: float) -> Iterator[Constant]:
    """Yield what makes a value of the loss of an untrained model, which is ln(C) or a little more."""
    least = 0.0 if run.vocabulary is None else math.log(run.vocabulary)
    if not least:
        return
    owner = f"a fresh model of {run.vocabulary} classes"
    if _LEAST_ABOVE <= value / least <= _MOST_ABOVE:
        written, by = f"about ln({run.vocabulary}) = {least:.4g}", f"by definition: -ln(1/{run.vocabulary})"
        yield Constant(value, written, "the model has learnt nothing yet", _TRAIN, owner, by)
        return
    for each in denominators(run):
        if _LEAST_ABOVE <= value / (float(each.ratio) * least) <= _MOST_ABOVE:
            expected = (
                f"{each.written.format(true=f'ln({run.vocabulary})')} = {float(each.ratio) * least:.4g}"
            )
            yield Constant(value, f"about {expected}", each.cause, each.remedy, owner, each.source)

"""What happened, in a sentence: of one case, of a comparison, of the numbers that were expected."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

from xentcli.digits import format_number, format_ulps
from xentcli.errors import count
from xentcli.formats import FORMATS, nearest
from xentcli.judge import Result
from xentcli.judge.findings import denominators, main_cause
from xentcli.judge.verdicts import VERDICTS
from xentcli.model import Batch, Judgement, Outcome

WITH_KNOBS: Final = "cases with knobs"
_NAMED = 5  # cases that the closing sentence names
# What a loss or a gradient is in a sentence: the number where it says all; of other verdicts the word.
_SCALED: Final = "scaled"  # a gradient that is as many times the true one as the loss
_WORDS: Final = {"accurate": "right", "overflow": "inf", "collapsed": "0", "dead": "0"}


def closing(results: Sequence[Result]) -> str:
    """Say how many of the expected numbers were reproduced, and which were not."""
    numbers = sum(result.numbers for result in results)
    reproduced = sum(result.reproduced for result in results)
    if not numbers:
        return f"no expectations in {count(len(results), 'case')}"
    sentence = f"{reproduced} of {numbers} {_origin(results)} reproduced"
    overridden = results[0].case.overridden
    if overridden:
        options = ", ".join(f"--{name}" for name in overridden)
        return f"{sentence}; not checked, because of {options}"
    missed = [r for r in results if r.reproduced < r.numbers]
    names = [[c.expectation.quantity for c in r.comparisons if not c.reproduced] for r in missed]
    misses = [f"{r.case.name} ({', '.join(quantities)})" for r, quantities in zip(missed, names, strict=True)]
    if len(misses) > _NAMED:
        misses[_NAMED:] = [f"and {count(len(misses) - _NAMED, 'case')} more"]
    return f"{sentence}; not reproduced: {', '.join(misses)}" if misses else sentence


def _origin(results: Sequence[Result]) -> str:
    """Name the expected numbers by where they come from."""
    derived = sum(len(c.hits) for result in results for c in result.comparisons if c.expectation.derived)
    printed = sum(result.numbers for result in results) - derived
    if not derived:
        return "printed numbers"
    return f"numbers ({printed} printed, {derived} derived)" if printed else "derived numbers"


def what_happened(result: Result) -> str:
    """Say of each method how its loss stands to the true one and why: the wrong ones, then the right ones."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for outcome, judgement in sorted(judged(result), key=_badness):
        groups.setdefault(_state(result, outcome, judgement), []).append(outcome.method)
    clauses = [_clause(names, *state) for state, names in groups.items()]
    raised = [f"{o.method} {o.raised.partition(':')[0]}" for o in result.outcomes if o.raised]
    if result.exact.loss is not None and result.exact.loss.is_nan():
        clauses[:0] = ["there is no true loss"]
    return "; ".join([*clauses, *raised]) or "no method supports the case"


def wrong_ones(result: Result) -> str:
    """Say in a few words which methods are wrong, and how: ``naive nan, clipped capped``."""
    groups: dict[str, list[str]] = {}
    for outcome, judgement in judged(result):
        if not judgement.is_right and judgement.verdict != "undefined":
            word = _WORDS.get(judgement.verdict, judgement.verdict)
            groups.setdefault("gradient wrong" if word == "right" else word, []).append(outcome.method)
    if not groups and result.exact.loss is not None and result.exact.loss.is_nan():
        return "there is no true loss"
    return ", ".join(f"{joined(names)} {word}" for word, names in groups.items()) or "none"


def judged(result: Result) -> list[tuple[Outcome, Judgement]]:
    """Return the outcomes that have numbers, each with its judgement."""
    pairs = zip(result.outcomes, result.judgements, strict=True)
    return [(outcome, judgement) for outcome, judgement in pairs if judgement is not None]


def _badness(pair: tuple[Outcome, Judgement]) -> tuple[int, bool]:
    """Order what is said: the worst verdicts first, what is right last."""
    _, judgement = pair
    return VERDICTS.index(judgement.verdict), judgement.is_right and not judgement.is_right_in_part


def _state(result: Result, outcome: Outcome, judgement: Judgement) -> tuple[str, str, str]:
    """Return what a loss is, why, and what its gradient is where that is wrong."""
    cause, gradient = main_cause(judgement), judgement.gradient
    because = f" because {cause.short}" if cause is not None else ""
    if judgement.verdict == "undefined":
        return str(outcome.loss), because, ""
    if cause is denominators.gathered_again and result.case.batch.parts is not None:
        return f"ln {result.case.batch.parts.number} more than the truth", because, _gradient_word(judgement)
    if cause in denominators.FINDINGS and outcome.loss is not None and result.exact.loss:
        scaled = judgement.ratio is not None and judgement.has_wrong_gradient
        near = outcome.loss / float(result.exact.loss)
        return times(judgement.ratio, near), because, _SCALED if scaled else _gradient_word(judgement)
    what = _WORDS.get(judgement.verdict, judgement.verdict)
    if judgement.is_right_in_part:
        what = f"right in the {result.case.reduction}, but {wrong_examples(result, judgement)}"
    elif judgement.verdict == "off" and cause is None:
        because = f" by {format_ulps(judgement.ulps)} ulps"
    elif cause is None and judgement.verdict in {"collapsed", "negative"} and result.exact.loss is not None:
        dtype = result.case.numerics.loss_dtype
        because = f", where the loss is {format_number(nearest(result.exact.loss, FORMATS[dtype]), dtype)}"
    if judgement.verdict == "nan" or gradient is None or not judgement.has_wrong_gradient:
        return what, "" if what == "right" else because, ""
    return what, because, _gradient_word(judgement)


def _gradient_word(judgement: Judgement) -> str:
    """Say in a word how a gradient is wrong; nothing where it is not."""
    gradient = judgement.gradient
    if gradient is None or not judgement.has_wrong_gradient:
        return ""
    return _WORDS.get(gradient.state, gradient.state)


def times(ratio: Fraction | None, near: float) -> str:
    """Say what a loss is to the true one: ``2 × the truth``, ``1/8 of the truth``; else roughly."""
    if ratio is None:
        return f"{near:.4g} × the truth"
    return f"{ratio} × the truth" if ratio.denominator == 1 else f"{ratio} of the truth"


def wrong_examples(result: Result, judgement: Judgement) -> str:
    """Name the first example whose loss is worst, and how many there are: ``example 3 of 64 is off``."""
    worst = min(judgement.verdicts, key=VERDICTS.index)
    number, total = judgement.verdicts.count(worst), len(judgement.verdicts)
    first = result.exact.rows[judgement.verdicts.index(worst)]
    word = _WORDS.get(worst, worst)
    if number == 1:
        return f"example {first} of {total} is {word}"
    return f"{number} of {total} examples are {word}, the first is {first}"


def _clause(names: Sequence[str], what: str, because: str, gradient: str) -> str:
    """Say what losses are and why; of a right one why its gradient is not."""
    verb, of = ("is", "its gradient is") if len(names) == 1 else ("are", "their gradients are")
    if gradient == _SCALED:
        return f"{joined(names)} and {of.rpartition(' ')[0]} are {what}{because}"
    if what == "right" and gradient:
        return f"{joined(names)} {verb} right, but {of} {gradient}{because}"
    return f"{joined(names)} {verb} {what}{because}" + (f", and {of} {gradient}" if gradient else "")


def comparison(results: Sequence[Result]) -> str:
    """Say which methods are right in all cases; else how often the best one is, and the worst one."""
    if len(results) == 1:
        return f"{what_happened(results[0])}."
    kinds = by_kind(results)
    return "; ".join(_best(some, name if len(kinds) > 1 else "cases") for name, some in kinds.items()) + "."


def by_kind(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Sort results by the kind of their batches, which have methods of their own."""
    names = ("softmax cases", "binary cases", "cases in parts", WITH_KNOBS)
    kinds: dict[str, list[Result]] = {name: [] for name in names}
    for result in results:
        kinds[names[_kind(result.case.batch)]].append(result)
    return {name: some for name, some in kinds.items() if some}


def _kind(batch: Batch) -> int:
    if batch.binary or batch.parts is not None:
        return 1 if batch.binary else 2
    return 0 if batch.is_one_call and batch.knobs.is_plain else 3


def _best(results: Sequence[Result], cases: str) -> str:
    """Name the methods that are right in most cases and in fewest, of those that support half of them."""
    right, judged_in = counts(results)
    most = max(judged_in.values(), default=0)
    if not most:
        return f"the {cases} have no true loss"
    perfect = [name for name in judged_in if right[name] == judged_in[name] == most]
    if perfect:
        where = f"all {most} {cases}" if most > 1 else f"the one of the {cases} that has a true loss"
        return f"{_are_right(perfect)} in {where}"
    names = [name for name in judged_in if 2 * judged_in[name] >= most]
    highest, lowest = max(right[name] for name in names), min(right[name] for name in names)
    if not highest:
        return f"no method is right in any of {most} {cases}"
    best, worst = ([name for name in names if right[name] == number] for number in (highest, lowest))
    sentence = f"{_are_right(best)} in {highest} of {max(judged_in[name] for name in best)} {cases}"
    return sentence if highest == lowest else f"{sentence}, {joined(worst)} in {lowest}"


def _are_right(names: Sequence[str]) -> str:
    return f"{joined(names)} {'is' if len(names) == 1 else 'are'} right"


def counts(results: Iterable[Result]) -> tuple[Counter[str], Counter[str]]:
    """Count per method in how many cases it is right, and in how many there is a true loss."""
    right: Counter[str] = Counter()
    judged_in: Counter[str] = Counter()
    for result in results:
        for outcome, judgement in judged(result):
            if judgement.verdict != "undefined":
                judged_in[outcome.method] += 1
                right[outcome.method] += judgement.is_right
    return right, judged_in


def joined(names: Sequence[str]) -> str:
    """Join names as in a sentence."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

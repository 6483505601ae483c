"""Results → sheets: rows of text under headings, the same for every format that has rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from xentcli import digits
from xentcli.digits import text, three
from xentcli.errors import count
from xentcli.formats import FORMATS, nearest
from xentcli.judge import Result
from xentcli.judge.verdicts import VERDICTS
from xentcli.model import Case, Comparison, GradientJudgement, Judgement, Outcome

_FEW = 6  # numbers that a cell shows in full
_MISSES = 3  # numbers that were not reproduced, shown one by one
_NAMED = 5  # cases that the closing sentence names
_TABLES = 4  # cases that get a table each; more get a line each


@dataclass(frozen=True, slots=True)
class Sheet:
    """A heading over columns over rows; a cell is words or numbers with single spaces between."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of_run(results: Sequence[Result], *, verbose: bool, everything: bool) -> list[Sheet]:
    """Return two sheets a case; of many cases one of all, and those of the cases that differ.

    ``verbose`` takes no number of cases for many, ``everything`` no number of losses.
    """
    if verbose or len(results) <= _TABLES:
        return [sheet for result in results for sheet in (of_result(result, everything), of_truth(result))]
    differing = [result for result in results if result.reproduced < result.numbers]
    rows = tuple((r.case.name, _count(r), r.case.title) for r in results)
    details = [sheet for result in differing for sheet in (of_result(result, everything), of_truth(result))]
    return [Sheet("", ("case", "reproduced", "title"), rows), *details]


def of_result(result: Result, everything: bool) -> Sheet:
    """Return the truth, then a row a method: loss, losses, what was expected; then the other quantities."""
    case = result.case
    checks = {check.expectation.quantity: check for check in result.comparisons}
    rows = [_exact_row(result, everything)]
    rows += [
        _method_row(outcome, checks.pop(outcome.method, None), everything) for outcome in result.outcomes
    ]
    rows += [_quantity_row(check, everything) for check in checks.values()]
    about = ", ".join((*numerics(case), size(case), f"reduction {case.reduction}"))
    columns = ("method", "loss", "losses", "expected", "reproduced")
    return Sheet(f"{case.name}: {case.title} ({about})", columns, tuple(rows))


def numerics(case: Case) -> tuple[str, ...]:
    """Return in words how the numbers of a case are carried out."""
    how = case.numerics
    sums = " ".join(
        filter(None, ("in order" * how.sequential, f"in {how.accumulate}" * bool(how.accumulate)))
    )
    extra = (f"sums {sums}" if sums else "", "subnormals flushed" if how.flush_subnormals else "")
    return tuple(filter(None, (how.dtype, how.arithmetic, *extra)))


def label(outcome: Outcome) -> str:
    """Return the method, of a framework with its version."""
    return outcome.method if outcome.version is None else f"{outcome.method} {outcome.version}"


def size(case: Case) -> str:
    """Return the shape of the logits, 2×10, or 2 of a binary case."""
    return "×".join(map(str, case.batch.sizes))


def of_truth(result: Result) -> Sheet:
    """Return a row a method: its error, its verdict, its gradient and what that sums to, its findings."""
    rows = []
    for outcome, judgement in zip(result.outcomes, result.judgements, strict=True):
        if judgement is not None:
            found = " ".join(judgement.all_findings)
            gradient = _gradient(judgement.gradient)
            rows.append((label(outcome), three(judgement.ulps), _verdict(judgement), *gradient, found))
    return Sheet(
        _sampled(result), ("method", "ulps", "verdict", "gradient", "residual", "findings"), tuple(rows)
    )


def of_compare(results: Sequence[Result]) -> Sheet:
    """Return cases down, the truth and methods across: the loss and how it stands to the truth.

    Where nothing is reduced, a cell has the losses.
    """
    columns = tuple(dict.fromkeys(label(outcome) for result in results for outcome in result.outcomes))
    rows = tuple((r.case.name, _exact_loss(r), *_losses_by_method(r, columns)) for r in results)
    return Sheet("", ("case", "exact", *columns), rows)


def flat(results: Sequence[Result]) -> Sheet:
    """Return one sheet of everything, nothing abbreviated: a row a case and method or quantity."""
    rows = []
    for result in results:
        case = result.case
        about = (case.name, case.dtype, case.numerics.arithmetic, case.reduction)
        checks = {check.expectation.quantity: check for check in result.comparisons}
        for outcome, judgement in zip(result.outcomes, result.judgements, strict=True):
            check = checks.pop(outcome.method, None)
            loss, losses = text(outcome.loss, outcome.dtype), _numbers(outcome.losses, outcome.dtype)
            truth = _truth(result, judgement)
            rows.append((*about, label(outcome), loss, losses, *_expected(check), *truth))
        rows += [
            (
                *about,
                check.expectation.quantity,
                "",
                _numbers(check.values, check.dtype),
                *_expected(check),
                *[""] * 5,
            )
            for check in checks.values()
        ]
    columns = ("case", "dtype", "arithmetic", "reduction", "quantity", "loss", "losses", "expected")
    truth = ("exact", "ulps", "verdict", "gradient", "findings")
    return Sheet("", (*columns, "numbers", "reproduced", *truth), tuple(rows))


def closing(results: Sequence[Result]) -> str:
    """Return the one sentence that ends a run."""
    numbers = sum(result.numbers for result in results)
    reproduced = sum(result.reproduced for result in results)
    if not numbers:
        return f"nothing was expected of {count(len(results), 'case')}"
    sentence = f"{reproduced} of {numbers} {_origin(results)} reproduced"
    overridden = results[0].case.overridden
    if overridden:
        options = ", ".join(f"--{name}" for name in overridden)
        return f"{sentence}; not judged, for the cases were changed by {options}"
    misses = [f"{r.case.name} ({', '.join(_misses(r))})" for r in results if r.reproduced < r.numbers]
    if len(misses) > _NAMED:
        misses[_NAMED:] = [f"and {count(len(misses) - _NAMED, 'case')} more"]
    return f"{sentence}; not reproduced: {', '.join(misses)}" if misses else sentence


def _origin(results: Sequence[Result]) -> str:
    """Name what was expected by where it comes from."""
    derived = sum(len(c.hits) for result in results for c in result.comparisons if c.expectation.derived)
    printed = sum(result.numbers for result in results) - derived
    if not derived:
        return "printed numbers"
    return f"numbers ({printed} printed, {derived} derived)" if printed else "derived numbers"


def _method_row(outcome: Outcome, check: Comparison | None, everything: bool) -> tuple[str, ...]:
    if outcome.failure is not None:
        return label(outcome), "-", outcome.failure, "", ""
    losses = _numbers(outcome.losses, outcome.dtype, everything)
    return label(outcome), text(outcome.loss, outcome.dtype), losses, *_beside(check, everything)


def _quantity_row(check: Comparison, everything: bool) -> tuple[str, ...]:
    everything = everything or not check.reproduced
    return (
        check.expectation.quantity,
        "",
        _numbers(check.values, check.dtype, everything),
        *_beside(check, everything),
    )


def _beside(check: Comparison | None, everything: bool) -> tuple[str, str]:
    """Return what was expected and whether it was reproduced; the first numbers that were not."""
    if check is None:
        return "", ""
    if len(check.hits) == 1:
        return check.expectation.texts[0], "yes" if check.reproduced else "no"
    done = f"{sum(check.hits)} of {len(check.hits)}"
    return _texts(check.expectation.texts, everything) if check.reproduced or everything else _missed(
        check
    ), done


def _missed(check: Comparison) -> str:
    """Name the first numbers that were not reproduced, by their indices from 0."""
    triples = zip(np.ndindex(check.expectation.shape), check.expectation.texts, check.values, strict=True)
    missed = [
        f"{list(index)} {expected}, not {text(got, check.dtype)}".replace(", ", ",", len(index) - 1)
        for (index, expected, got), hit in zip(triples, check.hits, strict=True)
        if not hit
    ]
    more = len(missed) - _MISSES
    return "; ".join(missed[:_MISSES]) + (f"; {more} more" if more > 0 else "")


def _expected(check: Comparison | None) -> tuple[str, str, str]:
    if check is None:
        return "", "", ""
    return " ".join(check.expectation.texts), str(len(check.hits)), str(sum(check.hits))


def _truth(result: Result, judgement: Judgement | None) -> tuple[str, ...]:
    if judgement is None:
        return ("",) * 5
    gradient = "" if judgement.gradient is None else judgement.gradient.state
    error, found = digits.error(judgement.ulps), " ".join(judgement.all_findings)
    return _exact_loss(result), "" if error is None else str(error), _verdict(judgement), gradient, found


def _losses_by_method(result: Result, columns: Sequence[str]) -> list[str]:
    pairs = zip(result.outcomes, result.judgements, strict=True)
    cells = {label(outcome): _standing(outcome, judgement) for outcome, judgement in pairs}
    return [cells.get(name, "-") for name in columns]


def _standing(outcome: Outcome, judgement: Judgement | None) -> str:
    """Return the loss and its verdict, with the error where that is a matter of degree."""
    if judgement is None:
        return (outcome.raised or "-").partition(":")[0]
    reduced = outcome.loss is not None
    loss = text(outcome.loss, outcome.dtype) if reduced else _numbers(outcome.losses, outcome.dtype)
    word = judgement.verdict
    if _verdict(judgement) not in {word, loss}:
        return f"{loss} {_verdict(judgement)}"
    if word == loss:
        return loss
    return f"{loss} {word} {three(judgement.ulps)}" if word in {"accurate", "off"} else f"{loss} {word}"


def _verdict(judgement: Judgement) -> str:
    """Return the verdict of the loss, and how many examples stand worse."""
    worst = min(judgement.verdicts, key=VERDICTS.index)
    if VERDICTS.index(worst) >= VERDICTS.index(judgement.verdict):
        return judgement.verdict
    number = judgement.verdicts.count(worst)
    return f"{judgement.verdict}, but {number} of {len(judgement.verdicts)} {worst}"


def _gradient(gradient: GradientJudgement | None) -> tuple[str, str]:
    """Return the state, with its error where it is wrong, and the sum that should be 0."""
    if gradient is None:
        return "-", "-"
    wrong = gradient.state == "wrong" and gradient.error is not None
    state = f"wrong by {gradient.error:.0%}" if wrong else gradient.state
    return state, "-" if gradient.residual is None else f"{gradient.residual:.2g}"


def _exact_row(result: Result, everything: bool) -> tuple[str, ...]:
    """Return the true loss and losses, rounded to the dtype."""
    losses = [_true(value, result.case.numerics.loss_dtype) for value in result.exact.losses]
    sampled = _sampled(result)
    return "exact", _exact_loss(result), sampled or _texts(losses, everything), "", ""


def _sampled(result: Result) -> str:
    """Say how many examples were evaluated, where not all were."""
    examples, evaluated = len(result.case.batch.logits), len(result.exact.rows)
    return f"{evaluated} of {examples} examples sampled" if evaluated < examples else ""


def _exact_loss(result: Result) -> str:
    if result.exact.loss is None:
        return _sampled(result) or "-"
    return _true(result.exact.loss, result.case.numerics.loss_dtype)


def _true(value: Decimal, dtype: str) -> str:
    return text(nearest(value, FORMATS[dtype]), dtype)


def _numbers(values: Sequence[float], dtype: str, everything: bool = True) -> str:
    return _texts([text(value, dtype) for value in values], everything)


def _texts(texts: Sequence[str], everything: bool) -> str:
    if everything or len(texts) <= _FEW:
        return " ".join(texts)
    return f"{texts[0]} {texts[1]} … {len(texts) - 2} more"


def _count(result: Result) -> str:
    return f"{result.reproduced} of {result.numbers}" if result.numbers else "nothing expected"


def _misses(result: Result) -> list[str]:
    return [check.expectation.quantity for check in result.comparisons if not check.reproduced]

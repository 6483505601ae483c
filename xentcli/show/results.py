"""Results → sheets of run and compare, and the sentence that ends them."""

from collections.abc import Sequence

import numpy as np

from xentcli import digits
from xentcli.digits import text, three
from xentcli.errors import count
from xentcli.formats import FORMATS, nearest
from xentcli.judge import Result
from xentcli.judge.verdicts import VERDICTS
from xentcli.model import Case, Comparison, GradientJudgement, Judgement, Outcome
from xentcli.show import render
from xentcli.show.screen import Screen
from xentcli.show.sheet import Cell, Sheet, Tone, number_cell, numbers_cell, shortened, word_cell
from xentcli.words import SHEET_FORMATS

_FEW = 6  # numbers that a cell shows in full
_MISSES = 3  # numbers that were not reproduced, shown one by one
_NAMED = 5  # cases that the closing sentence names
_TABLES = 4  # cases that get a table each; more get a line each


def render_run(results: Sequence[Result], form: str, screen: Screen, verbose: bool) -> str:
    """Render what ``xent run`` shows."""
    if form not in SHEET_FORMATS:
        return _render_document(results, form)
    if form == "csv":
        return render([_long_table(results)], form, screen)
    is_narrow = form == "table" and screen.boxes  # a terminal; everything else has room for all numbers
    most = _FEW if is_narrow and not verbose else None
    return render(_run_sheets(results, all_cases=verbose, most=most), form, screen)


def render_compare(results: Sequence[Result], form: str, screen: Screen) -> str:
    """Render what ``xent compare`` shows."""
    if form not in SHEET_FORMATS:
        return _render_document(results, form)
    return render([_compare_sheet(results)], form, screen)


def closing(results: Sequence[Result]) -> str:
    """Return the sentence that ends a run."""
    numbers = sum(result.numbers for result in results)
    reproduced = sum(result.reproduced for result in results)
    if not numbers:
        return f"no expectations in {count(len(results), 'case')}"
    sentence = f"{reproduced} of {numbers} {_origin(results)} reproduced"
    overridden = results[0].case.overridden
    if overridden:
        options = ", ".join(f"--{name}" for name in overridden)
        return f"{sentence}; expectations not checked: overridden by {options}"
    missed = [r for r in results if r.reproduced < r.numbers]
    names = [[c.expectation.quantity for c in r.comparisons if not c.reproduced] for r in missed]
    misses = [f"{r.case.name} ({', '.join(quantities)})" for r, quantities in zip(missed, names, strict=True)]
    if len(misses) > _NAMED:
        misses[_NAMED:] = [f"and {count(len(misses) - _NAMED, 'case')} more"]
    return f"{sentence}; not reproduced: {', '.join(misses)}" if misses else sentence


def numerics(case: Case) -> tuple[str, ...]:
    """Return in words how the numbers of a case are carried out."""
    how = case.numerics
    sums = ["in order"] if how.sequential else []
    sums += [f"in {how.accumulate}"] if how.accumulate else []
    words = [how.dtype, how.arithmetic]
    words += [f"sums {' '.join(sums)}"] if sums else []
    words += ["subnormals flushed"] if how.flush_subnormals else []
    return tuple(words)


def _render_document(results: Sequence[Result], form: str) -> str:
    if form == "json":
        from xentcli.show.json import render_results
    else:
        from xentcli.show.junit import render_results
    return render_results(results)


def _run_sheets(results: Sequence[Result], *, all_cases: bool, most: int | None) -> list[Sheet]:
    """Return two sheets per case; of many cases one of all, and those of the cases that differ.

    ``all_cases`` gives every case its sheets; ``most`` is how many numbers a cell shows, None: all.
    """
    if all_cases or len(results) <= _TABLES:
        return [sheet for result in results for sheet in (_method_sheet(result, most), _truth_sheet(result))]
    differing = [result for result in results if result.reproduced < result.numbers]
    rows = tuple((r.case.name, _count(r), r.case.title) for r in results)
    details = [sheet for result in differing for sheet in (_method_sheet(result, most), _truth_sheet(result))]
    return [Sheet("", ("case", "reproduced", "title"), rows), *details]


def _method_sheet(result: Result, most: int | None) -> Sheet:
    """Return the truth, then a row per method: loss, losses, what was expected; then the other quantities."""
    case, dtype = result.case, result.case.numerics.loss_dtype
    comparisons = {comparison.expectation.quantity: comparison for comparison in result.comparisons}
    losses = [nearest(value, FORMATS[dtype]) for value in result.exact.losses]
    exact = _sampled(result) or numbers_cell(losses, dtype, most)
    rows: list[tuple[str, ...]] = [("exact", _exact_loss(result), exact, "", "")]
    rows += [_method_row(outcome, comparisons.pop(outcome.method, None), most) for outcome in result.outcomes]
    rows += [_quantity_row(comparison, most) for comparison in comparisons.values()]
    size = "×".join(map(str, case.batch.sizes))
    about = ", ".join((*numerics(case), size, f"reduction {case.reduction}"))
    columns = ("method", "loss", "losses", "expected", "reproduced")
    return Sheet(f"{case.name}: {case.title} ({about})", columns, tuple(rows))


def _truth_sheet(result: Result) -> Sheet:
    """Return a row per method: its error, its verdict, its gradient and the sum of that, its findings."""
    rows = []
    for outcome, judgement in zip(result.outcomes, result.judgements, strict=True):
        if judgement is not None:
            findings, gradient = " ".join(judgement.all_findings), _gradient(judgement.gradient)
            rows.append((_label(outcome), three(judgement.ulps), _verdict(judgement), *gradient, findings))
    columns = ("method", "ulps", "verdict", "gradient", "residual", "findings")
    return Sheet(_sampled(result), columns, tuple(rows))


def _compare_sheet(results: Sequence[Result]) -> Sheet:
    """Return cases down, the truth and methods across: the loss and its verdict.

    Where nothing is reduced, a cell has the losses.
    """
    columns = tuple(dict.fromkeys(_label(outcome) for result in results for outcome in result.outcomes))
    rows = tuple((r.case.name, _exact_loss(r), *_losses_by_method(r, columns)) for r in results)
    return Sheet("", ("case", "exact", *columns), rows)


def _long_table(results: Sequence[Result]) -> Sheet:
    """Return one sheet of everything, nothing abbreviated: a row per case and method or quantity."""
    rows = []
    for result in results:
        case = result.case
        about = (case.name, case.dtype, case.numerics.arithmetic, case.reduction)
        comparisons = {comparison.expectation.quantity: comparison for comparison in result.comparisons}
        for outcome, judgement in zip(result.outcomes, result.judgements, strict=True):
            expected = _expected(comparisons.pop(outcome.method, None))
            loss, losses = text(outcome.loss, outcome.dtype), numbers_cell(outcome.losses, outcome.dtype)
            rows.append((*about, _label(outcome), loss, losses, *expected, *_truth(result, judgement)))
        for quantity, comparison in comparisons.items():
            values = numbers_cell(comparison.values, comparison.dtype)
            rows.append((*about, quantity, "", values, *_expected(comparison), *[""] * 5))
    columns = ("case", "dtype", "arithmetic", "reduction", "quantity", "loss", "losses", "expected")
    truth = ("exact", "ulps", "verdict", "gradient", "findings")
    return Sheet("", (*columns, "numbers", "reproduced", *truth), tuple(rows))


def _label(outcome: Outcome) -> str:
    """Return the method, of a framework with its version."""
    return outcome.method if outcome.version is None else f"{outcome.method} {outcome.version}"


def _origin(results: Sequence[Result]) -> str:
    """Name the expected numbers by where they come from."""
    derived = sum(len(c.hits) for result in results for c in result.comparisons if c.expectation.derived)
    printed = sum(result.numbers for result in results) - derived
    if not derived:
        return "printed numbers"
    return f"numbers ({printed} printed, {derived} derived)" if printed else "derived numbers"


def _method_row(outcome: Outcome, comparison: Comparison | None, most: int | None) -> tuple[str, ...]:
    if outcome.failure is not None:
        return _label(outcome), "-", outcome.failure, "", ""
    losses = numbers_cell(outcome.losses, outcome.dtype, most)
    return _label(outcome), number_cell(outcome.loss, outcome.dtype), losses, *_expectation(comparison, most)


def _quantity_row(comparison: Comparison, most: int | None) -> tuple[str, ...]:
    most = most if comparison.reproduced else None
    values = numbers_cell(comparison.values, comparison.dtype, most)
    return comparison.expectation.quantity, "", values, *_expectation(comparison, most)


def _expectation(comparison: Comparison | None, most: int | None) -> tuple[str, str]:
    """Return what was expected and whether it was reproduced; else the first numbers that were not."""
    if comparison is None:
        return "", ""
    tone = Tone.RIGHT if comparison.reproduced else Tone.WRONG
    texts = comparison.expectation.texts
    if len(comparison.hits) == 1:
        return word_cell(texts[0]), Cell("yes" if comparison.reproduced else "no", tone)
    hits = Cell(f"{sum(comparison.hits)} of {len(comparison.hits)}", tone)
    return shortened(texts, most) if comparison.reproduced or most is None else _missed(comparison), hits


def _missed(comparison: Comparison) -> str:
    """Name the first numbers that were not reproduced, by their indices from 0."""
    places = np.ndindex(comparison.expectation.shape)
    triples = zip(places, comparison.expectation.texts, comparison.values, strict=True)
    missed = [
        f"[{','.join(map(str, index))}] {expected}, not {text(value, comparison.dtype)}"
        for (index, expected, value), hit in zip(triples, comparison.hits, strict=True)
        if not hit
    ]
    more = len(missed) - _MISSES
    return "; ".join(missed[:_MISSES]) + (f"; {more} more" if more > 0 else "")


def _expected(comparison: Comparison | None) -> tuple[str, str, str]:
    if comparison is None:
        return "", "", ""
    hits = comparison.hits
    return " ".join(comparison.expectation.texts), str(len(hits)), str(sum(hits))


def _truth(result: Result, judgement: Judgement | None) -> tuple[str, ...]:
    if judgement is None:
        return ("",) * 5
    gradient = "" if judgement.gradient is None else judgement.gradient.state
    error, findings = digits.error(judgement.ulps), " ".join(judgement.all_findings)
    return _exact_loss(result), "" if error is None else str(error), _verdict(judgement), gradient, findings


def _losses_by_method(result: Result, columns: Sequence[str]) -> list[str]:
    pairs = zip(result.outcomes, result.judgements, strict=True)
    cells = {_label(outcome): _verdict_cell(outcome, judgement) for outcome, judgement in pairs}
    return [cells.get(name, "-") for name in columns]


def _verdict_cell(outcome: Outcome, judgement: Judgement | None) -> str:
    """Return the loss and its verdict, with the error where that is a matter of degree."""
    if judgement is None:
        return (outcome.raised or "-").partition(":")[0]
    if outcome.loss is None:
        loss = numbers_cell(outcome.losses, outcome.dtype)
    else:
        loss = number_cell(outcome.loss, outcome.dtype)
    word, verdict = judgement.verdict, _verdict(judgement)
    if verdict not in {word, loss}:
        return f"{loss} {verdict}"
    if word == loss:
        return loss
    return f"{loss} {word} {three(judgement.ulps)}" if word in {"accurate", "off"} else f"{loss} {word}"


def _verdict(judgement: Judgement) -> str:
    """Return the verdict of the loss, and how many examples have a worse one."""
    worst = min(judgement.verdicts, key=VERDICTS.index)
    if VERDICTS.index(worst) >= VERDICTS.index(judgement.verdict):
        return word_cell(judgement.verdict)
    number = judgement.verdicts.count(worst)
    return f"{judgement.verdict}, but {number} of {len(judgement.verdicts)} {worst}"


def _gradient(gradient: GradientJudgement | None) -> tuple[str, str]:
    """Return the state, with its error where it is wrong, and the sum that should be 0."""
    if gradient is None:
        return "-", "-"
    wrong = gradient.state == "wrong" and gradient.error is not None
    state = f"wrong by {gradient.error:.0%}" if wrong else gradient.state
    residual = "-" if gradient.residual is None else f"{gradient.residual:.2g}"
    return word_cell(state), word_cell(residual)


def _sampled(result: Result) -> str:
    """Say how many examples were evaluated, where not all were."""
    examples, evaluated = len(result.case.batch.logits), len(result.exact.rows)
    return f"{evaluated} of {examples} examples sampled" if evaluated < examples else ""


def _exact_loss(result: Result) -> str:
    if result.exact.loss is None:
        return _sampled(result) or "-"
    dtype = result.case.numerics.loss_dtype
    return number_cell(nearest(result.exact.loss, FORMATS[dtype]), dtype)


def _count(result: Result) -> str:
    if not result.numbers:
        return "nothing expected"
    tone = Tone.RIGHT if result.reproduced == result.numbers else Tone.WRONG
    return Cell(f"{result.reproduced} of {result.numbers}", tone)

"""Results → sheets: rows of text under headings, the same for every format that has rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from xentcli.errors import count
from xentcli.methods import METHOD_NAMES, METHODS
from xentcli.model import Case, Check, Outcome, Result
from xentcli.show.digits import text

_FEW = 6  # numbers that a cell shows in full
_TABLES = 4  # cases that get a table each; more get a line each


@dataclass(frozen=True, slots=True)
class Sheet:
    """A heading over columns over rows; a cell is words or numbers with single spaces between."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of_run(results: Sequence[Result], verbose: bool) -> list[Sheet]:
    """Return a sheet a case; of many cases one sheet, and those of the cases that differ."""
    if verbose or len(results) <= _TABLES:
        return [of_result(result, verbose) for result in results]
    differing = [result for result in results if result.reproduced < result.numbers]
    rows = tuple((r.case.name, _count(r), r.case.title) for r in results)
    return [Sheet("", ("case", "reproduced", "title"), rows), *(of_result(r, verbose) for r in differing)]


def of_result(result: Result, verbose: bool) -> Sheet:
    """Return a row a method: its loss, its losses, what was expected; then a row for every other quantity."""
    case = result.case
    checks = {check.expectation.quantity: check for check in result.checks}
    rows = [_method_row(outcome, checks.pop(outcome.method, None), verbose) for outcome in result.outcomes]
    rows += [_quantity_row(check, verbose) for check in checks.values()]
    examples, classes = case.batch.logits.shape
    about = f"{case.dtype}, {case.arithmetic}, {examples}×{classes}, reduction {case.reduction}"
    columns = ("method", "loss", "losses", "expected", "reproduced")
    return Sheet(f"{case.name}: {case.title} ({about})", columns, tuple(rows))


def of_compare(results: Sequence[Result]) -> Sheet:
    """Return cases down and methods across, the loss in the cell (the losses where nothing is reduced)."""
    ran = {outcome.method for result in results for outcome in result.outcomes}
    columns = tuple(name for name in METHOD_NAMES if name in ran)
    rows = tuple((result.case.name, *_losses_by_method(result, columns)) for result in results)
    return Sheet("", ("case", *columns), rows)


def flat(results: Sequence[Result]) -> Sheet:
    """Return one sheet of everything, nothing abbreviated: a row a case and method or quantity."""
    rows = []
    for result in results:
        case = result.case
        about = (case.name, case.dtype, case.arithmetic, case.reduction)
        checks = {check.expectation.quantity: check for check in result.checks}
        for outcome in result.outcomes:
            check = checks.pop(outcome.method, None)
            loss, losses = text(outcome.loss, outcome.dtype), _numbers(outcome.losses, outcome.dtype)
            rows.append((*about, outcome.method, loss, losses, *_expected(check)))
        rows += [
            (*about, check.expectation.quantity, "", _numbers(check.got, check.dtype), *_expected(check))
            for check in checks.values()
        ]
    columns = ("case", "dtype", "arithmetic", "reduction", "quantity", "loss", "losses", "expected")
    return Sheet("", (*columns, "numbers", "reproduced"), tuple(rows))


def of_methods() -> Sheet:
    """Return the methods table."""
    rows = tuple(
        (
            method.name,
            method.formula,
            "any" if method.soft_labels else "one class an example",
            method.dtype or "the case's",
            "yes" if method.by_default else "where expected",
        )
        for method in METHODS
    )
    return Sheet("", ("method", "formula", "labels", "dtype", "runs by default"), rows)


def of_cases(cases: Sequence[Case]) -> Sheet:
    """Return a line a case."""
    rows = tuple((case.name, "×".join(map(str, case.batch.logits.shape)), case.title) for case in cases)
    return Sheet("", ("case", "shape", "title"), rows)


def closing(results: Sequence[Result]) -> str:
    """Return the one sentence that ends a run."""
    numbers = sum(result.numbers for result in results)
    reproduced = sum(result.reproduced for result in results)
    if not numbers:
        return f"nothing was expected of {count(len(results), 'case')}"
    sentence = f"{reproduced} of {numbers} printed numbers reproduced"
    overridden = results[0].case.overridden
    if overridden:
        options = " and ".join(f"--{name}" for name in overridden)
        return f"{sentence}; {options} set aside what the cases say, so this does not decide the exit code"
    misses = [f"{r.case.name} ({', '.join(_misses(r))})" for r in results if r.reproduced < r.numbers]
    return f"{sentence}; not reproduced: {', '.join(misses)}" if misses else sentence


def _method_row(outcome: Outcome, check: Check | None, verbose: bool) -> tuple[str, ...]:
    if outcome.inapplicable is not None:
        return outcome.method, "-", outcome.inapplicable, "", ""
    losses = _numbers(outcome.losses, outcome.dtype, verbose)
    return outcome.method, text(outcome.loss, outcome.dtype), losses, *_beside(check, verbose)


def _quantity_row(check: Check, verbose: bool) -> tuple[str, ...]:
    everything = verbose or not check.reproduced
    return (
        check.expectation.quantity,
        "",
        _numbers(check.got, check.dtype, everything),
        *_beside(check, verbose),
    )


def _beside(check: Check | None, verbose: bool) -> tuple[str, str]:
    """Return what was expected and whether it was reproduced; all digits where it was not."""
    if check is None:
        return "", ""
    expected = _texts(check.expectation.texts, verbose or not check.reproduced)
    if len(check.hits) == 1:
        return expected, "yes" if check.reproduced else "no"
    return expected, f"{sum(check.hits)} of {len(check.hits)}"


def _expected(check: Check | None) -> tuple[str, str, str]:
    if check is None:
        return "", "", ""
    return " ".join(check.expectation.texts), str(len(check.hits)), str(sum(check.hits))


def _losses_by_method(result: Result, columns: Sequence[str]) -> list[str]:
    outcomes = {outcome.method: outcome for outcome in result.outcomes}
    cells = []
    for name in columns:
        outcome = outcomes.get(name)
        if outcome is None or outcome.inapplicable is not None:
            cells.append("-")
        elif outcome.loss is None:
            cells.append(_numbers(outcome.losses, outcome.dtype))
        else:
            cells.append(text(outcome.loss, outcome.dtype))
    return cells


def _numbers(values: Sequence[float], dtype: str, everything: bool = True) -> str:
    return _texts([text(value, dtype) for value in values], everything)


def _texts(texts: Sequence[str], everything: bool) -> str:
    if everything or len(texts) <= _FEW:
        return " ".join(texts)
    return f"{texts[0]} {texts[1]} … {len(texts) - 2} more"


def _count(result: Result) -> str:
    return f"{result.reproduced} of {result.numbers}" if result.numbers else "nothing expected"


def _misses(result: Result) -> list[str]:
    return [check.expectation.quantity for check in result.checks if not check.reproduced]

"""Parts of a result as cells: what run and compare share."""

from typing import TYPE_CHECKING, Final

from xentcli.digits import format_number
from xentcli.errors import printable
from xentcli.formats import FORMATS, nearest
from xentcli.judge.verdicts import VERDICTS
from xentcli.show.sheet import GAP, Cell, Tone, number_cell, paragraph

if TYPE_CHECKING:
    from xentcli.judge import Result
    from xentcli.model import Case, Judgement, Outcome

# A verdict in three letters, and its colour.
MARKS: Final = {
    "accurate": ("·", Tone.RIGHT),
    "nan": ("nan", Tone.ALOUD),
    "overflow": ("inf", Tone.ALOUD),
    "negative": ("neg", Tone.SILENT),
    "collapsed": ("0", Tone.SILENT),
    "capped": ("cap", Tone.SILENT),
    "off": ("off", Tone.SILENT),
    "undefined": ("", Tone.CONTEXT),
}
WRONG_GRADIENT: Final = "∇"
RAISED: Final = "×"


def case_heading(case: "Case", width: int) -> list[tuple[str, ...]]:
    """Return a case's name and title, on two lines where one is too short."""
    name, title = Cell(case.name, Tone.COMMAND), printable(case.title)
    if 2 * GAP + len(name) + len(title) > width:
        return [("  ", name), *paragraph(title, width, indent=GAP)]
    return [("  ", name, "  ", title)]


def label(outcome: "Outcome") -> str:
    """Return the method, of a framework with its version."""
    return outcome.method if outcome.version is None else f"{outcome.method} {outcome.version}"


def mark(judgement: "Judgement | None", outcome: "Outcome") -> Cell:
    """Return a verdict in three letters; blank where the method does not support the case."""
    if judgement is None:
        return Cell(RAISED, Tone.ALOUD) if outcome.raised else Cell("")
    if judgement.verdict == "accurate" and judgement.has_wrong_gradient:
        return Cell(WRONG_GRADIENT, Tone.GRADIENT)
    return Cell(*MARKS[judgement.verdict])


def verdict_cell(judgement: "Judgement", *, in_full: bool = True) -> Cell:
    """Return the verdict of the loss, and how many examples have a worse one, or an asterisk for them."""
    worst = min(judgement.verdicts, key=VERDICTS.index)
    _, tone = MARKS[judgement.verdict]
    if VERDICTS.index(worst) >= VERDICTS.index(judgement.verdict):
        return Cell(judgement.verdict, tone)
    number = judgement.verdicts.count(worst)
    words = f"{judgement.verdict}, but {number} of {len(judgement.verdicts)} {worst}"
    return Cell(words if in_full else f"{judgement.verdict}*", MARKS[worst][1])


def gradient_cell(judgement: "Judgement") -> Cell:
    """Return the state of the gradient, with its error where it is wrong."""
    gradient = judgement.gradient
    if gradient is None:
        return Cell("-", Tone.CONTEXT)
    wrong = gradient.state == "wrong" and gradient.error is not None
    words = f"wrong {gradient.error:.0%}" if wrong else gradient.state
    if not judgement.has_wrong_gradient:
        return Cell(words, Tone.CONTEXT if gradient.state == "undefined" else Tone.RIGHT)
    if judgement.verdict == "accurate":
        return Cell(words, Tone.GRADIENT)
    return Cell(words, Tone.ALOUD if gradient.state == "nan" else Tone.SILENT)


def sampled(result: "Result") -> str:
    """Say how many examples were evaluated, where not all were."""
    examples, evaluated = len(result.case.batch.logits), len(result.exact.rows)
    return f"{evaluated} of {examples} examples sampled" if evaluated < examples else ""


def exact_cell(result: "Result") -> Cell:
    """Return the true loss in the format of the losses; a hyphen where there is none to compare with."""
    if result.exact.loss is None:
        return Cell(sampled(result) or "-")
    dtype = result.case.numerics.loss_dtype
    return number_cell(nearest(result.exact.loss, FORMATS[dtype]), dtype)


def losses_text(outcome: "Outcome") -> str:
    """Return the loss, or the losses where they are not reduced, with every digit."""
    values = outcome.losses if outcome.loss is None else (outcome.loss,)
    return " ".join(format_number(value, outcome.dtype) for value in values)


def numerics(case: "Case") -> tuple[str, ...]:
    """Return in words how the numbers of a case are carried out."""
    how = case.numerics
    sums = ["in order"] if how.sequential else []
    sums += [f"in {how.accumulate}"] if how.accumulate else []
    words = [how.dtype, how.arithmetic]
    words += [f"sums {' '.join(sums)}"] if sums else []
    words += ["subnormals flushed"] if how.flush_subnormals else []
    return tuple(words)

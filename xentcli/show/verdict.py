"""The sentence that a diagnosis begins with: what is broken, else what a loss makes of the rows."""

import math
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.diagnose.answer import causes, failing_methods, failing_rows, matches, means, shows
from xentcli.diagnose.knob import knobs_of_mean
from xentcli.diagnose.recorded import NAME
from xentcli.diagnose.rules import Severity
from xentcli.diagnose.summary import LEADING
from xentcli.errors import count, printable
from xentcli.identify import between, digits_of
from xentcli.identify.denominators import Run
from xentcli.judge.findings import FINDINGS
from xentcli.methods.table import METHOD_NAMES
from xentcli.show.sentences import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.diagnose.diagnosis import Diagnosis, WorstRow
    from xentcli.diagnose.survey import AnySurvey

_CATALOGUE: Final = {finding.name: finding for finding in FINDINGS}
# What a finding says of one row; the fields are those of ``_why``.
_WHY: Final = {
    "nan-logit": "the logit of class {highest} is nan",
    "infinite-logit": "the logit of class {highest} is +inf",
    "undefined-softmax": "every logit is -inf",
    "label-out-of-range": "label {label} is no class",
    "labels-not-normalised": "its labels sum to {label_sum:.4g}",
    "label-on-mask": "the logit of its label, class {label}, is -inf",
    "difference-overflow": "its logits, {min:g} to {max:g}, are further apart than the format reaches",
    "zero-times-infinity": "its probability of class {lowest} underflows",
    "log-of-zero": "the probability of its label, class {label}, underflows",
    "exp-overflow": "exp of {max:g}, its logit of class {highest}, overflows",
    "masked-infinity": "class {lowest} is masked by -inf",
    "tail-collapse": "its loss of {loss:.3g} is lost beside 1",
    "offset-cancellation": "its logits near {max:.3g} cancel the loss of {loss:.3g}",
    "clip-active": "its loss of {loss:.3g} is beyond the clip",
    "sigmoid-rounding": "the sigmoid of {max:g} is rounded",
    "value-overflows-dtype": "its true loss is beyond {dtype}",
    "low-precision-sum": "a sum over {classes} classes loses terms or overflows in {dtype}",
    "ignored-row-leaks": "it is ignored, but its inf or nan is multiplied by 0",
}
_BINARY_WHY: Final = {
    "log-of-zero": "the sigmoid of {max:g} is rounded to {sigmoid}",
    "zero-times-infinity": "the sigmoid of {max:g} is rounded to {sigmoid}",
    "nan-logit": "its logit is nan",
    "infinite-logit": "its logit is {max:g}",
    "label-out-of-range": "label {label:g} is not from 0 to 1",
}
_SOFT_WHY: Final = {
    "label-out-of-range": "a label is negative or not finite",
    "label-on-mask": "the logit of a class with a label above 0 is -inf",
    "log-of-zero": "the probability of a class with a label above 0 underflows",
}

_UNDERFLOWS: Final = {"zero-times-infinity", "log-of-zero"}
_IGNORED: Final = {-100, -1, 255}  # what programs mark rows with that do not count
_NAMED: Final = 3  # files that could not be read
_DIGITS_OF_KNOBS: Final = 4  # of a mean: with fewer, one of 60 numbers in use always gives it
_MASK: Final = -1e4  # logits from here down are masks: a network's own have a few digits


def verdict(diagnosis: "Diagnosis", observed: str | None = None) -> str:
    """Say in a sentence or two what is wrong with a dump; ``observed`` is the loss that somebody saw."""
    survey = diagnosis.survey
    if not survey.rows:
        return of_nothing(survey)
    said = _begun(_said(diagnosis, observed if survey.complete else None)) + _of_step(diagnosis)
    return of_survey(said, survey)


def of_nothing(survey: "AnySurvey") -> str:
    """Say why no row was read."""
    if not survey.total or survey.complete:
        return "The dump has no rows."
    return (
        f"{'Stopped' if survey.stopped else 'Interrupted'} before the first of {count(survey.total, 'row')}."
    )


def of_survey(said: str, survey: "AnySurvey") -> str:
    """Add to what is said of a dump how much of it was read, and what was not found."""
    if not survey.complete:
        ended = "Stopped" if survey.stopped else "Interrupted"
        said = f"{ended} after {survey.rows} of {count(survey.total, 'row')}. {said}"
    if survey.left_out:
        number, (_, why) = len(survey.left_out), survey.left_out[0]
        names = [printable(file) for file, _ in survey.left_out[:_NAMED]] + ["…"] * (number > _NAMED)
        which = f" ({', '.join(names)})" if number > 1 else ""
        said += f" {number} of {count(number + len(survey.shards), 'file')} could not be read{which}: {why}."
    if not survey.labelled and not survey.shards[0].path:
        said += " Labels are unknown: give labels."
    elif not survey.labelled:
        holds = f"{printable(survey.shards[0].path)} holds {survey.shards[0].holds or 'no other array'}"
        said += f" Labels are unknown ({holds}): give --labels FILE or --labels-name NAME."
    return said


def why(row: "WorstRow", finding: str, diagnosis: "Diagnosis") -> str:
    """Say why a row is wrong, by the name of a finding."""
    words = {**_WHY, **({"binary": _BINARY_WHY, "rows": _SOFT_WHY}.get(diagnosis.survey.kind, {}))}
    if finding == "zero-times-infinity" and row.min == -math.inf:
        return f"class {row.lowest} is masked by -inf, its probability 0"
    if finding in _UNDERFLOWS and row.min <= _MASK and row.loss is not None and row.loss >= -_MASK:
        return f"the logit of its label is {row.min:g}, as of a masked class"
    if finding not in words:
        return _CATALOGUE[finding].short
    fields = {name: getattr(row, name) for name in ("label_sum", "loss", "min", "max", "lowest", "highest")}
    fields |= {"sigmoid": 1 if row.max > 0 else 0}
    said = words[finding].format(label=row.label, dtype=diagnosis.dtype, classes=diagnosis.classes, **fields)
    is_leaking = row.is_ignored and finding in {"nan-logit", "infinite-logit"}
    return f"{said}; it is ignored, but its gradient is nan" if is_leaking else said


def remedy(finding: str) -> str:
    """Return the remedy of the catalogue."""
    return _CATALOGUE[finding].remedy


def _said(diagnosis: "Diagnosis", observed: str | None) -> str:
    everywhere = _of_every_row(diagnosis)
    if everywhere is not None:
        return everywhere
    if observed is not None:
        return _of_observed(diagnosis, observed)
    broken = _rows_of(diagnosis, Severity.BROKEN)
    if diagnosis.response is not None:
        return " ".join(filter(None, (broken, _begun(_of_response(diagnosis)))))
    return broken or _of_methods(diagnosis)


def _begun(said: str) -> str:
    """Begin a sentence; the name of a function stays as it is."""
    return said[:1].upper() + said[1:] if said.startswith(NAME) else said


def _of_step(diagnosis: "Diagnosis") -> str:
    """Say that labels fit another position, and what to pass."""
    step = diagnosis.out_of_step
    if step is None:
        return ""
    means = f"their mean loss is {step.mean:.3g}"
    if step.shifted:
        unshifted = f"{step.other:.3g} without --shift"
        return f" But the labels fit only unshifted: {means}, and {unshifted}: leave it out."
    shifted = f"{step.other:.3g} where each position has the label of the next"
    return f" But the labels fit only shifted, as of a causal model: {means}, and {shifted}: pass --shift."


def _of_every_row(diagnosis: "Diagnosis") -> str | None:
    """Say what befalls every row alike: none counts, or all are nan."""
    survey, rules = diagnosis.survey, {rule.finding: rows for rule, rows in diagnosis.rules.items()}
    if "empty-mean" in rules:
        every = f"All {survey.rows} labels are ignored ({survey.ignore_index})"
        return f"{every}: the mean over no row is 0 / 0, nan."
    if rules.get("nan-logit") == survey.rows:
        return f"All {survey.rows} rows have a nan logit: look at the step before, its weights and input."
    return None


def _of_methods(diagnosis: "Diagnosis") -> str:
    """Say what xent's methods make of a dump in which no row is broken."""
    survey, findings = diagnosis.survey, {rule.finding for rule in diagnosis.rules}
    ranks = ((Severity.NAN, "nan or inf"), (Severity.OFF, "wrong by more than 1 %"))
    said = [
        f"With {_methods(diagnosis, severity)}, {named}."
        for severity, how in ranks
        if (named := _named_rows(diagnosis, severity, f"row is {how}", f"rows are {how}"))
    ]
    if "other-probabilities" in findings:
        given = "The logits look like probabilities: every row lies between 0 and 1"
        given += "" if survey.kind == "binary" else " and sums to 1"
        twice = "sigmoid" if survey.kind == "binary" else "softmax"
        said.insert(0, f"{given}. A loss that expects logits then takes the {twice} twice.")
    elif said:
        said.insert(0, "No row is broken.")
    if said:
        return " ".join(said)
    if diagnosis.out_of_step is not None:
        return "No row is broken."
    if "ignored-class-is-frequent" in findings:
        ignored = f"the ignored class {survey.ignore_index} is the most frequent label"
        share = f"{survey.summary.ignored} of {survey.rows}"
        return f"No row is broken, but {ignored} ({share}): if it is also eos, its end is never learned."
    read = f"{count(survey.rows, 'row')} of {count(diagnosis.classes, 'class', 'classes')}"
    if survey.kind == "binary":
        read = f"{count(survey.rows, 'row')} of one logit"
    if not survey.labelled:
        return f"{read}: no logit is broken, and none makes a formula nan or inf."
    return f"Healthy: {read}; every loss is defined, and no formula makes it nan or inf."


def _of_response(diagnosis: "Diagnosis") -> str:
    """Say what the loss in question makes of the rows."""
    response = diagnosis.response
    assert response is not None  # noqa: S101 - the caller has looked
    states = (("nan", response.nan), ("inf", response.infinite), ("off by more than 1 %", response.off))
    clauses = [f"{how} on {rows}" for how, rows in states if rows]
    name = printable(response.name)
    if response.relation is not None:
        looked_at = response.relation.looked_at
        where = "every row" if looked_at is None else f"each of {looked_at} rows that were looked at,"
        said = f"In {where} {name} is {response.relation.definition}: {response.relation.cause}."
        clauses = clauses[: len(clauses) - bool(response.off)]
        more = f" It is {joined(clauses)} of {count(diagnosis.survey.rows, 'row')}." if clauses else ""
        return f"{said}{more} {response.relation.remedy}"
    if not clauses:
        others = "the others" if Severity.BROKEN in diagnosis.harmed else f"all {diagnosis.survey.rows} rows"
        zeros = response.zeros
        small = f" {zeros} of them are 0 where the loss is tiny." if zeros else ""
        return f"{name} is right on {others}: finite, and nowhere visibly off.{small}"
    failing = [row for row in diagnosis.leading if row.state]
    rows = f"{joined(clauses)} of {count(diagnosis.survey.rows, 'row')}"
    named = f"{name} is {rows}"
    named += f": {_named(failing, response.failing, diagnosis)}." if failing else "."
    is_mistake = not (response.is_method or response.is_recorded) and 2 * response.off > diagnosis.survey.rows
    return f"{named} 'xent check {name}' names the mistake." if is_mistake else named


def _of_observed(diagnosis: "Diagnosis", observed: str) -> str:
    """Say whether a loss that somebody saw comes from these rows, and why."""
    response, value = diagnosis.response, float(observed)
    by = "" if response is None else f" by {printable(response.name)}"
    if not math.isfinite(value):
        return _of_abnormal(diagnosis, "nan" if math.isnan(value) else "inf")
    if not matches(diagnosis, observed):
        both = means(diagnosis)
        so = f"their mean is {both[0]:.6g}, their sum {both[1]:.6g}" if both else "none has a finite loss"
        return f"{observed} is not the loss of these rows{by}: {so}. {_why_not(diagnosis, observed)}".rstrip()
    broken = _rows_of(diagnosis, Severity.BROKEN)
    if broken:
        return f"{observed} is the loss{by} of the rows that have one. {broken}"
    said = f"{observed} is the loss of these rows{by}: the dump is the batch you saw."
    if response is not None and response.relation is not None:
        return f"{said} {_of_response(diagnosis)}"
    is_right = response is None or not response.failing
    return said if is_right else f"{said} But {_of_response(diagnosis)}"


def _of_abnormal(diagnosis: "Diagnosis", word: str) -> str:
    """Say which row makes a loss nan or inf, and why."""
    response, state = diagnosis.response, "nan" if word == "nan" else "infinite"
    rows = failing_rows(diagnosis, state)
    if not rows:
        return _of_other_rows(diagnosis, word)
    row = rows[0]
    mine = [each for each in row.tried if each.state == state]
    found = causes(row, diagnosis)
    if response is None and not row.is_invalid:
        found = tuple(each.finding for each in mine if each.finding)[:1]
    because = " or ".join(why(row, finding, diagnosis) for finding in found) or "no finding says why"
    others = " and others" if len(rows) > 1 else ""
    loss = f"our loss is {word} because of {_place(row, diagnosis)}{others}: {because}."
    mend = remedy(found[0]) if found else ""
    if response is None and not any(rule.severity is Severity.BROKEN for rule in row.rules):
        names = joined([each.method for each in mine])
        return f"No row is broken. With {names} y{loss} {mend}".rstrip()
    return f"Y{loss} {mend}".rstrip()


def _of_other_rows(diagnosis: "Diagnosis", word: str) -> str:
    """Say that no row makes a loss nan or inf; an ignored one may have a nan in its gradient alone."""
    response, rows = diagnosis.response, diagnosis.survey.rows
    where = f"{printable(response.name)} is {word} on none" if response else f"no formula is {word} on any"
    said = f"Your loss is {word}, but not because of these rows: {where} of {rows}."
    ignored = [row for row in diagnosis.leading if row.is_ignored and not math.isfinite(row.max)]
    if ignored:
        place = _place(ignored[0], diagnosis)
        return f"{said} But {place} is ignored and holds {ignored[0].max:g}: its gradient is nan."
    masked = max((n for rule, n in diagnosis.rules.items() if rule.finding == "masked-infinity"), default=0)
    if masked and response is None:
        some = f"{count(masked, 'row has', 'rows have')} a class masked by -inf"
        return (
            f"{said} But {some}: label smoothing, or a soft label, gives it weight. Leave masked classes out."
        )
    if diagnosis.saved is not None and response is None:
        return f"{said} So it is your formula: 'xent check mine.py:loss' looks at it."
    return f"{said} Dump the step at which it went {word}."


def _why_not(diagnosis: "Diagnosis", observed: str) -> str:
    """Say what may be why another loss was seen."""
    response = diagnosis.response
    if response is not None and (response.failing or response.relation is not None):
        return _of_response(diagnosis)
    for rule, rows in diagnosis.rules.items():
        if rule.clip is not None and shows(observed, -math.log(rule.clip[0])):
            return f"It is -ln({rule.clip[0]:g}): {rule.says}, in {count(rows, 'row')}."
    return (
        _rows_of(diagnosis, Severity.BROKEN)
        or _denominator(diagnosis, observed)
        or _knob(diagnosis, observed)
        or "Another step, weights, smoothing or another formula gave it."
    )


def _denominator(diagnosis: "Diagnosis", observed: str) -> str:
    """Say what the mean of the rows was multiplied with or divided by to make what was observed."""
    both, survey = means(diagnosis), diagnosis.survey
    if both is None or not both[0] or not math.isfinite(both[0]):
        return ""
    run = Run(batch=(survey.rows,), valid=survey.rows - survey.summary.ignored or None)
    said = next(between(observed, f"{both[0]:.9g}", run), None)
    if said is None:
        return ""
    return f"It is {said.definition}: {said.cause}. {said.remedy}"


def _knob(diagnosis: "Diagnosis", observed: str) -> str:
    """Say which knob, with a number in use, would give the mean that was observed; nothing of few digits."""
    survey = diagnosis.survey
    if survey.stopped is not None or digits_of(observed) < _DIGITS_OF_KNOBS:
        return ""
    found = list(knobs_of_mean(survey.shards, survey.ignore_index, partial(shows, observed)))
    if not found:
        return ""
    ways = " or ".join(each.definition for each in found)
    return f"It would be {ways}: {found[0].knob.cause}. {found[0].knob.remedy}"


def _rows_of(diagnosis: "Diagnosis", severity: Severity) -> str:
    """Say how many rows are broken, and which; nothing where none is."""
    total = count(diagnosis.survey.rows, "row")
    said = _named_rows(diagnosis, severity, f"of {total} is broken", f"of {total} are broken")
    return f"{said}.{_label_hint(diagnosis)}" if said else ""


def _label_hint(diagnosis: "Diagnosis") -> str:
    """Say what labels that are no class may mean, by all of them."""
    survey = diagnosis.survey
    rule = next((rule for rule in diagnosis.rules if rule.finding == "label-out-of-range"), None)
    if rule is None or survey.kind != "indices":
        return ""
    labels = survey.summary.labels
    invalid, is_single = labels.smallest_invalid, labels.smallest_invalid == labels.largest_invalid
    is_part = any(step.is_part for step in diagnosis.steps)  # few rows say little of all labels
    if is_single and invalid == diagnosis.classes and labels.smallest >= 1 and not is_part:
        return f" Labels run from {labels.smallest} to {labels.largest}: do they count from 1? Subtract 1."
    if is_single and (invalid in _IGNORED or diagnosis.rules[rule] > 1):
        return f" If {invalid} marks rows to ignore, pass --ignore-index {invalid}."
    return ""


def _named_rows(diagnosis: "Diagnosis", severity: Severity, one: str, several: str) -> str:
    """Say how many rows something befalls, and name the first; nothing where there are none."""
    if severity not in diagnosis.harmed:
        return ""
    rows = [row for row in diagnosis.leading if _is_harmed(row, severity, diagnosis)]
    number = diagnosis.harmed[severity]
    said = f"{number} {one if number == 1 else several}"  # of a file that is gone no row can be named
    return f"{said}: {_named(rows, number, diagnosis, severity)}" if rows else said


def _is_harmed(row: "WorstRow", severity: Severity, diagnosis: "Diagnosis") -> bool:
    """Whether a rule does such harm to a row."""
    return any(diagnosis.severities.get(rule) is severity for rule in row.rules)


def _named(
    rows: "Sequence[WorstRow]", number: int, diagnosis: "Diagnosis", severity: Severity | None = None
) -> str:
    """Name the first rows, each with its cause, and say how many there are beside."""
    named = []
    for row in rows[:LEADING]:
        because = " or ".join(why(row, each, diagnosis) for each in causes(row, diagnosis, severity))
        named.append(_place(row, diagnosis) + (f" ({because})" if because else ""))
    return ", ".join(named) + (f" and {number - len(named)} more" if number > len(named) else "")


def _place(row: "WorstRow", diagnosis: "Diagnosis") -> str:
    """Name a row, with its indices where the array has more axes than one besides that of the classes."""
    shape = row.shard.shape
    has_axes = sum(length > 1 for length in shape) > 1
    inner = f" {list(map(int, np.unravel_index(row.row, shape)))}" if has_axes else ""
    return f"row {row.number}{inner}" + (
        f" of {printable(row.path)}" if len(diagnosis.survey.shards) > 1 else ""
    )


def _methods(diagnosis: "Diagnosis", severity: Severity) -> str:
    """Name the methods that go wrong so in the rows that are named, else those of the rules."""
    rows = [row for row in diagnosis.leading if _is_harmed(row, severity, diagnosis)]
    tried = [each.method for row in rows for each in failing_methods(row, severity)]
    rules = (rule for rule in diagnosis.rules if diagnosis.severities[rule] is severity)
    names = {*tried} or {name for rule in rules for name in rule.methods}
    return joined([name for name in METHOD_NAMES if name in names])

"""The sentence that a diagnosis begins with: what is broken, else what a loss makes of the rows."""

import math
from typing import TYPE_CHECKING, Final

from xentcli.diagnose.answer import cause, failing_rows, matches, means
from xentcli.diagnose.rules import RowRule, Severity
from xentcli.diagnose.summary import LEADING
from xentcli.errors import count, printable
from xentcli.formats import FORMATS
from xentcli.judge.findings import FINDINGS
from xentcli.show.sentences import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.diagnose.summary import Diagnosis, WorstRow

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
    "sigmoid-rounding": "the sigmoid of {max:g} is rounded to {sigmoid}",
}
_BINARY_WHY: Final = {
    "nan-logit": "its logit is nan",
    "infinite-logit": "its logit is {max:g}",
    "label-out-of-range": "label {label:g} is not from 0 to 1",
}
_SOFT_WHY: Final = {
    "label-out-of-range": "a label is negative or not finite",
    "label-on-mask": "the logit of a class with a label above 0 is -inf",
    "log-of-zero": "the probability of a class with a label above 0 underflows",
}


def verdict(diagnosis: "Diagnosis", observed: str | None = None) -> str:
    """Say in a sentence or two what is wrong with a dump; ``observed`` is the loss that somebody saw."""
    survey = diagnosis.survey
    if not survey.rows:
        return "The dump has no rows."
    said = _said(diagnosis, observed)
    if not survey.complete:
        said = f"Interrupted after {survey.rows} of {count(diagnosis.total, 'row')}. {said}"
    if not survey.labelled:
        holds = f"{printable(survey.shards[0].path)} holds {survey.shards[0].holds or 'no other array'}"
        said += f" Labels are unknown ({holds}): give --labels FILE or --labels-name NAME."
    return said


def why(row: "WorstRow", rule: RowRule, diagnosis: "Diagnosis") -> str:
    """Say why a rule applies to a row."""
    kind = diagnosis.survey.kind
    words = {**_WHY, **({"binary": _BINARY_WHY, "rows": _SOFT_WHY}.get(kind, {}))}
    if rule.finding == "zero-times-infinity" and row.min == -math.inf:
        return f"class {row.lowest} is masked by -inf, its probability 0"
    if rule.finding == "exp-overflow" and row.max < math.log(FORMATS[diagnosis.dtype].largest):
        return f"exp of {row.min:g}, its logit of class {row.lowest}, underflows"
    if rule.finding not in words:
        return rule.says
    fields = {name: getattr(row, name) for name in ("label_sum", "loss", "min", "max", "lowest", "highest")}
    fields |= {"label": row.label, "sigmoid": 1 if row.max > 0 else 0}
    return words[rule.finding].format(**fields)


def remedy(rule: RowRule) -> str:
    """Return the remedy of the catalogue."""
    return _CATALOGUE[rule.finding].remedy


def _said(diagnosis: "Diagnosis", observed: str | None) -> str:
    everywhere = _of_every_row(diagnosis)
    if everywhere is not None:
        return everywhere
    if observed is not None:
        return _of_observed(diagnosis, observed)
    broken = _rows_of(diagnosis, Severity.BROKEN)
    if diagnosis.response is not None:
        return " ".join(filter(None, (broken, _of_response(diagnosis))))
    return broken or _of_methods(diagnosis)


def _of_every_row(diagnosis: "Diagnosis") -> str | None:
    """Say what befalls every row alike: none counts, or all are nan."""
    survey, rules = diagnosis.survey, {rule.finding: rows for rule, rows in diagnosis.rules.items()}
    if "empty-mean" in rules:
        every = f"All {survey.rows} labels are ignored ({survey.ignore_index})"
        return f"{every}: the mean over no row is 0 / 0, nan."
    if rules.get("nan-logit") == survey.rows:
        return f"All {survey.rows} rows have a nan logit: look at the step before, whose weights went nan."
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
    if said:
        return " ".join(("No row is broken.", *said))
    if "ignored-class-is-frequent" in findings:
        ignored = f"the ignored class {survey.ignore_index} is the most frequent label"
        share = f"{survey.columns.ignored} of {survey.rows}"
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
    clauses = [f"{how} on {len(rows)}" for how, rows in states if len(rows)]
    name = printable(response.name)
    if not clauses:
        others = "the others" if Severity.BROKEN in diagnosis.harmed else f"all {diagnosis.survey.rows} rows"
        return f"{name} is right on {others}: finite, and nowhere visibly off."
    failing = [(row, cause(row, diagnosis)) for row in diagnosis.leading if diagnosis.is_failing(row)]
    number = len(response.failing)
    rows = f"{joined(clauses)} of {count(diagnosis.survey.rows, 'row')}"
    return f"{name} is {rows}: {_named(failing, number, diagnosis)}."


def _of_observed(diagnosis: "Diagnosis", observed: str) -> str:
    """Say whether a loss that somebody saw comes from these rows, and why."""
    response, value = diagnosis.response, float(observed)
    by = "" if response is None else f" by {printable(response.name)}"
    if math.isfinite(value):
        if matches(diagnosis, observed):
            said = f"{observed} is the loss of these rows{by}: the dump is the batch you saw."
            is_right = response is None or not len(response.failing)
            return said if is_right else f"{said} But {_of_response(diagnosis)}"
        both = means(diagnosis)
        so = f"their mean is {both[0]:.6g}, their sum {both[1]:.6g}" if both else "none has a finite loss"
        return f"{observed} is not the loss of these rows{by}: {so}. {_why_not(diagnosis)}".rstrip()
    return _of_abnormal(diagnosis, "nan" if math.isnan(value) else "inf", by)


def _of_abnormal(diagnosis: "Diagnosis", word: str, by: str) -> str:
    """Say which row makes a loss nan or inf, and why."""
    response, state = diagnosis.response, "nan" if word == "nan" else "infinite"
    rows = failing_rows(diagnosis, state)
    if not rows:
        where = (
            f"{printable(response.name)} is {word} on none" if response else f"no formula is {word} on any"
        )
        said = f"Your loss is {word}, but not because of these rows: {where} of {diagnosis.survey.rows}."
        return f"{said} Dump the step at which it went {word}."
    rule = cause(rows[0], diagnosis)
    because = why(rows[0], rule, diagnosis) if rule else f"so{by}, though no rule says why"
    others = " and others" if len(rows) > 1 else ""
    loss = f"our loss is {word} because of {_place(rows[0], diagnosis)}{others}: {because}."
    mend = remedy(rule) if rule else ""
    if response is None and Severity.BROKEN not in diagnosis.harmed:
        return f"No row is broken. With {_methods(diagnosis, Severity.NAN)} y{loss} {mend}".rstrip()
    return f"Y{loss} {mend}".rstrip()


def _why_not(diagnosis: "Diagnosis") -> str:
    """Say what may be why another loss was seen."""
    if diagnosis.response is not None and len(diagnosis.response.failing):
        return _of_response(diagnosis)
    return (
        _rows_of(diagnosis, Severity.BROKEN) or "Another step, weights, smoothing or another formula gave it."
    )


def _rows_of(diagnosis: "Diagnosis", severity: Severity) -> str:
    """Say how many rows are broken, and which; nothing where none is."""
    total = count(diagnosis.survey.rows, "row")
    said = _named_rows(diagnosis, severity, f"of {total} is broken", f"of {total} are broken")
    return f"{said}." if said else ""


def _named_rows(diagnosis: "Diagnosis", severity: Severity, one: str, several: str) -> str:
    """Say how many rows something befalls, and name the first; nothing where there are none."""
    if severity not in diagnosis.harmed:
        return ""
    pairs = [(row, _first(row, severity, diagnosis)) for row in diagnosis.leading]
    number = diagnosis.harmed[severity]
    named = _named([(row, rule) for row, rule in pairs if rule], number, diagnosis)
    return f"{number} {one if number == 1 else several}: {named}"


def _first(row: "WorstRow", severity: Severity, diagnosis: "Diagnosis") -> RowRule | None:
    """Return the first rule that does such harm to a row."""
    return next((rule for rule in row.rules if diagnosis.severities[rule] is severity), None)


def _named(rows: "Sequence[tuple[WorstRow, RowRule | None]]", number: int, diagnosis: "Diagnosis") -> str:
    """Name the first rows, each with its cause, and say how many there are beside."""
    causes = [f" ({why(row, rule, diagnosis)})" if rule else "" for row, rule in rows[:LEADING]]
    named = [_place(row, diagnosis) + said for (row, _), said in zip(rows, causes, strict=False)]
    return ", ".join(named) + (f" and {number - len(named)} more" if number > len(named) else "")


def _place(row: "WorstRow", diagnosis: "Diagnosis") -> str:
    return f"row {row.row}" + (f" of {printable(row.path)}" if len(diagnosis.survey.shards) > 1 else "")


def _methods(diagnosis: "Diagnosis", severity: Severity) -> str:
    """Name the methods that go wrong so."""
    rules = (rule for rule in diagnosis.rules if diagnosis.severities[rule] is severity)
    return joined(list(dict.fromkeys(name for rule in rules for name in rule.methods)))

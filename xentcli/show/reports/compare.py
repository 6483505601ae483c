"""Results → the document of ``xent compare``: the matrix, the numbers of each case, what names mean."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from xentcli.digits import format_ulps
from xentcli.errors import count
from xentcli.formats import FORMATS, nearest
from xentcli.methods.table import METHODS
from xentcli.show import matrix
from xentcli.show.cells import label, losses_text, mark, verdict_cell
from xentcli.show.document import Document, Link, Matrix, Section, anchors, render
from xentcli.show.pages import words
from xentcli.show.reports.run import case_sections, rows_of
from xentcli.show.reports.shared import findings_section, sheets_in
from xentcli.show.sentences import comparison
from xentcli.show.sheet import Cell, Sheet, Tone

if TYPE_CHECKING:
    from xentcli.judge import Result
    from xentcli.model import Judgement, Outcome

_LONG: Final = 60  # characters of losses that a hint has
_METHOD: Final = "method"  # the kind of the anchors of methods
_NO_TRUTH: Final = Cell("–", Tone.CONTEXT)
_LEGEND: Final = (
    (Cell("·", Tone.RIGHT), "right: within 4 ulps of the exact loss, and no gradient wrong"),
    (Cell("nan", Tone.ALOUD), "the loss is nan"),
    (Cell("inf", Tone.ALOUD), "the loss is infinite, and the exact one is not"),
    (Cell("off", Tone.SILENT), "finite, but not the exact loss"),
    (Cell("cap", Tone.SILENT), "finite, but held by a clip"),
    (Cell("0", Tone.SILENT), "0, where the exact loss is above 0"),
    (Cell("neg", Tone.SILENT), "below 0, which no cross-entropy is"),
    (Cell("∇", Tone.GRADIENT), "the loss is right, its gradient is not"),
    (_NO_TRUTH, "there is no exact loss"),
    (Cell("", Tone.PLAIN), "the method does not support the case"),
)


def report(results: "Sequence[Result]", command: str) -> str:
    """Return the document."""
    names = dict(zip(map(id, results), anchors([r.case.name for r in results], "case"), strict=True))
    methods = matrix.columns_of(results)
    links = dict(zip(methods, anchors([column.method for column in methods], _METHOD), strict=True))
    sections = [
        Section("Every case and method", "matrix", tuple(_matrices(results, names, links))),
        Section("What the marks mean", "marks", (Sheet("", ("mark", "meaning"), _LEGEND),)),
        Section("Methods", "methods", (_methods(results, links),)),
        Section("The numbers of each case", "cases", (), case_sections(results, list(names.values()))),
    ]
    sections += findings_section(sheets_in(sections))
    subject = f"xent compare, {count(len(results), 'case')}, {count(len(methods), 'method')}"
    return render(Document(subject, comparison(results), (), tuple(sections), command))


def _matrices(
    results: "Sequence[Result]", names: Mapping[int, str], links: "Mapping[matrix.Column, str]"
) -> Iterator[Matrix]:
    """Yield a matrix of the softmax cases, and one of the binary ones, by folders."""
    folders = matrix.by_folder(results)
    for kind, binary in (("Softmax cases", False), ("Binary cases", True)):
        of_kind = [result for result in results if result.case.batch.binary is binary]
        if not of_kind:
            continue
        columns = matrix.columns_of(of_kind)
        heads = ("case", "exact", *(Link(c.method, f"#{links[c]}", tone=Tone.COMMAND) for c in columns))
        sheets = [
            Sheet(folder, heads, tuple(_row(r, columns, names[id(r)]) for r in some if r in of_kind))
            for folder, some in folders.items()
            if any(r in of_kind for r in some)
        ]
        *_, total = matrix.sheets({}, of_kind, columns)
        yield Matrix(kind, (*sheets, Sheet("", heads, total.rows)))


def _row(result: "Result", columns: "Sequence[matrix.Column]", anchor: str) -> tuple[str, ...]:
    """Return a case, its exact loss and a mark per method, each of which leads to its numbers."""
    exact, case = result.exact.loss, result.case
    short = ""
    if exact is not None:
        short = (
            "nan"
            if exact.is_nan()
            else matrix.three_digits(nearest(exact, FORMATS[case.numerics.loss_dtype]))
        )
    rows = rows_of(result, anchor)
    cells = {
        outcome.method: _mark(outcome, judgement, f"#{rows[label(outcome)]}")
        for outcome, judgement in zip(result.outcomes, result.judgements, strict=True)
    }
    name = Link(case.name, f"#{anchor}", tone=Tone.COMMAND)
    return name, Cell(short, is_number=True), *(cells.get(column.method, "") for column in columns)


def _mark(outcome: "Outcome", judgement: "Judgement | None", target: str) -> str:
    """Return a verdict in three letters, which says in full what it is where one rests on it."""
    if judgement is None:
        hint = f"{label(outcome)}: {outcome.failure}"
        return Link(mark(None, outcome), f"#{_METHOD}s", hint=hint) if outcome.raised else ""
    shown = _NO_TRUTH if judgement.verdict == "undefined" else mark(judgement, outcome)
    loss = losses_text(outcome)
    facts = [
        f"{label(outcome)}: {verdict_cell(judgement)}",
        f"loss {loss[:_LONG]}{'…' * (len(loss) > _LONG)}",
    ]
    facts += [f"{format_ulps(judgement.ulps)} ulps"] if judgement.ulps is not None else []
    if judgement.gradient is not None and judgement.has_wrong_gradient:
        facts.append(f"gradient {judgement.gradient.state}")
    facts += [" ".join(judgement.all_findings)] if judgement.all_findings else []
    return Link(shown, target, hint=", ".join(facts))


def _methods(results: "Sequence[Result]", links: "Mapping[matrix.Column, str]") -> Sheet:
    """Return what each method is, and its formula, or the call of a library's."""
    own = {method.name: method for method in METHODS}
    labels = {outcome.method: label(outcome) for result in results for outcome in result.outcomes}
    rows = []
    for column, anchor in links.items():
        method = own.get(column.method)
        what = words()["methods"][method.name]["what"] if method else "called in a process of its own"
        name = Link(labels[column.method], anchor=anchor, tone=Tone.COMMAND)
        rows.append((name, column.group, method.formula if method else "", what))
    return Sheet("", ("method", "group", "formula", "what it is"), tuple(rows))

"""The page of a case: what one sees, what is true, why, what to do, who has it, and the file itself."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from atlas_pages import curve, record
from atlas_pages.known import Known, cases, page_of_finding
from atlas_pages.text import block, cell, code, escaped, source, table
from xentcli.digits import format_number, format_ulps
from xentcli.formats import FORMATS, nearest
from xentcli.identifiers import identifier
from xentcli.judge.findings.finding import Finding
from xentcli.model import Comparison
from xentcli.show.cells import exact_cell, gradient_cell, losses_text, numerics, verdict_cell
from xentcli.show.pages import words
from xentcli.show.sentences import judged, what_happened

_FEW = 8  # numbers that a cell shows in full
_BLOG = "blog"  # the folder of the cases that stand in none
_MOST_RELATED = 8  # cases that share a folder or a finding; the index has the others


def folder(known: Known) -> str:
    """Return the folder of a case; the three of the blog stand in none."""
    return known.entry.folder or _BLOG


def page(known: Known) -> str:
    """Return the page of a case in Markdown."""
    sections = (
        _printed(known),
        _methods(known),
        _section("The curve", curve.picture(known.result)),
        _why(known),
        _libraries(known),
        _threads(known),
        _related(known),
        _file(known),
    )
    return "\n".join([_heading(known), *filter(None, sections)])


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _heading(known: Known) -> str:
    """Return the title, then the answer: what each method makes of it."""
    case = known.entry.case
    size = "×".join(map(str, case.batch.sizes))
    facts = (
        f"[{identifier('case', case.name)}]{{.identifier}}",
        f"case of [{folder(known)}]({folder(known)}.md)",
        escaped(", ".join((*numerics(case), size))),
    )
    answer = escaped(_sentence(what_happened(known.result)))
    return f"# {escaped(case.name)}: {escaped(case.title)}\n\n{answer}\n\n{{.facts}}\n{' · '.join(facts)}\n"


def _sentence(text: str) -> str:
    return f"{text[0].upper() if text.startswith(('no ', 'there ')) else text[0]}{text[1:]}."


def _printed(known: Known) -> str:
    """Return the numbers that somebody printed, and how to print them again."""
    rows = [_expected(comparison) for comparison in known.result.comparisons]
    text = block(f"$ xent run {known.name}", "console")
    if rows:
        text = f"{table(('of', 'number', 'from', 'reproduced'), rows)}\n{text}"
    return _section("What one sees", text)


def _expected(comparison: Comparison) -> tuple[str, ...]:
    expectation = comparison.expectation
    texts = expectation.texts
    numbers = " ".join(texts) if len(texts) <= _FEW else f"{len(texts)} numbers"
    origin = "the definition" if expectation.derived else "the source"
    return code(expectation.quantity), code(numbers), origin, "yes" if comparison.reproduced else "no"


def _methods(known: Known) -> str:
    """Return each method's loss beside the true one."""
    result = known.result
    head = ("method", "loss", "verdict", "ulps", "gradient", "findings")
    rows = [("exact", escaped(exact_cell(result)), "", "", "", "")]
    rows += [
        (
            code(outcome.method),
            escaped(losses_text(outcome)),
            cell(verdict_cell(judgement)),
            escaped(format_ulps(judgement.ulps)),
            cell(gradient_cell(judgement)),
            ", ".join(f"[{name}]({page_of_finding(name)})" for name in judgement.all_findings),
        )
        for outcome, judgement in judged(result)
    ]
    losses = ""
    exact, form = result.exact, FORMATS[result.case.numerics.loss_dtype]
    if 1 < len(exact.losses) <= _FEW:
        numbers = (format_number(nearest(loss, form), form.name) for loss in exact.losses)
        how = "The true losses are" if exact.loss is None else f"exact is the {result.case.reduction} of"
        losses = f"\n{how} {escaped(', '.join(numbers))}.\n"
    return _section("What each method gives", table(head, rows, " r r") + losses)


def _why(known: Known) -> str:
    """Return the causes, each with its remedy and when it is no fault."""
    return _section("Why, and what to do", "\n".join(map(_cause, known.findings)))


def _cause(finding: Finding) -> str:
    target = page_of_finding(finding.name)
    no_fault = words()["findings"][finding.name]["no_fault"]
    return (
        f"### {escaped(finding.name)}\n\n{escaped(finding.cause)}\n\n"
        f"- **Remedy:** {escaped(finding.remedy)} Code: [{escaped(finding.name)}]({target}).\n"
        f"- **No fault:** {escaped(no_fault)}\n"
    )


def _libraries(known: Known) -> str:
    """Return which versions have it, what they print, and what is on record of each version."""
    about = known.entry.case.about
    parts = []
    if about.affects:
        rows = [
            (escaped(each.library), escaped(each.versions), escaped(each.state)) for each in about.affects
        ]
        parts.append(table(("library", "versions that have it", "state"), rows))
    if about.prints:
        printed = [(escaped(f"{e.library} {e.version}"), code(e.call), code(e.text)) for e in about.prints]
        parts.append(table(("library", "call", "prints"), printed))
    if recorded := record.case_rows(known.name):
        head = ("function on record", "versions", "loss", "verdict", "gradient")
        parts.append(table(head, recorded, "  r"))
    return _section("Libraries", "\n".join(parts))


def _threads(known: Known) -> str:
    lines = []
    for each in known.entry.case.about.sources:
        title = f": {escaped(each.title)}" if each.title else ""
        date = f" ({escaped(each.date)})" if each.date else ""
        lines.append(f"- {source(each.url)}{title}{date}\n")
    return _section("Where it was seen", "".join(lines))


def related(known: Known) -> list[Known]:
    """Return the cases nearest to one: those that share most findings, then those of its folder."""
    own = set(known.findings)

    def closeness(other: Known) -> tuple[int, bool]:
        return len(own & set(other.findings)), folder(other) == folder(known)

    near = [other for other in cases() if other is not known and closeness(other) > (0, False)]
    return sorted(near, key=closeness, reverse=True)[:_MOST_RELATED]


def _related(known: Known) -> str:
    return _section("Related cases", "".join(listed(related(known))))


def listed(some: Sequence[Known]) -> Iterator[str]:
    """Yield a line for each case: its name, a link to its page, and its title."""
    for known in some:
        yield f"- [{escaped(known.name)}]({known.page}): {escaped(known.entry.case.title)}\n"


def _file(known: Known) -> str:
    name = Path(known.entry.case.path).name
    commands = f"$ xent explain {known.name}\n$ xent cases show {known.name} > mine.yaml"
    text = f"{block(commands, 'console')}\n{escaped(name)}:\n\n{block(known.entry.text, 'yaml')}"
    return _section("The case file", text)

"""The page of a finding: what one sees, why, when it is no fault, wrong and right code, and who has it."""

from collections.abc import Sequence

from atlas_pages.cases import listed
from atlas_pages.known import Known, cases, page_of_finding
from atlas_pages.text import block, cell, code, escaped, source, table
from xentcli.identifiers import identifier
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.show.cells import gradient_cell, losses_text, verdict_cell
from xentcli.show.pages import LIBRARIES, MODULES, words
from xentcli.show.sentences import judged


def page(finding: Finding) -> str:
    """Return the page of a finding in Markdown."""
    shown = next(known for known in cases() if known.name == finding.case)
    having = [known for known in cases() if finding in known.findings]
    parts = (
        _heading(finding),
        _seen(finding, shown),
        _why(finding),
        _code(finding),
        _cases(finding, shown, having),
    )
    return "\n".join(parts)


def _heading(finding: Finding) -> str:
    facts = f"[{identifier('finding', finding.name)}]{{.identifier}} · [finding](findings.md)"
    return f"# {finding.name}: {escaped(finding.short)}\n\n{escaped(finding.cause)}\n\n{{.facts}}\n{facts}\n"


def _seen(finding: Finding, shown: Known) -> str:
    """Return what the methods that have it give on its case."""
    pairs = [pair for pair in judged(shown.result) if finding.name in pair[1].all_findings]
    rows = [
        (
            code(outcome.method),
            escaped(losses_text(outcome)),
            cell(verdict_cell(judgement)),
            cell(gradient_cell(judgement)),
        )
        for outcome, judgement in pairs
    ]
    case = f"In the case [{escaped(shown.name)}]({shown.page}): {escaped(shown.entry.case.title)}."
    methods = table(("method", "loss", "verdict", "gradient"), rows, " r")
    commands = block(f"$ xent run {shown.name}\n$ xent explain {shown.name}", "console")
    return f"## What one sees\n\n{case}\n\n{methods}\n{commands}"


def _why(finding: Finding) -> str:
    no_fault = words()["findings"][finding.name]["no_fault"]
    return (
        f"## When it is no fault\n\n{escaped(no_fault)}\n\n"
        f"## What to do\n\n{escaped(finding.remedy)}\n\nSource: {source(finding.source)}\n"
    )


def _code(finding: Finding) -> str:
    """Return wrong and right code for each library."""
    advice = words()["findings"][finding.name]
    wrong, right = words()["mistakes"][advice["mistake"]], words()["remedies"][advice["remedy"]]
    notes = (
        f"The wrong code takes {escaped(wrong['takes'])}, and gives {escaped(advice['gives'])}.",
        escaped(wrong.get("why", "")),
        f"The right code takes {escaped(right['takes'])}.",
        escaped(right.get("note", "")),
        f"{escaped(MODULES)}.",
    )
    parts = [f"## Wrong and right code\n\n{' '.join(filter(None, notes))}\n"]
    for key, name in LIBRARIES.items():
        parts.append(f"### {name}\n")
        if key in wrong:
            parts.append(f"[Wrong]{{.silent}}:\n\n{block(wrong[key].strip(), 'python')}")
        if key in right:
            parts.append(f"[Right]{{.right}}:\n\n{block(right[key].strip(), 'python')}")
    return "\n".join(parts)


def _cases(finding: Finding, shown: Known, having: Sequence[Known]) -> str:
    """Return the cases that have it, and the findings that come with it."""
    beside = {
        name for _, j in judged(shown.result) if finding.name in j.all_findings for name in j.all_findings
    }
    others = [other for other in FINDINGS if other.name in beside and other is not finding]
    lines = "".join(listed([shown, *(known for known in having if known is not shown)]))
    text = f"## Cases\n\n{lines}"
    if others:
        found = "".join(f"- [{o.name}]({page_of_finding(o.name)}): {escaped(o.cause)}\n" for o in others)
        text += f"\n## Found with it\n\n{found}"
    return text

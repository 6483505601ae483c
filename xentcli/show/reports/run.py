"""Results → the document of ``xent run``: every case in full, then what its findings mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xentcli.errors import count, printable
from xentcli.show.document import Code, Content, Document, Facts, Prose, Section, anchors, render
from xentcli.show.reports.shared import finding_links, findings_in, findings_section, references, with_links
from xentcli.show.run import WHAT, about, causes, missing, sentence, sheet_of, typed
from xentcli.show.sentences import closing
from xentcli.show.sheet import Cell, Sheet, Tone

if TYPE_CHECKING:
    from xentcli.judge import Result

COLUMNS = ("loss", "losses", *WHAT[1:], "residual", "findings")


def report(results: "Sequence[Result]", command: str) -> str:
    """Return the document; of one case its sentence is the answer, of several how many are reproduced."""
    names = anchors([result.case.name for result in results], "case")
    sections = [case_section(*each) for each in zip(results, names, strict=True)]
    if len(results) == 1:
        subject, answer = f"xent run {results[0].case.name}", sentence(results[0])
    else:
        subject, answer = f"xent run, {count(len(results), 'case')}", f"{closing(results)}."
    return render(Document(subject, answer, (), with_findings(sections), command))


def with_findings(sections: "Sequence[Section]") -> tuple[Section, ...]:
    """Return sections, and one that says what the findings in their tables mean."""
    sheets = [each for section in sections for each in section.contents if isinstance(each, Sheet)]
    meaning = findings_section(findings_in(sheets))
    return (*sections, meaning) if meaning else tuple(sections)


def case_section(result: "Result", anchor: str, columns: Sequence[str] = COLUMNS) -> Section:
    """Return a case: what the methods give and why, its numbers, where it comes from.

    The row of a method has the anchor of the case, a hyphen and its number among the methods.
    """
    case = result.case
    sheet = with_links(sheet_of(result, tuple(columns), None), method_anchors(result, anchor))
    contents: list[Content] = [
        Prose((sentence(result),)),
        Prose((Cell(about(result), Tone.CONTEXT),)),
        sheet,
        *(Prose((note,)) for note in missing(result)),
        Facts(
            (
                *(
                    (f"{name} because", (finding_links(finding.name), finding.cause))
                    for finding, name in causes(result)
                ),
                ("remedy", tuple(dict.fromkeys(finding.remedy for finding, _ in causes(result)))),
                ("affects", tuple(f"{each.library} {each.versions} ({each.state})" for each in case.about.affects)),
                (
                    "prints",
                    tuple(f"{e.library} {e.version}: {e.call} → {e.text}" for e in case.about.prints),
                ),
                ("source", references(case.about.sources)),
            )
        ),
    ]
    if (name := typed(result)) is not None:
        contents.append(Code(f"xent explain {name}"))
    return Section(f"{case.name}: {printable(case.title)}", anchor, tuple(contents))


def method_anchors(result: "Result", anchor: str) -> dict[str, str]:
    """Return the anchor of each method's row by its label."""
    from xentcli.show.cells import label

    return {label(outcome): f"{anchor}-{at}" for at, outcome in enumerate(result.outcomes, 1)}

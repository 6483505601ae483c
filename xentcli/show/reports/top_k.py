"""A top-k dump → its document: the verdict, the broken rows, what is in the dump."""

from typing import TYPE_CHECKING

from xentcli.show.document import Content, Document, Prose, Section, render
from xentcli.show.top_k import broken, facts, verdict

if TYPE_CHECKING:
    from xentcli.diagnose.survey import TopKSurvey


def report(survey: "TopKSurvey", command: str) -> str:
    """Return the document; losses are known in part alone, so that there is no histogram of them."""
    about: tuple[Content, ...] = tuple(Prose((fact,)) for fact in facts(survey))
    sections = [Section("Broken rows", "rows", tuple(broken(survey)))] if survey.summary.broken else []
    sections.append(Section("The dump", "dump", about))
    return render(Document("xent diagnose, a top-k dump", verdict(survey), (), tuple(sections), command))

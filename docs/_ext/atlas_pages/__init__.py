"""A Sphinx extension: a page per case and per finding, an index of them, and the repository's own documents.

The pages are Markdown, made anew by each build from the cases and findings of the package, in the folders
``docs/atlas`` and ``docs/project``, which Git ignores.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from atlas_pages import cases, commands, findings, index, links, record, schemas
from atlas_pages.html import complete
from atlas_pages.known import cases as known_cases
from atlas_pages.known import page_of_finding
from atlas_pages.text import code, escaped, table
from xentcli.judge.findings import FINDINGS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[3]
_INDEX: Final = ("<!-- the index, generated: make golden -->", "<!-- the end of the index -->")


def setup(app: "Sphinx") -> dict[str, Any]:
    """Connect to Sphinx: write pages before it reads, change links as it does, complete HTML at the end."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    app.connect("source-read", _rewrite)
    app.connect("build-finished", complete)
    commands.connect(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(docs: Path) -> None:
    """Write all generated pages; a file whose text is the same keeps its time, for the next build."""
    pages = {**_atlas(), **_project()}
    for folder in ("atlas", "project"):
        for path in (docs / folder).glob("*.md"):
            if path.relative_to(docs).as_posix() not in pages:
                path.unlink()
    for name, text in pages.items():
        path = docs / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _atlas() -> dict[str, str]:
    pages = {"atlas/index.md": index.page(), "atlas/findings.md": _list_of_findings()}
    folders: dict[str, list[Any]] = {}
    for known in known_cases():
        folders.setdefault(cases.folder(known), []).append(known)
        pages[f"atlas/{known.page}"] = cases.page(known)
    pages |= {f"atlas/{name}.md": _list_of_cases(name, some) for name, some in folders.items()}
    return pages | {f"atlas/{page_of_finding(finding.name)}": findings.page(finding) for finding in FINDINGS}


def _list_of_findings() -> str:
    rows = [(f"[{f.name}]({page_of_finding(f.name)})", escaped(f.cause), escaped(f.remedy)) for f in FINDINGS]
    tree = "\n".join(f"{f.name} <{page_of_finding(f.name)}>" for f in FINDINGS)
    about = "The named causes of a wrong loss, in every command and in JSON.\n"
    return f"# Findings\n\n{about}\n{table(('finding', 'cause', 'remedy'), rows)}\n{_toctree(tree)}"


def _list_of_cases(name: str, some: list[Any]) -> str:
    lines = "".join(cases.listed(some))
    tree = "\n".join(f"{known.name} <{known.page}>" for known in some)
    command = f"Run them all: {code(f'xent run {name}')}\n\n" if name != "blog" else ""
    return f"# Cases: {name}\n\n{lines}\n{command}{_toctree(tree)}"


def _toctree(lines: str) -> str:
    return f"```{{toctree}}\n:hidden:\n\n{lines}\n```\n"


def _project() -> dict[str, str]:
    """Return the documents of the repository that stand outside docs; the index of cases is the atlas's."""
    pages = {"project/schemas.md": schemas.page(ROOT), "project/record.md": record.page()}
    for origin, page in links.PAGES.items():
        if page.startswith("project/") and page not in pages:
            text = (ROOT / origin).read_text(encoding="utf-8")
            before, _, rest = text.partition(_INDEX[0])
            pages[page] = links.rewritten(before + rest.partition(_INDEX[1])[2], origin, page)
    return pages


def _rewrite(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Change the links of a document of docs to files of the repository."""
    if not docname.startswith(("atlas/", "project/")):
        path = os.path.relpath(app.env.doc2path(docname), ROOT)
        source[0] = links.rewritten(source[0], path, f"{docname}.md")

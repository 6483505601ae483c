"""Links of the repository's documents, turned into links of the site."""

import os
import re
from pathlib import PurePosixPath
from typing import Final

from atlas_pages.known import pages_of_cases

# A document or folder of the repository that is not under docs → the page that has its text.
PAGES: Final = {
    "README.md": "index.md",
    "cases/README.md": "project/cases.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "results": "project/record.md",
}
_LINK: Final = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def rewritten(text: str, origin: str, page: str) -> str:
    """Return a document whose links to files of the repository lead to pages of the site.

    ``origin`` is where the document stands in the repository, ``page`` where its page stands in ``docs``.
    """
    cases = pages_of_cases()

    def target(found: re.Match[str]) -> str:
        before, path, after = found.groups()
        if "://" in path or path.startswith("mailto:"):
            return found[0]
        named = os.path.normpath(PurePosixPath(origin).parent / path)
        stem = PurePosixPath(named).stem
        if named.startswith("cases/") and stem in cases:
            named = f"docs/atlas/{cases[stem]}"
        named = f"docs/{PAGES[named]}" if named in PAGES else named
        return before + os.path.relpath(named, PurePosixPath("docs", page).parent) + after

    return _LINK.sub(target, text)

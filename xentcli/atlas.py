"""The bundled cases as a collection: search by words, by library, by finding."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xentcli import load
from xentcli.errors import XentError, did_you_mean
from xentcli.judge.findings import FINDINGS
from xentcli.load import sources
from xentcli.model import Case
from xentcli.run import evaluate


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One bundled case, its folder ('' for the cases of the blog), and the text of its file."""

    case: Case
    folder: str
    text: str

    @property
    def libraries(self) -> set[str]:
        """The libraries that the case names."""
        about = self.case.about
        return {entry.library for entry in about.affects} | {entry.library for entry in about.prints}

    def findings(self) -> set[str]:
        """Return the findings of the methods that the case expects something of."""
        result = evaluate(self.case)
        about = {expectation.quantity for expectation in self.case.expectations}
        pairs = zip(result.outcomes, result.judgements, strict=True)
        judgements = [judgement for outcome, judgement in pairs if outcome.method in about]
        return {name for judgement in judgements if judgement for name in judgement.all_findings}


def entries() -> tuple[Entry, ...]:
    """Return every bundled case whose libraries are installed, folder by folder."""
    files, problems = sources.read_all(())
    texts = {source.path: source.data.decode() for source in files}
    cases = load.load_all(files, problems)
    return tuple(Entry(case, sources.folder_of(Path(case.path)), texts[case.path]) for case in cases)


def search(cases: Iterable[Entry], phrase: str) -> tuple[tuple[Entry, ...], bool]:
    """Return the cases whose folder, name or file has most words of a phrase, and whether they have all.

    The best ones come first: those that have the words in their folder, name or title.
    """
    words = _words(phrase)
    hits: dict[Entry, tuple[int, int]] = {}
    for entry in cases:
        heading = f"{entry.folder} {entry.case.name} {entry.case.title}"
        hits[entry] = (len(words & _words(f"{heading} {entry.text}")), len(words & _words(heading)))
    most = max((found for found, _ in hits.values()), default=0)
    best = [entry for entry, (found, _) in hits.items() if found == most > 0]
    return tuple(sorted(best, key=lambda entry: -hits[entry][1])), most == len(words)


def by_library(cases: Iterable[Entry], name: str) -> tuple[Entry, ...]:
    """Return the cases that name a library; raises XentError where no bundled case does."""
    matches = tuple(entry for entry in cases if name.casefold() in map(str.casefold, entry.libraries))
    names = () if matches else sorted({library for entry in entries() for library in entry.libraries})
    if not matches and name.casefold() not in map(str.casefold, names):
        raise XentError(f"no case names a library '{name}'{did_you_mean(name, names)}")
    return matches


def by_finding(cases: Iterable[Entry], name: str) -> tuple[Entry, ...]:
    """Return the cases that show a finding; raises XentError where there is none of that name."""
    names = [finding.name for finding in FINDINGS]
    if name not in names:
        raise XentError(f"unknown finding '{name}'{did_you_mean(name, names)}")
    return tuple(entry for entry in cases if name in entry.findings())


def _words(text: str) -> set[str]:
    """Return the words of a text, without case and plural."""
    return {word.removesuffix("s") for word in re.findall(r"[^\W_]+", text.casefold())}
